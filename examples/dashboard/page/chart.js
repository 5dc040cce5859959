// Charts that are drawn on a canvas. Colors are those of the style sheet, sizes
// are in CSS pixels, and the canvas has as many pixels as the screen shows.

const font = "11px system-ui, sans-serif";
const dashes = [[], [5, 5], [2, 3]]; // of the series
const margin = { left: 54, right: 8, top: 8, bottom: 20 };

// A Surface is a canvas that is drawn anew when its size, the pixels of the screen
// or the color scheme change.
class Surface {
  constructor(canvas) {
    this.canvas = canvas;
    this.pen = canvas.getContext("2d");
    new ResizeObserver(() => this.refresh()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.refresh());
    this.watchPixels();
  }

  watchPixels() {
    const changed = () => { this.refresh(); this.watchPixels(); };
    matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener("change", changed, { once: true });
  }

  // refresh clears the canvas and draws it.
  refresh() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio;
    const [columns, rows] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== columns) this.canvas.width = columns;
    if (this.canvas.height !== rows) this.canvas.height = rows;
    const style = getComputedStyle(this.canvas);
    this.color = (name) => style.getPropertyValue(name);
    this.plot = {
      left: margin.left, top: margin.top,
      right: width - margin.right, bottom: height - margin.bottom,
    };
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.pen.clearRect(0, 0, width, height);
    this.pen.font = font;
    if (this.plot.right > this.plot.left && this.plot.bottom > this.plot.top) this.paint();
  }

  text(words, x, y, align, baseline) {
    this.pen.fillStyle = this.color("--faint");
    this.pen.textAlign = align;
    this.pen.textBaseline = baseline;
    this.pen.fillText(words, x, y);
  }

  line(x1, y1, x2, y2, color) {
    this.pen.strokeStyle = this.color(color);
    this.pen.lineWidth = 1;
    this.pen.beginPath();
    this.pen.moveTo(x1, y1);
    this.pen.lineTo(x2, y2);
    this.pen.stroke();
  }
}

// top returns the smallest of 1, 2 and 5 times a power of ten that is not less
// than value.
function top(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value * (1 - 1e-9));
}

// A TimeChart draws values of the last time as lines. Its series are {key, fill}:
// a point is {time, [key]: number or null}.
export class TimeChart extends Surface {
  constructor(canvas, { series, format, least, span, onHover }) {
    super(canvas);
    Object.assign(this, { series, format, least, span, points: [], hover: null });
    canvas.addEventListener("pointermove", (e) => onHover(this.timeAt(e.offsetX)));
    canvas.addEventListener("pointerleave", () => onHover(null));
  }

  // draw shows points, which end now, and a line at the time that is hovered over.
  draw(points, now, hover) {
    Object.assign(this, { points, now, hover });
    this.refresh();
  }

  x(time) {
    const { left, right } = this.plot;
    return right - (this.now - time) / this.span * (right - left);
  }

  timeAt(x) {
    const { left, right } = this.plot;
    return x < left ? null : this.now - (right - x) / (right - left) * this.span;
  }

  paint() {
    if (!this.now) return;
    const first = this.now - this.span;
    const shown = this.points.filter((p) => p.time >= first - 1000);
    const values = shown.flatMap((p) => this.series.map(({ key }) => p[key] ?? 0));
    this.max = top(Math.max(this.least, ...values));
    this.axes();
    this.pen.save();
    this.pen.beginPath();
    this.pen.rect(this.plot.left, 0, this.plot.right - this.plot.left + 2, this.plot.bottom + 1);
    this.pen.clip();
    this.series.forEach(({ key }, i) => this.curve(shown, key, i));
    if (this.hover) this.line(this.x(this.hover), this.plot.top, this.x(this.hover), this.plot.bottom, "--faint");
    this.pen.restore();
  }

