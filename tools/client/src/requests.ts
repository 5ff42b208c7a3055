// What was asked and is not answered yet.

import { RingwayError, refused } from "./error.js";
import type { ServerMessage } from "./messages.js";

interface Request {
  resolve: (answer: ServerMessage) => void;
  reject: (error: RingwayError) => void;
  timer: ReturnType<typeof setTimeout>;
  /** Out of the outbox: what becomes of the connection becomes of it. */
  sent: boolean;
}

/** By the `id` of the message. */
export class Requests {
  readonly #open = new Map<string, Request>();

  /** Rejects after this time, when it is not settled before. */
  add(id: string, timeoutMs: number): Promise<ServerMessage> {
    return new Promise((resolve, reject) => {
      const late = new RingwayError("timeout", `no answer within ${timeoutMs} ms`);
      const timer = setTimeout(() => this.fail(id, late), timeoutMs);
      this.#open.set(id, { resolve, reject, timer, sent: false });
    });
  }

  sent(id: string): void {
    const request = this.#open.get(id);
    if (request) request.sent = true;
  }

  /** The connection has gone. What was not sent waits for the next one. */
  lost(): void {
    const error = new RingwayError("lost", "the connection broke before the answer");
    for (const [id, { sent }] of [...this.#open]) if (sent) this.fail(id, error);
  }

  close(error: RingwayError): void {
    for (const id of [...this.#open.keys()]) this.fail(id, error);
  }

  /** Settles the request that this answers. */
  take(message: ServerMessage): void {
    const request = this.#remove(String(message.id));
    message.type === "error" ? request?.reject(refused(message)) : request?.resolve(message);
  }

  fail(id: string, error: RingwayError): void {
    this.#remove(id)?.reject(error);
  }

  #remove(id: string): Request | undefined {
    const request = this.#open.get(id);
    clearTimeout(request?.timer);
    this.#open.delete(id);
    return request;
  }
}
