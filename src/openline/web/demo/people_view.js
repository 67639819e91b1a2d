/** Owns the list of people who are in the open channel. */

import { avatar, byId, make, spoken } from "./elements.js";

const SHOWN = 200;

/** @typedef {import("./people.js").Person} Person */

export class PeopleView {
  #list = byId("people");
  #counts = [byId("people-count"), byId("people-badge")];
  #button = byId("people-open");
  #drawn = "";

  /** Bring the list up to date. */
  draw(/** @type {import("./room.js").Room} */ room, /** @type {import("./me.js").Me} */ me) {
    const people = room.people.list((member) => me.isMe(member));
    const looks = JSON.stringify([people, room.people.unnamed]);
    if (looks === this.#drawn) return;
    this.#drawn = looks;
    const count = people.length + room.people.unnamed;
    for (const element of this.#counts) element.textContent = String(count);
    this.#button.setAttribute("aria-label", `People, ${count} here`);
    const more = count - Math.min(people.length, SHOWN);
    this.#list.replaceChildren(...people.slice(0, SHOWN).map(rowOf));
    if (more > 0) this.#list.append(make("li", { class: "more" }, `and ${more.toLocaleString()} more`));
    if (count === 0) this.#list.append(make("li", { class: "more" }, "Nobody yet."));
  }
}

function rowOf(/** @type {Person} */ person) {
  const name = make("bdi", { class: "name" }, person.name);
  const attributes = { "data-name": person.name, "data-you": person.you, "data-windows": person.windows };
  const row = make("li", { class: "person", ...attributes }, avatar(person.id, person.name), name);
  if (person.you) row.append(make("span", { class: "tag" }, "you"));
  if (person.windows > 1) row.append(windowsOf(person));
  return row;
}

function windowsOf(/** @type {Person} */ { windows }) {
  const sign = make("span", { "aria-hidden": "true" }, `×${windows}`);
  return make("span", { class: "windows", title: `${windows} windows` }, sign, spoken(` in ${windows} windows`));
}
