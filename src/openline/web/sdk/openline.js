/** Owns the lines of a page: one for each server, however often it is asked for. */

import { Line as PageLine } from "./openline/line.js";

export { OpenlineError } from "./openline/frames.js";

/** @import * as T from "./openline/types.js" */
/** @typedef {T.Line} Line */
/** @typedef {T.Channel} Channel */
/** @typedef {T.Options} Options */
/** @typedef {T.SubscribeOptions} SubscribeOptions */
/** @typedef {T.StatusChange} StatusChange */
/** @typedef {T.Event} Event */
/** @typedef {T.Member} Member */

/** @type {Map<string, T.Line>} */
const lines = new Map();

// The door stands beside this script, below a mount too; a bundle may stand anywhere.
const BESIDE = /^https?:.*\/openline\.js$/.test(import.meta.url) ? new URL("openline", import.meta.url) : "/openline";

/**
 * The line to the server at `url`: the one of this page, or a new one if there is none or it was closed.
 *
 * @param {string | URL} [url] unless told, `openline` beside this script; `https` means `wss`
 * @param {T.Options} [options] of a line that is new; one that is there keeps its own
 * @returns {T.Line}
 */
export function connect(url = BESIDE, options = {}) {
  const address = addressOf(url);
  const known = lines.get(address);
  if (known && known.status !== "closed") return known;
  const line = new PageLine(address, options);
  lines.set(address, line);
  return line;
}

/** @param {string | URL} url */
function addressOf(url) {
  if (typeof url !== "string" && !(url instanceof URL)) throw new TypeError("the address of a server is a string");
  const address = new URL(url, globalThis.location?.href);
  // "http" becomes "ws", and "https" becomes "wss".
  address.protocol = address.protocol.replace("http", "ws");
  address.hash = "";
  return address.href;
}
