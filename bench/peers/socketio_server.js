// Peer: Socket.IO on Node. usage: PORT fanout|echo|idle|channels   (a channel is a room)
const http = require("http");
const { Server } = require("socket.io");
const echo = process.argv[3] === "echo";
const server = http.createServer();
const io = new Server(server);
io.on("connection", (socket) => {
  socket.on("message", (data) => (echo ? socket : io).emit("message", data));
  socket.on("join", (name, answer) => {
    socket.join(name);
    answer();
  });
  socket.on("say", (name, data) => io.to(name).emit("message", name, data));
});
server.listen({ port: +process.argv[2], host: "127.0.0.1", backlog: 4096 });
