// better-sse: sends each message to every client of a channel. `POST /go` starts the load.
"use strict";

const http = require("node:http");
const { createChannel, createSession } = require("better-sse");
const { port, pieces } = require("./load.js");

const channel = createChannel();
const server = http.createServer(async (request, response) => {
  if (request.method === "POST") {
    response.end();
    pieces((text) => channel.broadcast(JSON.parse(text), "event"));
  } else {
    channel.register(await createSession(request, response));
  }
});
server.listen({ host: "127.0.0.1", port, backlog: 1024 }, () => console.log("ready"));
