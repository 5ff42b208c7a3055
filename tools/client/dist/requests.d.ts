import { RingwayError } from "./error.js";
import type { ServerMessage } from "./messages.js";
/** By the `id` of the message. */
export declare class Requests {
    #private;
    /** Rejects after this time, when it is not settled before. */
    add(id: string, timeoutMs: number): Promise<ServerMessage>;
    sent(id: string): void;
    /** The connection has gone. What was not sent waits for the next one. */
    lost(): void;
    close(error: RingwayError): void;
    /** Settles the request that this answers. */
    take(message: ServerMessage): void;
    fail(id: string, error: RingwayError): void;
}
