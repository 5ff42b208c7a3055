// No faster than the gateway allows: it closes who says more than so many messages in so long (4003).
/** Of one connection. In any window no more than so many are free to go. Its clock never goes back. */
export class Pace {
    #limits;
    /** When the last ones went, the oldest first. */
    #sent = [];
    constructor(limits) {
        this.#limits = limits;
    }
    count(now) {
        this.#sent.push(now);
        if (this.#sent.length > this.#limits.messages)
            this.#sent.shift();
    }
    /** How long the next message has to wait. */
    waitMs(now) {
        const { messages, windowMs } = this.#limits;
        const oldest = this.#sent[this.#sent.length - messages];
        return oldest === undefined ? 0 : Math.max(0, oldest + windowMs - now);
    }
}
