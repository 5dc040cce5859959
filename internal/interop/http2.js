"use strict";

// WebSockets over HTTP/2 (RFC 8441) for peer.js: the streams are those of
// node:http2, and what is on them is of ws. The sessions stay open, one for each
// server.

const http2 = require("node:http2");
const { WebSocket } = require("ws");
const extension = require("./node_modules/ws/lib/extension");
const PerMessageDeflate = require("./node_modules/ws/lib/permessage-deflate");

const name = PerMessageDeflate.extensionName;

const sessions = new Map();

// session returns the session with an origin once its settings have come.
function session(origin) {
  if (!sessions.has(origin)) {
    sessions.set(origin, new Promise((resolve, reject) => {
      const client = http2.connect(origin);
      client.on("error", reject);
      client.once("remoteSettings", (settings) => {
        if (!settings.enableConnectProtocol) {
          reject(new Error("extended CONNECT is not offered"));
          return;
        }
        resolve(client);
      });
    }));
  }
  return sessions.get(origin);
}

// connect opens a WebSocket. It returns the WebSocket and its stream, and what was
// agreed on; or the status of a refusal.
async function connect({ url, deflate, maxPayload }) {
  const { origin, host, pathname } = new URL(url);
  const compression = new PerMessageDeflate(deflate, false, maxPayload);
  const stream = (await session(origin)).request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":scheme": "http",
    ":authority": host,
    ":path": pathname,
    "sec-websocket-version": "13",
    "sec-websocket-extensions": extension.format({ [name]: compression.offer() }),
  }, { endStream: false });
  const fields = await new Promise((resolve, reject) => {
    stream.once("response", resolve);
    stream.once("error", reject);
  });
  const status = fields[":status"];
  if (status !== 200) {
    stream.resume();
    return { status };
  }
  return { status, stream, ...open(stream, fields, compression, maxPayload) };
}

// open makes the WebSocket of a client of a stream.
function open(stream, fields, compression, maxPayload) {
  const extensions = fields["sec-websocket-extensions"];
  const ws = new WebSocket(null, undefined, { autoPong: true });
  ws._isServer = false;
  if (extensions) {
    compression.accept(extension.parse(extensions)[name]);
    ws._extensions[name] = compression;
  }
  ws.setSocket(stream, Buffer.alloc(0), { maxPayload });
  return { ws, extensions };
}

module.exports = { connect };
