// What the stock client does in each scenario, and what it saw: run in Node, and in a browser.

const WAIT = 60_000;

/** Resolves with the arguments of the next `event`. */
function next(socket, event) {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`no ${event}`)), WAIT);
    socket.once(event, (...args) => {
      clearTimeout(late);
      resolve(args.length > 1 ? args : args[0]);
    });
  });
}

/** Collects the arguments of `event`, and resolves once there are `count`. */
function collect(socket, event, count) {
  const came = [];
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${came.length} of ${count} ${event}: ${came}`)), WAIT);
    socket.on(event, (value) => {
      came.push(value);
      if (came.length === count) {
        clearTimeout(late);
        resolve(came);
      }
    });
  });
}

const bytes = (...values) => new Uint8Array(values);
const list = (data) => [...new Uint8Array(data instanceof ArrayBuffer ? data : data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength))];

export const scenarios = {
  async auth(open) {
    const bad = open("/", { auth: { token: "bad" }, forceNew: true });
    const error = await next(bad, "connect_error");
    bad.auth = { token: "good" };
    bad.connect();
    await next(bad, "connect");
    return { message: error.message, data: error.data, who: await bad.emitWithAck("who") };
  },

  async busy(open) {
    const socket = open("/", { auth: { token: "busy" }, reconnectionDelay: 20, reconnectionDelayMax: 50 });
    // Errors of the line, which it comes back from, are none that it is kept out by.
    let keptOut = false;
    socket.on("connect_error", () => (keptOut ||= !socket.active));
    await next(socket, "connect");
    const beside = open("/busy");
    const refused = await next(beside, "connect_error");
    beside.connect();
    await next(beside, "connect");
    return { keptOut, who: await socket.emitWithAck("who"), data: refused.data, sameLine: beside.io === socket.io };
  },

  async acks(open) {
    const socket = open("/");
    socket.on("question", (n, answer) => answer(n + 1, "more"));
    await next(socket, "connect");
    const one = await socket.emitWithAck("echo", { a: 1 });
    const many = await new Promise((resolve) => socket.emit("spread", 1, "b", null, (...args) => resolve(args)));
    const none = await new Promise((resolve) => socket.emit("nothing", (...args) => resolve(args)));
    const asked = await socket.emitWithAck("ask me", 41);
    const silent = [];
    for (const event of ["silent", "unknown", "failing"]) {
      await socket.timeout(150).emitWithAck(event, 1).then(
        () => silent.push(false),
        () => silent.push(true),
      );
    }
    const roundTrips = [];
    // In between, and as often: what a request takes that waits for nothing, on this machine, just now.
    const bare = [];
    for (let n = 0; n < 40; n++) {
      const asked = performance.now();
      await (await fetch(new URL("/healthz", socket.io.uri))).text();
      bare.push(performance.now() - asked);
      const begun = performance.now();
      await socket.emitWithAck("echo", n);
      roundTrips.push(performance.now() - begun);
    }
    return { one, many, none, asked, silent, roundTrips, bare };
  },

  async binary(open) {
    const socket = open("/");
    socket.on("question", (data, answer) => answer({ back: data }));
    await next(socket, "connect");
    const plain = await socket.emitWithAck("echo", bytes(1, 2, 3));
    const nested = await socket.emitWithAck("echo", { a: [bytes(4), { b: bytes() }], text: "é" });
    const pushed = next(socket, "pushed");
    socket.emit("push me", bytes(7, 8), { deep: bytes(9) });
    const [first, second] = await pushed;
    const asked = await socket.emitWithAck("ask me", bytes(5, 6));
    return {
      plain: list(plain),
      nested: [list(nested.a[0]), list(nested.a[1].b), nested.text],
      pushed: [list(first), list(second.deep)],
      asked: list(asked.back),
    };
  },

  async namespaces(open) {
    const socket = open("/");
    await next(socket, "connect");
    const admin = open("/admin", { auth: { token: "good" } });
    const welcome = await next(admin, "welcome");
    const org = open("/org-7");
    await next(org, "connect");
    const nowhere = open("/nowhere");
    const refused = (await next(nowhere, "connect_error")).message;
    const refusedByGuard = (await next(open("/guarded"), "connect_error")).data;
    const name = await org.emitWithAck("name");
    const left = next(admin, "disconnect");
    admin.disconnect();
    await left;
    const sameLine = admin.io === socket.io && org.io === socket.io;
    return { welcome, refused, refusedByGuard, name, sameLine, still: await socket.emitWithAck("echo", "still") };
  },

  async rooms(open) {
    const sockets = [];
    for (const name of ["a", "b", "c"]) {
      const socket = open("/", { forceNew: true });
      socket.got = [];
      socket.on("said", (text) => socket.got.push(text));
      socket.on("question", (n, answer) => name === "c" || answer(name + n));
      await next(socket, "connect");
      await socket.emitWithAck("join", ["room:1", `own ${name}`]);
      sockets.push(socket);
    }
    const [a, b, c] = sockets;
    await a.emitWithAck("leave", "own a");
    const rooms = await a.emitWithAck("rooms");
    await a.emitWithAck("say", { to: ["room:1"], text: "to the room" });
    await a.emitWithAck("say", { to: ["room:1", "own b"], except: ["own c"], text: "not to c" });
    await a.emitWithAck("say", { to: [], text: "to all others" });
    await a.emitWithAck("say", { to: [c.id], text: "to c" });
    await a.emitWithAck("say", { to: ["room:1"], volatile: true, text: "volatile" });
    await a.emitWithAck("say", { to: ["room:1"], server: true, text: "to everybody" });
    const asked = await a.emitWithAck("ask room", "room:1");
    await b.emitWithAck("echo", 1);
    await c.emitWithAck("echo", 1);
    return { rooms: rooms.filter((room) => room !== a.id).sort(), a: a.got, b: b.got, c: c.got, asked };
  },

  async shared(open) {
    const socket = open("/");
    await next(socket, "connect");
    await socket.emitWithAck("join", ["chat:1"]);
    const said = collect(socket, "said", 2);
    await socket.emitWithAck("publish", "from socket.io");
    await socket.emitWithAck("other doors say");
    return await said;
  },

  async recovery(open) {
    const socket = open("/", { forceNew: true, reconnectionDelay: 20, reconnectionDelayMax: 50 });
    await next(socket, "connect");
    const id = socket.id;
    await socket.emitWithAck("join", ["chat:1"]);
    const early = await cutAndComeBack(socket, "early");
    await socket.emitWithAck("note", "between");
    const late = await cutAndComeBack(socket, "late");
    return { same: socket.id === id, early, late };
  },

  async positions(open) {
    const counts = [];
    for (const auth of [{}, { recovery: false }]) {
      const socket = open("/", { forceNew: true, auth });
      await next(socket, "connect");
      const pushed = new Promise((resolve) => socket.once("pushed", (...args) => resolve(args)));
      socket.emit("push me", 1, "two");
      counts.push((await pushed).length);
    }
    return counts;
  },

  async restart(open, told) {
    const socket = open("/", { reconnectionDelay: 50, reconnectionDelayMax: 100 });
    await next(socket, "connect");
    const id = socket.id;
    const gone = next(socket, "disconnect");
    told("connected");
    const [reason] = [await gone].flat();
    await next(socket, "connect");
    return { reason, same: socket.id === id, recovered: Boolean(socket.recovered), echo: await socket.emitWithAck("echo", 1) };
  },

  async reasons(open) {
    const reasons = [];
    for (const how of ["client", "server", "server close", "cut"]) {
      const socket = open("/", { forceNew: true, reconnection: false });
      await next(socket, "connect");
      const gone = next(socket, "disconnect");
      if (how === "client") socket.disconnect();
      else if (how === "cut") socket.io.engine.close();
      else socket.emit("disconnect me", how === "server close");
      reasons.push([await gone].flat()[0]);
    }
    return reasons;
  },
};

/** Loses the line, has things said meanwhile to the room and to this client, and reports what came. */
async function cutAndComeBack(socket, name) {
  const came = [];
  const listen = (event, ...args) => came.push([event, args[0]]);
  socket.onAny(listen);
  socket.emit("when I am gone", name);
  await new Promise((resolve) => setTimeout(resolve, 60));
  const back = next(socket, "connect");
  socket.io.engine.close();
  await back;
  await socket.emitWithAck("echo", "flush");
  socket.offAny(listen);
  return { recovered: socket.recovered, came };
}

/** Runs one scenario, and closes what it opened. */
export async function play(io, name, url, transports, told = () => {}) {
  const opened = [];
  const open = (namespace, options = {}) => {
    const socket = io(url + namespace, { transports, ...options });
    opened.push(socket);
    return socket;
  };
  try {
    return await scenarios[name](open, told);
  } finally {
    for (const socket of opened) socket.disconnect();
    // Goodbyes that are posted take a moment.
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

if (typeof process !== "undefined" && process.argv[2]) {
  const { io } = await import("socket.io-client");
  const [name, url, transports] = process.argv.slice(2);
  const told = (word) => console.log(JSON.stringify({ told: word }));
  const result = await play(io, name, url, transports.split(","), told);
  console.log(JSON.stringify({ result }));
  process.exit(0);
}
