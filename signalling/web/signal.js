// The signalling client: one WebSocket at a time to /ws, opened again after a loss.
//
//            start()                  welcome
//   idle ──────────────▶ opening ───────────────▶ joined
//                          ▲  │ close                │ close, silence
//                  timer,  │  ▼                      ▼
//              retryNow()  └─ waiting ◀──────────────┘      refused for good: stopped
//
// Events: "message" (detail: a decoded server message) and "down" (detail: {code, message, delayMs};
// code is an error code of the protocol or null; delayMs is null when trying again cannot help).
//
// A seat outlives its socket: the next hello names it, and the server sends what was missed. What
// comes twice is dropped by its number. Requests wait for the link: see requests.js.

import { Backoff } from "./backoff.js";
import { Requests } from "./requests.js";

export const SUBPROTOCOL = "playcast.v2";
export const PROTOCOL_VERSION = 2;

const PING_MS = 10000; // a ping after this much silence
const SILENCE_MS = 20000; // and the link counts as dead after this much
const STABLE_MS = 10000; // a link that held this long starts the backoff afresh
const OPEN_MS = 10000; // from opening the socket to the welcome
const URGENT_OPEN_MS = 2000; // the same while a picture waits …
const URGENT_WAIT_MS = 200; // … and the longest wait before a try,
const OFFLINE_WAIT_MS = 1000; // also while the browser says that it is offline: it slows down who fails often
const CHECK_MS = 300; // how long a link that is doubted may take to show that it stands
const ELSEWHERE_MS = 300; // a server that shuts down leaves others: the first try is as quick as this

/** The errors that go with a WebSocket close code; the first is taken if the error's own message did
 * not get through. */
const CAUSES = {
  4400: ["bad-message"],
  4401: ["bad-token", "token-expired"],
  4403: ["forbidden", "not-admitted", "kicked", "banned"],
  4404: ["unknown-peer"],
  4408: ["timeout"],
  4409: ["room-taken", "conflict"],
  4410: ["replaced"],
  4413: ["too-large"],
  4423: ["room-locked"],
  4426: ["version"],
  4429: ["rate-limited"],
  4430: ["too-slow"],
  4503: ["room-full"],
  1011: ["internal"],
  1012: ["shutting-down"],
};

/** Errors after which the same hello would only be refused again. */
const FINAL = new Set([
  "bad-token",
  "token-expired",
  "forbidden",
  "not-admitted",
  "kicked",
  "banned",
  "replaced",
  "room-taken",
  "room-locked",
  "room-full",
  "conflict",
  "version",
  "bad-message",
  "too-large",
]);

export class Signal extends EventTarget {
  #socket = null;
  #timers = new Set();
  #retry = null;
  #error = null;
  #heardAt = 0;
  #backoff;
  #requests = new Requests((message) => this.send(message));
  #settling = new Map(); // by the time of a ping: what to do at its pong
  #joinedSeq = 0;
  #pastSeq = 0;
  #random;

  /**
   * link: {room, token}, the token "" where freshToken alone gives one; url: where signalling is;
   * seat: tells what makes us known to the host as the one that was here before, or ""; name: how
   * we want to be called; region: where we are, in the operator's words; trace: a Trace; session: {peer, secret, seq, windowS} of an earlier page, or null;
   * freshToken: returns a promise of a token that is good now, where the page can have one: asked
   * for before each hello, and when the token ends soon.
   */
  constructor({
    url,
    link,
    seat = () => "",
    name = () => "",
    region = "",
    trace = null,
    session = null,
    freshToken = null,
    backoff = new Backoff(),
    random = Math.random,
  }) {
    super();
    this.url = url;
    this.link = link;
    this.seat = seat;
    this.name = name;
    this.region = region;
    this.trace = trace;
    this.session = session;
    this.freshToken = freshToken;
    this.#backoff = backoff;
    this.#random = random;
  }

  /** Tries since the last link that held. */
  get tries() {
    return this.#backoff.tries;
  }

