// The viewer: wires link, signalling, session, screen, controls and statistics together.
//
// The way of a visit: the link gives room and token; signalling joins the room; the host's offer
// makes a session; its first frame shown makes the state "playing". Whatever breaks on the way
// becomes a state with words (states.js), and where trying again can help, it is tried again.
// While a picture is on, trouble is told in a toast over it and not in its place. A path that is
// lost makes the state "resuming": the last picture stays, the server is joined anew where its
// link broke too, and the host is asked for an ICE restart, until frames come again.

import { Backoff } from "./backoff.js";
import { keepAwake } from "./awake.js";
import { Controls } from "./controls.js";
import { parseHostStats } from "./hoststats.js";
import { signallingUrl, tabStorage, takeLink } from "./link.js";
import { Overlay } from "./overlay.js";
import { Restarts } from "./restarts.js";
import { Screen } from "./screen.js";
import { obstacle, Session } from "./session.js";
import { Signal } from "./signal.js";
import { STATES, stateOfCode } from "./states.js";
import { Collector, FrameCounter } from "./stats.js";
import { Still } from "./still.js";

const SAMPLE_MS = 1000;
const OFFER_MS = 10000; // from joining (with a host there) to its offer
const FRAME_MS = 8000; // from the connection to the first frame
const HOST_ADRIFT = "The host has lost the server. The picture goes on.";
const UNREACHABLE_FIRST_TRIES = 3; // failed tries to join before that is called by its name
const UNREACHABLE_TRIES = 7; // and to come back

