import { Histogram, TimeChart, short } from "./chart.js";

const $ = (id) => document.getElementById(id);

// ---- Units ------------------------------------------------------------------

function bytes(n) {
  for (const unit of ["B", "kB", "MB"]) {
    if (n < 1000) return `${n < 10 && !Number.isInteger(n) ? n.toFixed(1) : Math.round(n)} ${unit}`;
    n /= 1000;
  }
  return `${n.toFixed(1)} GB`;
}

function time(ms) {
  const digits = (v) => v < 10 && !Number.isInteger(v) ? v.toFixed(1) : String(Math.round(v));
  if (ms < 1) return digits(ms * 1000) + " µs";
  if (ms < 1000) return digits(ms) + " ms";
  return digits(ms / 1000) + " s";
}

const whole = (n) => Math.round(n).toLocaleString("en");
const percent = (n) => `${n < 10 && n > 0 ? n.toFixed(1) : Math.round(n)} %`;

// ---- What the server tells --------------------------------------------------

const span = 120_000; // milliseconds that charts show

let points = []; // of the last two minutes, oldest first
let last;        // the sample of the newest

// toPoint makes rates of two samples. What is not known is null.
function toPoint(sample, before) {
  const seconds = before ? (sample.time - before.time) / 1000 : 0;
  const rate = (of) => seconds > 0 ? Math.max(0, of(sample) - of(before)) / seconds : null;
  const cpu = rate((s) => s.process.cpu), pause = rate((s) => s.process.pause);
  return {
    time: sample.time,
    parked: sample.conns.parked,
    routine: sample.conns.routine,
    pages: sample.conns.pages,
    received: rate((s) => s.traffic.in),
    sent: rate((s) => s.traffic.out),
    plain: rate((s) => s.traffic.plain),
    wire: rate((s) => s.traffic.wire),
    cpu: cpu === null ? null : cpu * 100,
    live: sample.process.live,
    stacks: sample.process.stacks,
    total: sample.process.total,
    goroutines: sample.process.goroutines,
    pause: pause === null ? null : pause * 1000,
    cycles: rate((s) => s.process.gcs),
    mean: sample.rtt.mean || null,
    max: sample.rtt.max || null,
  };
}

function addSample(sample) {
  points.push(toPoint(sample, last));
  last = sample;
  while (points[0].time < sample.time - span - 2000) points.shift();
}

function receive({ welcome, sample, latency, choice }) {
  if (welcome) {
    begin(welcome);
    welcome.history?.forEach(addSample);
  }
  if (sample) {
    addSample(sample);
    showLoad(sample);
    $("people").textContent = sample.conns.pages === 1 ? "Only this page is open" : `${whole(sample.conns.pages)} pages are open`;
  }
  if (choice) showChoice(choice);
  if (latency) showLatency(latency);
  if (sample || welcome) drawAll();
}

// begin starts afresh: this is a new connection, perhaps to a new server.
function begin(welcome) {
  failures = 0;
  myID = welcome.id;
  points = [];
  last = undefined;
  makeStops(welcome.bounds);
  $("sliders").disabled = false;
  show("open", "Live");
  titles.cpu.textContent = `CPU, of ${welcome.processors * 100} %`;
}

// ---- Charts -----------------------------------------------------------------

const titles = {};

const charts = [
  { id: "conns", title: "Connections", format: short, least: 10, series: { parked: "parked", routine: "with goroutine", pages: "pages" } },
  { id: "messages", title: "Messages per second", format: short, least: 10, series: { received: "in", sent: "out" } },
  { id: "bytes", title: "Bytes per second, in and out", format: bytes, least: 1000, series: { plain: "before compression", wire: "on the wire" } },
  { id: "cpu", title: "CPU", format: percent, least: 5, series: { cpu: "of the process" } },
  { id: "memory", title: "Memory", format: bytes, least: 1e6, series: { live: "live heap", stacks: "stacks", total: "total" } },
  { id: "goroutines", title: "Goroutines", format: short, least: 10, series: { goroutines: "goroutines" } },
  { id: "gc", title: "Garbage collection, per second", format: (v) => v.toFixed(v < 10 && v > 0 ? 1 : 0), least: 1, series: { pause: "ms paused", cycles: "cycles" } },
  { id: "rtt", title: "Ping of the pages", format: time, least: 1, series: { mean: "mean", max: "longest" } },
].map(makeChart);

let hovered = null; // time

function makeChart({ id, title, format, least, series }) {
  const card = $("chart").content.cloneNode(true).firstElementChild;
  card.id = `chart-${id}`;
  titles[id] = card.querySelector("h2");
  titles[id].textContent = title;
  const values = Object.values(series).map((name) => {
    const value = document.createElement("b");
    const item = document.createElement("li");
    item.append(name + " ", value);
    card.querySelector(".legend").append(item);
    return value;
  });
  $("charts").append(card);
  const keys = Object.keys(series), canvas = card.querySelector("canvas");
  const chart = new TimeChart(canvas, {
    format, least, span,
    series: keys.map((key) => ({ key })),
    onHover: (at) => { hovered = at; drawAll(); },
  });
  return (now, point) => {
    chart.draw(points, now, hovered === null ? null : point.time);
    const words = keys.map((key) => point[key] == null ? "–" : format(point[key]));
    values.forEach((value, i) => { value.textContent = words[i]; });
    canvas.setAttribute("aria-label", `${title}, last two minutes. ` +
      keys.map((key, i) => `${series[key]}: ${words[i]}`).join(", "));
  };
}

