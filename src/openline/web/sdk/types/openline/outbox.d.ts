/** @implements {T.Outbox} */
export class Outbox implements T.Outbox {
    /** @param {T.Clock} clock @param {T.Options["outbox"]} limits */
    constructor(clock: T.Clock, { bytes, entries }?: T.Options["outbox"]);
    submit(kind: "publication" | "event" | "read", frame: T.Frame, timeout?: number): Promise<any>;
    pass(frame: T.Frame): Promise<any>;
    call(frame: T.Frame, answer: T.Waiting["answer"]): void;
    /** @param {string} text of a frame that nobody answers */
    tell(text: string): void;
    /** @param {T.Frame} frame a `$reply` or an `$error`; false if nobody waits for it */
    answered(frame: T.Frame): boolean;
    /** @param {T.Transport | undefined} transport of the line that is open now */
    carry(transport: T.Transport | undefined): void;
    /**
     * Lets everything leave that waits, the oldest first.
     *
     * @param {boolean} resumed @param {number} [message] the longest that the server takes
     */
    opened(resumed: boolean, message?: number): void;
    /** The line broke: what was not answered waits again. */
    lost(): void;
    /** @param {Error} error what everything that waits, and all that still comes, is rejected with */
    close(error: Error): void;
    /** @param {T.Frame} frame @returns {string} its text, if the server takes one so long */
    write(frame: T.Frame): string;
    #private;
}
import type * as T from "./types.js";
