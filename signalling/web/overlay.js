// The statistics panel: three figures with their last minute, where a frame's time goes, and the
// small print.

import { make, svg, sync } from "./dom.js";
import { latencyBudget } from "./latency.js";

const HISTORY = 60; // samples in a spark line: a minute
const NONE = "–";

// What the small print tells: its name, and what it means on hovering.
const FACTS = {
  picture: ["Picture", "Size, codec and decoder here"],
  path: ["Path", "This side's and the host's kind of candidate, and the protocol"],
  host: ["Host", "Its encoder, its frame rate, and how many watch"],
  network: ["Network", "What the host finds that this path takes, what waits on it, and the share of repairs"],
};
const COUNTERS = {
  rtt: ["RTT, ms", "Round trip to the host"],
  buffer: ["Buffer, ms", "Mean wait in the jitter buffer, over the last second"],
  decode: ["Decode, ms", "Mean time to decode a frame, over the last second"],
  dropped: ["Dropped", "Frames that arrived and were not shown"],
  lost: ["Lost", "Packets that never arrived"],
  resent: ["Resent", "Packets that arrived on a second try"],
  nack: ["NACK", "Requests to send packets again"],
  pli: ["PLI", "Requests for a key frame"],
  freezes: ["Freezes", "Times that the picture stood still"],
  keys: ["Key frames", "Key frames decoded"],
  skipped: ["Skipped", "Frames that the host left out because the network was behind"],
  late: ["Late", "Frame slots that the host missed"],
};

const STAGE_NAMES = {
  capture: "Capture",
  convert: "Convert",
  encode: "Encode",
  first_packet: "First packet",
  last_packet: "Last packet",
};

export class Overlay {
  #figures = {};
  #cells = {};

  /** root: the empty element to draw into. */
  constructor(root) {
    this.root = root;
    this.bar = make("div", "bar", { role: "img" });
    this.legend = make("ul", "legend");
    this.stageRows = make("tbody");
    const range = make("span", "hidden", {}, ["As bars"]);
    const columns = ["Host, per frame", range, "p50", "p99"].map((name) => make("th", "", { scope: "col" }, [name]));
    this.stages = make("table", "stages", {}, [make("thead", "", {}, [make("tr", "", {}, columns)]), this.stageRows]);
    root.append(
      make("div", "figures", {}, [
        this.#figure("fps", "fps"),
        this.#figure("rate", "Mbit/s"),
        this.#figure("latency", "ms latency"),
      ]),
      make("section", "budget", {}, [heading("Where the time goes, ms"), this.bar, this.legend]),
      make("section", "host", {}, [this.stages]),
      make("section", "", {}, [this.#list("facts", FACTS), this.#list("counters", COUNTERS)]),
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
    const protocol = stats?.relayed ? `TURN over ${stats.protocol ?? "?"}` : stats?.protocol;
    const people = host?.viewers ? `${count(host.viewers)} watching` : null;
    this.#setCells({
      picture: join(size, stats?.codec, stats?.decoder),
      path: join(stats?.path, protocol),
      host: join(host?.encoder, host?.fps ? `${host.fps.toFixed(0)} fps` : null, people),
      network: networkWords(host?.network),
      rtt: brief(stats?.rttMs),
      buffer: brief(stats?.jitterBufferMs),
      decode: brief(stats?.decodeMs),
      lost: count(stats?.lost),
      resent: count(stats?.retransmitted),
      nack: count(stats?.nacks),
      pli: count(stats?.plis),
      dropped: count(stats?.framesDropped),
      freezes: count(stats?.freezes),
      keys: count(stats?.keyFrames),
      skipped: count(host?.skipped),
      late: count(host?.late),
    });
    this.root.classList.toggle("without-host", host === null);
  }

  #drawBar({ parts, totalMs }) {
    const sum = parts.reduce((total, part) => total + part.ms, 0);
    sync(this.bar, parts, () => make("span"), (node, part) => {
      node.className = `part ${part.side} ${part.name}`;
      node.style.flexGrow = sum > 0 ? String(part.ms / sum) : "0";
      node.title = `${part.name} ${brief(part.ms)} ms`;
    });
    sync(this.legend, parts, () => make("li", "", {}, [make("i"), make("span"), make("b")]), (node, part) => {
      const [dot, name, value] = node.children;
      dot.className = `part ${part.side} ${part.name}`;
      name.textContent = part.name;
      value.textContent = brief(part.ms);
    });
    const spoken = parts.map((part) => `${part.name} ${brief(part.ms)} ms`).join(", ");
    this.bar.setAttribute("aria-label", `${totalMs === null ? "" : `About ${brief(totalMs)} ms in all: `}${spoken}`);
  }

  #drawStages(host) {
    const stages = Object.entries(host?.stages ?? {});
    const longest = Math.max(...stages.map(([, stage]) => stage.p99 ?? stage.p50), 0.001);
    const row = () => make("tr", "", {}, [make("th", "", { scope: "row" }), cell(make("span", "p99"), make("span", "p50")), make("td"), make("td")]);
    sync(this.stageRows, stages, row, (node, [name, stage]) => {
      const [title, range, p50, p99] = node.children;
      title.textContent = STAGE_NAMES[name];
      const [tail, body] = range.firstChild.children;
      tail.style.width = `${(100 * (stage.p99 ?? stage.p50)) / longest}%`;
      body.style.width = `${(100 * stage.p50) / longest}%`;
      p50.textContent = brief(stage.p50);
      p99.textContent = brief(stage.p99) ?? NONE;
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

  #list(className, names) {
    return make("dl", className, {}, Object.entries(names).map(([key, [name, hint]]) => {
      const value = make("dd");
      this.#cells[key] = value;
      return make("div", "", { title: hint }, [make("dt", "", {}, [name]), value]);
    }));
  }

  #setCells(values) {
    for (const [key, value] of Object.entries(values)) this.#cells[key].textContent = value ?? NONE;
  }
}

function heading(text) {
  return make("h2", "", {}, [text]);
}

function cell(...children) {
  return make("td", "range", {}, [make("div", "", {}, children)]);
}

function brief(value) {
  return Number.isFinite(value) ? value.toFixed(value < 100 ? 1 : 0) : null;
}

function count(value) {
  return Number.isFinite(value) ? value.toLocaleString("en") : null;
}

function networkWords(network) {
  if (!network) return null;
  return join(
    network.targetBps ? `${(network.targetBps / 1e6).toFixed(1)} Mbit/s` : null,
    network.queueMs === null ? null : `${network.queueMs.toFixed(0)} ms queued`,
    network.repair ? `${(100 * network.repair).toFixed(1)} % repairs` : null,
    network.state,
  );
}

function join(...words) {
  const known = words.filter(Boolean);
  return known.length ? known.join(" · ") : null;
}
