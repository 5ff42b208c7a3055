import type { ServerMessage, ServerMessages } from "./messages.js";
export type Listener<T extends keyof ServerMessages> = (message: ServerMessage<T>) => unknown;
type Any = (message: ServerMessage) => unknown;
export declare class Listeners {
    #private;
    /** Returns what ends it. */
    add(type: string, listener: Any): () => void;
    has(type: string): boolean;
    /** Hands it to all of them. False when one could not take it, at once or in the end. */
    tell(message: ServerMessage): Promise<boolean>;
}
/** Calls what the application has passed. */
export declare function safely(callback: () => void): void;
export {};
