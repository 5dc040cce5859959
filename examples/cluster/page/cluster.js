"use strict";

const $ = (id) => document.getElementById(id);
const state = $("state"), log = $("log"), form = $("composer"), nameField = $("name"), text = $("text");
const room = new URLSearchParams(location.search).get("room") || "lobby";

// ---- The connection ---------------------------------------------------------

const firstDelay = 300, longestDelay = 15000; // milliseconds
const patience = 15000;                        // without an answer to a message

let socket;       // the one in use; events of its predecessors are ignored
let joined;       // the server sends messages as they come, and takes ours
let myName;
let node, before; // that serves the page, and that did so before
let last = 0;     // the sequence after which the page resumes
let caught;       // messages since the page connected, until it has joined
let gap;          // they are not all there are
let heard;        // when the server said something
let failures = 0; // in a row
let timer;

function connect() {
  clearInterval(timer);
  $("retry").hidden = true;
  show("connecting", "Connecting…");
  myName = nameField.value;

  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = new URLSearchParams({ name: myName, room, after: last });
  const ws = socket = new WebSocket(url);
  joined = gap = false;
  caught = 0;
  heard = Date.now();
  ws.onmessage = (e) => ws === socket && receive(JSON.parse(e.data));
  ws.onclose = (e) => ws === socket && retry(e);
}

// reconnect replaces the connection, if there is one, by a new one.
function reconnect() {
  const old = socket;
  socket = undefined;
  old?.close(1000);
  failures = 0;
  connect();
}

// retry connects again after a random part of a delay that doubles with every
// failure: the pages of a node that has died do not all arrive at once elsewhere.
function retry(closed) {
  joined = false;
  if (failures === 0 || closed.code !== 1006) $("reason").textContent = why(closed);
  const at = Date.now() + Math.random() * Math.min(longestDelay, firstDelay * 2 ** failures++);
  show("closed", "Disconnected");
  $("retry").hidden = false;
  const tick = () => {
    const left = at - Date.now();
    $("countdown").textContent = `Next try in ${Math.max(1, Math.ceil(left / 1000))} s`;
    if (left <= 0) connect();
  };
  timer = setInterval(tick, 50);
  tick();
}

// why returns the meaning of a close code in words (RFC 6455, Section 7.4.1).
function why({ code, reason }) {
  switch (code) {
    case 1006: return navigator.onLine ? `${node ?? "The server"} cannot be reached.` : "This device is offline.";
    case 1008: return reason ? `${node} closed the connection: ${reason}.` : `${node} closed the connection: this page did not keep up.`;
    case 1012: return `${node} restarts.`;
    case 1013: return `${node} does not reach the messages. Are most servers of NATS there?`;
    default: return `${node ?? "The server"} closed the connection: ${code} ${reason}`;
  }
}

function show(name, words) {
  state.dataset.state = name;
  state.textContent = words;
}

$("now").onclick = reconnect;
addEventListener("online", () => socket?.readyState === WebSocket.OPEN || reconnect());

// ---- Events from the server -------------------------------------------------

function receive(event) {
  heard = Date.now();
  switch (event.kind) {
    case "welcome": return welcome(event);
    case "joined": return arrive(event);
    case "gap": return startAnew();
    case "people": return showPeople(event);
    case "message": return take(event);
    case "refused": return refused(outbox.get(event.id));
  }
}

function welcome(event) {
  before = node;
  node = event.node;
  document.documentElement.style.setProperty("--hue", hue(node));
  show("connecting", `Joining on ${node}…`);
  if (event.control && !control) watchNodes();
  showNodes();
}

// arrive begins what a page does that has all there is: it says what it has missed,
// and sends what no answer has come to. If that was published nevertheless, it has
// come by now, and is not in the outbox.
function arrive({ seq }) {
  joined = true;
  failures = 0;
  last = Math.max(last, seq);
  show("open", `On ${node}`);
  if (before && !gap) {
    const way = before === node ? `Back on ${node}` : `Moved from ${before} to ${node}`;
    const done = caught ? `caught up with ${caught} message${caught === 1 ? "" : "s"}` : "there was no message meanwhile";
    tell("moved", `${way}, nothing missed: ${done}.`);
  }
  for (const m of outbox.values()) if (m.pending) transmit(m);
}

