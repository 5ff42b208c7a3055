// What an application is told when something did not come about.
/**
 * `code` is the gateway's, as in docs/PROTOCOL.md, or one of this side:
 * `timeout` (it may have arrived), `lost` (the connection broke; it may have arrived), `dropped` (it was not sent),
 * `closed` (this client was closed, or the gateway wants it no more).
 */
export class RingwayError extends Error {
    code;
    /** What the gateway said. */
    answer;
    constructor(code, message, answer) {
        super(message);
        this.name = "RingwayError";
        this.code = code;
        this.answer = answer;
    }
}
export function refused(answer) {
    return new RingwayError(answer.payload?.code ?? "error", answer.message, answer);
}