  axes() {
    const { left, right, top, bottom } = this.plot;
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(bottom - part * (bottom - top)) + 0.5;
      this.line(left, y, right, y, part === 0 ? "--line" : "--grid");
      this.text(this.format(part * this.max), left - 6, y, "right", "middle");
    }
    this.text("−2 min", left, bottom + 6, "left", "top");
    this.text("−1 min", (left + right) / 2, bottom + 6, "center", "top");
    this.text("now", right, bottom + 6, "right", "top");
  }

  // curve draws series i where its values are known.
  curve(points, key, i) {
    const y = (value) => this.plot.bottom - value / this.max * (this.plot.bottom - this.plot.top);
    let run = [];
    for (const p of [...points, {}]) {
      if (p[key] != null) {
        run.push([this.x(p.time), y(p[key])]);
        continue;
      }
      if (run.length > 0) this.stroke(run, i);
      run = [];
    }
  }

  // stroke draws a line through the places in run. Only the first series is solid,
  // so that it can be seen beneath others with the same values.
  stroke(run, i) {
    const { pen } = this;
    pen.strokeStyle = pen.fillStyle = this.color(`--series-${i + 1}`);
    pen.lineWidth = 1.75;
    pen.lineJoin = "round";
    pen.setLineDash(dashes[i]);
    pen.beginPath();
    for (const [x, y] of run) pen.lineTo(x, y);
    pen.stroke();
    pen.setLineDash([]);
    if (i > 0) return;
    pen.lineTo(run.at(-1)[0], this.plot.bottom);
    pen.lineTo(run[0][0], this.plot.bottom);
    pen.globalAlpha = 0.12;
    pen.fill();
    pen.globalAlpha = 1;
  }
}

// A Histogram draws how often each latency was: on a logarithmic axis of
// milliseconds, bars of which each is a tenth of a decade wide.
export class Histogram extends Surface {
  constructor(canvas, { format, barsPerDecade }) {
    super(canvas);
    Object.assign(this, { format, barsPerDecade, latency: null });
  }

  draw(latency) {
    this.latency = latency;
    this.refresh();
  }

  // paint shows whole decades, from 10 µs to 10 ms at least.
  paint() {
    const bars = this.latency?.bars ?? [];
    const first = bars.findIndex((n) => n > 0);
    this.low = Math.min(1, first < 0 ? 1 : Math.floor(first / this.barsPerDecade));
    this.high = Math.max(4, Math.ceil(bars.length / this.barsPerDecade));
    this.most = top(Math.max(10, ...bars));
    this.axes();
    bars.forEach((n, i) => n > 0 && this.bar(i, n));
    if (this.latency?.count > 0) this.marks();
  }

  // x returns where a power of ten of microseconds lies.
  x(power) {
    const { left, right } = this.plot;
    return left + (power - this.low) / (this.high - this.low) * (right - left);
  }

  axes() {
    const { left, right, top, bottom } = this.plot;
    for (const part of [0, 0.5, 1]) {
      const y = Math.round(bottom - part * (bottom - top)) + 0.5;
      this.line(left, y, right, y, part === 0 ? "--line" : "--grid");
      this.text(short(part * this.most), left - 6, y, "right", "middle");
    }
    const every = (right - left) / (this.high - this.low) < 50 ? 2 : 1; // as labels have room
    for (let power = this.low; power <= this.high; power += every) {
      const align = power === this.low ? "left" : power === this.high ? "right" : "center";
      this.text(this.format(10 ** (power - 3)), this.x(power), bottom + 6, align, "top");
    }
  }

  bar(i, n) {
    const { top, bottom } = this.plot;
    const [left, right] = [this.x(i / this.barsPerDecade), this.x((i + 1) / this.barsPerDecade)];
    const height = Math.max(1, n / this.most * (bottom - top));
    this.pen.fillStyle = this.color("--series-1");
    this.pen.fillRect(left + 0.5, bottom - height, Math.max(1, right - left - 1), height);
  }

  marks() {
    const { top, bottom } = this.plot;
    let free = -Infinity; // where the next label has room
    for (const [name, key] of [["p50", "p50"], ["p90", "p90"], ["p99", "p99"], ["p99.9", "p999"], ["max", "max"]]) {
      const x = Math.round(this.x(Math.log10(Math.max(1, this.latency[key] * 1000)))) + 0.5;
      this.pen.setLineDash([3, 3]);
      this.line(x, top, x, bottom, "--series-2");
      this.pen.setLineDash([]);
      const width = this.pen.measureText(name).width;
      if (x + 4 < free || x + 4 + width > this.plot.right) continue;
      this.text(name, x + 4, top, "left", "top");
      free = x + 4 + width + 4;
    }
  }
}

// short returns a count in few letters.
export function short(n) {
  const digits = (v) => v < 10 && !Number.isInteger(v) ? v.toFixed(1) : String(Math.round(v));
  if (n >= 1e6) return digits(n / 1e6) + " M";
  if (n >= 1e4) return digits(n / 1e3) + " k";
  return digits(n);
}
