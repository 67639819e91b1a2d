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
  constructor(code, message, { field, retry } = {}) {
    super(message || code);
    this.name = "OpenlineError";
    this.code = code;
    this.field = field;
    this.retry = retry === true;
  }
}

/** @param {T.Frame} frame an `$error` */
export const errorOf = ({ code = "failed", message, field, retry }) => new OpenlineError(code, message, { field, retry });

const DEPTH = 64;
const LONE_SURROGATE = /\p{Surrogate}/u;
const encoder = new TextEncoder();

/** @param {string} text */
export const sizeOf = (text) => encoder.encode(text).length;

/**
 * The text of a frame. What no server could read is found here: its error would name no command.
 *
 * @param {T.Frame} frame
 */
export function write(frame) {
  const depths = new WeakMap();
  try {
    return JSON.stringify(frame, function (key, value) {
      check(key);
      check(value);
      if (Object(value) === value) depths.set(value, (depths.get(this) ?? 0) + 1);
      if (depths.get(value) > DEPTH) throw RangeError("nested too deep");
      return value;
    });
  } catch (error) {
    throw new OpenlineError("bad_payload", String(error), { field: "payload" });
  }
}

/** @param {any} value */
function check(value) {
  if (typeof value === "string" && LONE_SURROGATE.test(value)) throw RangeError("half a surrogate pair");
  // From 1e21 on JSON writes an exponent, and the number is no integer any more.
  const broken = Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21;
  if (broken) throw RangeError("an integer beyond ±(2⁵³ − 1)");
}

/** @param {string} text @returns {T.Frame | undefined} undefined for what is no frame */
export function read(text) {
  try {
    const frame = JSON.parse(text);
    if (typeof frame.type === "string") return frame;
  } catch {}
  return undefined;
}

/** @param {unknown} type an application's: `$` words belong to the protocol */
export function nameOf(type) {
  if (typeof type === "string" && /^[^$]/.test(type)) return type;
  throw new OpenlineError("bad_field", "a type is a string that does not begin with $", { field: "type" });
}

/** @param {T.Frame} frame @param {boolean} [recovered] @returns {T.Event} what a handler gets to see */
export function eventOf(frame, recovered) {
  /** @type {T.Event} */
  const event = { type: frame.type, payload: unwrap(frame) };
  const { channel, position, from } = frame;
  if (channel !== undefined) event.channel = channel;
  if (position !== undefined) event.position = position;
  if (from !== undefined) event.from = from;
  if (recovered) event.recovered = true;
  return event;
}

/** @param {unknown} payload @returns {{payload?: unknown, encoding?: "base64"}} the fields that carry it */
export function wrap(payload) {
  if (payload instanceof ArrayBuffer) return wrap(new Uint8Array(payload));
  if (!ArrayBuffer.isView(payload)) return { payload };
  const bytes = new Uint8Array(payload.buffer, payload.byteOffset, payload.byteLength);
  return { payload: btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join("")), encoding: "base64" };
}

/** @param {Record<string, any>} frame @returns {any} its payload; what claims to be base64 and is not stays the text it is */
export function unwrap({ payload = null, encoding }) {
  if (encoding !== "base64") return payload;
  try {
    return Uint8Array.from(atob(payload), (char) => char.charCodeAt(0));
  } catch {
    return payload;
  }
}

/** @param {string} position */
function split(position) {
  const dot = position.lastIndexOf(".");
  return { epoch: position.slice(0, dot), stamp: Number(position.slice(dot + 1)) };
}

/** @param {string} one @param {string} other stamps say something about each other only within an epoch */
export const sameEpoch = (one, other) => split(one).epoch === split(other).epoch;

/** @param {string | undefined} place @param {string} position whether it lies behind who stands at `place` */
export const covers = (place, position) =>
  place !== undefined && sameEpoch(place, position) && split(position).stamp <= split(place).stamp;
