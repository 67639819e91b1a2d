/** Listens until `signal` is aborted. @param {T.Page} page @param {T.PageEvents} events @param {AbortSignal} signal */
export function watchPage({ window, document }: T.Page, { online, visible, aside, back, gone }: T.PageEvents, signal: AbortSignal): void;
/** @param {() => unknown} run what it throws, now or as a promise, is reported and goes no further */
export function guarded(run: () => unknown): void;
/** Owns what surrounds a line: time, chance, the page, and the handlers of the application. */
/** @import * as T from "./types.js" */
/** @type {T.Clock} */
export const systemClock: T.Clock;
/** What has not come by then is done without. */
export const SLOW_MS: 3000;
export function inTime<A>(clock: T.Clock, coming: Promise<A>, ms: number): Promise<A>;
export function newKey(): string;
export function report(error: unknown): void;
/** @typedef {(payload: any, event: any) => unknown} Handler */
export class Emitter {
    /** @param {string} type @param {Handler} handler */
    on(type: string, handler: Handler): () => void;
    /** @param {string} type @param {unknown} payload @param {unknown} [event] */
    emit(type: string, payload: unknown, event?: unknown): void;
    #private;
}
export type Handler = (payload: any, event: any) => unknown;
import type * as T from "./types.js";
