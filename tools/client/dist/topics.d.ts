import { RingwayError } from "./error.js";
import type { Circle, ServerMessage } from "./messages.js";
/** Something to subscribe to. There is one circle: another one takes its place. */
export type Topic = {
    channel: string;
} | {
    conversation: string;
} | {
    clan: string;
} | {
    vendor: string;
} | {
    notifications: true;
} | {
    nearby: Circle;
};
/** A message that changes subscriptions. */
export interface Ask {
    id: string;
    message: {
        type: string;
    };
}
export declare class Topics {
    #private;
    constructor(newId: () => string);
    /** Resolves when the gateway says so, on whichever connection; rejects when it is refused. */
    want(topic: Topic, wanted: boolean): Promise<void>;
    get hasNext(): boolean;
    /** The next message that changes something: as many names of one kind as go into it. */
    next(): Ask | undefined;
    /** Whether this answers one of the messages. */
    take(message: ServerMessage): boolean;
    /** The connection has gone, and all its subscriptions. */
    lost(): void;
    close(error: RingwayError): void;
}
