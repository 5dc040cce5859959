#!/usr/bin/env node
// An echo server of Node.js for go run ./compare: WebSockets of ws on streams of
// Node's HTTP/2 server. Its only argument is the port of 127.0.0.1 where it
// listens.
//
//   npm ci --prefix node
//   WEBSOCKET_BENCH_NODE=$PWD/node/echo.js go run ./compare -rows '^HTTP/2'

import http2 from 'node:http2';
import WebSocket from 'ws';

// window is what a client may send before it is taken, as net/http's server allows.
const window = 1 << 20;

const options = {
  allowSynchronousEvents: true,
  autoPong: true,
  maxPayload: 64 << 20,
  skipUTF8Validation: false,
};

const server = http2.createServer({
  settings: { enableConnectProtocol: true, initialWindowSize: window },
});

server.on('session', (session) => session.setLocalWindowSize(window));

server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  if (headers[':method'] !== 'CONNECT' || headers[':protocol'] !== 'websocket') {
    stream.respond({ ':status': 400 }, { endStream: true });
    return;
  }
  stream.respond({ ':status': 200 });
  const ws = new WebSocket(null, undefined, options);
  ws.setSocket(stream, Buffer.alloc(0), options);
  ws.on('error', () => {});
  ws.on('message', (data, binary) => ws.send(data, { binary }));
});

server.listen(Number(process.argv[2]), '127.0.0.1');
