// An HTTP server and a client in Node.js, as its http module makes them.
//
//   node idle.js serve ADDRESS PORT     keepAliveTimeout 2 s; the next port reads nothing and destroys its sockets
//   node idle.js ask ADDRESS PORT       three requests through one agent, which destroys the socket when it is idle
"use strict";
const http = require("http");
const net = require("net");

const [what, host, port] = process.argv.slice(2);

if (what === "serve") {
  const server = http.createServer((request, response) => response.end("hello"));
  server.keepAliveTimeout = 2000;
  const deaf = net.createServer({ pauseOnConnect: true }, (socket) => setTimeout(() => socket.destroy(), 200));
  deaf.listen(Number(port) + 1, host, () => server.listen(Number(port), host));
}

if (what === "ask") {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const ask = (left) =>
    http.get({ host, port, agent }, (answer) => {
      answer.resume();
      answer.on("end", () => (left > 1 ? setTimeout(ask, 100, left - 1) : setTimeout(() => agent.destroy(), 300)));
    });
  ask(3);
}
