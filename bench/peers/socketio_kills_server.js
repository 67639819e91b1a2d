// Peer: Socket.IO on several nodes, with its Redis Streams adapter and recovery, as its documentation has it.
// usage: PORT REDIS_URL
const http = require("http");
const { createAdapter } = require("@socket.io/redis-streams-adapter");
const { createClient } = require("redis");
const { Server } = require("socket.io");

const [port, url] = process.argv.slice(2);
const server = http.createServer((request, response) => response.end("ok")); // /health, for the balancer
const client = createClient({ url });
client.on("error", (error) => console.error(error.message));
client.connect().then(() => {
  const io = new Server(server, { adapter: createAdapter(client), connectionStateRecovery: {} });
  io.on("connection", (socket) => {
    socket.on("join", async (room, answer) => {
      await socket.join(room);
      answer(true);
    });
    socket.on("say", (message, key, answer) => {
      io.to(message.room).emit("message", message);
      answer(true);
    });
  });
  server.listen(+port, "127.0.0.1");
});
