"use strict";

// The peer of undici, whose WebSocket is that of browsers. It always offers
// permessage-deflate.

const { WebSocket } = require("undici");
const peer = require("./peer.js");

class Conn extends peer.Conn {
  constructor(ws) {
    super();
    this.ws = ws;
    ws.binaryType = "arraybuffer";
    ws.onmessage = ({ data }) => this.received(typeof data === "string" ? data : Buffer.from(data));
    ws.onclose = ({ code, reason }) => this.closed(code, reason);
    ws.onerror = ({ error }) => (this.error = String(error));
  }

  send(message) {
    this.ws.send(message);
  }

  close(code, reason) {
    this.ws.close(code, reason);
  }
}

function connect(url) {
  const ws = new WebSocket(url);
  const conn = new Conn(ws);
  return new Promise((resolve) => {
    ws.onopen = () => resolve(conn);
    ws.addEventListener("error", () => resolve(conn));
  });
}

peer.main(null, connect);
