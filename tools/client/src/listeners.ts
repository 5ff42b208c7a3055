// Who wants to hear which messages. What a listener throws is thrown where nobody else is harmed.

import type { ServerMessage, ServerMessages } from "./messages.js";

export type Listener<T extends keyof ServerMessages> = (message: ServerMessage<T>) => unknown;

type Any = (message: ServerMessage) => unknown;

export class Listeners {
  readonly #byType = new Map<string, Set<Any>>();

  /** Returns what ends it. */
  add(type: string, listener: Any): () => void {
    const listeners = this.#byType.get(type) ?? new Set();
    this.#byType.set(type, listeners.add(listener));
    return () => listeners.delete(listener);
  }

  has(type: string): boolean {
    return (this.#byType.get(type)?.size ?? 0) > 0;
  }

  /** Hands it to all of them. False when one could not take it, at once or in the end. */
  async tell(message: ServerMessage): Promise<boolean> {
    const listeners = [...(this.#byType.get(message.type) ?? []), ...(this.#byType.get("*") ?? [])];
    const taken = listeners.map((listener) => call(listener, message));
    return !(await Promise.all(taken)).includes(false);
  }
}

async function call(listener: Any, message: ServerMessage): Promise<boolean> {
  try {
    await listener(message);
    return true;
  } catch (error) {
    throwApart(error);
    return false;
  }
}

/** Calls what the application has passed. */
export function safely(callback: () => void): void {
  try {
    callback();
  } catch (error) {
    throwApart(error);
  }
}

/** As an uncaught error, and not through what is being done here. */
function throwApart(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
