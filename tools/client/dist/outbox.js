// What the application has said and nobody has sent yet: bounded in number and in age. Nothing leaves it in silence.
export class Outbox {
    #limits;
    #waiting = [];
    /** Until the first of them is too old. */
    #timer;
    constructor(limits) {
        this.#limits = limits;
    }
    get size() {
        return this.#waiting.length;
    }
    /** The oldest goes where there is no room. */
    put(waiting) {
        this.#waiting.push(waiting);
        if (this.#waiting.length > this.#limits.messages)
            this.#waiting.shift()?.dropped("full");
        this.#watch();
    }
    /** The next to be sent. */
    take(now) {
        this.#expire(now);
        return this.#waiting.shift();
    }
    /** Whoever said it does not want it sent any more. */
    forget(waiting) {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
    }
    close() {
        clearTimeout(this.#timer);
        for (const waiting of this.#waiting.splice(0))
            waiting.dropped("closed");
    }
    #expire(now) {
        while (this.#waiting[0] && now - this.#waiting[0].since > this.#limits.ms)
            this.#waiting.shift()?.dropped("old");
    }
    #watch() {
        const oldest = this.#waiting[0];
        if (this.#timer !== undefined || !oldest)
            return;
        this.#timer = setTimeout(() => {
            this.#timer = undefined;
            this.#expire(performance.now());
            this.#watch();
        }, oldest.since + this.#limits.ms + 1 - performance.now());
    }
}
