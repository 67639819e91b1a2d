/** Owns what outlives a page: in this tab, or in this browser. Where storage is forbidden, nothing is remembered. */

/** @typedef {"tab" | "browser"} Where */

export function recall(/** @type {Where} */ where, /** @type {string} */ key) {
  try {
    return storage(where).getItem(key) ?? "";
  } catch {
    return "";
  }
}

export function remember(/** @type {Where} */ where, /** @type {string} */ key, /** @type {string} */ value) {
  try {
    storage(where).setItem(key, value);
  } catch {
    // Private windows and full disks: the page works all the same, it only asks again next time.
  }
}

/** Reading the property itself may already be refused. */
function storage(/** @type {Where} */ where) {
  return where === "tab" ? window.sessionStorage : window.localStorage;
}
