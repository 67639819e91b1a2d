/**
 * Owns the words of the SDK: what an application uses, and what the modules ask of each other.
 *
 * Types only. A page never fetches this file; `npm run types` makes the declarations of it that are shipped.
 */
/** A line: one connection to a server that outlives its sockets. Made by `connect`. */
export interface Line {
    readonly status: Status;
    /** The connection's id, which others see; null until it is known. */
    readonly connection: string | null;
    /** The user's id; null until it is known, or if the token named none. */
    readonly user: string | null;
    /**
     * Calls `handler` with every event of this type that came without a channel; returns the function that removes it.
     *
     * The line's own words, beside the events of the application:
     *
     * - `$status`, a {@link StatusChange};
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
    /** Where there is none built in. */
    WebSocket?: new (url: string) => WebSocketLike;
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
export interface PageEvents {
    /** The network is back. */
    online(): void;
    /** Somebody looks again. */
    visible(): void;
    /** The page is put aside: it may come back, or never run again. */
    aside(): void;
    /** The page is there, perhaps again. */
    back(): void;
    /** The page goes for good. */
    gone(): void;
}
/** The part of a browser's `WebSocket` that is used. */
export interface WebSocketLike {
    readyState: number;
    bufferedAmount: number;
    onopen: any;
    onmessage: any;
    onclose: any;
    onerror: any;
    send(data: string): void;
    close(code?: number, reason?: string): void;
}
/** One JSON object of the wire. */
export interface Frame {
    type: string;
    [field: string]: any;
}
/** What carries a line. The WebSocket is one; others (an event stream, a long poll) need no more than this. */
export interface Transport {
    send(text: string): void;
    /** Lost when nothing at all comes for so long. */
    watch(silenceMs: number): void;
    /** Asks for a sign of life. */
    probe(): void;
    /** Bytes that wait to leave. */
    buffered(): number;
    /** From here on it says nothing. Without a code the connection waits to be resumed. */
    close(code?: number): void;
}
export interface TransportEvents {
    opened(): void;
    text(text: string): void;
    /** Once, and the last of all. */
    lost(why: Lost): void;
}
/** Why a line ended. */
export interface Lost {
    code: number;
    reason: string;
    /** The server will not have this connection: neither by its secret nor at all. */
    refused?: boolean;
}
/** How an attempt is made, and what it brings. */
export interface Attempt {
    open(events: TransportEvents): Transport;
    clock: Clock;
    token: Options["token"];
    resume: string | undefined;
    since: string | undefined;
    /** With the payload of the reply to `$connect`. */
    opened(reply: Record<string, any>): void;
    /** Whatever comes afterwards. */
    frame(frame: Frame): void;
    /** Once, and the last of all. */
    lost(why: Lost): void;
}
/** Who waits for an answer on the line as it is now. */
export interface Waiting {
    /** Gets the `$reply` or the `$error`. */
    answer(frame: Frame): void;
    /** The line broke before the answer. */
    lost?(): void;
}
/** How commands of a kind are kept. */
export interface Kind {
    /** How many of a lane may be under way at once. */
    width: number;
    keyed: boolean;
    /** Whether the connection remembers the key, so that it is worth nothing on another one. */
    bound: boolean;
    /**
     * Milliseconds that a key is good for without a connection, after which the outcome of a try is unknown. What has one
     * is put on the shelf.
     */
    life?: number;
}
/** What of a command outlives the page. */
export interface Kept {
    key: string;
    /** Its frame, without `id` and `key`. */
    text: string;
    bytes: number;
    /** When it was written. */
    at: number;
    /** What was written later has a higher one. */
    order: number;
    /** When it was first sent; undefined if it never was. */
    tried: number | undefined;
    /** Whose connection it was written on; undefined if none was open yet. */
    user: string | null | undefined;
}
/** What lies on the shelf. */
export interface Placed extends Kept {
    /** Only pages that name the same place find it. */
    place: string;
    /** The page that has it. */
    owner: string;
}
/** How much is taken. */
export interface Room {
    bytes: number;
    entries: number;
}
/** Where publications outlive the page. Everything is done in the order of the calls. */
export interface Shelf {
    /** Resolves when it is there for good; it gets there even if the page dies in this moment. */
    add(record: Kept): Promise<void>;
    /** The same for what may be there; in vain where another page has it by now. */
    put(record: Kept): Promise<void>;
    /** Resolves when it is gone; in vain where another page has it by now. */
    remove(key: string): Promise<void>;
    /** Gives what nobody alive has, the oldest first: what is `known`, and of the rest what has room. It is ours then. */
    take(known: ReadonlyMap<string, unknown>, room: Room): Promise<Kept[]>;
    /** Leaves what lies there to others. */
    stop(): void;
}
/** A page's stay at the shelf; it may begin and end many times. */
export interface Stay {
    /** The page is there: what nobody has who is alive is ours. */
    begin(): Promise<void>;
    /** Others may take from here on what this page put there. */
    end(): void;
    /** Somebody else may have died, and left something. */
    look(): Promise<void>;
    /**
     * Puts it there as it is now, as `tried` at that time. What does not fit is in memory only. Gives whether it may be
     * sent: false while it lies there as what it would be no more.
     */
    put(entry: Entry, tried?: number): Promise<boolean>;
    /** A `put` of it may be under way. */
    remove(entry: Entry): void;
}
export type LoadStay = (guest: Guest) => Promise<Stay>;
export type Tell = (word: string, payload: any) => void;
/** Who has something on the shelf. */
export interface Guest {
    /** What it has that may lie there, by key, and how much more it takes. */
    asks(): {
        known: Map<string, Entry>;
        room: Room;
    };
    /** There are `records` of earlier pages; what was `lost` is another page's by now. */
    took(shelf: Shelf, records: Kept[], lost: Entry[]): void;
    /** The shelf has been read, or there is none; resolves when everything has been put there that was not. */
    settled(): Promise<void>;
    tell: Tell;
}
/** A command that is kept. */
export interface Entry extends Kept {
    kind: Kind;
    /** Entries of one lane leave in order. */
    lane: string;
    /** Sent and not answered, or resting before its next try. */
    away: boolean;
    tries: number;
    /** Where it lies, if it does. */
    shelf?: Shelf;
    /** Whether it was ever to be put there. */
    asked?: boolean;
    /** What was asked for when it was about to leave. */
    putting?: Promise<boolean>;
    /** An earlier page wrote it. */
    restored?: Restored;
    /** Of its last sending. */
    id: number;
    /** Timer of its next try. */
    rest?: any;
    /** Timer of its end. */
    limit?: any;
    resolve(value: any): void;
    reject(error: Error): void;
}
/** Keeps commands until they are answered. */
export interface Outbox {
    /** Keeps a command until it is answered; gives the payload of its reply. `timeout`: milliseconds until it is given up. */
    submit(kind: "publication" | "event" | "read", frame: Frame, timeout?: number): Promise<any>;
    /** Sends a publication that nobody keeps; where it cannot leave at once it is dropped. */
    pass(frame: Frame): Promise<any>;
    /** Asks on the line as it is now; no answer comes if there is none, or if it breaks. */
    call(frame: Frame, answer: Waiting["answer"]): void;
}
/** What a subscription needs of its line. */
export interface Host {
    clock: Clock;
    outbox: Outbox;
    /** The server ended or refused the subscription. */
    ended(): void;
    /** The application left the channel. */
    left(): void;
}
