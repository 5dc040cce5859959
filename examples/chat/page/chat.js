"use strict";

const $ = (id) => document.getElementById(id);
const state = $("state"), log = $("log"), form = $("composer"), nameField = $("name"), text = $("text");

// ---- The room in the address ------------------------------------------------

const rule = "a room's name has 1 to 32 letters, digits, - and _";

let room;         // the name of the one that this page shows
let lastTime = 0; // of its newest event shown, so that a welcome repeats none

// roomName returns the name of the room that somebody calls words, or undefined
// if a room cannot be called so. The server has the same rule.
function roomName(words) {
  const name = words.trim().replace(/^#/, "").normalize().toLowerCase();
  return /^[\p{L}\p{Nd}_-]{1,32}$/u.test(name) ? name : undefined;
}

// wantedRoom returns what the address says after #, or "lobby".
function wantedRoom() {
  const words = location.hash.slice(1) || "lobby";
  try {
    return decodeURIComponent(words);
  } catch {
    return words; // a % that encodes nothing
  }
}

// enter goes to the room in the address.
function enter() {
  const wanted = wantedRoom(), name = roomName(wanted) ?? "lobby";
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  if (name !== room) {
    room = name;
    clear();
    drawer.close();
    reconnect();
  }
  if (!roomName(wanted)) warn(`A room cannot be called “${wanted.slice(0, 40)}”: ${rule}. This is the lobby.`);
}

// clear empties what the page shows of a room.
function clear() {
  lastTime = 0;
  following = true;
  log.replaceChildren($("empty"));
  $("empty").hidden = $("latest").hidden = true;
  $("room").textContent = $("here").textContent = `#${room}`;
  document.title = `#${room} · Chat`;
  showPeople([]);
  $("company").textContent = "\u00a0";
  showRoom({ name: room, ...listed.get(room) });
  for (const link of rooms.querySelectorAll("a")) showCurrent(link);
}

addEventListener("hashchange", enter);

// ---- The connection ---------------------------------------------------------

const firstDelay = 500, longestDelay = 15000; // milliseconds

let socket;       // the one in use; events of its predecessors are ignored
let wantedName = sessionStorage.getItem("name") ?? `Guest ${1 + Math.floor(Math.random() * 999)}`;
let myName;       // as assigned by the server
let hasList;      // the socket in use has sent the list of rooms
let failures = 0; // in a row
let timer;

function connect() {
  clearInterval(timer);
  $("retry").hidden = true;
  show("connecting", "Connecting…");

  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.search = new URLSearchParams({ room, name: wantedName });
  url.hash = "";
  const ws = socket = new WebSocket(url);
  hasList = false;
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
    case 1013: return reason; // no place in this room
    default: return `The server closed the connection: ${code} ${reason}`;
  }
}

function show(name, words) {
  state.dataset.state = name;
  state.firstChild.textContent = words;
  $("send").disabled = name !== "open";
}

$("now").onclick = reconnect;
addEventListener("online", () => socket?.readyState === WebSocket.OPEN || reconnect());

// ---- Events from the server -------------------------------------------------

function receive(event) {
  switch (event.kind) {
    case "rooms": return showRooms(event.rooms ?? []);
    case "welcome": return welcome(event);
    case "message": add(message(event)); see(event.number); break;
    case "joined": showPerson(event.name); notice(event); break;
    case "left": hidePerson(event.name); notice(event); break;
  }
  showCompany();
  lastTime = event.time;
}

// welcome begins a stay in the room. Its messages are not read aloud: they are
// old.
function welcome({ name, people, recent = [] }) {
  failures = 0;
  myName = nameField.value = name;
  sessionStorage.setItem("name", wantedName);
  showPeople(people);
  log.ariaLive = "off";
  recent.filter((e) => e.time > lastTime).forEach(receive);
  setTimeout(() => { log.ariaLive = "polite"; }, 100);
  see(recent.at(-1)?.number ?? 0);
  $("empty").hidden = recent.length > 0;
  showCompany();
  show("open", "Connected");
}

// ---- Rooms ------------------------------------------------------------------

