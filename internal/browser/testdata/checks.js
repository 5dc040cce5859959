"use strict";

// Every check talks to the server of browser_test.go through the browser's
// own WebSocket and throws if something is wrong.

const base = location.href.replace(/^http/, "ws");
const secure = new URLSearchParams(location.search).get("secure");

// Peer is a WebSocket whose events can be awaited.
class Peer {
  constructor(path, protocols = []) {
    this.ws = new WebSocket(new URL(path, base), protocols);
    this.ws.binaryType = "arraybuffer";
    this.queue = [];
    this.wake = () => {};
    this.opened = new Promise((resolve, reject) => {
      this.ws.onopen = resolve;
      this.ws.onerror = () => reject(new Error("the connection failed"));
    });
    this.opened.catch(() => {});
    this.closed = new Promise((resolve) => { this.ws.onclose = (e) => { resolve(e); this.wake(); }; });
    this.ws.onmessage = (e) => { this.queue.push(e.data); this.wake(); };
  }

  // next returns the next message.
  async next() {
    while (!this.queue.length) {
      if (this.ws.readyState === WebSocket.CLOSED) throw new Error("closed before the message");
      await new Promise((resolve) => { this.wake = resolve; });
    }
    return this.queue.shift();
  }

  // echo sends data and returns what comes back.
  async echo(data) {
    this.ws.send(data);
    return this.next();
  }
}

async function open(path, protocols) {
  const peer = new Peer(path, protocols);
  await peer.opened;
  return peer;
}

function equal(got, want, what) {
  if (got !== want) throw new Error(`${what}: got ${brief(got)}, want ${brief(want)}`);
}

function equalBytes(got, want) {
  if (!(got instanceof ArrayBuffer)) throw new Error(`got ${brief(got)}, want an ArrayBuffer`);
  const a = new Uint8Array(got), b = new Uint8Array(want);
  equal(a.length, b.length, "bytes");
  const i = a.findIndex((v, i) => v !== b[i]);
  if (i >= 0) throw new Error(`byte ${i}: got ${a[i]}, want ${b[i]}`);
}

const brief = (v) => typeof v === "string" && v.length > 60 ? `${v.length} characters` : JSON.stringify(v);

function randomBytes(n) {
  const bytes = new Uint8Array(n);
  for (let i = 0; i < n; i += 65536) crypto.getRandomValues(bytes.subarray(i, i + 65536));
  return bytes;
}

async function leave(peer) {
  peer.ws.close(1000);
  const e = await peer.closed;
  equal(e.code, 1000, "close code");
  equal(e.wasClean, true, "clean close");
}

let reports = 0;

// closedAs opens a connection, ends it with end(peer), and returns the
// CloseError that the server saw.
async function closedAs(end) {
  const name = reports++;
  const peer = await open(`report?name=${name}`);
  end(peer);
  await peer.closed;
  return (await fetch(`reported?name=${name}`)).json();
}

// report returns what the server has counted on a connection to /compressed.
async function report(peer) {
  return JSON.parse(await peer.echo("report"));
}