// startAnew forgets what the page knows: not all that it has missed is kept.
function startAnew() {
  gap = true;
  last = 0;
  counts.clear();
  while (log.children.length > 1) log.lastElementChild.remove();
  tell("gap", "Some messages that this page has missed are no longer kept. It starts from now.");
}

function tell(news, words) {
  $("moved").dataset.news = news;
  $("moved").textContent = words;
}

let twice = 0, again = 0;     // messages that came twice; those that were sent twice
const known = new Set();      // ids of the messages that came last
const mostKnown = 2000;

// take takes a message. Its sequence says whether the server has sent it before. One
// that a page has sent again after minutes, because it did not know that it was
// published, has another sequence, and the same id.
function take({ seq, time, entry }) {
  if (!joined) caught++;
  if (seq <= last) return void (twice++, showTally());
  last = seq;
  if (entry.id && known.has(entry.id)) return void (again++, showTally());
  known.add(entry.id);
  if (known.size > mostKnown) known.delete(known.values().next().value);
  const mine = outbox.get(entry.id);
  if (mine) settle(mine);
  if (entry.run) count(entry, seq);
  else add(message(entry, time, seq));
}

let people = { counts: {}, names: [] };

function showPeople(event) {
  people = { counts: event.counts ?? {}, names: event.names ?? [] };
  showNodes();
}

const over = ["killed", "stopped", "failed"];
const stateOf = (name) => nodes.nodes.find((n) => n.name === name)?.state ?? "known";

// showNames shows who is here. Those on a node that has just been killed are listed
// by NATS for some seconds more.
function showNames() {
  const names = people.names.filter((p) => !over.includes(stateOf(p.node)));
  const total = Object.entries(people.counts).reduce((sum, [name, n]) => sum + (over.includes(stateOf(name)) ? 0 : n), 0);
  const others = names.map((p) => p.name);
  if (others.includes(myName)) others.splice(others.indexOf(myName), 1);
  const more = total > names.length ? ` and ${total - names.length} more` : "";
  $("people").textContent = others.length ? `${total} here: you, ${others.join(", ")}${more}` : "Only you are here";
  $("people").title = names.map((p) => `${p.name} (${p.node})`).join(", ");
}

// ---- Messages ---------------------------------------------------------------

// message returns the entry for one message. What people write becomes
// textContent, never markup.
function message({ name, node, text }, time, seq) {
  const entry = element("div", "entry");
  entry.dataset.name = `${name} ${node}`;
  entry.classList.toggle("mine", name === myName);
  entry.classList.toggle("same", log.lastElementChild.dataset.name === entry.dataset.name);

  const by = element("div", "by");
  const author = element("b", "", name || "—");
  author.style.setProperty("--hue", hue(node ?? ""));
  const clock = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  by.append(author, ` ${clock}`);
  if (node) by.append(` · ${node}`);
  const bubble = element("div", "bubble", text);
  if (seq) {
    bubble.title = `Number ${seq} of the stream, taken by ${node}`;
    by.append(` · ${short(seq)}`);
  }
  entry.append(by, bubble);
  return entry;
}

// short returns the last digits of a sequence. The first message of a stream has the
// time in microseconds, and those that follow count on.
function short(seq) {
  return `…${String(seq).slice(-6)}`;
}

// hue returns the color of a node, as an angle in degrees.
function hue(name) {
  const number = /\d+$/.exec(name);
  if (number) return (150 + 125 * number[0]) % 360;
  let h = 0;
  for (const letter of name) h = (h * 31 + letter.codePointAt(0)) % 360;
  return h;
}

function element(tag, className = "", textContent = "") {
  return Object.assign(document.createElement(tag), { className, textContent });
}

