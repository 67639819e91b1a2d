/** @implements {T.Line} */
export class Line implements T.Line {
    /** @param {string} url @param {T.Options} options */
    constructor(url: string, options: T.Options);
    /** @type {T.Status} */
    status: T.Status;
    /** @type {string | null} */
    connection: string | null;
    /** @type {string | null} */
    user: string | null;
    /** What carries it now; null while nothing does. */
    get transport(): T.Way | null;
    /** @param {string} type @param {(payload: any, event: any) => unknown} handler */
    on(type: string, handler: (payload: any, event: any) => unknown): () => void;
    emit(type: string, payload?: unknown): Promise<any>;
    ask(type: string, payload?: unknown, options?: {
        timeout?: number;
    }): Promise<any>;
    answer(type: string, handler: (payload: any) => unknown): () => void;
    subscribe(name: string, options?: T.SubscribeOptions): T.Channel;
    close(): void;
    #private;
}
import type * as T from "./types.js";
