// The pictures of the host's sessions: the one that is shown, or will be, and the one before, which
// stays until the new one is connected.
//
// Events: "connected", "lost", "heard", "host-stats" and "failed" of the present session (see
// session.js); "blocked": the browser plays only when a person asks for it.

import { Session } from "./session.js";

const PASSED_ON = ["lost", "heard", "host-stats", "failed"];

export class Pictures extends EventTarget {
  #leaving = null;
  #pending = null; // the new session's picture, until it is connected
  #shown;

  /** session: the present one, or null. */
  session = null;

  /** video: where they are shown; still: keeps the last one; shown: tells if there is one now. */
  constructor(video, still, shown) {
    super();
    this.video = video;
    this.still = still;
    this.#shown = shown;
  }

  /** Does a path stand, or may it come back? */
  get established() {
    return this.session?.established === true || this.#leaving?.established === true;
  }

  /** Does this offer go on with the present session? Then it has been answered. */
  goesOn({ peer, sdp }) {
    if (!this.session?.continues(sdp)) return false;
    this.session.peer = peer;
    this.session.offer(sdp);
    return true;
  }

  /**
   * Begin a session with an offer of the host's: {peer, sdp, seat}. options: see Session. Throws
   * what RTCPeerConnection throws.
   */
  begin({ peer, sdp, seat }, options) {
    const session = new Session({ peer, seat, ...options });
    this.#leaving?.close();
    this.#leaving = this.session;
    this.session = session;
    const on = (type, handle) =>
      session.addEventListener(type, ({ detail }) => {
        if (session === this.session) handle(detail);
      });
    on("picture", (stream) => this.#attach(stream));
    on("connected", () => this.#connected());
    for (const type of PASSED_ON) on(type, (detail) => this.#emit(type, detail));
    session.offer(sdp);
  }

  /** Show what the video has got: a person asked for it. */
  play() {
    this.#show(this.video.srcObject);
  }

  /** Close all sessions; the last picture stays. */
  end() {
    if (this.#shown()) this.still.take(this.video);
    this.session?.close();
    this.#leaving?.close();
    this.session = this.#leaving = this.#pending = null;
  }

  /** A picture that runs is kept until the new one is connected; else the new one goes in at once. */
  #attach(stream) {
    if (this.#leaving && this.#shown()) this.#pending = stream;
    else this.#show(stream);
  }

  #show(stream) {
    this.#pending = null;
    if (this.#shown()) this.still.take(this.video);
    this.video.srcObject = stream;
    this.video.play().catch((error) => {
      if (error.name === "NotAllowedError") this.#emit("blocked");
      else if (error.name !== "AbortError") throw error; // aborted: another stream took its place
    });
  }

  #connected() {
    if (this.#pending) this.#show(this.#pending);
    this.#leaving?.close();
    this.#leaving = null;
    this.#emit("connected");
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
