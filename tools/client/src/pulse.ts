// Whether the other side is still there. A page sees nothing of the gateway's own pings, so it asks with a message.

export interface Liveness {
  /** From the beginning of an attempt until the gateway's first message; for a token, too. */
  openMs: number;
  /** Between two pings. */
  pingMs: number;
  /** Nothing heard for so long after a ping: the connection is given up. */
  silenceMs: number;
}

export interface PulseEvents {
  ask: (id: string) => void;
  silent: () => void;
}

/** Of one connection. */
export class Pulse {
  /** From a ping to its answer. */
  latencyMs: number | undefined;
  readonly #liveness: Liveness;
  readonly #events: PulseEvents;
  #next: ReturnType<typeof setTimeout>;
  #silence: ReturnType<typeof setTimeout> | undefined;
  #asked = { id: "", at: 0 };

  /** The first ping comes at a random time, so that those who came together do not ask together. */
  constructor(liveness: Liveness, newId: () => string, events: PulseEvents) {
    this.#liveness = liveness;
    this.#events = events;
    const ask = () => {
      this.#next = setTimeout(ask, liveness.pingMs);
      this.#ask(newId());
    };
    this.#next = setTimeout(ask, liveness.pingMs * (0.1 + 0.9 * Math.random()));
  }

  /** Anything from the gateway. */
  heard(id: unknown): void {
    clearTimeout(this.#silence);
    this.#silence = undefined;
    if (id !== this.#asked.id) return;
    this.latencyMs = performance.now() - this.#asked.at;
  }

  stop(): void {
    clearTimeout(this.#next);
    clearTimeout(this.#silence);
  }

  #ask(id: string): void {
    this.#asked = { id, at: performance.now() };
    this.#silence ??= setTimeout(this.#events.silent, this.#liveness.silenceMs);
    this.#events.ask(id);
  }
}
