// The statistics panel: three figures with their last minute, where a frame's time goes, and the
// small print.

import { latencyBudget } from "./latency.js";

const HISTORY = 60; // samples in a spark line: a minute
const NONE = "–";

const STAGE_NAMES = {
  capture: "Capture",
  convert: "Convert",
  encode: "Encode",
  first_packet: "First packet",
  last_packet: "Last packet",
};

export class Overlay {
  #figures = {};
  #rows = {};

  /** root: the empty element to draw into. */
  constructor(root) {
    this.root = root;
    this.bar = make("div", "bar", { role: "img" });
    this.legend = make("ul", "legend");
    this.stages = make("table", "stages");
    root.append(
      make("div", "figures", {}, [
        this.#figure("fps", "fps"),
        this.#figure("rate", "Mbit/s"),
        this.#figure("latency", "ms latency"),
      ]),
      make("section", "budget", {}, [heading("Where the time goes"), this.bar, this.legend]),
      make("section", "host", {}, [heading("Host, per frame"), this.stages]),
      make("section", "", {}, [
        heading("Picture"),
        this.#list("picture", "decoder", "dropped", "freezes", "keyframes"),
      ]),
      make("section", "", {}, [heading("Network"), this.#list("path", "rtt", "lost", "nack")]),
      make("section", "host", {}, [heading("Cast"), this.#list("encoder", "viewers", "skipped")]),
    );
  }

  get shown() {
    return !this.root.hidden;
  }

  toggle() {
    this.root.hidden = !this.root.hidden;
    return this.shown;
  }

  /** Draw a snapshot of stats.js and of hoststats.js, either of which may be null. */
  draw(stats, host) {
    const budget = latencyBudget(stats, host);
    const rate = stats?.bitrateBps === null || !stats ? null : stats.bitrateBps / 1e6;
    this.#setFigure("fps", stats?.fps, 0);
    this.#setFigure("rate", rate, 1);
    this.#setFigure("latency", budget.totalMs, budget.totalMs < 10 ? 1 : 0);
    if (!this.shown) return;
    this.#drawBar(budget);
    this.#drawStages(host);
    const size = stats?.width ? `${stats.width} × ${stats.height}` : null;
    this.#setRow("picture", "Picture", join(size, stats?.codec));
    this.#setRow("decoder", "Decoder", join(stats?.decoder, ms(stats?.decodeMs)));
    this.#setRow("dropped", "Dropped", count(stats?.framesDropped));
    this.#setRow("freezes", "Freezes", count(stats?.freezes));
    this.#setRow("keyframes", "Key frames", count(stats?.keyFrames));
    this.#setRow("path", "Path", join(stats?.path, stats?.relayed ? `TURN ${stats.protocol ?? ""}` : stats?.protocol));
    this.#setRow("rtt", "RTT · buffer", join(ms(stats?.rttMs), ms(stats?.jitterBufferMs)));
    this.#setRow("lost", "Lost · resent", join(count(stats?.lost), count(stats?.retransmitted)));
    this.#setRow("nack", "NACK · PLI", join(count(stats?.nacks), count(stats?.plis)));
    this.#setRow("encoder", "Encoder", join(host?.encoder, host?.fps ? `${host.fps.toFixed(0)} fps` : null));
    this.#setRow("viewers", "Viewers", count(host?.viewers));
    this.#setRow("skipped", "Skipped · late", join(count(host?.skipped), count(host?.late)));
    this.root.classList.toggle("without-host", host === null);
  }

  #drawBar({ parts, totalMs }) {
    const sum = parts.reduce((total, part) => total + part.ms, 0);
    sync(this.bar, parts, () => make("span"), (node, part) => {
      node.className = `part ${part.side} ${part.name}`;
      node.style.flexGrow = sum > 0 ? String(part.ms / sum) : "0";
      node.title = `${part.name} ${ms(part.ms)}`;
    });
    sync(this.legend, parts, () => make("li", "", {}, [make("i"), make("span"), make("b")]), (node, part) => {
      const [dot, name, value] = node.children;
      dot.className = `part ${part.side} ${part.name}`;
      name.textContent = part.name;
      value.textContent = part.ms.toFixed(1);
    });
    const spoken = parts.map((part) => `${part.name} ${ms(part.ms)}`).join(", ");
    this.bar.setAttribute("aria-label", `${totalMs === null ? "" : `About ${ms(totalMs)} in all: `}${spoken}`);
  }

  #drawStages(host) {
    const stages = Object.entries(host?.stages ?? {});
    const longest = Math.max(...stages.map(([, stage]) => stage.p99 ?? stage.p50), 0.001);
    const row = () => make("tr", "", {}, [make("th", "", { scope: "row" }), cell(make("span", "p99"), make("span", "p50")), make("td"), make("td")]);
    sync(this.stages, stages, row, (node, [name, stage]) => {
      const [title, range, p50, p99] = node.children;
      title.textContent = STAGE_NAMES[name];
      const [tail, body] = range.firstChild.children;
      tail.style.width = `${(100 * (stage.p99 ?? stage.p50)) / longest}%`;
      body.style.width = `${(100 * stage.p50) / longest}%`;
      p50.textContent = stage.p50.toFixed(1);
      p99.textContent = stage.p99 === null ? NONE : stage.p99.toFixed(1);
      p50.title = "p50, ms";
      p99.title = "p99, ms";
    });
  }

  #figure(key, unit) {
    const value = make("b", "", {}, [NONE]);
    const line = svg("polyline");
    const chart = svg("svg", { viewBox: `0 0 ${HISTORY - 1} 20`, preserveAspectRatio: "none", "aria-hidden": "true" }, [line]);
    this.#figures[key] = { value, line, history: [] };
    return make("div", `figure ${key}`, {}, [value, make("span", "", {}, [unit]), chart]);
  }

  #setFigure(key, value, digits) {
    const { value: node, line, history } = this.#figures[key];
    const known = Number.isFinite(value);
    node.textContent = known ? value.toFixed(digits) : NONE;
    history.push(known ? value : 0);
    if (history.length > HISTORY) history.shift();
    const top = Math.max(...history) * 1.1 || 1;
    const start = HISTORY - history.length;
    line.setAttribute("points", history.map((sample, i) => `${start + i},${(19 - (18 * sample) / top).toFixed(2)}`).join(" "));
  }

  #list(...keys) {
    return make("dl", "", {}, keys.map((key) => {
      const [name, value] = [make("dt"), make("dd")];
      this.#rows[key] = { name, value };
      return make("div", "", {}, [name, value]);
    }));
  }

  #setRow(key, name, value) {
    this.#rows[key].name.textContent = name;
    this.#rows[key].value.textContent = value ?? NONE;
  }
}

function make(name, className = "", attributes = {}, children = []) {
  const node = document.createElement(name);
  if (className) node.className = className;
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function svg(name, attributes = {}, children = []) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function heading(text) {
  return make("h2", "", {}, [text]);
}

function cell(...children) {
  return make("td", "range", {}, [make("div", "", {}, children)]);
}

/** Make `parent` have one child for each item, and draw each. */
function sync(parent, items, create, draw) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create());
  items.forEach((item, i) => draw(parent.children[i], item));
}

function ms(value) {
  return Number.isFinite(value) ? `${value.toFixed(value < 100 ? 1 : 0)} ms` : null;
}

function count(value) {
  return Number.isFinite(value) ? value.toLocaleString("en") : null;
}

function join(...words) {
  const known = words.filter(Boolean);
  return known.length ? known.join(" · ") : null;
}
