// The viewer: wires link, signalling, pictures, room, screen, controls and statistics together.
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
import { Pictures } from "./pictures.js";
import { Reloads } from "./reloads.js";
import { Restarts } from "./restarts.js";
import { keepSeat, takeSeat } from "./resume.js";
import { RoomView } from "./roomview.js";
import { Screen } from "./screen.js";
import { obstacle } from "./session.js";
import { Signal } from "./signal.js";
import { STATES, stateOfCode } from "./states.js";
import { Collector, FrameCounter } from "./stats.js";
import { Still } from "./still.js";
import { Trace } from "./trace.js";

const SAMPLE_MS = 1000;
const OFFER_MS = 10000; // from joining (with a host there) to its offer
const FRAME_MS = 8000; // from the connection to the first frame
const HOST_ADRIFT = "The host has lost the server. The picture goes on.";
const OF_PEOPLE = new Set(["kicked", "banned", "not-admitted"]); // errors that a person decided on
const UNREACHABLE_FIRST_TRIES = 3; // failed tries to join before that is called by its name
const UNREACHABLE_TRIES = 7; // and to come back

export class Viewer {
  state = "loading";
  stats = null;
  host = null;
  #link = null;
  #signal = null;
  #trace = null;
  #hostPresent = false;
  #iceServers = [];
  #joined = false;
  #timer = null;
  #reloads = new Reloads(window);
  #restarts = new Restarts({
    ask: () => this.#askForRestart(),
    giveUp: () => this.#failed("ice", "No path to the host works any more."),
  });
  #iceBackoff = new Backoff({ firstMs: 2000, maxMs: 30000 });
  #collector = new Collector();

  /**
   * site: what the site around the page knows: {freshToken}, which returns a promise of a token that
   * is good now, and {region}, where the client is. Both may be missing.
   */
  constructor(site) {
    this.site = site;
    this.video = document.getElementById("video");
    this.screen = new Screen(document, () => this.#act());
    this.overlay = new Overlay(document.getElementById("overlay"));
    this.view = new RoomView(document, {
      onNotice: () => this.controls.wake(),
      onName: () => this.#signal?.reopen(),
    });
    this.controls = new Controls(document, {
      onStats: () => {
        this.controls.drawStats(this.overlay.toggle());
        this.overlay.draw(this.stats, this.host);
      },
      onPanel: (name) => this.view.panels.toggle(name),
    });
    this.still = new Still(document.getElementById("still"));
    this.frames = new FrameCounter(this.video, (atMs, frame) => this.#frameShown(atMs, frame));
    this.pictures = this.#makePictures();
    setInterval(() => void this.#sample(), SAMPLE_MS);
    window.addEventListener("hashchange", () => this.open());
    window.addEventListener("online", () => this.#moved());
    navigator.connection?.addEventListener("change", () => this.#signal?.check());
    window.addEventListener("pagehide", () => this.#hide());
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.open());
  }

  /** Start over with the link of this page. `startMs`: when a person asked for it. */
  open(startMs = performance.now()) {
    this.#leave();
    const { freshToken, region } = this.site;
    const needsToken = typeof freshToken !== "function";
    this.#link = takeLink(window.location, window.history, tabStorage(), { needsToken });
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
    this.#trace = new Trace({ startMs });
    const kept = takeSeat(tabStorage(), this.#link.room);
    this.#signal = new Signal({
      url: signallingUrl(window.location),
      link: this.#link,
      seat: () => this.pictures.session?.seat ?? "",
      name: () => this.view.name,
      region,
      trace: this.#trace,
      session: kept,
      freshToken: needsToken ? null : freshToken,
    });
    this.view.enter(this.#link.room, this.#signal, kept?.chat);
    this.#signal.addEventListener("message", ({ detail }) => this.#receive(detail));
    this.#signal.addEventListener("down", ({ detail }) => this.#down(detail));
    this.#signal.start();
  }

  #leave({ keep = false } = {}) {
    this.#signal?.stop({ keep });
    this.#signal = null;
    this.#endSession();
    this.view.leave();
    this.#joined = false;
    this.#iceBackoff.reset();
  }

  /** The page goes, or is loaded again: then the seat is kept for the page that comes. Whether it is
   * cannot always be known; a seat that has a control is kept in any case. */
  #hide() {
    const { room } = this.view;
    const session = this.#signal?.session;
    const keep = Boolean(session?.secret) && (this.#reloads.reloading || room.engaged);
    if (keep) keepSeat(tabStorage(), { room: this.#link.room, ...session, chat: room.chat });
    this.#leave({ keep });
  }

  // Signalling --------------------------------------------------------------------------------

  #receive(message) {
    this.view.take(message);
    switch (message.type) {
      case "waiting":
        this.#joined = true;
        this.#set("approval");
        break;
      case "welcome":
        this.#welcomed(message);
        break;
      case "peer-joined":
        if (message.role === "host") this.#hostCame(message);
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
        if (message.peer === this.pictures.session?.peer) {
          this.pictures.session.candidate(String(message.candidate ?? ""), String(message.mid ?? "0"));
        }
        break;
    }
  }

  #welcomed(message) {
    this.#joined = true;
    this.#iceServers = message.ice_servers ?? [];
    const host = this.view.room.host;
    this.#hostPresent = message.host_present === true && !host?.away;
    this.#hostIs(message.peers?.[0]);
    if (this.state === "resuming") this.#restarts.now();
    else if (this.#live) this.screen.toast(this.#hostPresent ? null : HOST_ADRIFT);
    else if (this.#hostPresent) this.#awaitOffer();
    else this.#set(host?.away ? "host-away" : "waiting");
  }

  #hostCame({ peer, away }) {
    if (away) {
      this.#hostLeft("away");
      return;
    }
    this.#hostPresent = true;
    this.#hostIs(peer);
    if (this.state === "resuming") this.#restarts.now();
    else if (this.#live) this.screen.toast(null);
    else this.#awaitOffer();
  }

  #down({ code, message, delayMs }) {
    this.#hostPresent = false;
    this.view.down(delayMs === null);
    clearTimeout(this.#timer);
    const detail = message ? `${OF_PEOPLE.has(code) ? "The room" : "The server"} says: ${message}` : "";
    if (delayMs === null) {
      this.#endSession();
      this.#signal = null;
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

  /** reason: of a peer-left, or "away". */
  #hostLeft(reason) {
    this.#hostPresent = false;
    clearTimeout(this.#timer);
    if (reason !== "bye" && this.#live) {
      if (this.state === "playing") this.screen.toast(HOST_ADRIFT);
      return;
    }
    this.#endSession();
    this.#set({ bye: "host-left", away: "host-away" }[reason] ?? "host-lost");
  }

  #awaitOffer() {
    this.#trace.begin("host.offer");
    this.#set("joining");
    this.#after(OFFER_MS, () => this.#set("host-silent"));
  }

  // The session -------------------------------------------------------------------------------

  #makePictures() {
    const pictures = new Pictures(this.video, this.still, () => this.#showing);
    const on = (type, handle) => pictures.addEventListener(type, ({ detail }) => handle(detail));
    on("connected", () => this.#connected());
    on("lost", () => this.#lose());
    on("heard", () => this.#heard());
    on("host-stats", (text) => {
      this.host = parseHostStats(text) ?? this.host;
    });
    on("blocked", () => this.#set("tap-to-play"));
    on("failed", ({ reason, message }) => this.#failed(reason, message));
    return pictures;
  }

  #offered(offer) {
    this.#hostPresent = true;
    this.#trace.end("host.offer");
    if (this.pictures.goesOn(offer)) return;
    clearTimeout(this.#timer);
    this.#restarts.stop();
    try {
      this.pictures.begin(offer, {
        iceServers: this.#iceServers,
        send: (message) => this.#signal?.send(message),
        trace: this.#trace,
      });
    } catch (error) {
      this.#endSession();
      this.#set("unsupported", { detail: `The browser says: ${error.message}` });
      return;
    }
    this.#collector.reset();
    if (!this.#live) this.#set("joining");
  }

  #connected() {
    this.#trace.begin("first-frame.receive");
    this.#iceBackoff.reset();
    this.#restarts.stop();
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
    return this.#signal.send({ type: "restart", peer: this.pictures.session.peer });
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
    if (this.pictures.session && peer) this.pictures.session.peer = peer;
  }

  #noPicture() {
    if (document.hidden) this.#after(FRAME_MS, () => this.#noPicture());
    else this.#set("no-picture");
  }

  #frameShown(atMs, frame) {
    if (!this.pictures.session) return; // some browsers show one black frame when a stream ends
    this.still.hide();
    if (this.#trace.traceparent && this.#signal.joined) {
      this.#trace.firstFrame(atMs, frame);
      this.#signal.send(this.#trace.take());
    }
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
    this.pictures?.end();
    this.stats = this.host = null;
  }

  /** Is there a picture on the screen? */
  get #showing() {
    return this.state === "playing" || this.state === "resuming";
  }

  /** … whose path stands or may come back? It outlives the server, and the host's link to it. */
  get #live() {
    return this.#showing && this.pictures.established;
  }

  // What a person sees ------------------------------------------------------------------------

  #act() {
    switch (this.state) {
      case "tap-to-play":
        this.#set("joining");
        this.pictures.play();
        break;
      case "version":
        window.location.reload();
        break;
      default:
        if (STATES[this.state].retried && this.#signal) this.#signal.retryNow();
        else this.open();
    }
  }

  #set(state, { detail = "", retryAt = null } = {}) {
    clearTimeout(this.#timer);
    if (state !== this.state) console.debug(`playcast: ${this.state} → ${state}`);
    this.state = state;
    this.screen.toast(null);
    const title = this.view.room.settings.title || this.#link?.room;
    this.screen.show(state, { room: this.#link?.room ?? "", title, detail, retryAt });
    keepAwake(STATES[state].tone === "live");
  }

  #after(ms, action) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(action, ms);
  }

  async #sample() {
    const { session } = this.pictures;
    const report = (await session?.report()) ?? null;
    if (session !== this.pictures.session) return;
    this.stats = report && this.#collector.sample(report, this.frames.presented, performance.now());
    this.overlay.draw(this.stats, this.host);
  }
}
