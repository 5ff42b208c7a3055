// The notifications that the application has had, or is having: what is repeated is not handed to it again.
const SEEN_MAX = 1_000;
/** Of all their texts: some sixty of the longest that the gateway repeats. */
const CHARACTERS_MAX = 2_000_000;
/** The latest of them, by id. A repeat has the same text; the same id with another text is another notification. */
export class Seen {
    #deliveries = new Map();
    #characters = 0;
    /**
     * Calls `deliver`, but for a repeat of what was taken or is still being taken. Resolves to whether the id may be
     * acknowledged: never before its latest text was taken. What was not taken the next repeat delivers.
     */
    async once(id, text, deliver) {
        const known = this.#deliveries.get(id);
        const delivery = known?.text === text ? known : this.#add(id, { text, taken: deliver() });
        const taken = await delivery.taken;
        if (this.#deliveries.get(id) !== delivery)
            return false;
        if (!taken)
            this.#remove(id);
        return taken;
    }
    #add(id, delivery) {
        this.#remove(id);
        this.#deliveries.set(id, delivery);
        this.#characters += delivery.text.length;
        while (this.#deliveries.size > SEEN_MAX || this.#characters > CHARACTERS_MAX) {
            this.#remove(this.#deliveries.keys().next().value);
        }
        return delivery;
    }
    #remove(id) {
        this.#characters -= this.#deliveries.get(id)?.text.length ?? 0;
        this.#deliveries.delete(id);
    }
}
