/** Owns what surrounds a line: time, chance, the page, and the handlers of the application. */
/** @import * as T from "./types.js" */

/** @type {T.Clock} */
export const systemClock = {
  // Not performance.now(): in some browsers that one stands still while the machine sleeps.
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

/** What has not come by then is done without. */
export const SLOW_MS = 3000;

/**
 * What `coming` brings; rejects when it is late.
 *
 * @template A @param {T.Clock} clock @param {Promise<A>} coming @param {number} ms @returns {Promise<A>}
 */
export const inTime = (clock, coming, ms) =>
  new Promise((resolve, reject) => {
    const timer = clock.setTimeout(() => reject(new Error("it took too long")), ms);
    coming.then(resolve, reject).finally(() => clock.clearTimeout(timer));
  });

/** A key that nobody else makes up. Unlike crypto.randomUUID this works in insecure contexts. */
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Listens until `signal` is aborted. @param {T.Page} page @param {T.PageEvents} events @param {AbortSignal} signal */
export function watchPage({ window, document }, { online, visible, aside, back, gone }, signal) {
  // In Node there is nothing to hear.
  window.addEventListener?.("online", online, { signal });
  const hidden = (/** @type {any} */ { persisted }) => (persisted ? aside() : gone());
  window.addEventListener?.("pagehide", hidden, { signal });
  window.addEventListener?.("pageshow", back, { signal });
  document?.addEventListener("visibilitychange", () => document.hidden || visible(), { signal });
  // A tab that nobody looks at may be stopped, too.
  document?.addEventListener("freeze", aside, { signal });
  document?.addEventListener("resume", back, { signal });
}

/** @param {unknown} error reported as if nobody had caught it */
export const report = (error) => (typeof reportError === "function" ? reportError(error) : console.error(error));

/** @param {() => unknown} run what it throws, now or as a promise, is reported and goes no further */
export function guarded(run) {
  try {
    const result = run();
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}

/** @typedef {(payload: any, event: any) => unknown} Handler */

export class Emitter {
  /** @type {Map<string, Set<{handler: Handler}>>} */
  #types = new Map();

  /** @param {string} type @param {Handler} handler */
  on(type, handler) {
    if (typeof handler !== "function") throw new TypeError("a handler is a function");
    const handlers = this.#types.get(type) ?? new Set();
    const entry = { handler };
    this.#types.set(type, handlers.add(entry));
    return () => {
      handlers.delete(entry);
      if (handlers.size === 0 && this.#types.get(type) === handlers) this.#types.delete(type);
    };
  }

  /** @param {string} type @param {unknown} payload @param {unknown} [event] */
  emit(type, payload, event) {
    const handlers = this.#types.get(type);
    for (const entry of [...(handlers ?? [])]) {
      if (handlers?.has(entry)) guarded(() => entry.handler(payload, event));
    }
  }
}
