// What the application has said and nobody has sent yet: bounded in number and in age. Nothing leaves it in silence.

export interface QueueLimits {
  messages: number;
  /** A message that waits for longer is not worth sending any more. */
  ms: number;
}

/** Why a message was not sent: too many waited, it waited for too long, or the end came. */
export type DropReason = "full" | "old" | "closed";

export interface Waiting {
  message: { type: string };
  text: string;
  /** By `performance.now()`, as all times here: the clock on the wall is set back now and then. */
  since: number;
  /** Tells whoever waits for an answer that there can be one now. */
  sent: () => void;
  /** Tells whoever said it. */
  dropped: (reason: DropReason) => void;
}

export class Outbox {
  readonly #limits: QueueLimits;
  #waiting: Waiting[] = [];
  /** Until the first of them is too old. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limits: QueueLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** The oldest goes where there is no room. */
  put(waiting: Waiting): void {
    this.#waiting.push(waiting);
    if (this.#waiting.length > this.#limits.messages) this.#waiting.shift()?.dropped("full");
    this.#watch();
  }

  /** The next to be sent. */
  take(now: number): Waiting | undefined {
    this.#expire(now);
    return this.#waiting.shift();
  }

  /** Whoever said it does not want it sent any more. */
  forget(waiting: Waiting): void {
    this.#waiting = this.#waiting.filter((other) => other !== waiting);
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const waiting of this.#waiting.splice(0)) waiting.dropped("closed");
  }

  #expire(now: number): void {
    while (this.#waiting[0] && now - this.#waiting[0].since > this.#limits.ms) this.#waiting.shift()?.dropped("old");
  }

  #watch(): void {
    const oldest = this.#waiting[0];
    if (this.#timer !== undefined || !oldest) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#expire(performance.now());
      this.#watch();
    }, oldest.since + this.#limits.ms + 1 - performance.now());
  }
}
