/** @implements {T.Channel} */
export class Channel implements T.Channel {
    /** @param {string} name @param {T.SubscribeOptions} options @param {T.Host} host */
    constructor(name: string, options: T.SubscribeOptions, host: T.Host);
    name: string;
    ready: Promise<any>;
    /** @type {Map<string, T.Member>} */
    members: Map<string, T.Member>;
    count: number;
    /** Whether pushes of the channel are for this subscription. */
    live: boolean;
    /** Whether it was asked for along with `$connect`, and not answered yet. */
    asked: boolean;
    on(type: string, handler: (payload: any, event: T.Event) => unknown): () => void;
    publish(type: string, payload?: unknown, options?: {
        volatile?: boolean;
        echo?: boolean;
    }): Promise<any>;
    history(range?: {
        limit?: number;
        before?: string;
        since?: string;
    }): Promise<T.History>;
    presence(page?: {
        limit?: number;
        after?: number;
    }): Promise<T.Presence>;
    typing(): void;
    unsubscribe(): void;
    /** Subscribes, or goes on with the next page. */
    join(): void;
    /**
     * Rejoins on a line that is about to be open: gives what is to be said there.
     *
     * @param {string | undefined} seen @param {number} most bytes
     */
    ahead(seen: string | undefined, most: number): string | undefined;
    /** The connection was taken up again, and this subscription with it. Who came and went in between was not told. */
    carryOn(): void;
    /** The connection is gone. @param {string | undefined} seen its last position */
    rejoin(seen: string | undefined): void;
    /** The line broke. */
    lost(): void;
    /** @param {Error} error */
    end(error: Error): void;
    /** @param {string | undefined} position */
    gap(position: string | undefined): void;
    /** @param {T.Restored} publication that an earlier page wrote here, and that is to be published yet */
    restored(publication: T.Restored): void;
    /** @param {T.Frame} frame of this channel */
    push(frame: T.Frame): void;
    #private;
}
import type * as T from "./types.js";
