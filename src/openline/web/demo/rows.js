/** Owns how entries become rows: which messages stand together, and what each row shows beside its text. */

import { presenceSentence } from "./sentences.js";

export const TOGETHER = 5 * 60_000;
export const GAP_SENTENCE = "History was lost while you were away; what you see may have holes.";

/** @typedef {import("./timeline.js").Entry} Entry */
/** @typedef {import("./timeline.js").Message} Message */
/**
 * @typedef {{key: string, kind: "message", entry: Message, head: boolean, tail: boolean}
 *   | {key: string, kind: "presence" | "gap" | "new", text: string}} Row
 */

/**
 * The rows of a list, top to bottom.
 * @param {Entry[]} entries
 * @param {string | null} [divider] the key of the first message that was not read when the channel was opened
 * @returns {Row[]}
 */
export function rowsOf(entries, divider = null) {
  /** @type {Row[]} */
  const rows = [];
  entries.forEach((entry, index) => {
    if (entry.key === divider) rows.push({ key: "new", kind: "new", text: "New" });
    rows.push(rowOf(entry, entries[index - 1], entries[index + 1], divider));
  });
  return rows;
}

/** @returns {Row} */
function rowOf(
  /** @type {Entry} */ entry,
  /** @type {Entry | undefined} */ before,
  /** @type {Entry | undefined} */ after,
  /** @type {string | null} */ divider,
) {
  if (entry.kind === "presence") return { key: entry.key, kind: "presence", text: presenceSentence(entry.changes) };
  if (entry.kind === "gap") return { key: entry.key, kind: "gap", text: GAP_SENTENCE };
  const head = entry.key === divider || !together(before, entry);
  const tail = after?.key === divider || !together(entry, after);
  return { key: entry.key, kind: "message", entry, head, tail };
}

/** Whether one header and one foot stand for both: one author, one fate, times that are close or both unknown. */
function together(/** @type {Entry | undefined} */ a, /** @type {Entry | undefined} */ b) {
  if (a?.kind !== "message" || b?.kind !== "message" || a.author !== b.author) return false;
  if ((a.state === "failed") !== (b.state === "failed")) return false;
  if (a.at === null || b.at === null) return a.at === b.at;
  return Math.abs(b.at - a.at) < TOGETHER;
}
