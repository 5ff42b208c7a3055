// Who wants to hear which messages. What a listener throws is thrown where nobody else is harmed.
export class Listeners {
    #byType = new Map();
    /** Returns what ends it. */
    add(type, listener) {
        const listeners = this.#byType.get(type) ?? new Set();
        this.#byType.set(type, listeners.add(listener));
        return () => listeners.delete(listener);
    }
    has(type) {
        return (this.#byType.get(type)?.size ?? 0) > 0;
    }
    /** Hands it to all of them. False when one could not take it, at once or in the end. */
    async tell(message) {
        const listeners = [...(this.#byType.get(message.type) ?? []), ...(this.#byType.get("*") ?? [])];
        const taken = listeners.map((listener) => call(listener, message));
        return !(await Promise.all(taken)).includes(false);
    }
}
async function call(listener, message) {
    try {
        await listener(message);
        return true;
    }
    catch (error) {
        throwApart(error);
        return false;
    }
}
/** Calls what the application has passed. */
export function safely(callback) {
    try {
        callback();
    }
    catch (error) {
        throwApart(error);
    }
}
/** As an uncaught error, and not through what is being done here. */
function throwApart(error) {
    queueMicrotask(() => {
        throw error;
    });
}
