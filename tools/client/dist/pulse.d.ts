export interface Liveness {
    /** From the beginning of an attempt until the gateway's first message; for a token, too. */
    openMs: number;
    /** Between two pings. */
    pingMs: number;
    /** Nothing heard for so long after a ping: the connection is given up. */
    silenceMs: number;
}
export interface PulseEvents {
    ask: (id: string) => void;
    silent: () => void;
}
/** Of one connection. */
export declare class Pulse {
    #private;
    /** From a ping to its answer. */
    latencyMs: number | undefined;
    /** The first ping comes at a random time, so that those who came together do not ask together. */
    constructor(liveness: Liveness, newId: () => string, events: PulseEvents);
    /** Anything from the gateway. */
    heard(id: unknown): void;
    stop(): void;
}
