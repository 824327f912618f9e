// One WebRTC session with the host: answers its offers, trickles candidates, hands out the picture.
//
// Events: "picture" (detail: a MediaStream with the one video track), "connected", "lost" (there was
// a path, and nothing comes by it any more), "heard" (something does again), "host-stats" (detail:
// the text of one message), "failed" (detail: {reason, message}; reason is "codec", "offer" or
// "ice"). After "failed" or close() none follows.
//
// A path that was there and is lost ends the session only after a while: until then another offer
// of the host may restart ICE (RFC 8445 section 9) and the picture goes on.

import { candidateLine, sameSession, videoRejected } from "./sdp.js";

const CONNECT_MS = 20000; // from the first answer to a connection
const RESUME_MS = 30000; // how long a lost path may take to come back: the host waits no longer
const LOOK_MS = 400; // how often we look if something came
const DISCONNECTED_MS = 300; // a restart of ICE passes through that state for a moment
const SILENT_LOOKS = 3; // in vain: browsers take some five seconds to call a path disconnected
const HANG_UP_MS = 300; // lets the server tell first why the host went

export class Session extends EventTarget {
  #connection;
  #send;
  #trace;
  #work = Promise.resolve();
  #held = []; // local candidates that must not overtake the answer
  #offered = ""; // the host's last offer, as it was sent
  #gathered = false;
  #timer = null;
  #lost = false;
  #watch = null;
  #silentLooks = 0;
  #closed = false;
  #established = false;

  /**
   * peer: the host's id; seat: what makes us known to it when we join again; iceServers: as in the
   * welcome; send: carries a message to the server; trace: a Trace. Throws what RTCPeerConnection
   * throws.
   */
  constructor({ peer, seat, iceServers, send, trace }) {
    super();
    this.peer = peer;
    this.seat = seat;
    this.#send = send;
    this.#trace = trace;
    this.#connection = new RTCPeerConnection({ iceServers: bare(iceServers), bundlePolicy: "max-bundle" });
    this.#connection.onicecandidate = ({ candidate }) => this.#trickle(candidate);
    this.#connection.oniceconnectionstatechange = () => this.#iceChanged();
    this.#connection.onconnectionstatechange = () => this.#connectionChanged();
    this.#connection.ontrack = ({ track, receiver }) => this.#received(track, receiver);
    this.#connection.ondatachannel = ({ channel }) => this.#opened(channel);
  }

  /** Does this offer go on with this session? */
  continues(sdp) {
    return !this.#closed && sameSession(this.#offered, sdp);
  }

  /** Has there been a path, which stands or may come back? */
  get established() {
    return this.#established && !this.#closed;
  }

  get connected() {
    return this.#connection.connectionState === "connected";
  }

  /** Take an offer and answer it. Offers and candidates are handled in the order of the calls. */
  offer(sdp) {
    this.#offered = sdp;
    this.#trace.begin("offer.answer");
    this.#enqueue(async () => {
      const connection = this.#connection;
      this.#held ??= [];
      this.#gathered = false;
      try {
        await connection.setRemoteDescription({ type: "offer", sdp });
        const answer = await connection.createAnswer();
        if (videoRejected(answer.sdp)) {
          this.#fail("codec", "The offer has no video codec that this browser knows.");
          return;
        }
        await connection.setLocalDescription(answer);
      } catch (error) {
        this.#fail("offer", error.message);
        return;
      }
      if (this.#closed) return;
      this.#send({ type: "answer", peer: this.peer, sdp: connection.localDescription.sdp });
      this.#trace.end("offer.answer");
      const held = this.#held;
      this.#held = null;
      for (const message of held ?? []) this.#send(message);
      if (!this.#established) this.#failAfter(CONNECT_MS, "No path to the host answered.");
    });
  }

