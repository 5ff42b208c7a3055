// What was asked and is not answered yet.
import { RingwayError, refused } from "./error.js";
/** By the `id` of the message. */
export class Requests {
    #open = new Map();
    /** Rejects after this time, when it is not settled before. */
    add(id, timeoutMs) {
        return new Promise((resolve, reject) => {
            const late = new RingwayError("timeout", `no answer within ${timeoutMs} ms`);
            const timer = setTimeout(() => this.fail(id, late), timeoutMs);
            this.#open.set(id, { resolve, reject, timer, sent: false });
        });
    }
    sent(id) {
        const request = this.#open.get(id);
        if (request)
            request.sent = true;
    }
    /** The connection has gone. What was not sent waits for the next one. */
    lost() {
        const error = new RingwayError("lost", "the connection broke before the answer");
        for (const [id, { sent }] of [...this.#open])
            if (sent)
                this.fail(id, error);
    }
    close(error) {
        for (const id of [...this.#open.keys()])
            this.fail(id, error);
    }
    /** Settles the request that this answers. */
    take(message) {
        const request = this.#remove(String(message.id));
        message.type === "error" ? request?.reject(refused(message)) : request?.resolve(message);
    }
    fail(id, error) {
        this.#remove(id)?.reject(error);
    }
    #remove(id) {
        const request = this.#open.get(id);
        clearTimeout(request?.timer);
        this.#open.delete(id);
        return request;
    }
}
