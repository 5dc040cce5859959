"use strict";

// What http2_test.go calls on its page.

// sockets are those that the page has opened, by name.
const sockets = {};

// open opens a WebSocket to a path of the page's origin. It returns what was agreed
// on, or how it ended.
function open(name, path, protocols = []) {
  const ws = new WebSocket(`wss://${location.host}${path}`, protocols);
  ws.binaryType = "arraybuffer";
  ws.errors = 0;
  ws.inbox = [];
  ws.onmessage = (e) => ws.inbox.push(e.data);
  ws.onerror = () => ws.errors++;
  ws.closed = new Promise((resolve) => {
    ws.onclose = ({ code, reason, wasClean }) => resolve({ code, reason, wasClean, errors: ws.errors });
  });
  sockets[name] = ws;
  const opened = new Promise((resolve) => {
    ws.onopen = () => resolve({ protocol: ws.protocol, extensions: ws.extensions });
  });
  return Promise.race([opened, ws.closed]);
}

// received waits for n messages that were not taken yet, and takes them.
async function received(name, n) {
  const ws = sockets[name];
  while (ws.inbox.length < n && ws.readyState === WebSocket.OPEN) {
    await new Promise((resolve) => ws.addEventListener("message", resolve, { once: true }));
  }
  return ws.inbox.splice(0, n);
}

// noise returns n bytes that do not compress, others for each seed.
function noise(n, seed) {
  const bytes = new Uint8Array(n);
  let x = seed * 2654435761 + 1;
  for (let i = 0; i < n; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    bytes[i] = x >>> 24;
  }
  return bytes;
}

// same reports whether an ArrayBuffer has these bytes.
function same(buffer, bytes) {
  const got = new Uint8Array(buffer);
  return got.length === bytes.length && got.every((b, i) => b === bytes[i]);
}

// exchange sends a text and noise of each size at once, and returns the sizes of
// those that did not come back as they were.
async function exchange(name, seed, sizes) {
  const texts = sizes.map((n) => "ß".repeat(n / 2) + "x".repeat(n % 2));
  const noises = sizes.map((n) => noise(n, seed));
  sizes.forEach((_, i) => {
    sockets[name].send(texts[i]);
    sockets[name].send(noises[i]);
  });
  const echoes = await received(name, 2 * sizes.length);
  return sizes.filter((_, i) => echoes[2 * i] !== texts[i] || !same(echoes[2 * i + 1], noises[i]));
}

// close closes as the page says, and returns the CloseEvent.
function close(name, code, reason) {
  sockets[name].close(code, reason);
  return sockets[name].closed;
}

// ask sends a text and returns the answer, a text.
async function ask(name, text) {
  sockets[name].send(text);
  return (await received(name, 1))[0];
}