  /** Take one of the host's candidates; "" is the end of them (RFC 8838). */
  candidate(value, mid) {
    this.#enqueue(async () => {
      try {
        await this.#connection.addIceCandidate({ candidate: candidateLine(value), sdpMid: mid });
      } catch (error) {
        // Other candidates may still work: only a connection that fails is a failure.
        console.warn(`playcast: a candidate was refused: ${error.message}`);
      }
    });
  }

  /** The statistics of the connection, or null when it is closed. */
  async report() {
    return this.#closed ? null : this.#connection.getStats();
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#watch);
    this.#connection.close();
  }

  #enqueue(job) {
    this.#work = this.#work.then(() => (this.#closed ? undefined : job()));
  }

  #trickle(candidate) {
    if (this.#gathered) return;
    this.#gathered = !candidate?.candidate; // some browsers say the end twice: "" and null
    const message = {
      type: "candidate",
      peer: this.peer,
      candidate: candidate?.candidate ?? "",
      mid: candidate?.sdpMid ?? "0",
    };
    if (this.#held) this.#held.push(message);
    else this.#send(message);
  }

  #received(track, receiver) {
    if (track.kind !== "video") return;
    // The lowest delay that the browser offers; the names differ between browsers and years.
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    if ("playoutDelayHint" in receiver) receiver.playoutDelayHint = 0;
    // A stream of its own: sharing one with audio would switch lip-sync on, and delay the picture.
    this.#emit("picture", new MediaStream([track]));
  }

  #opened(channel) {
    if (channel.label !== "stats") return;
    channel.onmessage = ({ data }) => {
      if (typeof data === "string") this.#emit("host-stats", data);
    };
    channel.onclose = () => void this.#hungUp();
  }

  /** The channel closes at once when the host hangs up; ICE takes seconds to miss it. */
  async #hungUp() {
    await pause(HANG_UP_MS);
    const before = await this.#packets();
    await pause(HANG_UP_MS);
    if ((await this.#packets()) === before) this.#fail("ice", "The host has hung up.");
  }

  async #packets() {
    let packets = 0;
    for (const entry of (await this.report())?.values() ?? []) {
      if (entry.type === "inbound-rtp") packets += entry.packetsReceived ?? 0;
    }
    return packets;
  }

  #iceChanged() {
    const state = this.#connection.iceConnectionState;
    if (state === "checking") {
      this.#trace.begin("ice");
    } else if (state === "connected") {
      this.#trace.end("ice");
      this.#trace.begin("dtls");
    }
  }

  #connectionChanged() {
    const state = this.#connection.connectionState;
    if (state === "connected") {
      this.#trace.end("dtls");
      clearTimeout(this.#timer);
      this.#established = true;
      this.#lost = false;
      this.#watch ??= this.#look();
      this.#emit("connected");
    } else if (state === "failed" && !this.#established) {
      this.#fail("ice", "No path to the host works.");
    } else if (this.#established && (state === "failed" || state === "disconnected")) {
      if (!this.#lost) this.#failAfter(RESUME_MS, "The path to the host went silent.");
      this.#lost = true;
      setTimeout(() => this.#lost && this.#emit("lost"), DISCONNECTED_MS);
    }
  }

  /** A still picture is sent once a second, and so are the host's figures and reports. */
  #look() {
    let before = null;
    return setInterval(async () => {
      const heard = await this.#heard();
      if (heard === before) {
        this.#silentLooks += 1;
        if (this.#silentLooks % SILENT_LOOKS === 0) this.#emit("lost");
      } else {
        if (this.#silentLooks >= SILENT_LOOKS) this.#emit("heard");
        this.#silentLooks = 0;
      }
      before = heard;
    }, LOOK_MS);
  }

  /** Bytes received so far on the path, or what is nearest to them in this browser's statistics. */
  async #heard() {
    const entries = [...((await this.report())?.values() ?? [])];
    const transport = entries.find(({ type }) => type === "transport");
    return transport?.bytesReceived ?? this.#packets();
  }

  #failAfter(ms, message) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fail("ice", message), ms);
  }

  #fail(reason, message) {
    if (this.#closed) return;
    this.#emit("failed", { reason, message });
    this.close();
  }

  #emit(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** The servers of a welcome as RTCPeerConnection takes them: without empty credentials. */
function bare(servers) {
  return servers.map(({ urls, username, credential }) => (username ? { urls, username, credential } : { urls }));
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Why this browser cannot play at all: "unsupported", "no-codec", or null when it can. */
export function obstacle() {
  if (typeof RTCPeerConnection !== "function" || typeof WebSocket !== "function") return "unsupported";
  const codecs = globalThis.RTCRtpReceiver?.getCapabilities?.("video")?.codecs;
  if (codecs && !codecs.some(({ mimeType }) => /^video\/(h264|vp8)$/i.test(mimeType))) return "no-codec";
  return null;
}
