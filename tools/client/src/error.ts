// What an application is told when something did not come about.

import type { ServerMessage } from "./messages.js";

/**
 * `code` is the gateway's, as in docs/PROTOCOL.md, or one of this side:
 * `timeout` (it may have arrived), `lost` (the connection broke; it may have arrived), `dropped` (it was not sent),
 * `closed` (this client was closed, or the gateway wants it no more).
 */
export class RingwayError extends Error {
  readonly code: string;
  /** What the gateway said. */
  readonly answer: ServerMessage<"error"> | undefined;

  constructor(code: string, message: string, answer?: ServerMessage<"error">) {
    super(message);
    this.name = "RingwayError";
    this.code = code;
    this.answer = answer;
  }
}

export function refused(answer: ServerMessage<"error">): RingwayError {
  return new RingwayError(answer.payload?.code ?? "error", answer.message, answer);
}
