/** Owns the page of the examples: one of them, live in a frame or two, and its code as the server has it. */

const byId = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const [examples, live, code, two] = ["examples", "live", "code", "two"].map(byId);
const tabs = /** @type {HTMLButtonElement[]} */ ([...byId("files").querySelectorAll("button")]);
const links = /** @type {HTMLAnchorElement[]} */ ([...examples.querySelectorAll("a")]);

// What is told apart in Python and in a page with its script: remarks, texts, what stands above or around, words.
const TOKENS = {
  "app.py": /(?<remark>#.*)|(?<text>f?"""[^]*?"""|f?"[^"\n]*")|(?<mark>@[\w.]+)|(?<word>\b(?:and|async|await|class|def|elif|else|for|from|if|import|in|is|not|or|return|while|True|False|None)\b)/g,
  "index.html": /(?<remark>\/\/ .*|\/\*[^]*?\*\/|<!--[^]*?-->)|(?<text>"[^"\n]*"|`[^`]*`)|(?<mark><\/?[a-z][\w-]*|(?<=["\w-])>)|(?<word>\b(?:async|await|const|else|for|from|function|if|import|let|new|of|return)\b)/g,
};

let name = "";
let file = "app.py";

function show() {
  const link = links.find(({ hash }) => hash === location.hash) ?? links[0];
  if (link.dataset.name === name) return;
  name = link.dataset.name ?? "";
  for (const each of links) each.removeAttribute("aria-current");
  link.setAttribute("aria-current", "true");
  link.scrollIntoView({ block: "nearest", inline: "nearest" });
  const title = link.querySelector("b")?.textContent ?? name;
  document.title = `${title} – Openline examples`;
  byId("title").textContent = title;
  byId("window").setAttribute("href", `/examples/${name}/`);
  byId("run").textContent = `openline serve examples.${name}.app:line`;
  live.replaceChildren(frame(title));
  twice(two.getAttribute("aria-pressed") === "true");
  for (const tab of tabs) read(tab);
}

/** A new element each time: one that is only led elsewhere would leave a step for the back button. */
function frame(/** @type {string} */ title) {
  const frame = document.createElement("iframe");
  frame.src = `/examples/${name}/`;
  frame.title = `${title}, live`;
  return frame;
}

function twice(/** @type {boolean} */ wanted) {
  two.setAttribute("aria-pressed", String(wanted));
  if (wanted && live.childElementCount === 1) live.append(frame(`${byId("title").textContent}, once more`));
  if (!wanted) live.children[1]?.remove();
}

async function read(/** @type {HTMLButtonElement} */ tab) {
  const [wanted, which] = [name, /** @type {"app.py" | "index.html"} */ (tab.dataset.file)];
  const answer = await fetch(`/examples/${wanted}/${which}`).catch(() => undefined);
  const text = answer?.ok ? await answer.text() : "The server does not answer: reload the page.";
  if (wanted !== name) return;
  tab.querySelector("span")?.replaceChildren(`${text.trimEnd().split("\n").length} lines`);
  if (which === file) code.replaceChildren(...painted(text, TOKENS[which]));
}

/** The text in pieces, each in the colour of what it is. */
function* painted(/** @type {string} */ text, /** @type {RegExp} */ tokens) {
  let end = 0;
  for (const match of text.matchAll(tokens)) {
    yield text.slice(end, match.index);
    const piece = document.createElement("span");
    piece.className = Object.entries(match.groups ?? {}).find(([, found]) => found !== undefined)?.[0] ?? "";
    piece.textContent = match[0];
    yield piece;
    end = match.index + match[0].length;
  }
  yield text.slice(end);
}

function choose(/** @type {HTMLButtonElement} */ chosen) {
  file = chosen.dataset.file ?? file;
  for (const tab of tabs) {
    tab.setAttribute("aria-selected", String(tab === chosen));
    tab.tabIndex = tab === chosen ? 0 : -1;
  }
  code.setAttribute("aria-labelledby", chosen.id);
  code.scrollTo(0, 0);
  read(chosen);
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = tabs[(tabs.indexOf(tab) + 1) % tabs.length];
    other.focus();
    choose(other);
  });
}
two.addEventListener("click", () => twice(two.getAttribute("aria-pressed") !== "true"));
window.addEventListener("hashchange", show);
show();