class App {
  state = "loading";
  stats = null;
  host = null;
  #link = null;
  #signal = null;
  #session = null; // its picture is shown, or will be
  #leaving = null; // the session before, until the new one is connected
  #pending = null; // the new session's picture, until it is connected
  #hostPresent = false;
  #iceServers = [];
  #joined = false;
  #timer = null;
  #restarts = new Restarts({
    ask: () => this.#askForRestart(),
    giveUp: () => this.#failed("ice", "No path to the host works any more."),
  });
  #iceBackoff = new Backoff({ firstMs: 2000, maxMs: 30000 });
  #collector = new Collector();

  constructor() {
    this.video = document.getElementById("video");
    this.screen = new Screen(document, () => this.#act());
    this.overlay = new Overlay(document.getElementById("overlay"));
    this.controls = new Controls(document, {
      onStats: () => {
        this.controls.drawStats(this.overlay.toggle());
        this.overlay.draw(this.stats, this.host);
      },
    });
    this.still = new Still(document.getElementById("still"));
    this.frames = new FrameCounter(this.video, () => this.#frameShown());
    setInterval(() => void this.#sample(), SAMPLE_MS);
    window.addEventListener("hashchange", () => this.open());
    window.addEventListener("online", () => this.#moved());
    navigator.connection?.addEventListener("change", () => this.#signal?.check());
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.open());
  }

  /** Start over with the link of this page. */
  open() {
    this.#leave();
    this.#link = takeLink(window.location, window.history, tabStorage());
    if (this.#link.problem) {
      this.#set("bad-link", { detail: this.#link.problem });
      return;
    }
    const problem = obstacle();
    if (problem) {
      this.#set(problem);
      return;
    }
    this.#set("connecting");
    this.#signal = new Signal({
      url: signallingUrl(window.location),
      link: this.#link,
      seat: () => this.#session?.seat ?? "",
      // A site with sign-in of its own sets it before this script runs: a promise of a good token.
      freshToken: window.playcast?.freshToken ?? null,
    });
    this.#signal.addEventListener("message", ({ detail }) => this.#receive(detail));
    this.#signal.addEventListener("down", ({ detail }) => this.#down(detail));
    this.#signal.start();
  }

  #leave() {
    this.#signal?.stop();
    this.#signal = null;
    this.#endSession();
    this.#joined = false;
    this.#iceBackoff.reset();
  }

  // Signalling --------------------------------------------------------------------------------

  #receive(message) {
    switch (message.type) {
      case "welcome":
        this.#joined = true;
        this.#iceServers = iceServers(message.ice_servers);
        this.#hostPresent = message.host_present === true;
        this.#hostIs(message.peers?.[0]);
        if (this.state === "resuming") this.#restarts.now();
        else if (this.#live) this.screen.toast(this.#hostPresent ? null : HOST_ADRIFT);
        else if (this.#hostPresent) this.#awaitOffer();
        else this.#set("waiting");
        break;
      case "peer-joined":
        if (message.role !== "host") break;
        this.#hostPresent = true;
        this.#hostIs(message.peer);
        if (this.state === "resuming") this.#restarts.now();
        else if (this.#live) this.screen.toast(null);
        else this.#awaitOffer();
        break;
      case "refused":
        if (this.#live) break;
        this.#endSession();
        this.#set("full", { detail: `The host says: ${String(message.message)}` });
        break;
      case "peer-left":
        if (message.role === "host") this.#hostLeft(message.reason);
        break;
      case "offer":
        this.#offered({
          peer: message.peer,
          sdp: String(message.sdp),
          seat: String(message.seat ?? ""),
        });
        break;
      case "candidate":
        if (message.peer === this.#session?.peer) {
          this.#session.candidate(String(message.candidate ?? ""), String(message.mid ?? "0"));
        }
        break;
    }
  }

  #down({ code, message, delayMs }) {
    this.#hostPresent = false;
    clearTimeout(this.#timer);
    const detail = message ? `The server says: ${message}` : "";
    if (delayMs === null) {
      this.#endSession();
      this.#set(stateOfCode(code), { detail });
      return;
    }
    const { retryAt } = this.#signal;
    if (this.state === "resuming") return;
    if (this.#live) {
      const cause = code === "shutting-down" ? "is restarting" : "is out of reach";
      this.screen.toast(`The server ${cause}. The picture goes on.`, retryAt);
      return;
    }
    this.#endSession();
    // A host that serves the page itself says goodbye and then takes its server down: the first is
    // what a person needs to know, and stays true while this page looks for the server.
    if (this.state === "host-left") return;
    let state = stateOfCode(code);
    if (state === "reconnecting") {
      const patience = this.#joined ? UNREACHABLE_TRIES : UNREACHABLE_FIRST_TRIES;
      if (this.#signal.tries >= patience) state = "unreachable";
      else if (!this.#joined) state = "connecting";
    }
    this.#set(state, { detail, retryAt });
  }

  #hostLeft(reason) {
    this.#hostPresent = false;
    clearTimeout(this.#timer);
    if (reason !== "bye" && this.#live) {
      if (this.state === "playing") this.screen.toast(HOST_ADRIFT);
      return;
    }
    this.#endSession();
    this.#set(reason === "bye" ? "host-left" : "host-lost");
  }

  #awaitOffer() {
    this.#set("joining");
    this.#after(OFFER_MS, () => this.#set("host-silent"));
  }

  // The session -------------------------------------------------------------------------------

  #offered({ peer, sdp, seat }) {
    this.#hostPresent = true;
    if (this.#session?.continues(sdp)) {
      this.#session.peer = peer;
      this.#session.offer(sdp);
      return;
    }
    clearTimeout(this.#timer);
    this.#restarts.stop();
    let session;
    try {
      session = new Session({
        peer,
        seat,
        iceServers: this.#iceServers,
        send: (message) => this.#signal?.send(message),
      });
    } catch (error) {
      this.#endSession();
      this.#set("unsupported", { detail: `The browser says: ${error.message}` });
      return;
    }
    this.#leaving?.close();
    this.#leaving = this.#session;
    this.#session = session;
    this.#collector.reset();
    const on = (type, handle) =>
      session.addEventListener(type, ({ detail }) => {
        if (session === this.#session) handle(detail);
      });
    on("picture", (stream) => this.#attach(stream));
    on("connected", () => this.#connected());
    on("lost", () => this.#lose());
    on("heard", () => this.#heard());
    on("host-stats", (text) => {
      this.host = parseHostStats(text) ?? this.host;
    });
    on("failed", ({ reason, message }) => this.#failed(reason, message));
    if (!this.#live) this.#set("joining");
    session.offer(sdp);
  }

  /** A picture that runs is kept until the new one is connected; else the new one goes in at once. */
  #attach(stream) {
    if (this.#leaving && this.#showing) this.#pending = stream;
    else this.#show(stream);
  }

  #show(stream) {
    this.#pending = null;
    if (this.#showing) this.still.take(this.video);
    this.video.srcObject = stream;
    this.video.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#set("tap-to-play");
      else if (error.name !== "AbortError") throw error; // aborted: another stream took its place
    });
  }

  #connected() {
    this.#iceBackoff.reset();
    this.#restarts.stop();
    if (this.#pending) this.#show(this.#pending);
    this.#leaving?.close();
    this.#leaving = null;
    if (this.state === "playing") this.screen.toast(null);
    else if (this.state === "joining") this.#after(FRAME_MS, () => this.#noPicture());
  }

  // Losing the path, and finding another -------------------------------------------------------

  #lose() {
    if (!this.#showing) return;
    if (this.state !== "resuming") {
      this.#signal.urgent = true;
      this.#set("resuming");
      this.screen.toast("Reconnecting… The last picture stays.");
      this.#signal.check();
    }
    this.#restarts.begin();
  }

  #askForRestart() {
    if (!this.#signal.joined || !this.#hostPresent) return false;
    return this.#signal.send({ type: "restart", peer: this.#session.peer });
  }

  /** Something comes again. A hidden page is shown no frames. */
  #heard() {
    if (this.state !== "resuming") return;
    this.#restarts.stop();
    if (document.hidden) this.#resumed();
  }

  #resumed() {
    this.#stopResuming();
    this.#set("playing");
  }

  #stopResuming() {
    this.#restarts.forget();
    if (this.#signal) this.#signal.urgent = false;
  }

  /** The browser has a network again, which need not be the one it had. */
  #moved() {
    if (this.#live) this.#signal.reopen();
    else this.#signal?.retryNow();
  }

  #hostIs(peer) {
    if (this.#session && peer) this.#session.peer = peer;
  }

  #noPicture() {
    if (document.hidden) this.#after(FRAME_MS, () => this.#noPicture());
    else this.#set("no-picture");
  }

  #frameShown() {
    if (!this.#session) return; // some browsers show one black frame when a stream ends
    this.still.hide();
    if (this.state !== "playing") this.#resumed();
  }

  #failed(reason, message) {
    const wasPlaying = this.#showing;
    this.#endSession();
    const detail = `The browser says: ${message}`;
    if (reason === "codec") {
      this.#set("no-codec");
    } else if (reason === "offer") {
      this.#set("bad-offer", { detail });
    } else if (!this.#signal.joined) {
      this.#set("reconnecting", { retryAt: this.#signal.retryAt });
    } else if (!this.#hostPresent) {
      this.#set("host-lost");
    } else {
      const delayMs = this.#iceBackoff.next();
      this.#signal.rejoin(delayMs);
      this.#set(wasPlaying ? "reconnecting" : "ice-failed", { retryAt: performance.now() + delayMs });
    }
  }

  #endSession() {
    clearTimeout(this.#timer);
    this.#stopResuming();
    if (this.#showing) this.still.take(this.video);
    this.#session?.close();
    this.#leaving?.close();
    this.#session = this.#leaving = this.#pending = null;
    this.stats = this.host = null;
  }

  /** Is there a picture on the screen? */
  get #showing() {
    return this.state === "playing" || this.state === "resuming";
  }

  /** … whose path stands or may come back? It outlives the server, and the host's link to it. */
  get #live() {
    const established = this.#session?.established || this.#leaving?.established;
    return this.#showing && established === true;
  }

  // What a person sees ------------------------------------------------------------------------

  #act() {
    switch (this.state) {
      case "tap-to-play":
        this.#set("joining");
        this.#show(this.video.srcObject);
        break;
      case "version":
        window.location.reload();
        break;
      case "reconnecting":
      case "unreachable":
      case "shutting-down":
      case "ice-failed":
        this.#signal.retryNow();
        break;
      default:
        this.open();
    }
  }

  #set(state, { detail = "", retryAt = null } = {}) {
    clearTimeout(this.#timer);
    if (state !== this.state) console.debug(`playcast: ${this.state} → ${state}`);
    this.state = state;
    this.screen.toast(null);
    this.screen.show(state, { room: this.#link?.room ?? "", detail, retryAt });
    keepAwake(STATES[state].tone === "live");
  }

  #after(ms, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, ms);
  }

  async #sample() {
    const session = this.#session;
    const report = (await session?.report()) ?? null;
    if (session !== this.#session) return;
    this.stats = report && this.#collector.sample(report, this.frames.presented, performance.now());
    this.overlay.draw(this.stats, this.host);
  }
}

/** The servers of a welcome as RTCPeerConnection takes them: without empty credentials. */
function iceServers(servers) {
  return (servers ?? []).map(({ urls, username, credential }) =>
    username ? { urls, username, credential } : { urls },
  );
}

const app = new App();

// For tests and for the curious: what the page knows, to read and not to change.
Object.defineProperty(window, "playcast", {
  value: Object.freeze({
    get state() {
      return app.state;
    },
    get stats() {
      return app.stats;
    },
    get host() {
      return app.host;
    },
  }),
});

app.open();
