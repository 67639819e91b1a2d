/**
 * The line to the server at `url`: the one of this page, or a new one if there is none or it was closed.
 *
 * @param {string | URL} [url] unless told, `openline` beside this script; `https` means `wss`
 * @param {T.Options} [options] of a line that is new; one that is there keeps its own
 * @returns {T.Line}
 */
export function connect(url?: string | URL, options?: T.Options): T.Line;
export { OpenlineError } from "./openline/frames.js";
export type Line = T.Line;
export type Channel = T.Channel;
export type Options = T.Options;
export type SubscribeOptions = T.SubscribeOptions;
export type StatusChange = T.StatusChange;
export type Event = T.Event;
export type Member = T.Member;
import type * as T from "./openline/types.js";
