/** Owns the examples of other ways into a channel, made for the address that the page came from. */

/** @typedef {{id: string, title: string, note: string, code: string}} Snippet */

/**
 * @param {{host: string, secure: boolean}} server
 * @param {string} channel
 * @returns {Snippet[]}
 */
export function snippetsFor({ host, secure }, channel) {
  const ws = `${secure ? "wss" : "ws"}://${host}`;
  return [rawPage(ws, channel), websocat(ws, channel), json(ws, channel), sdk(channel)];
}

/** @returns {Snippet} */
function rawPage(/** @type {string} */ ws, /** @type {string} */ channel) {
  const code = [
    `const line = new WebSocket("${ws}/raw/${channel}");`,
    `line.onmessage = (event) => console.log(event.data);`,
    `line.onopen = () => line.send("hello from a bare WebSocket");`,
  ];
  const note = "No library: text in, text out. Paste it into this page's console.";
  return { id: "raw", title: "A bare WebSocket", note, code: code.join("\n") };
}

/** @returns {Snippet} */
function websocat(/** @type {string} */ ws, /** @type {string} */ channel) {
  const note = "Every line you type is a message; every message is a line.";
  return { id: "websocat", title: "A terminal", note, code: `websocat ${ws}/raw/${channel}` };
}

/** @returns {Snippet} */
function json(/** @type {string} */ ws, /** @type {string} */ channel) {
  const frames = [
    { type: "$connect", token: "ada" },
    { type: "$subscribe", id: 1, channel, last: 10, presence: true },
    { type: "message", id: 2, channel, payload: "hello" },
  ];
  const note = "With a name, history, presence and answers: one JSON object per message.";
  const code = [`websocat ${ws}/openline`, ...frames.map((frame) => JSON.stringify(frame))].join("\n");
  return { id: "json", title: "The JSON protocol", note, code };
}

/** @returns {Snippet} */
function sdk(/** @type {string} */ channel) {
  const code = [
    `import { connect } from "/openline.js";`,
    `const line = connect(undefined, { token: () => "ada" });`,
    `const chat = line.subscribe("${channel}", { last: 10 });`,
    `chat.on("message", (text, { from }) => console.log(from?.user, text));`,
    `await chat.publish("message", "hello");`,
  ];
  const note = "Reconnects, resumes, and loses nothing on the way. This page is made with it.";
  return { id: "sdk", title: "The browser SDK", note, code: code.join("\n") };
}
