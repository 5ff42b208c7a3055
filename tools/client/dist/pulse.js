// Whether the other side is still there. A page sees nothing of the gateway's own pings, so it asks with a message.
/** Of one connection. */
export class Pulse {
    /** From a ping to its answer. */
    latencyMs;
    #liveness;
    #events;
    #next;
    #silence;
    #asked = { id: "", at: 0 };
    /** The first ping comes at a random time, so that those who came together do not ask together. */
    constructor(liveness, newId, events) {
        this.#liveness = liveness;
        this.#events = events;
        const ask = () => {
            this.#next = setTimeout(ask, liveness.pingMs);
            this.#ask(newId());
        };
        this.#next = setTimeout(ask, liveness.pingMs * (0.1 + 0.9 * Math.random()));
    }
    /** Anything from the gateway. */
    heard(id) {
        clearTimeout(this.#silence);
        this.#silence = undefined;
        if (id !== this.#asked.id)
            return;
        this.latencyMs = performance.now() - this.#asked.at;
    }
    stop() {
        clearTimeout(this.#next);
        clearTimeout(this.#silence);
    }
    #ask(id) {
        this.#asked = { id, at: performance.now() };
        this.#silence ??= setTimeout(this.#events.silent, this.#liveness.silenceMs);
        this.#events.ask(id);
    }
}