  /** Has the server welcomed us, on the link that stands? */
  joined = false;

  /** Is somebody waiting for a picture that depends on this link? Then tries are quick. */
  urgent = false;

  /** When the next try is due (performance.now() in ms), or null while none is planned. */
  retryAt = null;

  start() {
    this.#open();
  }

  /** Send one message. Returns false if there is no open socket to carry it. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  /**
   * Ask the room for something, now or when the link is there. A promise of its answer; fails with a
   * RequestError (requests.js).
   */
  request(message) {
    return this.#requests.ask(message, this.joined);
  }

  /** Join anew after `delayMs`. Where the page has no picture by then, the host makes a fresh offer. */
  rejoin(delayMs) {
    this.#drop();
    this.#openAfter(delayMs);
  }

  /** Do not wait for the timer. No effect while a socket is open or opening. */
  retryNow() {
    if (!this.#socket) this.#open();
  }

  /** Our address has changed: whatever socket there is leads nowhere. */
  reopen() {
    this.#open();
  }

  /** Find out soon whether the link stands; if not, open another. */
  check() {
    if (!this.joined) {
      this.retryNow();
      return;
    }
    const since = performance.now();
    this.send({ type: "ping", at: since });
    this.#after(CHECK_MS, () => {
      if (this.#heardAt < since) this.#open();
    });
  }

  /** Leave for good; with `keep`, the seat stays for a page that comes back with `session`. */
  stop({ keep = false } = {}) {
    if (!keep) this.send({ type: "bye" });
    this.#drop();
    this.#requests.giveUp();
  }

  #open() {
    this.#drop();
    const socket = new WebSocket(this.url, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#heardAt = performance.now();
    this.trace?.begin("signalling.connect");
    socket.onopen = () => {
      this.trace?.end("signalling.connect");
      this.#withToken(socket, (token) => this.#hello(token ?? this.link.token));
    };
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    this.#after(this.urgent ? URGENT_OPEN_MS : OPEN_MS, () => this.#closed(1006, ""));
  }

