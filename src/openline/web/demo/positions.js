/** Owns the reading of positions, `EPOCH.STAMP`: a place in everything that the engine has published. */

const FORM = /^([A-Za-z0-9_-]{1,32})\.(0|[1-9][0-9]{0,15})$/;

/**
 * The parts of a position; null for anything that is not one.
 * @param {unknown} text
 * @returns {{epoch: string, stamp: number} | null}
 */
export function parsePosition(text) {
  const found = typeof text === "string" ? FORM.exec(text) : null;
  if (!found) return null;
  const stamp = Number(found[2]);
  return Number.isSafeInteger(stamp) ? { epoch: found[1], stamp } : null;
}
