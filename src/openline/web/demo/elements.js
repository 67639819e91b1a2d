/** Owns the making of elements. Text goes in as text nodes only, so nothing that somebody wrote is ever HTML. */

import { hue, initials } from "./names.js";

const SVG = "http://www.w3.org/2000/svg";

/**
 * A new element. An attribute that is false, null or undefined is left out; true stands without a value.
 * @param {string} tag
 * @param {Record<string, string | number | boolean | null | undefined>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** A picture out of the sheet in index.html; what it means is said in words beside it. */
export function icon(/** @type {string} */ name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** Text for screen readers alone. */
export function spoken(/** @type {string} */ text) {
  return make("span", { class: "spoken" }, text);
}

/** Somebody's initials on their colour. */
export function avatar(/** @type {string} */ id, /** @type {string} */ name) {
  const face = make("span", { "aria-hidden": "true" });
  paintAvatar(face, id, name);
  return face;
}

/** The class of somebody's colour; guests and the server have none. */
export function colourOf(/** @type {string} */ id) {
  return id.startsWith("user:") ? hue(id) : "hue-none";
}

/** Turn an element into the avatar of somebody. */
export function paintAvatar(/** @type {Element} */ element, /** @type {string} */ id, /** @type {string} */ name) {
  element.className = `avatar ${colourOf(id)}`;
  element.textContent = name ? initials(name) : "?";
}

/**
 * The element of the page with this id; its absence is a mistake in index.html.
 * @returns {any}
 */
export function byId(/** @type {string} */ id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element;
}
