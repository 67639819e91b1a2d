// Stock Socket.IO clients in one process, for bench/kills.py: listeners in rooms, and publishers that number what they say.
// usage: URL PLAN, where PLAN is JSON: {"listeners": {NAME: [ROOM, …]}, "publishers": {NAME: RETRIES}, "rooms", "every", "transports"}.
// They say what they see on stdout, one JSON each. stdin takes {"begin": true} for the publishers, {"cut": NAME} for a
// connection that breaks without a word (a publisher's behind its next message, ahead of the answer), and {"stop": true}.
const { createInterface } = require("node:readline");
const { io } = require("socket.io-client");

const [url, plan] = process.argv.slice(2);
const { listeners, publishers, rooms, every, transports } = JSON.parse(plan);
const options = { transports, forceNew: true };
const patience = 5000;
const sockets = new Map();
const cutting = new Set();
let stopping = false;

const tell = (who, what, more) => console.log(JSON.stringify({ at: performance.now() / 1000, who, what, ...more }));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const cut = (socket) => socket.io.engine?.transport?.ws?.terminate?.();

const listen = (name, wanted) => {
  const socket = io(url, options);
  const joined = new Set();
  sockets.set(name, socket);
  const join = async (room) => {
    try {
      await socket.timeout(patience).emitWithAck("join", room);
    } catch {
      // Joining belongs to this visit: the next one begins with it again.
      if (socket.connected) await join(room);
      return;
    }
    joined.add(room);
    tell(name, "joined", { room });
  };
  socket.on("connect", () => {
    if (!socket.recovered) joined.clear();
    tell(name, "connected", { recovered: !!socket.recovered });
    for (const room of wanted) {
      if (!joined.has(room)) join(room);
      else tell(name, "kept", { room });
    }
  });
  socket.on("disconnect", () => tell(name, "cut"));
  socket.on("message", (message) => tell(name, "got", message));
};

const publish = async (name, retries) => {
  // With `retries` the client itself says everything again until it is acknowledged.
  const socket = io(url, retries ? { ...options, retries, ackTimeout: patience } : options);
  sockets.set(name, socket);
  for (let number = 1; !stopping; number++) {
    const room = rooms[number % rooms.length];
    while (!retries && !socket.connected) await sleep(20);
    tell(name, "said", { room, number });
    const speaker = retries ? socket : socket.timeout(patience);
    const answered = speaker.emitWithAck("say", { room, publisher: name, number }, `${name}-${number}`);
    if (cutting.delete(name)) setImmediate(cut, socket);
    try {
      await answered;
      tell(name, "acknowledged", { room, number });
    } catch {
      tell(name, "unknown", { room, number });
    }
    await sleep(every * 1000);
  }
  tell(name, "finished");
};

Object.entries(listeners).forEach(([name, wanted]) => listen(name, wanted));
createInterface({ input: process.stdin }).on("line", (line) => {
  const told = JSON.parse(line);
  if (told.begin) Object.entries(publishers).forEach(([name, retries]) => publish(name, retries));
  if (told.cut in publishers) cutting.add(told.cut);
  else if (told.cut) cut(sockets.get(told.cut));
  stopping = stopping || !!told.stop;
}).on("close", () => process.exit());
