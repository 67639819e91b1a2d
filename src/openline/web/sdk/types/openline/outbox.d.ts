/** @implements {T.Outbox} */
export class Outbox implements T.Outbox {
    /** @param {T.Clock} clock @param {T.Options["outbox"]} limits @param {T.Tell} tell */
    constructor(clock: T.Clock, { bytes, entries }: T.Options["outbox"], tell: T.Tell);
    /** What it keeps outlives the page from here on. @param {T.LoadStay} load */
    persist(load: T.LoadStay): Promise<void>;
    submit(kind: "publication" | "event" | "read", frame: T.Frame, timeout?: number): Promise<any>;
    pass(frame: T.Frame): Promise<any>;
    call(frame: T.Frame, answer: T.Waiting["answer"]): void;
    ahead(frame: T.Frame, answer: T.Waiting["answer"], most: number): string | undefined;
    /** @param {string} text of a frame that nobody answers */
    tell(text: string): void;
    /** @param {T.Frame} frame a `$reply` or an `$error`; false if nobody waits for it */
    answered(frame: T.Frame): boolean;
    /** @param {T.Transport | undefined} transport of the line that is open now */
    carry(transport: T.Transport | undefined): void;
    /**
     * Lets everything leave that waits, the oldest first.
     *
     * @param {string | null} user @param {boolean} resumed @param {number} [message] the longest that the server takes
     */
    opened(user: string | null, resumed: boolean, message?: number): void;
    /** The line broke: what was not answered waits again. */
    lost(): void;
    /** @param {Error} error what everything that waits, and all that still comes, is rejected with */
    close(error: Error): void;
    /** The page goes for good: what is on the shelf stays there, and nobody is told an outcome. */
    leave(): void;
    /** The page is put aside, and may come back: others may take until then what it has on the shelf. */
    pause(): void;
    /** The page is back. */
    goOn(): void;
    /** Takes what pages that have died meanwhile had on the shelf. */
    look(): void;
    /** @param {string} channel @returns {T.Restored[]} what an earlier page wrote there, and waits */
    restored(channel: string): T.Restored[];
    /** @param {T.Frame} frame @returns {string} its text, if the server takes one so long */
    write(frame: T.Frame): string;
    #private;
}
import type * as T from "./types.js";
