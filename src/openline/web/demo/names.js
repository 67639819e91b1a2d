/** Owns names: of people (what may be chosen, how others are shown) and of channels (what may be joined). */

export const NAME_LIMIT = 32;
export const PREFIX = "chat:";
export const CHANNEL_RULE =
  "1 to 123 characters: letters A–Z, digits and _ - . ~ : @, beginning with a letter, a digit or _.";

const HUES = 10;
const HUE_SEED = 8970; // the common names of examples fall into ten different colours
const SLUG = /^[A-Za-z0-9_][A-Za-z0-9_.~:@-]{0,122}$/; // with the prefix it makes the 128 of the protocol, section 1
// Control characters, and those that turn the direction of what stands around them.
const INVISIBLE = /[\p{Cc}\p{Cs}\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]/gu;

/**
 * A person as the protocol tells of them (section 2, `$presence`).
 * @typedef {{connection: string, user?: string, data?: unknown}} Member
 */

/** What remains of a typed name: one line, without characters that cannot be seen. */
export function cleanName(/** @type {unknown} */ text) {
  return String(text ?? "")
    .replace(/\s+/g, " ")
    .replace(INVISIBLE, "")
    .normalize("NFC")
    .trim();
}

/**
 * The name somebody chose, or what is wrong with it.
 * @param {unknown} text
 * @returns {{name: string, error: ""} | {name: "", error: string}}
 */
export function chooseName(text) {
  const name = cleanName(text);
  if (!name) return { name: "", error: "Choose a name with at least one character." };
  if ([...name].length > NAME_LIMIT) return { name: "", error: `A name has at most ${NAME_LIMIT} characters.` };
  return { name, error: "" };
}

/** What a member is called: their user id, or `guest-` and the beginning of the connection's id. */
export function memberName(/** @type {Member | undefined} */ member) {
  if (!member) return "Server";
  return cleanName(member.user) || `guest-${String(member.connection).slice(0, 4)}`;
}

/** What makes two messages the same person's: the user, else the connection; `server` when nobody is named. */
export function memberId(/** @type {Member | undefined} */ member) {
  if (!member) return "server";
  return member.user === undefined ? `connection:${member.connection}` : `user:${member.user}`;
}

/** One or two capitals for an avatar. */
export function initials(/** @type {string} */ name) {
  const words = name.split(/[\s._-]+/u).filter(Boolean);
  const first = [...(words[0] ?? "?")][0];
  const second = words.length > 1 ? [...words[words.length - 1]][0] : "";
  return (first + second).toLocaleUpperCase();
}

/** The class of the colour that belongs to a name, the same on every page. */
export function hue(/** @type {string} */ id) {
  let hash = HUE_SEED; // the steps of FNV-1a
  for (const character of id) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 16777619);
  hash ^= hash >>> 15; // the low digits of FNV alone are poor for short names
  return `hue-${(hash >>> 0) % HUES}`;
}

/**
 * The channel that somebody typed (`team`, `#team` and `chat:team` are the same), or what is allowed.
 * @param {unknown} text
 * @returns {{channel: string, error: ""} | {channel: "", error: string}}
 */
export function chooseChannel(text) {
  const typed = String(text ?? "")
    .trim()
    .replace(/^#/, "");
  const slug = typed.startsWith(PREFIX) ? typed.slice(PREFIX.length) : typed;
  if (!SLUG.test(slug)) return { channel: "", error: CHANNEL_RULE };
  return { channel: PREFIX + slug, error: "" };
}

/** The short name of a channel: what stands behind `chat:`. */
export function channelTitle(/** @type {string} */ channel) {
  return channel.startsWith(PREFIX) ? channel.slice(PREFIX.length) : channel;
}
