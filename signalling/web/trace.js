// One trace from the viewer's click to its first frame (W3C Trace Context). Its context travels in
// the hello, so that what the server and the host do about it belongs to it; what the page itself
// measured is reported once, in a "trace" message, when the first frame is there.
//
// Times are of performance.now(), and are sent as Unix time in milliseconds.

const ROOT_SPAN = "viewer.start"; // from the click to the first frame: the server makes it the root
const MAX_SPANS = 16; // as the protocol has it
const MAX_MS = 600000;

export class Trace {
  #begun = new Map();
  #spans = [];
  #taken = false;
  #origin;
  #context;

  /** startMs: when the person asked for the stream; random: fills a Uint8Array. */
  constructor({ startMs = performance.now(), origin = performance.timeOrigin, random = fill } = {}) {
    this.startMs = startMs;
    this.#origin = origin;
    this.#context = `00-${hex(random(new Uint8Array(16)))}-${hex(random(new Uint8Array(8)))}-01`;
  }

  /** The context for what this trace causes; "" once it has been reported. */
  get traceparent() {
    return this.#taken ? "" : this.#context;
  }

  /** Something begins. What had begun under that name and not ended is forgotten. */
  begin(name, atMs = performance.now()) {
    this.#begun.set(name, atMs);
  }

  /** It ends. Without effect if it has not begun. */
  end(name, atMs = performance.now()) {
    if (!this.#begun.has(name)) return;
    this.span(name, this.#begun.get(name), atMs);
    this.#begun.delete(name);
  }

  /** Something that took from startMs to endMs. Only the last of a name is kept. */
  span(name, startMs, endMs) {
    const duration = endMs - startMs;
    if (this.#taken || !(duration >= 0) || duration > MAX_MS) return;
    this.#spans = this.#spans.filter((span) => span.name !== name);
    this.#spans.push({ name, start_ms: this.#origin + startMs, duration_ms: duration });
  }

  /** The first frame is shown, at `atMs`; `frame` is what requestVideoFrameCallback says of it. */
  firstFrame(atMs, { receiveTime, processingDuration }) {
    const decodedMs = receiveTime + processingDuration * 1000;
    if (decodedMs <= atMs) {
      this.end("first-frame.receive", receiveTime);
      this.span("first-frame.decode", receiveTime, decodedMs);
      this.span("first-frame.present", decodedMs, atMs);
    } else {
      this.end("first-frame.receive", atMs);
    }
    this.span(ROOT_SPAN, this.startMs, atMs);
  }

  /** The report, once; null after that. */
  take() {
    if (this.#taken) return null;
    this.#taken = true;
    return { type: "trace", spans: this.#spans.slice(-MAX_SPANS) };
  }
}

function fill(bytes) {
  return crypto.getRandomValues(bytes);
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
