"use strict";

// The peer of ws for Node.js.

const { WebSocket, WebSocketServer } = require("ws");
const peer = require("./peer.js");

const options = { maxPayload: peer.limit, perMessageDeflate: peer.deflate && { threshold: 0 } };

class Conn extends peer.Conn {
  constructor(ws) {
    super();
    this.ws = ws;
    ws.on("message", (data, binary) => this.received(binary ? data : data.toString()));
    ws.on("pong", (data) => (this.pong = data.toString()));
    ws.on("close", (code, reason) => this.closed(code, reason.toString()));
    ws.on("error", (e) => (this.error = String(e)));
  }

  send(message, fragments) {
    if (!fragments) {
      this.ws.send(message);
      return;
    }
    const binary = typeof message !== "string";
    const data = Buffer.from(message);
    const n = Math.floor(data.length / 3);
    this.ws.send(data.subarray(0, n), { binary, fin: false });
    this.ws.send(data.subarray(n, 2 * n), { binary, fin: false });
    this.ws.send(data.subarray(2 * n), { binary, fin: true });
  }

  ping() {
    this.ws.ping("are you there?");
  }

  close(code, reason) {
    this.ws.close(code, reason);
  }
}

function serve(listening) {
  const server = new WebSocketServer({ ...options, host: "127.0.0.1", port: 0 });
  server.on("listening", () => listening(server.address().port));
  server.on("connection", (ws, request) => peer.use(new Conn(ws), request.url));
}

function connect(url) {
  const ws = new WebSocket(url, options);
  const conn = new Conn(ws);
  return new Promise((resolve) => {
    ws.on("open", () => resolve(conn));
    ws.on("error", () => resolve(conn));
  });
}

peer.main(serve, connect);
