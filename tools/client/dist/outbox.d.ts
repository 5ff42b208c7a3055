export interface QueueLimits {
    messages: number;
    /** A message that waits for longer is not worth sending any more. */
    ms: number;
}
/** Why a message was not sent: too many waited, it waited for too long, or the end came. */
export type DropReason = "full" | "old" | "closed";
export interface Waiting {
    message: {
        type: string;
    };
    text: string;
    /** By `performance.now()`, as all times here: the clock on the wall is set back now and then. */
    since: number;
    /** Tells whoever waits for an answer that there can be one now. */
    sent: () => void;
    /** Tells whoever said it. */
    dropped: (reason: DropReason) => void;
}
export declare class Outbox {
    #private;
    constructor(limits: QueueLimits);
    get size(): number;
    /** The oldest goes where there is no room. */
    put(waiting: Waiting): void;
    /** The next to be sent. */
    take(now: number): Waiting | undefined;
    /** Whoever said it does not want it sent any more. */
    forget(waiting: Waiting): void;
    close(): void;
}
