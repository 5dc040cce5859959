"use strict";

// What the peers in JavaScript share: their arguments, the messages, and what the
// path of a URL asks for. README.md describes it.

const fs = require("node:fs");
const path = require("node:path");
const readline = require("node:readline");

const [role, directory, ...options] = process.argv.slice(2);

const tell = (line) => process.stdout.write(JSON.stringify(line) + "\n");

// corpus yields the messages, text as strings and binary ones as Buffers.
function* corpus() {
  const data = fs.readFileSync(path.join(directory, "data"));
  for (const line of fs.readFileSync(path.join(directory, "messages"), "utf8").trim().split("\n")) {
    const [kind, offset, length] = line.split(" ");
    const part = data.subarray(+offset, +offset + +length);
    yield kind === "text" ? part.toString() : part;
  }
}

// Conn queues what arrives until it is read.
class Conn {
  queue = [];
  pong = "";

  received(message) {
    this.queue.push(message);
    this.wake?.();
  }

  closed(code, reason) {
    this.code = code;
    this.reason = reason;
    this.wake?.();
  }

  // read returns the next message, or undefined after the end.
  async read() {
    while (this.queue.length === 0 && this.code === undefined) {
      await new Promise((resolve) => (this.wake = resolve));
    }
    return this.queue.shift();
  }
}

function same(a, b) {
  return typeof a === "string" || typeof b === "string" ? a === b : Buffer.compare(a, b) === 0;
}

// use does what the path of a URL asks for, and tells what came of it.
async function use(conn, asked) {
  const [, act, code] = asked.split("/");
  const report = { messages: 0 };
  try {
    if (act === "close") conn.close(+code, `Grüße, ${code}`);
    if (act === "ping") conn.ping();
    if (act === "send" || act === "fragments") {
      for (const message of corpus()) {
        conn.send(message, act === "fragments");
        if (!same(await conn.read(), message)) throw new Error(`message ${report.messages} has not come back`);
        report.messages++;
      }
      conn.close(1000, "done");
    }
    for (let message; (message = await conn.read()) !== undefined; report.messages++) {
      if (act === "echo") conn.send(message, false);
    }
  } catch (e) {
    report.error = String(e);
  }
  report.error ??= conn.error;
  tell({ code: conn.code, reason: conn.reason, pong: conn.pong, ...report });
}

// main serves, or connects to the URL on each line of input.
async function main(serve, connect) {
  const lines = readline.createInterface({ input: process.stdin });
  if (role === "server") {
    serve((port) => tell({ port }));
    lines.on("close", () => process.exit(0));
    return;
  }
  for await (const url of lines) await use(await connect(url), new URL(url).pathname);
  process.exit(0);
}

module.exports = { deflate: options.includes("deflate"), limit: 64 << 20, Conn, use, main };
