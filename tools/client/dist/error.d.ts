import type { ServerMessage } from "./messages.js";
/**
 * `code` is the gateway's, as in docs/PROTOCOL.md, or one of this side:
 * `timeout` (it may have arrived), `lost` (the connection broke; it may have arrived), `dropped` (it was not sent),
 * `closed` (this client was closed, or the gateway wants it no more).
 */
export declare class RingwayError extends Error {
    readonly code: string;
    /** What the gateway said. */
    readonly answer: ServerMessage<"error"> | undefined;
    constructor(code: string, message: string, answer?: ServerMessage<"error">);
}
export declare function refused(answer: ServerMessage<"error">): RingwayError;
