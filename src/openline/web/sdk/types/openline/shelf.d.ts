/** @implements {T.Shelf} */
export class Shelf implements T.Shelf {
    /** @param {any} window @param {string} place @returns {Promise<T.Shelf>} rejects where the browser does not let us */
    static open(window: any, place: string): Promise<T.Shelf>;
    /** @param {any} window @param {string} place what is put here is found by pages that name the same */
    constructor({ indexedDB, navigator }: any, place: string);
    add(record: T.Kept): Promise<void>;
    put(record: T.Kept): Promise<void>;
    remove(key: string): Promise<void>;
    take(known: ReadonlyMap<string, unknown>, room: T.Room): Promise<T.Kept[]>;
    stop(): void;
    #private;
}
import type * as T from "./types.js";