// add shows entry, and scrolls to it if the reader was at the end.
function add(entry) {
  const follow = following || entry.classList.contains("mine");
  $("empty").hidden = true;
  const waiting = log.querySelector(".pending, .failed");
  if (waiting && !entry.matches(".pending, .failed")) waiting.before(entry);
  else log.append(entry);
  if (log.children.length > 500) log.children[1].remove();
  if (follow) toEnd();
  else $("latest").hidden = false;
}

let following = true; // the reader is at the end and stays there
const toEnd = () => { log.scrollTop = log.scrollHeight; };
log.onscroll = () => {
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (following) $("latest").hidden = true;
};
new ResizeObserver(() => following && toEnd()).observe(log);
$("latest").onclick = toEnd;

// ---- What this page sends ---------------------------------------------------

const outbox = new Map(); // by id: what has not come back with a sequence

// post sends a message, which is pending until it comes back.
function post(m) {
  m.id = randomID();
  m.pending = true;
  outbox.set(m.id, m);
  if (m.text) {
    m.entry = message({ name: myName, text: m.text }, Date.now());
    m.entry.classList.add("mine", "pending");
    add(m.entry);
  }
  if (joined) transmit(m);
}

function transmit(m) {
  m.at = Date.now();
  socket.send(JSON.stringify({ id: m.id, text: m.text, run: m.run, n: m.n }));
}

// settle ends the wait for a message, which has come back and is shown as such.
function settle(m) {
  outbox.delete(m.id);
  m.entry?.remove();
}

// refused marks a message that was not published. One of a count is sent again by
// the next tick, others when the reader wants it.
function refused(m) {
  if (!m) return;
  m.pending = false;
  if (!m.entry) return;
  m.entry.classList.replace("pending", "failed");
  const line = element("div", "again", "Not sent: NATS does not take it. ");
  const button = Object.assign(element("button", "", "Retry"), { type: "button" });
  button.onclick = () => {
    line.remove();
    m.entry.classList.replace("failed", "pending");
    m.pending = true;
    if (joined) transmit(m);
  };
  line.append(button);
  m.entry.append(line);
}

function randomID() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

// A server that is gone without a word says nothing to what it is sent.
setInterval(() => {
  const waits = [...outbox.values()].some((m) => m.pending && Date.now() - m.at > patience);
  if (joined && waits && Date.now() - heard > patience) reconnect();
}, 1000);

form.onsubmit = (e) => {
  e.preventDefault();
  if (!text.value.trim()) return;
  post({ text: text.value.trim() });
  text.value = "";
  text.focus();
};

text.onkeydown = (e) => {
  if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
    e.preventDefault();
    form.requestSubmit();
  }
};

nameField.onkeydown = (e) => {
  if (e.key === "Enter") {
    e.preventDefault();
    text.focus();
  }
};

nameField.onchange = () => {
  nameField.value = cleanName(nameField.value) || myName;
  if (nameField.value === myName) return;
  sessionStorage.setItem("name", nameField.value);
  reconnect();
};

// cleanName returns what a server takes as a name.
function cleanName(s) {
  return [...s.replace(/\p{C}/gu, "").replace(/\s+/g, " ").trim()].slice(0, 24).join("").trim();
}

// ---- Counting ---------------------------------------------------------------

const inFlight = 25; // numbers without an answer, at most
let run, number, ticker;

// A count is a series of numbers that one page sends. Each page looks whether any
// is missing, or comes twice.
const counts = new Map(); // by run: first, next (all before it have come) and beyond (those that have come after it)

$("talk").onclick = () => {
  const talks = $("talk").getAttribute("aria-pressed") !== "true";
  $("talk").setAttribute("aria-pressed", talks);
  clearInterval(ticker);
  if (!talks) return;
  run = randomID();
  number = 0;
  ticker = setInterval(talk, 150);
};

// talk sends the next number, unless many are under way, and those again that were
// refused.
function talk() {
  const mine = [...outbox.values()].filter((m) => m.run);
  for (const m of mine.filter((m) => !m.pending && joined)) {
    m.pending = true;
    transmit(m);
  }
  if (mine.length < inFlight) post({ text: "", run, n: ++number });
}

