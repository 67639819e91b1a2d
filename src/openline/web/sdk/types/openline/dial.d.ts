/**
 * From the token to the reply to `$connect`, and on until it is lost or dropped.
 *
 * Ways are opened beside each other where one is slow, but the connection is asked for on one at a time: two that had
 * asked would take it from each other.
 */
export class Dial {
    /** @param {T.Attempt} attempt */
    constructor(attempt: T.Attempt);
    /** What carries it; undefined until a way is open. */
    get transport(): T.Transport | undefined;
    get way(): T.Way | undefined;
    start(): Promise<void>;
    /** @param {number} [code] without one the connection waits to be resumed; nothing is heard of this line afterwards */
    drop(code?: number): void;
    #private;
}
import type * as T from "./types.js";