// drawAll draws the charts, and shows their values now or at the time that the
// pointer is over.
function drawAll() {
  if (points.length === 0) return;
  const nearer = (a, b) => Math.abs(b.time - hovered) < Math.abs(a.time - hovered) ? b : a;
  const point = hovered === null ? points.at(-1) : points.reduce(nearer);
  for (const draw of charts) draw(last.time, point);
}

// ---- Latencies --------------------------------------------------------------

const histogram = new Histogram($("histogram"), { format: time, barsPerDecade: 10 });

function showLatency(latency) {
  histogram.draw(latency);
  const none = latency.count === 0;
  for (const value of document.querySelectorAll("#percentiles dd")) {
    const of = value.dataset.of;
    value.textContent = of === "count" ? whole(latency.count) : none ? "–" : time(latency[of]);
  }
  $("histogram").setAttribute("aria-label", none ? "Latency of echoes: none yet" :
    `Latency of ${whole(latency.count)} echoes: half within ${time(latency.p50)}, 99 % within ${time(latency.p99)}, the longest ${time(latency.max)}`);
}

// ---- The load ---------------------------------------------------------------

// A slider has stops, between which it does not stop: most are 1, 2 and 5 times a
// power of ten.
const stops = { conns: [0], rate: [0], size: [0] };
const formats = { conns: whole, rate: whole, size: (n) => `${whole(n)} B` };

let myID;
let seq = 0; // of the last change this page has sent

function makeStops({ maxConns, maxRate, minSize, maxSize }) {
  stops.conns = decades([1, 2, 3, 5, 7], maxConns);
  stops.rate = decades([1, 2, 5], maxRate);
  stops.size = [];
  for (let n = minSize; n < maxSize; n *= 2) stops.size.push(n);
  stops.size.push(maxSize);
  for (const id in stops) $(id).max = stops[id].length - 1;
}

// decades returns 0, the factors times powers of ten up to max, and max.
function decades(factors, max) {
  const all = [0];
  for (let power = 1; power < max; power *= 10) all.push(...factors.map((f) => f * power));
  return [...all.filter((n) => n < max), ...(max > 0 ? [max] : [])];
}

// showChoice shows what was chosen, here or by another page. While a change of this
// page is under way, choices that do not have it yet are not shown: they would move
// the slider back under the hand.
function showChoice(choice) {
  if (moved.size > 0) return;
  if (choice.by === myID && choice.seq === seq) awaits = 0;
  if (Date.now() < awaits) return;
  for (const id in stops) showValue(id, choice[id]);
  $("parked").checked = choice.parked;
  $("compress").checked = choice.compress;
}

function showValue(id, value) {
  const nearer = (a, b) => Math.abs(b - value) < Math.abs(a - value) ? b : a;
  $(id).value = stops[id].indexOf(stops[id].reduce(nearer));
  showWords(id, value);
}

function showWords(id, value) {
  $(`${id}-value`).textContent = formats[id](value);
  $(id).setAttribute("aria-valuetext", formats[id](value));
}

const moved = new Map(); // changes that are not sent yet
let sending;
let awaits = 0; // when to stop waiting for the answer to the last change

// move sends a change: not more than ten times a second.
function move(id, value) {
  moved.set(id, value);
  sending ??= setTimeout(flush, 100);
}

function flush() {
  sending = undefined;
  if (socket.readyState === WebSocket.OPEN) {
    socket.send(JSON.stringify({ ...Object.fromEntries(moved), seq: ++seq }));
    awaits = Date.now() + 1000;
  }
  moved.clear();
}

for (const id in stops) {
  $(id).oninput = () => {
    const value = stops[id][$(id).value];
    showWords(id, value);
    move(id, value);
  };
}

for (const id of ["parked", "compress"]) $(id).onchange = () => move(id, $(id).checked);
$("reset").onclick = () => move("reset", true);
$("controls").onsubmit = (e) => e.preventDefault();

function showLoad({ load, conns }) {
  const progress = $("progress");
  progress.toggleAttribute("data-bad", Boolean(load.error));
  const late = load.behind > 250 ? `, ${time(load.behind)} late: more than this machine can do` : "";
  progress.textContent = load.error || (load.open === 0 ? "No load." :
    `Process ${load.process} has ${whole(load.open)} open. Since the last reset it sent ${whole(load.sent)}, and ${whole(load.received)} came back${late}.`);
  summarize(`${whole(conns.parked)} parked connections, ${whole(conns.routine)} with a goroutine`);
}

// summarize tells screen readers what has changed, but not every moment.
let summarized = 0;
function summarize(words) {
  if ($("summary").textContent === words || Date.now() - summarized < 5000) return;
  summarized = Date.now();
  $("summary").textContent = words;
}

// ---- The connection ---------------------------------------------------------

const firstDelay = 500, longestDelay = 15000; // milliseconds

let socket;
let failures = 0; // in a row
let timer;

function connect() {
  clearInterval(timer);
  $("retry").hidden = true;
  show("connecting", "Connecting…");
  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  const ws = socket = new WebSocket(url);
  ws.onmessage = (e) => receive(JSON.parse(e.data));
  ws.onclose = retry;
}

// retry connects again after a random part of a delay that doubles with every
// failure, so that the pages of a restarted server do not all return at once.
function retry({ code, reason }) {
  $("sliders").disabled = true;
  if (failures === 0 || code !== 1006) $("reason").textContent = why(code, reason);
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
function why(code, reason) {
  switch (code) {
    case 1001: return "The server is going away.";
    case 1006: return navigator.onLine ? "The server cannot be reached." : "This device is offline.";
    default: return `The server closed the connection: ${code} ${reason}`;
  }
}

function show(name, words) {
  $("state").dataset.state = name;
  $("state").textContent = words;
}

connect();
