/** The latest of them, by id. A repeat has the same text; the same id with another text is another notification. */
export declare class Seen {
    #private;
    /**
     * Calls `deliver`, but for a repeat of what was taken or is still being taken. Resolves to whether the id may be
     * acknowledged: never before its latest text was taken. What was not taken the next repeat delivers.
     */
    once(id: string, text: string, deliver: () => Promise<boolean>): Promise<boolean>;
}
