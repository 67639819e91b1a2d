/** Owns the sentences of the page: who types, who came and went, how the line is, what the title says. */

const NAMED = 3;

/** `ada`, `ada and bob`, `ada, bob and cleo`, `ada, bob and 5 others`. */
export function listed(/** @type {string[]} */ names) {
  if (names.length <= 1) return names[0] ?? "";
  const others = names.length - NAMED + 1;
  const shown = names.length > NAMED ? [...names.slice(0, NAMED - 1), `${others} others`] : names;
  return `${shown.slice(0, -1).join(", ")} and ${shown[shown.length - 1]}`;
}

/** Who is typing; nothing when nobody is. */
export function typingSentence(/** @type {string[]} */ names) {
  if (names.length === 0) return "";
  if (names.length > NAMED) return "Several people are typing…";
  return `${listed(names)} ${names.length === 1 ? "is" : "are"} typing…`;
}

/**
 * What became of the people in a row of joins and leaves.
 * @param {Map<string, {came: boolean, here: boolean}>} changes by name: whether the first thing they did was to
 *   come, and whether they are here now
 */
export function presenceSentence(changes) {
  /** @type {Record<string, string[]>} */
  const groups = { joined: [], "came and went": [], left: [], "came back": [] };
  for (const [name, { came, here }] of changes) {
    const outcome = came ? (here ? "joined" : "came and went") : here ? "came back" : "left";
    groups[outcome].push(name);
  }
  return Object.entries(groups)
    .filter(([, names]) => names.length > 0)
    .map(([outcome, names]) => `${listed(names)} ${outcome}`)
    .join(" · ");
}

/** The page's title: unread messages in front, so that a narrow tab shows them. */
export function pageTitle(/** @type {number} */ unread, /** @type {string} */ channel) {
  const title = channel ? `#${channel} · Openline` : "Openline chat";
  return unread > 0 ? `(${badge(unread)}) ${title}` : title;
}

/** A count that fits a badge. */
export function badge(/** @type {number} */ count) {
  return count > 99 ? "99+" : String(count);
}

const REFUSED = 4401; // spec/protocol.md, section 5

/** What carries a line where no WebSocket gets through. @type {Record<string, string>} */
const DETOURS = { stream: "event stream", poll: "long polls" };

/** What to know about a line that goes another way; nothing for one that goes the usual one. */
export function detourSentence(/** @type {string | null} */ transport) {
  const way = DETOURS[transport ?? ""];
  return way ? `WebSockets do not get through here, so the chat goes over ${transport === "stream" ? "an " : ""}${way}. Nothing is lost.` : "";
}

/**
 * How the line is, for people. `announce` leaves out the seconds: a screen reader need not count them down.
 * @param {{status: string, transport?: string | null, retryAt?: number, code?: number, reason?: string,
 *   online: boolean, met?: boolean}} line
 *   retryAt and now in ms; met: it has been open before
 * @param {number} now
 * @returns {{tone: "good" | "busy" | "bad", text: string, announce: string}}
 */
export function statusSentence(line, now) {
  const way = DETOURS[line.transport ?? ""];
  if (line.status === "open") return same("good", way ? `Connected · ${way}` : "Connected");
  if (line.status === "closed") return same("bad", closedSentence(line));
  if (!line.online) return same("bad", "Offline");
  const verb = line.met ? "Reconnecting" : "Connecting";
  const seconds = line.status === "waiting" ? Math.ceil(((line.retryAt ?? now) - now) / 1000) : 0;
  if (seconds <= 0) return same("busy", `${verb}…`);
  return { tone: "busy", text: `${verb} in ${seconds} s…`, announce: `${verb}…` };
}

/** @returns {{tone: any, text: string, announce: string}} */
function same(/** @type {string} */ tone, /** @type {string} */ text) {
  return { tone, text, announce: text };
}

function closedSentence(/** @type {{code?: number, reason?: string}} */ { code, reason }) {
  if (code === REFUSED) return "Name not accepted";
  return reason ? `Disconnected: ${reason}` : "Disconnected";
}

/** `14:02`, in the reader's own way of writing it. */
export function clockTime(/** @type {number} */ at) {
  return CLOCK.format(at);
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