const rooms = $("rooms");
const listed = new Map(); // by name: the latest listing of each room, and its line in the list
const seen = JSON.parse(sessionStorage.getItem("seen") ?? "{}"); // of rooms visited in this tab: the number of the last message shown
const byName = new Intl.Collator(undefined, { numeric: true }).compare;

// see notes that the messages up to number have been shown.
function see(number) {
  seen[room] = number;
  sessionStorage.setItem("seen", JSON.stringify(seen));
}

// showRooms shows the rooms that have changed. The first list on a connection
// has all rooms: those of before that are not in it are gone.
function showRooms(changed) {
  if (!hasList) {
    const names = new Set(changed.map(({ name }) => name));
    for (const name of [...listed.keys()]) if (!names.has(name)) showRoom({ name });
    hasList = true;
  }
  changed.forEach(showRoom);
  const news = [...listed.values()].some(({ line }) => line.dataset.unread);
  $("news").hidden = !news;
  $("menu").classList.toggle("news", news);
}

// showRoom shows one room in the list, or removes it when nobody is in it. The
// room of this page stays.
function showRoom({ name, people = 0, messages = 0 }) {
  let line = listed.get(name)?.line;
  if (people === 0 && name !== room) {
    if (line?.contains(document.activeElement)) rooms.querySelector("[aria-current]").focus();
    line?.remove();
    listed.delete(name);
    return;
  }
  line ??= newRoom(name);
  listed.set(name, { name, people, messages, line });
  if (name !== room && messages < seen[name]) seen[name] = 0; // made anew since
  const unread = name === room ? 0 : messages - (seen[name] ?? messages);
  line.dataset.unread = unread || "";
  line.querySelector(".unread").textContent = unread > 99 ? "99+" : unread || "";
  line.querySelector(".unread + .unseen").textContent = unread ? " unread," : "";
  line.querySelector(".number").textContent = people;
}

// newRoom adds a room to the list, sorted by name.
function newRoom(name) {
  const line = element("li"), link = element("a");
  link.href = `#${encodeURIComponent(name)}`;
  link.dataset.name = name;
  link.append(element("bdi", "", `#${name}`), element("span", "unseen", ","), element("b", "unread"), element("span", "unseen"),
    element("span", "number"), element("span", "unseen", " people"));
  line.append(link);
  showCurrent(link);
  insert(rooms, line, name);
  return line;
}

function showCurrent(link) {
  if (link.dataset.name === room) link.ariaCurrent = "page";
  else link.removeAttribute("aria-current");
}

// insert adds a line to a list that is sorted by name.
function insert(list, line, name) {
  line.dataset.name = name;
  list.insertBefore(line, [...list.children].find((other) => byName(other.dataset.name, name) > 0) ?? null);
}

// Arrows move in the list of rooms; Tab does too.
rooms.onkeydown = (e) => {
  const links = [...rooms.querySelectorAll("a")], at = links.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 }[e.key];
  if (to === undefined) return;
  e.preventDefault();
  links[to]?.focus();
};

$("go").onsubmit = (e) => {
  e.preventDefault();
  const name = roomName($("wanted").value);
  $("problem").hidden = name !== undefined;
  $("problem").textContent = name ? "" : `Choose another name: ${rule}.`;
  if (!name) return;
  $("wanted").value = "";
  location.hash = encodeURIComponent(name);
  drawer.close();
  text.focus();
};

// ---- People -----------------------------------------------------------------

const people = new Map(); // by name: the line of each person in the list

function showPeople(names) {
  people.clear();
  $("people").replaceChildren();
  for (const name of names.toSorted(byName)) $("people").append(person(name));
}

function showPerson(name) {
  if (!people.has(name)) insert($("people"), person(name), name);
}

function hidePerson(name) {
  people.get(name)?.remove();
  people.delete(name);
}

// person returns a new line for the list of people.
function person(name) {
  const line = element("li"), who = element("bdi", "", name);
  line.dataset.name = name;
  line.style.setProperty("--hue", hue(name));
  line.append(who);
  if (name === myName) line.append(element("span", "", " (you)"));
  people.set(name, line);
  return line;
}

