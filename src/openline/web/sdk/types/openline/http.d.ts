/** A line whose downstream is an event stream. */
export class Stream extends Http {
    #private;
}
/** A line whose downstream are answers to polls. */
export class Poll extends Http {
    #private;
}
/** The part that both kinds share: what we say, the end, and what is heard. @implements {T.Transport} */
declare class Http implements T.Transport {
    /** @param {string} url @param {T.Clock} clock @param {T.TransportEvents} events @param {T.Options["fetch"]} fetch */
    constructor(url: string, clock: T.Clock, events: T.TransportEvents, fetch?: T.Options["fetch"]);
    over: boolean;
    send(...texts: string[]): void;
    buffered(): number;
    watch(silenceMs: number, limit: number): void;
    probe(): void;
    close(code?: number): void;
    /** @param {T.Lost} why */
    lose(why: T.Lost): void;
    heard(): void;
    /** @param {T.Frame | undefined} frame that came down */
    hear(frame: T.Frame | undefined): void;
    /** Asks anew, once, without what belongs to this user at that site. @param {string} path @returns {Promise<Response>} */
    open(path: string): Promise<Response>;
    /** @param {string} method @param {string} path @param {RequestInit & {query?: string}} [more] @returns {Promise<Response>} */
    ask(method: string, path: string, { query, ...more }?: RequestInit & {
        query?: string;
    }): Promise<Response>;
    /** @param {number} ms */
    pause(ms: number): Promise<any>;
    #private;
}
import type * as T from "./types.js";
export {};
