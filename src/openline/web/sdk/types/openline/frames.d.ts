/**
 * The text of a frame. What no server could read is found here: its error would name no command.
 *
 * @param {T.Frame} frame
 */
export function write(frame: T.Frame): string;
/** @param {string} text @returns {T.Frame | undefined} undefined for what is no frame */
export function read(text: string): T.Frame | undefined;
/** @param {unknown} type an application's: `$` words belong to the protocol */
export function nameOf(type: unknown): string;
/** @param {T.Frame} frame @param {boolean} [recovered] @returns {T.Event} what a handler gets to see */
export function eventOf(frame: T.Frame, recovered?: boolean): T.Event;
/** @param {unknown} payload @returns {{payload?: unknown, encoding?: "base64"}} the fields that carry it */
export function wrap(payload: unknown): {
    payload?: unknown;
    encoding?: "base64";
};
/** @param {Record<string, any>} frame @returns {any} its payload; what claims to be base64 and is not stays the text it is */
export function unwrap({ payload, encoding }: Record<string, any>): any;
/** Owns what stands in a frame: payloads, names, positions and errors, as section 1 of the protocol allows them. */
/** @import * as T from "./types.js" */
/**
 * A command was turned down, or could not be sent.
 *
 * `code` is a stable word of the protocol, of the application or of this SDK: `closed` (the line is), `timeout`,
 * `too_many` and `too_large` (it does not fit), `bad_payload` (it is no JSON). `retry`: the same may succeed later.
 */
export class OpenlineError extends Error {
    /** @param {string} code @param {string} [message] @param {{field?: string, retry?: boolean}} [more] */
    constructor(code: string, message?: string, { field, retry }?: {
        field?: string;
        retry?: boolean;
    });
    code: string;
    field: string | undefined;
    retry: boolean;
}
export function errorOf({ code, message, field, retry }: T.Frame): OpenlineError;
export function sizeOf(text: string): number;
export function sameEpoch(one: string, other: string): boolean;
export function covers(place: string | undefined, position: string): boolean;
import type * as T from "./types.js";