// count takes a number. The first that a page sees of a count may be any.
function count({ run, n, name, node }, seq) {
  let c = counts.get(run);
  if (!c) {
    c = { first: n, next: n, beyond: new Set(), line: element("p", "notice count") };
    c.line.append(element("b"), element("span"));
    c.line.dataset.name = run;
    counts.set(run, c);
    add(c.line);
  }
  if (n >= c.next && !c.beyond.has(n)) c.beyond.add(n);
  else if (n >= c.first) twice++;
  while (c.beyond.delete(c.next)) c.next++;
  const [author, words] = c.line.children;
  author.textContent = name;
  author.style.setProperty("--hue", hue(node));
  words.textContent = ` counts from ${c.first} to ${c.next - 1} · ${node} · ${short(seq)}`;
  showTally();
}

// missing returns how many numbers have not come though later ones have.
function missing() {
  let sum = 0;
  for (const { next, beyond } of counts.values())
    if (beyond.size) sum += Math.max(...beyond) + 1 - next - beyond.size;
  return sum;
}

function showTally() {
  const gone = missing();
  let words = `${gone} missing, ${twice} twice`;
  if (again) words += `, ${again} sent again`;
  $("tally").textContent = words;
  $("tally").dataset.good = gone + twice === 0;
}

// ---- The nodes --------------------------------------------------------------

let control;                      // the connection to the parent of the nodes, if there is one
let nodes = { nodes: [], kills: false };

// watchNodes is told what the nodes are whenever that changes.
function watchNodes() {
  const url = new URL("control", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  control = new WebSocket(url);
  control.onmessage = (e) => {
    nodes = JSON.parse(e.data);
    showNodes();
  };
  control.onclose = () => {
    control = undefined; // the next welcome begins again
    nodes = { nodes: [], kills: false };
    showNodes();
  };
}

const cards = new Map(); // by name

// showNodes shows the nodes that there are, or those on which somebody is.
function showNodes() {
  showNames();
  const names = new Set([...nodes.nodes.map((n) => n.name), ...Object.keys(people.counts), ...(node ? [node] : [])]);
  for (const name of [...names].sort()) {
    if (!cards.has(name)) cards.set(name, card(name));
    const { item, words, button } = cards.get(name);
    const focused = item.contains(document.activeElement) && document.activeElement.className;
    $("nodes").append(...(item.isConnected ? [] : [item]));
    const known = stateOf(name);
    const n = people.counts[name] ?? 0;
    item.dataset.state = known;
    item.classList.toggle("here", name === node);
    words.textContent = ["running", "known"].includes(known) ? `${n} here` : known;
    for (const [does, states] of [["kill", ["starting", "running", "stopping"]], ["stop", ["starting", "running"]], ["start", over]])
      button[does].hidden = !nodes.kills || !states.includes(known);
    if (button[focused]?.hidden) (item.querySelector("button:not([hidden])") ?? text).focus(); // the focus stays in the card
  }
  for (const [name, { item }] of cards) if (!names.has(name)) item.remove(), cards.delete(name);
}

// card returns the elements that show a node.
function card(name) {
  const item = element("li", "node"), p = element("p"), words = element("span"), buttons = element("div");
  item.style.setProperty("--hue", hue(name));
  item.dataset.node = name;
  p.append(element("b", "", name), words);
  const button = {};
  for (const does of ["kill", "stop", "start"]) {
    button[does] = Object.assign(element("button", does, does[0].toUpperCase() + does.slice(1)), { type: "button", hidden: true });
    button[does].setAttribute("aria-label", `${does} ${name}`);
    button[does].onclick = () => control?.readyState === WebSocket.OPEN && control.send(JSON.stringify({ do: does, node: name }));
    buttons.append(button[does]);
  }
  item.append(p, buttons);
  return { item, words, button };
}

$("room").textContent = room;
document.title = `${room} · Chat over several servers`;
nameField.value = cleanName(sessionStorage.getItem("name") ?? "") || `Guest ${1 + Math.floor(Math.random() * 999)}`;
connect();
text.focus();
