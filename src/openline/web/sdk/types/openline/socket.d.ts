/** The close code of a token that is missing, wrong or expired. */
export const UNAUTHORIZED: 4401;
/** The connection waits to be resumed: no clean end, which 1000 or no code at all would be. */
export const BACK_SOON: 4501;
/** A clean end: the connection is over at once. */
export const NORMAL: 1000;
/** The line broke, and nobody said why. */
export const ABNORMAL: 1006;
export function isTooLong(code: number): code is 1009 | 4009;
export function comesBack(code: number): boolean;
export function delay(tries: number, random: () => number): number;
export function together(texts: string[]): string;
/** Notices that nothing is heard any more. */
export class Silence {
    /** @param {T.Clock} clock @param {(text: string) => void} send @param {(why: T.Lost) => void} broken */
    constructor(clock: T.Clock, send: (text: string) => void, broken: (why: T.Lost) => void);
    heard(): void;
    /** @param {number} ms without a sign of life are the end */
    watch(ms: number): void;
    /** Asks for a sign of life. */
    probe(): void;
    end(): void;
    #private;
}
/** A WebSocket that notices when it has died. @implements {T.Transport} */
export class Socket implements T.Transport {
    /** @param {T.WebSocketLike} socket @param {T.Clock} clock @param {T.TransportEvents} events */
    constructor(socket: T.WebSocketLike, clock: T.Clock, events: T.TransportEvents);
    send(...texts: string[]): void;
    buffered(): number;
    watch(silenceMs: number, limit: number): void;
    probe(): void;
    close(code?: number): void;
    #private;
}
import type * as T from "./types.js";