const checks = {
  async "text"() {
    const peer = await open("echo");
    for (const s of ["a", "Grüße, 世界", "😀", "\u0000", "\ufeffx"]) equal(await peer.echo(s), s, "echo");
    await leave(peer);
  },

  async "binary as ArrayBuffer"() {
    const peer = await open("echo");
    const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
    equalBytes(await peer.echo(bytes), bytes);
    equalBytes(await peer.echo(new Blob([bytes])), bytes);
    await leave(peer);
  },

  async "0 bytes"() {
    const peer = await open("echo");
    equal(await peer.echo(""), "", "text");
    equalBytes(await peer.echo(new ArrayBuffer(0)), new ArrayBuffer(0));
    await leave(peer);
  },

  async "lengths around the header's forms"() {
    const peer = await open("echo");
    for (const n of [1, 125, 126, 127, 4095, 4096, 65535, 65536]) {
      const bytes = randomBytes(n);
      equalBytes(await peer.echo(bytes), bytes);
    }
    await leave(peer);
  },

  async "1 MiB"() {
    const peer = await open("echo");
    const text = "0123456789abcdeß".repeat(1 << 16).slice(0, (1 << 20) - (1 << 16));
    equal(await peer.echo(text), text, "text");
    const bytes = randomBytes(1 << 20);
    equalBytes(await peer.echo(bytes), bytes);
    await leave(peer);
  },

  async "one byte over the limit is 1009"() {
    const peer = await open("echo");
    peer.ws.send(new Uint8Array((1 << 20) + 1));
    equal((await peer.closed).code, 1009, "close code");
  },

  async "300 kB that the browser fragments"() {
    const peer = await open("frames");
    const bytes = randomBytes(300000);
    equalBytes(await peer.echo(bytes), bytes);
    const frames = Number(await peer.next());
    if (!(frames > 1)) throw new Error(`the server counted ${frames} frames`);
    await leave(peer);
  },

  async "a message in fragments from the server"() {
    const peer = await open("fragments");
    equal(await peer.next(), "Grüße 😀", "text");
    await leave(peer);
  },

  async "many messages in order"() {
    const peer = await open("echo");
    const n = 5000;
    for (let i = 0; i < n; i++) peer.ws.send(i % 2 ? `${i}` : new Uint32Array([i]));
    for (let i = 0; i < n; i++) {
      const data = await peer.next();
      equal(i % 2 ? Number(data) : new Uint32Array(data)[0], i, "number");
    }
    await leave(peer);
  },

  async "queued messages arrive before the close"() {
    const peer = await open("count");
    for (let i = 0; i < 1000; i++) equal(await peer.next(), `${i}`, "number");
    equal((await peer.closed).code, 1000, "close code");
    equal(peer.queue.length, 0, "messages left");
  },

  async "compression is offered and taken"() {
    const peer = await open("compressed");
    equal(peer.ws.extensions, "permessage-deflate; client_max_window_bits=12", "agreement");
    equal((await report(peer)).Offer, "permessage-deflate; client_max_window_bits", "offer");
    await leave(peer);
  },

  async "compressed JSON"() {
    const peer = await open("compressed");
    for (let i = 0; i < 500; i++) {
      const json = JSON.stringify({ id: i, user: `user ${i % 7}`, price: Math.random(), text: "Grüße, 世界 😀", tags: ["a", "b"] });
      equal(await peer.echo(json), json, "echo");
    }
    const s = await report(peer);
    if (!(s.CompressedIn < s.InflatedIn / 3)) throw new Error(`${s.InflatedIn} bytes came in ${s.CompressedIn}`);
    if (!(s.CompressedOut < s.DeflatedOut / 3)) throw new Error(`${s.DeflatedOut} bytes left in ${s.CompressedOut}`);
    await leave(peer);
  },

  async "compressed 1 MiB"() {
    const peer = await open("compressed");
    const text = "0123456789abcdeß".repeat(1 << 16).slice(0, (1 << 20) - (1 << 16));
    const bytes = randomBytes(1 << 20);
    for (let i = 0; i < 3; i++) {
      equal(await peer.echo(text), text, "text");
      equalBytes(await peer.echo(bytes), bytes);
    }
    await leave(peer);
  },

  async "compressed 0 bytes"() {
    const peer = await open("compressed");
    for (let i = 0; i < 3; i++) {
      equal(await peer.echo(""), "", "text");
      equalBytes(await peer.echo(new ArrayBuffer(0)), new ArrayBuffer(0));
      equal(await peer.echo("in between, in between"), "in between, in between", "text");
    }
    await leave(peer);
  },

  async "compression without context"() {
    const peer = await open("compressed?context=no");
    const agreed = peer.ws.extensions.split("; ");
    for (const name of ["server_no_context_takeover", "client_no_context_takeover"]) {
      equal(agreed.includes(name), true, name);
    }
    const json = JSON.stringify(Array.from({ length: 100 }, (_, i) => ({ id: i, name: `name ${i}` })));
    for (let i = 0; i < 20; i++) equal(await peer.echo(json), json, "echo");
    const s = await report(peer);
    if (!(s.CompressedIn < s.InflatedIn / 2)) throw new Error(`${s.InflatedIn} bytes came in ${s.CompressedIn}`);
    await leave(peer);
  },

  async "subprotocol in the server's order"() {
    const peer = await open("subprotocol", ["chat.v1", "chat.v2"]);
    equal(peer.ws.protocol, "chat.v2", "subprotocol");
    equal(await peer.next(), "chat.v2", "what the server thinks");
    await leave(peer);
  },

  async "no common subprotocol"() {
    const peer = new Peer("subprotocol", ["soup"]);
    equal((await peer.closed).code, 1006, "close code"); // browsers require a subprotocol in the response
  },

  async "ping with nobody reading"() {
    const peer = await open("ping");
    equal(await peer.next(), "pong", "answer");
    equal(await peer.echo("and on"), "and on", "echo");
    await leave(peer);
  },

  async "close code and reason from the server"() {
    for (const [code, reason] of [[1000, ""], [1001, "going away"], [1008, "nein, Grüße"], [1012, ""], [3000, "x".repeat(123)], [4999, "😀"]]) {
      const peer = await open(`close?${new URLSearchParams({ code, reason })}`);
      const e = await peer.closed;
      equal(e.code, code, "code");
      equal(e.reason, reason, "reason");
      equal(e.wasClean, true, "clean close");
    }
  },

  async "close code and reason from the page"() {
    const text = "schön war's " + "x".repeat(110);
    for (const [code, reason] of [[1000, ""], [3456, "bye"], [4000, text]]) {
      const seen = await closedAs((peer) => peer.ws.close(code, reason));
      equal(seen.Code, code, "code");
      equal(seen.Reason, reason, "reason");
      equal(seen.Received && seen.Sent, true, "both Close frames");
    }
  },

  async "close without a code is 1005"() {
    equal((await closedAs((peer) => peer.ws.close())).Code, 1005, "code");
  },

  async "a page that is left closes with 1001"() {
    // The browser may drop the connection without sending its Close frame.
    let seen;
    for (let tries = 0; tries < 5 && (!seen || seen.Code === 1006); tries++) {
      const name = reports++;
      const frame = document.createElement("iframe");
      const ready = new Promise((resolve) => addEventListener("message", resolve, { once: true }));
      frame.src = `leave.html?name=${name}`;
      document.documentElement.append(frame);
      await ready;
      frame.remove();
      seen = await (await fetch(`reported?name=${name}`)).json();
    }
    equal(seen.Code, 1001, "code");
  },

  async "how a handler ends is the close code"() {
    for (const [end, code] of [["nil", 1000], ["code", 4321], ["error", 1011], ["panic", 1011]]) {
      const peer = await open(`end?how=${end}`);
      equal((await peer.closed).code, code, end);
    }
  },

  async "refused origin"() {
    const peer = new Peer("refused");
    const e = await peer.closed;
    equal(e.code, 1006, "code");
    equal((await (await fetch("refusal")).json()), 403, "status");
  },

  async "refusal before the handshake"() {
    equal((await new Peer("missing").closed).code, 1006, "code");
  },

  async "TLS"() {
    const peer = await open(secure);
    equal(await peer.echo("secret"), "secret", "text");
    const bytes = randomBytes(300000);
    equalBytes(await peer.echo(bytes), bytes);
    for (let i = 0; i < 500; i++) peer.ws.send(`${i}`);
    for (let i = 0; i < 500; i++) equal(await peer.next(), `${i}`, "number");
    await leave(peer);
  },
};

// run runs a check and returns what is wrong, or "".
async function run(check) {
  const late = new Promise((_, reject) => setTimeout(reject, 60000, new Error("not in time")));
  try {
    await Promise.race([check(), late]);
    return "";
  } catch (e) {
    return e.message || String(e);
  }
}

(async () => {
  const results = {};
  for (const [name, check] of Object.entries(checks)) results[name] = await run(check);
  await fetch("results", { method: "POST", body: JSON.stringify(results) });
})();
