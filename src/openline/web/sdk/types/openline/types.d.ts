/**
 * Owns the words of the SDK that an application uses.
 *
 * Types only. A page never fetches this file; `npm run types` makes the declarations of it that are shipped.
 */
import type { WebSocketLike } from "./parts.js";
export type * from "./parts.js";
/** A line: one connection to a server that outlives its sockets. Made by `connect`. */
export interface Line {
    readonly status: Status;
    /** The connection's id, which others see; null until it is known. */
    readonly connection: string | null;
    /** The user's id; null until it is known, or if the token named none. */
    readonly user: string | null;
    /** What carries it now; null while nothing does. */
    readonly transport: Way | null;
    /**
     * Calls `handler` with every event of this type that came without a channel; returns the function that removes it.
     *
     * The line's own words, beside the events of the application:
     *
     * - `$status`, a {@link StatusChange};
     * - `$transport` `{transport}`: the line goes another way from here on, see {@link Way};
     * - `$gap` `{position}`: events without a channel were lost in front of this position;
     * - `$subscribed` `{channel, position}`: the server did it; `line.subscribe(channel, {since: position})` hears all of it;
     * - `$unsubscribed` `{channel, reason}`: the server ended a subscription;
     * - `$outbox` `{persists, reason}`: whether what waits to be published outlives the page, and if not, why; told when it
     *   is known, anew for a page that was put aside, and when it changes;
     * - `$undelivered` `{channel, type, payload, at, error}`: what an earlier page wrote was refused, or `unavailable`: it
     *   may have been published, nobody knows any more. It will not be tried again;
     * - `$error`, an {@link OpenlineError} that belongs to no command.
     *
     * What a handler throws is reported, and disturbs nobody else.
     */
    on(type: "$status", handler: (change: StatusChange) => unknown): () => void;
    on(type: string, handler: (payload: any, event: Event) => unknown): () => void;
    /**
     * Sends an event to the server's handler; resolves with what it returned.
     *
     * It survives a broken line and is applied once. If the connection itself is lost before the answer came, it rejects
     * with `unavailable`: the outcome is unknown.
     *
     * @throws {OpenlineError}
     */
    emit(type: string, payload?: unknown): Promise<any>;
    /** Like `emit`, but rejects with `timeout` if there is no answer in time: 10 000 ms unless told. */
    ask(type: string, payload?: unknown, options?: {
        timeout?: number;
    }): Promise<any>;
    /**
     * Answers what the server asks with what `handler` returns or resolves to; returns the function that ends it.
     *
     * One per type. If it throws, the server learns that it failed, and no more.
     */
    answer(type: string, handler: (payload: any) => unknown): () => void;
    /** Joins a channel. Until it is left, every call with this name gives the same object, and the first call's options hold. */
    subscribe(name: string, options?: SubscribeOptions): Channel;
    /** Ends the connection at once, for everybody. What was not answered rejects with `closed`. */
    close(): void;
}
/** A channel that this page is subscribed to. Made by `line.subscribe`. */
export interface Channel {
    readonly name: string;
    /** Resolves with the first subscription; rejects if that is refused, or given up before. */
    readonly ready: Promise<{
        position: string;
        recovered?: boolean;
    }>;
    /** Who is here, by connection; kept up to date with `presence: true`. The server lists 1 000. */
    readonly members: ReadonlyMap<string, Member>;
    /** How many are here; kept up to date with `presence: true`, and always exact. */
    readonly count: number;
    /**
     * Calls `handler` with every publication of this type, once and in order; returns the function that removes it.
     *
     * The channel's own words, beside the publications of the application:
     *
     * - `$presence`, a {@link Presence}: after every subscribe and every change, when asked for with `presence: true`;
     * - `$joined` `{member, count}`, `$left` `{member, reason, count}`: the same, one by one;
     * - `$typing`, the {@link Member}s who are typing now;
     * - `$gap` `{position}`: publications were lost in front of this position; read the history, or start over. `{lost}`:
     *   this client was too slow, and so many were dropped, as the channel's settings say;
     * - `$restored`, a {@link Restored}: an earlier page wrote it here, and it waits to be published;
     * - `$unsubscribed` `{reason}`: the server ended the subscription;
     * - `$error`, an {@link OpenlineError}: the subscription was refused, now or after a reconnect.
     */
    on(type: string, handler: (payload: any, event: Event) => unknown): () => void;
    /**
     * Publishes; resolves with the position, or with what a handler of the application returned.
     *
     * It survives a broken line and is applied once; publications of one channel keep their order. A `volatile` one is
     * dropped where it cannot leave at once, and resolves with `{}`. `echo: false`: not to this page itself.
     *
     * What was tried in vain for 4 minutes rejects with `unavailable`: the server may have it, and forgets keys. What
     * another page took over, while this one was put aside, rejects with `elsewhere`: it is published there.
     *
     * @throws {OpenlineError}
     */
    publish(type: string, payload?: unknown, options?: {
        volatile?: boolean;
        echo?: boolean;
    }): Promise<any>;
    /** Reads what was said, oldest first; 100 unless told. */
    history(range?: {
        limit?: number;
        before?: string;
        since?: string;
    }): Promise<History>;
    /** Asks who is here: up to 1 000 at once; where there are more, `next` is the `after` of the next page. */
    presence(page?: {
        limit?: number;
        after?: number;
    }): Promise<Presence>;
    /** Lets the others know that somebody is typing here. May be called with every key: it speaks every 3 s at most. */
    typing(): void;
    /** Leaves the channel; no handler is called afterwards. */
    unsubscribe(): void;
}
/** What may carry a line: a WebSocket; an event stream or long polls, with requests for what we say. */
export type Way = "websocket" | "stream" | "poll";
export type Status = "connecting" | "open" | "waiting" | "closed";
export interface StatusChange {
    status: Status;
    /** While waiting: milliseconds until the next try. */
    retryIn?: number;
    /** Why the line ended: the code of the close, 1006 where nobody said. */
    code?: number;
    reason?: string;
    /** When open: whether the same connection goes on. */
    resumed?: boolean;
    /** When open: whether what the server remembers has begun anew, so that earlier positions are worth nothing. */
    restarted?: boolean;
}
export interface Options {
    /** A function is asked before every attempt. */
    token?: string | (() => string | Promise<string>);
    /** What may carry the line, the best first: `["websocket", "stream", "poll"]` unless told. */
    transports?: readonly Way[];
    /** Where there is none built in. */
    WebSocket?: new (url: string) => WebSocketLike;
    /** What makes requests, where it is to be another one than the built-in. */
    fetch?: typeof globalThis.fetch;
    /** How much is kept until it is answered: 1 MiB and 1 000 commands unless told. */
    outbox?: {
        bytes?: number;
        entries?: number;
        /**
         * The user whose messages these are: what waits to be published then outlives the page, in IndexedDB, and is
         * published by the next page of the same user. Unless told nothing outlives the page.
         */
        persist?: string;
    };
    /** Time and chance, for tests. */
    clock?: Clock;
    /** What tells that the network is back or the page goes away, for tests. */
    page?: Page;
}
export interface SubscribeOptions {
    /** Everything behind this position. */
    since?: string;
    /** So many of the newest, instead of `since`. */
    last?: number;
    /** Who is there, who joins and who leaves. */
    presence?: boolean;
}
/** What a handler gets to see beside the payload. */
export interface Event {
    type: string;
    /** Bytes are a `Uint8Array`. */
    payload: any;
    channel?: string;
    /** Left out when it is volatile. */
    position?: string;
    /** Who published; left out when the server itself spoke. */
    from?: Member;
    /** True when it was said before this moment and only now came. */
    recovered?: boolean;
}
/** What an earlier page of this user wrote, and nobody has published yet. */
export interface Restored {
    channel: string;
    type: string;
    payload: any;
    /** When it was written, in milliseconds. */
    at: number;
    /** What `publish` would have given: resolves when it was published, rejects when it will not be. */
    answer: Promise<any>;
}
export interface Member {
    connection: string;
    user?: string;
    data?: any;
}
export interface Presence {
    count: number;
    members: Member[];
    next?: number;
}
export interface History {
    publications: Event[];
    /** Whether there are others further on in the direction asked. */
    more: boolean;
    position: string;
    /** With `since`: whether this is everything behind it. */
    recovered?: boolean;
}
export interface Clock {
    /** Milliseconds. */
    now(): number;
    /** From 0 to 1. */
    random(): number;
    setTimeout(run: () => void, ms: number): any;
    clearTimeout(timer: any): void;
}
export interface Page {
    window: any;
    document?: any;
}
