import { type Listener } from "./listeners.js";
import type { Answers, ClientMessage, ServerMessage, ServerMessages } from "./messages.js";
import type { Options, State } from "./options.js";
import { type Topic } from "./topics.js";
export declare class Ringway {
    #private;
    /** Connects at once. */
    constructor(options: Options);
    get state(): State;
    /** Of the last ping that was answered. */
    get latencyMs(): number | undefined;
    /**
     * Calls `listener` with every message of this type, or with every message of any type where it is `*`.
     * Returns what ends that. A notification is acknowledged once its listeners have returned, or their promises have
     * resolved; it comes again when one of them throws.
     */
    on<T extends keyof ServerMessages>(type: T, listener: Listener<T>): () => void;
    on(type: "*", listener: (message: ServerMessage) => unknown): () => void;
    /**
     * Sends it, or keeps it until it can be sent. Nobody says whether it has arrived: {@link request} waits for that.
     *
     * @throws RangeError when it is larger than the gateway takes.
     */
    send(message: ClientMessage): void;
    /** Sends it and resolves to its answer. Rejects with a {@link RingwayError}. */
    request<T extends keyof Answers>(message: ClientMessage<T>, timeoutMs?: number): Promise<ServerMessage<Answers[T]>>;
    /**
     * Subscribes, on this connection and on all that follow. Resolves when the gateway says so for the first time,
     * rejects when it refuses; what is refused later is told as an `error` message.
     */
    subscribe(topic: Topic): Promise<void>;
    unsubscribe(topic: Topic): Promise<void>;
    /** While it waits: tries again now. For who knows that the network is back. */
    retry(): void;
    /** Ends it. What was not sent is dropped, and what was asked is rejected. */
    close(): void;
}
