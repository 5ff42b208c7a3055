/** How to come back: soon, not too soon, with another token, or not at all. */
export type Return = "soon" | "later" | "token" | "never";
export interface Delays {
    /** The first attempt comes within this time. It doubles with each attempt. */
    firstMs: number;
    /** Where it ends doubling. */
    mostMs: number;
    /** No sooner than this when the gateway is full or was sent too much. */
    laterMs: number;
}
/** Whatever else it is, such as 1006 for a connection that broke, may be better the next time. */
export declare function returnAfter(code: number): Return;
/** A growing, random time, so that those who went together do not come together. `attempt` counts from 0. */
export declare function delayMs(way: Return, attempt: number, delays: Delays, chance?: number): number;
