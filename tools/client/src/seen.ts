// The notifications that the application has had: what is repeated is not handed to it again.

const SEEN_MAX = 1_000;

/** The latest of them, by id. */
export class Seen {
  readonly #ids = new Set<string>();

  /** Whether it is the first time. */
  add(id: string): boolean {
    if (this.#ids.has(id)) return false;
    this.#ids.add(id);
    if (this.#ids.size > SEEN_MAX) this.#ids.delete(this.#ids.values().next().value!);
    return true;
  }

  /** The application could not take it: the next repetition is for it again. */
  remove(id: string): void {
    this.#ids.delete(id);
  }
}
