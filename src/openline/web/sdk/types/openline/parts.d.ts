/** Owns what the modules of the SDK ask of each other. Types only, like `types.ts`. */
import type { Clock, Options, Restored, Way } from "./types.js";
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
/** What carries a line. */
export interface Transport {
    /** Texts of commands; several of them arrive in one message, if that is not too long. */
    send(...texts: string[]): void;
    /** Lost when nothing at all comes for so long. `limit`: bytes that the server takes at once. */
    watch(silenceMs: number, limit: number): void;
    /** Asks for a sign of life. */
    probe(): void;
    /** Bytes that wait to leave. */
    buffered(): number;
    /** From here on it says nothing. Without a code the connection waits to be resumed. */
    close(code?: number): void;
}
export interface TransportEvents {
    /** It carries what we say and what the server says, as far as can be told. */
    opened(): void;
    /** Undefined for what is no frame. */
    frame(frame: Frame | undefined): void;
    /** Once, and the last of all. */
    lost(why: Lost): void;
}
/** Begins to open a transport. */
export type Maker = (events: TransportEvents) => Transport;
/** Why a line ended. */
export interface Lost {
    code: number;
    reason: string;
    /** The server will not have this connection: neither by its secret nor at all. */
    refused?: boolean;
    /** It did not break: nothing was heard on it any more. */
    silent?: boolean;
    /** Milliseconds that the server wants to be left alone. */
    after?: number;
}
/** One way that is being tried. */
export interface Lane {
    way: Way;
    /** Undefined while it is loaded. */
    transport?: Transport;
    /** Timers: when it is given up, and when it gets company. */
    deadline?: any;
    patience?: any;
    /** What was asked for there is a connection of its own, not one that waits to be resumed. */
    fresh?: boolean;
    /** Something was said along with `$connect` there. */
    ahead?: boolean;
}
/** How an attempt is made, and what it brings. */
export interface Attempt {
    /** In this order. */
    ways: Way[];
    make(way: Way): Maker | Promise<Maker>;
    clock: Clock;
    token: Options["token"];
    /** Where to go on, at the moment in which the connection is asked for. */
    place(): {
        resume: string | undefined;
        since: string | undefined;
    };
    /** Texts of commands that go along with a `$connect` that resumes nothing; they are answered behind it. */
    along(): string[];
    /** With the payload of the reply to `$connect`. */
    opened(reply: Record<string, any>): void;
    /** Whatever comes afterwards. */
    frame(frame: Frame): void;
    /** The connection was asked for on a way that was given up; it may be granted there all the same. */
    strayed(): void;
    /** Once, and the last of all. */
    lost(why: Lost): void;
}
/** What a line needs of what carries it, and hears of it. */
export interface Carried extends Pick<Attempt, "place" | "along" | "opened" | "frame" | "lost"> {
    /** What carried it has gone, and something else is about to. `quietly`: because of that. */
    goesOn(quietly: boolean): void;
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
    /** The same for a line that is about to be open: gives what is to be said there, unless that is longer than `most` bytes. */
    ahead(frame: Frame, answer: Waiting["answer"], most: number): string | undefined;
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
