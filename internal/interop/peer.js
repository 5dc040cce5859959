"use strict";

// The peer of interop_test.go: ws as an echo server and an echo client. It
// listens and prints its port as a line of JSON. Every line of JSON that it reads
// asks it to connect to a URL, with options for ws; it answers with a line that
// says what was agreed on, or what went wrong. A line with a field http2 asks for a
// WebSocket over HTTP/2, and says in it what to do with that. It exits when its
// standard input ends.

const http = require("node:http");
const readline = require("node:readline");
const { WebSocket, WebSocketServer } = require("ws");
const http2 = require("./http2.js");

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// echo sends every message back, some in fragments and some uncompressed.
function echo(ws) {
  let count = 0;
  ws.on("error", (e) => process.stderr.write(`${e.stack}\n`));
  ws.on("message", (data, binary) => {
    count++;
    const compress = count % 7 !== 0;
    if (count % 3 !== 0) {
      ws.send(data, { binary, compress });
      return;
    }
    const cut = Math.floor(data.length / 3);
    ws.send(data.subarray(0, cut), { binary, compress, fin: false });
    ws.send(data.subarray(cut, 2 * cut), { binary, compress, fin: false });
    ws.send(data.subarray(2 * cut), { binary, compress, fin: true });
  });
}

const limit = 64 << 20;

const server = http.createServer();
server.on("upgrade", (request, socket, head) => {
  const query = new URL(request.url, "http://localhost").searchParams;
  const perMessageDeflate = JSON.parse(query.get("deflate"));
  new WebSocketServer({ noServer: true, maxPayload: limit, perMessageDeflate })
    .handleUpgrade(request, socket, head, echo);
});
server.listen(0, "127.0.0.1", () => tell({ port: server.address().port }));

function connect({ url, deflate }) {
  const ws = new WebSocket(url, { maxPayload: limit, perMessageDeflate: deflate });
  echo(ws);
  ws.on("upgrade", (response) => tell({ extensions: response.headers["sec-websocket-extensions"] }));
  ws.on("error", (e) => tell({ error: String(e) }));
}

// acts are what an opened WebSocket over HTTP/2 is used for.
const acts = {
  echo: ({ ws }) => echo(ws),
  ping({ ws }) {
    ws.on("pong", (data) => tell({ pong: data.toString() }));
    ws.ping("are you there?");
  },
  close({ ws }) {
    ws.on("close", (code, reason) => tell({ code, reason: reason.toString() }));
    ws.close(4001, "bye");
  },
  await({ ws }) {
    ws.on("close", (code, reason) => tell({ code, reason: reason.toString() }));
  },
  end: ({ stream }) => stream.end(),
  reset: ({ stream }) => stream.close(8), // CANCEL
};

async function connectHTTP2({ url, deflate, http2: act }) {
  try {
    const opened = await http2.connect({ url, deflate, maxPayload: limit });
    tell({ status: opened.status, extensions: opened.extensions });
    if (opened.ws) acts[act](opened);
  } catch (e) {
    tell({ error: String(e) });
  }
}

readline.createInterface({ input: process.stdin })
  .on("line", (line) => {
    const order = JSON.parse(line);
    (order.http2 ? connectHTTP2 : connect)(order);
  })
  .on("close", () => process.exit(0));
