/**
 * @param {T.Way} way @param {string} url @param {T.Clock} clock @param {any} WebSocket
 * @param {T.Options["fetch"]} fetch
 * @returns {T.Maker | Promise<T.Maker>} what opens it
 */
export function makerOf(way: T.Way, url: string, clock: T.Clock, WebSocket: any, fetch: T.Options["fetch"]): T.Maker | Promise<T.Maker>;
export class Ways {
    /**
     * @param {T.Clock} clock @param {string} place of the server @param {any} window whose storage remembers
     * @param {readonly T.Way[] | undefined} wanted @param {boolean} socketless there is no WebSocket here
     */
    constructor(clock: T.Clock, place: string, window: any, wanted: readonly T.Way[] | undefined, socketless: boolean);
    /** @returns {T.Way[]} for the next attempt */
    order(): T.Way[];
    /** Whether the line goes the best way there is. */
    get isBest(): boolean;
    /** @returns {T.Way[]} than the one that carries the line */
    better(): T.Way[];
    /** @param {T.Way} way that the line is open on */
    opened(way: T.Way): void;
    /** What carried the line said nothing any more. */
    hushed(): void;
    /** The network is another one. */
    renewed(): void;
    /** Milliseconds until a better way is looked for again. */
    climbIn(): number;
    /** A better way was looked for in vain. */
    stayed(): void;
    #private;
}
import type * as T from "./types.js";
