/** The close code of a token that is missing, wrong or expired. */
export const UNAUTHORIZED: 4401;
/** The connection waits to be resumed: no clean end, which 1000 or no code at all would be. */
export const BACK_SOON: 4501;
export function comesBack(code: number): boolean;
export function delay(tries: number, random: () => number): number;
/** A WebSocket that notices when it has died. @implements {T.Transport} */
export class Socket implements T.Transport {
    /** @param {T.WebSocketLike} socket @param {T.Clock} clock @param {T.TransportEvents} events */
    constructor(socket: T.WebSocketLike, clock: T.Clock, events: T.TransportEvents);
    send(text: string): void;
    buffered(): number;
    watch(silenceMs: number): void;
    probe(): void;
    close(code?: number): void;
    #private;
}
/** From the token to the reply to `$connect`, and on until it is lost or dropped. */
export class Dial {
    /** @param {T.Attempt} attempt */
    constructor(attempt: T.Attempt);
    /** @type {T.Transport | undefined} */
    transport: T.Transport | undefined;
    start(): Promise<void>;
    /** @param {number} [code] without one the connection waits to be resumed; nothing is heard of this line afterwards */
    drop(code?: number): void;
    #private;
}
import type * as T from "./types.js";
