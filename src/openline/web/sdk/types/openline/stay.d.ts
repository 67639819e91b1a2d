/** @implements {T.Stay} */
export class Stay implements T.Stay {
    /** @param {T.Clock} clock @param {any} window @param {string} place @param {T.Guest} guest */
    constructor(clock: T.Clock, window: any, place: string, guest: T.Guest);
    begin(): Promise<void>;
    end(): void;
    look(): Promise<void>;
    put(entry: T.Entry, tried?: number): Promise<boolean>;
    remove(entry: T.Entry): void;
    #private;
}
import type * as T from "./types.js";
