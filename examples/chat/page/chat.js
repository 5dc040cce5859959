"use strict";

const $ = (id) => document.getElementById(id);
const state = $("state"), log = $("log"), form = $("composer"), nameField = $("name"), text = $("text");

// ---- The connection -------------------------------------------------------

const firstDelay = 500, longestDelay = 15000; // milliseconds

let socket;      // the one in use; events of its predecessors are ignored
let myName;      // as assigned by the server
let lastTime = 0; // of the newest event shown, so that a welcome repeats none
let failures = 0; // in a row
let timer;

function connect() {
  clearInterval(timer);
  $("retry").hidden = true;
  show("connecting", "Connecting…");

  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("name", nameField.value);
  const ws = socket = new WebSocket(url);
  ws.onopen = () => ws === socket && show("open", "Connected");
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
// failure, so that the pages of a restarted server do not all return at once.
// It shows the first reason, and keeps it while the server cannot be reached.
function retry(closed) {
  if (failures === 0 || closed.code !== 1006) $("reason").textContent = why(closed);
  const longest = Math.min(longestDelay, firstDelay * 2 ** failures++);
  const at = Date.now() + longest * (0.5 + Math.random() / 2);
  show("closed", "Disconnected");
  $("retry").hidden = false;
  const tick = () => {
    const left = at - Date.now();
    $("countdown").textContent = `Next try in ${Math.max(1, Math.ceil(left / 1000))} s`;
    if (left <= 0) connect();
  };
  timer = setInterval(tick, 100);
  tick();
}

// why returns the meaning of a close code in words (RFC 6455, Section 7.4.1).
function why({ code, reason }) {
  switch (code) {
    case 1001: return "The server is going away.";
    case 1006: return navigator.onLine ? "The server cannot be reached." : "This device is offline.";
    default: return `The server closed the connection: ${code} ${reason}`;
  }
}

function show(name, words) {
  state.dataset.state = name;
  state.textContent = words;
  $("send").disabled = name !== "open";
}

$("now").onclick = reconnect;
addEventListener("online", () => socket?.readyState === WebSocket.OPEN || reconnect());

// ---- Events from the server -----------------------------------------------

function receive(event) {
  if (event.kind === "welcome") {
    failures = 0;
    myName = event.name;
    nameField.value = myName;
    sessionStorage.setItem("name", myName);
    event.recent?.filter((e) => e.time > lastTime).forEach(receive);
    return;
  }
  if (event.people) showPeople(event.people);
  lastTime = event.time;
  if (event.kind === "message") add(message(event));
  else notice(`${event.name === myName ? "You" : event.name} ${event.kind}`);
}

function showPeople(people) {
  const others = people.filter((name) => name !== myName);
  $("people").textContent = others.length ? `You and ${others.join(", ")}` : "Only you are here";
  $("people").title = people.join(", ");
}

// notice shows words on one line with the notices directly before them.
function notice(words) {
  let line = log.lastElementChild;
  if (line.className !== "notice") line = element("p", "notice");
  line.append(element("span", "", words));
  add(line);
}

// message returns the entry for one message. What people write becomes
// textContent, never markup.
function message({ name, text, time }) {
  const entry = element("div", "entry");
  entry.dataset.name = name;
  entry.classList.toggle("mine", name === myName);
  entry.classList.toggle("same", log.lastElementChild.dataset.name === name);

  const by = element("div", "by");
  const author = element("b", "", name);
  author.style.setProperty("--hue", hue(name));
  const clock = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  by.append(author, ` ${clock}`);
  entry.append(by, element("div", "bubble", text));
  return entry;
}

// hue returns the color of a name, as an angle in degrees.
function hue(name) {
  let h = 0;
  for (const letter of name) h = (h * 31 + letter.codePointAt(0)) % 360;
  return h;
}

function element(tag, className, textContent = "") {
  return Object.assign(document.createElement(tag), { className, textContent });
}

// add shows entry, and scrolls to it if the reader was at the end.
function add(entry) {
  const follow = following || entry.classList.contains("mine");
  if (entry.dataset.name) $("empty").hidden = true;
  log.append(entry);
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

// ---- Input from the reader ------------------------------------------------

form.onsubmit = (e) => {
  e.preventDefault();
  if (!text.value.trim() || socket?.readyState !== WebSocket.OPEN) return;
  socket.send(text.value);
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
  if (nameField.value.trim() !== myName) reconnect();
};

nameField.value = sessionStorage.getItem("name") ?? `Guest ${1 + Math.floor(Math.random() * 999)}`;
connect();
text.focus();
