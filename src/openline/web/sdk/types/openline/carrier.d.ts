export class Carrier {
    /** @param {string} url @param {T.Options} options @param {T.Clock} clock @param {T.Page} page @param {T.Carried} line */
    constructor(url: string, options: T.Options, clock: T.Clock, page: T.Page, line: T.Carried);
    /** What carries the line; undefined until a way is open. */
    get transport(): T.Transport | undefined;
    get way(): T.Way | undefined;
    connect(): void;
    /** @param {number} [code] without one the connection waits to be resumed; nothing is heard of this line afterwards */
    drop(code?: number): void;
    /** The network is another one. */
    renewed(): void;
    /** Does not trust a line that says nothing. @param {boolean} anew the network is another one */
    hurry(anew: boolean): void;
    #private;
}
import type * as T from "./types.js";
