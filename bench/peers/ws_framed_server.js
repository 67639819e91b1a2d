// Peer: ws on Node, the frame built once and written to every socket: the best ws can do. usage: PORT fanout|echo|idle
const { WebSocketServer, WebSocket, Sender } = require("ws");
const echo = process.argv[3] === "echo";
const server = new WebSocketServer({ port: +process.argv[2], host: "127.0.0.1", backlog: 4096 });
const { frame } = Sender ?? WebSocket.Sender;
server.on("connection", (socket) => {
  socket.on("message", (data) => {
    const bytes = Buffer.concat(frame(data, { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true }));
    if (echo) {
      socket._socket.write(bytes);
      return;
    }
    for (const client of server.clients) if (client.readyState === WebSocket.OPEN) client._socket.write(bytes);
  });
});
