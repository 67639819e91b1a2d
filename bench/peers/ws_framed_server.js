// Peer: ws on Node, the frame built once and written to every socket: the best ws can do.
// usage: PORT fanout|echo|idle|channels   (channels: "+NAME" joins, "NAME text" goes to its members)
const { WebSocketServer, WebSocket, Sender } = require("ws");
const mode = process.argv[3];
const server = new WebSocketServer({ port: +process.argv[2], host: "127.0.0.1", backlog: 4096 });
const channels = new Map();
const { frame } = Sender ?? WebSocket.Sender;

function framed(data) {
  return Buffer.concat(frame(data, { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true }));
}

function join(name, socket) {
  if (!channels.has(name)) channels.set(name, new Set());
  channels.get(name).add(socket);
  socket.on("close", () => channels.get(name).delete(socket));
  socket.send("ok");
}

function sendToAll(clients, data) {
  const bytes = framed(data);
  for (const client of clients) if (client.readyState === WebSocket.OPEN) client._socket.write(bytes);
}

server.on("connection", (socket) => {
  socket.setMaxListeners(0);
  socket.on("message", (data) => {
    if (mode === "echo") socket._socket.write(framed(data));
    else if (mode === "fanout") sendToAll(server.clients, data);
    else if (data[0] === 43) join(data.toString("latin1", 1), socket);
    else sendToAll(channels.get(data.toString("latin1", 0, data.indexOf(32))), data);
  });
});