function showCompany() {
  const others = people.size - 1;
  $("count").textContent = people.size;
  $("company").textContent = others > 1 ? `You and ${others} others` : others ? "You and 1 other" : "Only you are here";
}

// On a narrow page, the lists are in a dialog.
const drawer = $("drawer"), side = $("side");
$("menu").onclick = () => {
  drawer.append(side);
  drawer.showModal();
};
$("shut").onclick = () => drawer.close();
drawer.onclose = () => document.body.prepend(side);
rooms.onclick = () => drawer.close();
matchMedia("(min-width: 48rem)").onchange = (e) => e.matches && drawer.close();

// ---- The log ----------------------------------------------------------------

let crowd; // who came and went since the last message: a line of the log

// notice says that somebody else joined or left, in one line with those who did
// so directly before. It is not read aloud.
function notice({ kind, name }) {
  if (name === myName) return;
  if (!crowd || crowd.line !== log.lastElementChild) {
    crowd = { line: element("p", "notice"), joined: new Set(), left: new Set() };
    crowd.line.ariaLive = "off";
  }
  const [to, from] = kind === "joined" ? [crowd.joined, crowd.left] : [crowd.left, crowd.joined];
  if (!from.delete(name)) to.add(name);
  crowd.line.textContent = ["joined", "left"].filter((verb) => crowd[verb].size > 0)
    .map((verb) => `${enumerate(crowd[verb])} ${verb}`).join(" · ");
  add(crowd.line);
}

// enumerate returns up to three names, or two and the number of the others. Each
// is isolated from the direction in which the others are written.
function enumerate(names) {
  const some = [...names].slice(0, names.size > 3 ? 2 : 3).map((name) => `\u2068${name}\u2069`);
  if (names.size > 3) some.push(`${names.size - 2} others`);
  return new Intl.ListFormat("en-GB").format(some);
}

// warn shows words to the reader of this page alone.
function warn(words) {
  const line = element("p", "notice warning", words);
  line.role = "alert";
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
  const author = element("bdi", "", name);
  author.style.setProperty("--hue", hue(name));
  const clock = new Date(time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  by.append(author, ` ${clock}`);
  const bubble = element("div", "bubble", text);
  bubble.dir = "auto";
  entry.append(by, bubble);
  return entry;
}

// hue returns the color of a name, as an angle in degrees.
function hue(name) {
  let h = 0;
  for (const letter of name) h = (h * 31 + letter.codePointAt(0)) % 360;
  return h * 137 % 360; // like names get unlike colors
}

function element(tag, className = "", textContent = "") {
  return Object.assign(document.createElement(tag), { className, textContent });
}

const maxEntries = 500; // in the log

// add shows entry, and scrolls to it if the reader was at the end.
function add(entry) {
  const follow = following || entry.classList.contains("mine");
  if (entry.dataset.name) $("empty").hidden = true;
  log.append(entry);
  if (log.children.length > maxEntries + 1) {
    log.children[1].remove();
    log.children[1].classList.remove("same"); // who wrote it stood above
  }
  if (follow) toEnd();
  else $("latest").hidden = false;
}

let following = true; // the reader is at the end and stays there
let shape;            // of the log when it was last scrolled

function toEnd() {
  log.scrollTop = log.scrollHeight;
  shape = shapeOfLog();
}

function shapeOfLog() {
  return [log.clientWidth, log.clientHeight, log.scrollHeight].join();
}

// A log that has changed its shape is scrolled by the browser, not the reader.
log.onscroll = () => {
  if (following && shape !== shapeOfLog()) return toEnd();
  shape = shapeOfLog();
  following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  if (following) $("latest").hidden = true;
};
new ResizeObserver(() => following && toEnd()).observe(log);
$("latest").onclick = () => {
  toEnd();
  text.focus();
};

// ---- Input from the reader --------------------------------------------------

form.onsubmit = (e) => {
  e.preventDefault();
  if (!text.value.trim() || state.dataset.state !== "open") return;
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
  if (nameField.value.trim() === myName) return;
  wantedName = nameField.value;
  reconnect();
};

nameField.value = wantedName;
enter();
text.focus();
