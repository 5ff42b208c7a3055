export interface PaceLimits {
    /** Fewer than `limits.messages` of the gateway, which counts signs of life, too. */
    messages: number;
    windowMs: number;
}
/** Of one connection. In any window no more than so many are free to go. Its clock never goes back. */
export declare class Pace {
    #private;
    constructor(limits: PaceLimits);
    count(now: number): void;
    /** How long the next message has to wait. */
    waitMs(now: number): number;
}