  #hello(token) {
    if (!token) {
      this.stop();
      const message = "This site has no token for you.";
      this.#emit("down", { code: "signed-out", message, delayMs: null });
      return;
    }
    const { room } = this.link;
    const hello = { type: "hello", version: PROTOCOL_VERSION, role: "viewer", room, token };
    hello.seat = this.seat();
    hello.name = this.name();
    hello.traceparent = this.trace?.traceparent ?? "";
    if (this.region) hello.region = this.region;
    if (this.session) {
      const { peer, secret, seq } = this.session;
      hello.resume = { peer, secret, seq };
    }
    this.trace?.begin("signalling.hello");
    this.send(hello);
  }

  /** Call `use` with a fresh token, or with null where none can be had, if `socket` is still ours. */
  async #withToken(socket, use) {
    let token = null;
    try {
      token = (await this.freshToken?.()) ?? null;
    } catch (error) {
      console.warn("playcast: there is no fresh token:", error);
    }
    if (socket === this.#socket) use(token);
  }

  #receive(frame) {
    this.#heardAt = performance.now();
    const message = decode(frame);
    if (message === null || !this.#isNew(message)) return;
    switch (message.type) {
      case "ping":
        this.send({ type: "pong", at: message.at });
        return;
      case "pong":
        this.#settling.get(message.at)?.();
        this.#settling.delete(message.at);
        return;
      case "token-accepted":
        return;
      case "token-expiring":
        this.#withToken(this.#socket, (token) => token && this.send({ type: "token", token }));
        return;
      case "error":
        this.#error = message;
        this.#requests.answer(message);
        return;
      case "done":
      case "invited":
        this.#requests.answer(message);
        return;
      case "waiting": // for a person, who takes their time
        this.#stopTimers();
        this.#watch();
        break;
      case "welcome":
        this.#welcomed(message);
        break;
    }
    this.#emit("message", message);
  }

  #welcomed({ peer, secret, seq, resumed, complete, resume_window_s: windowS }) {
    this.#stopTimers();
    this.#error = null;
    this.joined = true;
    this.trace?.end("signalling.hello");
    const known = resumed === true ? this.session : null;
    const mine = secret || known?.secret || "";
    this.session = { peer, secret: mine, seq: known?.seq ?? seq ?? 0, windowS };
    if (!known) [this.#joinedSeq, this.#pastSeq] = [this.session.seq, 0];
    if (!known || complete === false) this.#requests.giveUp({ onlySent: true });
    const { open } = this.#requests;
    if (open.length) this.#settle(() => this.#requests.send(open));
    this.#after(STABLE_MS, () => this.#backoff.reset());
    this.#watch();
  }

  /** Call `then` when all that the server has for us by now has come. */
  #settle(then) {
    const at = performance.now();
    this.#settling.set(at, then);
    this.send({ type: "ping", at });
  }

  /** Number the messages of the room; false for one that came before, on another link. */
  #isNew({ type, seq }) {
    if (!(seq > 0) || type === "welcome" || !this.session) return true;
    if (type === "chat-message" && seq <= this.#joinedSeq) {
      const isNew = seq > this.#pastSeq; // said before we came
      this.#pastSeq = Math.max(seq, this.#pastSeq);
      return isNew;
    }
    if (seq <= this.session.seq) return false;
    this.session.seq = seq;
    return true;
  }

  #watch() {
    this.#after(PING_MS, () => {
      const silence = performance.now() - this.#heardAt;
      if (silence >= SILENCE_MS) {
        this.#closed(1006, "");
        return;
      }
      if (silence >= PING_MS / 2) this.send({ type: "ping", at: performance.now() });
      this.#watch();
    });
  }

  #closed(closeCode, reason) {
    // An error may also be a mere answer to one message; it is the cause only if the code fits.
    const cause = CAUSES[closeCode] ?? [];
    const error = cause.includes(this.#error?.code) ? this.#error : null;
    const wasJoined = this.joined;
    this.#drop();
    const code = error?.code ?? cause[0] ?? null;
    const renewable = code === "token-expired" && wasJoined && this.freshToken !== null;
    const final = FINAL.has(code) && !error?.retry && !renewable;
    if (final) {
      this.session = null;
      this.#requests.giveUp();
    }
    const delayMs = final ? null : this.#delay(code, error?.retry_after_s);
    if (delayMs !== null) this.#openAfter(delayMs);
    this.#emit("down", { code, message: error?.message ?? reason, delayMs });
  }

  /** How long to wait before the next try, in ms; never shorter than the server wishes. */
  #delay(code, retryAfterS) {
    const first = this.#backoff.tries === 0;
    let delayMs = this.#backoff.next();
    if (code === "shutting-down" && first) delayMs = this.#random() * ELSEWHERE_MS;
    if (this.urgent) {
      delayMs = Math.min(delayMs, navigator.onLine ? URGENT_WAIT_MS : OFFLINE_WAIT_MS);
    }
    return retryAfterS > 0 ? Math.max(delayMs, retryAfterS * 1000) : delayMs;
  }

  #openAfter(delayMs) {
    this.retryAt = performance.now() + delayMs;
    this.#retry = setTimeout(() => this.#open(), delayMs);
  }

  /** Forget the socket and every timer; nothing of them is heard again. */
  #drop() {
    clearTimeout(this.#retry);
    this.#stopTimers();
    this.#settling.clear();
    this.#error = null;
    this.joined = false;
    this.retryAt = null;
    const socket = this.#socket;
    this.#socket = null;
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
  }

  #after(ms, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action();
    }, ms);
    this.#timers.add(timer);
  }

  #stopTimers() {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** One frame as a message, or null (logged) for what is none: a broken server must not break the page. */
function decode(frame) {
  try {
    const message = JSON.parse(frame);
    if (typeof message?.type === "string") return message;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  console.warn("playcast: the server sent a frame that is no message");
  return null;
}
