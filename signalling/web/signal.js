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

import { Backoff } from "./backoff.js";

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

/** The errors that go with a WebSocket close code; the first is taken if the error's own message did
 * not get through. */
const CAUSES = {
  4400: ["bad-message"],
  4401: ["bad-token", "token-expired"],
  4403: ["forbidden"],
  4404: ["unknown-peer"],
  4408: ["timeout"],
  4409: ["room-taken"],
  4413: ["too-large"],
  4426: ["version"],
  1011: ["internal"],
  1012: ["shutting-down"],
};

/** Errors after which the same hello would only be refused again. */
const FINAL = new Set(["bad-token", "token-expired", "forbidden", "room-taken", "version", "bad-message", "too-large"]);

export class Signal extends EventTarget {
  #socket = null;
  #timers = new Set();
  #retry = null;
  #error = null;
  #heardAt = 0;
  #backoff;

  /**
   * link: {room, token}; url: where signalling is; seat: tells what makes us known to the host as
   * the one that was here before, or ""; freshToken: returns a promise of a token that is good now,
   * where the page can have one: asked for before each hello, and when the token ends soon.
   */
  constructor({ url, link, seat = () => "", freshToken = null, backoff = new Backoff() }) {
    super();
    this.url = url;
    this.link = link;
    this.seat = seat;
    this.freshToken = freshToken;
    this.#backoff = backoff;
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

  /** Leave, and join again after `delayMs`: the host then makes a fresh offer. */
  rejoin(delayMs) {
    this.send({ type: "bye" });
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

  /** Leave for good. */
  stop() {
    this.send({ type: "bye" });
    this.#drop();
  }

  #open() {
    this.#drop();
    const socket = new WebSocket(this.url, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#heardAt = performance.now();
    socket.onopen = () => this.#withToken(socket, (token) => this.#hello(token ?? this.link.token));
    socket.onmessage = (event) => this.#receive(event.data);
    socket.onclose = (event) => this.#closed(event.code, event.reason);
    this.#after(this.urgent ? URGENT_OPEN_MS : OPEN_MS, () => this.#closed(1006, ""));
  }

  #hello(token) {
    const { room } = this.link;
    const seat = this.seat();
    this.send({ type: "hello", version: PROTOCOL_VERSION, role: "viewer", room, token, seat });
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
    if (message === null) return;
    switch (message.type) {
      case "ping":
        this.send({ type: "pong", at: message.at });
        return;
      case "pong":
      case "token-accepted":
        return;
      case "token-expiring":
        this.#withToken(this.#socket, (token) => token && this.send({ type: "token", token }));
        return;
      case "error":
        this.#error = message;
        return;
      case "welcome":
        this.#stopTimers();
        this.#error = null;
        this.joined = true;
        this.#after(STABLE_MS, () => this.#backoff.reset());
        this.#watch();
        break;
    }
    this.dispatchEvent(new CustomEvent("message", { detail: message }));
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
    const delayMs = final ? null : this.#delay();
    if (delayMs !== null) this.#openAfter(delayMs);
    const message = error?.message ?? reason;
    this.dispatchEvent(new CustomEvent("down", { detail: { code, message, delayMs } }));
  }

  #delay() {
    const delayMs = this.#backoff.next();
    if (!this.urgent) return delayMs;
    return Math.min(delayMs, navigator.onLine ? URGENT_WAIT_MS : OFFLINE_WAIT_MS);
  }

  #openAfter(delayMs) {
    this.retryAt = performance.now() + delayMs;
    this.#retry = setTimeout(() => this.#open(), delayMs);
  }

  /** Forget the socket and every timer; nothing of them is heard again. */
  #drop() {
    clearTimeout(this.#retry);
    this.#stopTimers();
    this.#error = null;
    this.joined = false;
    this.retryAt = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
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
