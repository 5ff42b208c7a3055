// The notifications that the application has had: what is repeated is not handed to it again.
const SEEN_MAX = 1_000;
/** The latest of them, by id. */
export class Seen {
    #ids = new Set();
    /** Whether it is the first time. */
    add(id) {
        if (this.#ids.has(id))
            return false;
        this.#ids.add(id);
        if (this.#ids.size > SEEN_MAX)
            this.#ids.delete(this.#ids.values().next().value);
        return true;
    }
    /** The application could not take it: the next repetition is for it again. */
    remove(id) {
        this.#ids.delete(id);
    }
}
