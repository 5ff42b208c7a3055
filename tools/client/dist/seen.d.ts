/** The latest of them, by id. */
export declare class Seen {
    #private;
    /** Whether it is the first time. */
    add(id: string): boolean;
    /** The application could not take it: the next repetition is for it again. */
    remove(id: string): void;
}
