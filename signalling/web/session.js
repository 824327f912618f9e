// One WebRTC session with the host: answers its offers, trickles candidates, hands out the picture.
//
// Events: "picture" (detail: a MediaStream with the one video track), "connection" (detail: an
// RTCPeerConnectionState), "host-stats" (detail: the text of one message), "failed" (detail:
// {reason, message}; reason is "codec", "offer" or "ice"). After "failed" or close() none follows.

import { candidateLine, sameTransport, videoRejected } from "./sdp.js";

const CONNECT_MS = 20000; // from the first answer to a connection
const DISCONNECTED_MS = 8000; // how long a path may be silent before it counts as failed
const HANG_UP_MS = 300; // lets the server tell first why the host went

export class Session extends EventTarget {
  #connection;
  #send;
  #work = Promise.resolve();
  #held = []; // local candidates that must not overtake the answer
  #offered = ""; // the host's last offer, as it was sent
  #gathered = false;
  #timer = null;
  #closed = false;

  /**
   * peer: the host's id; iceServers: as in the welcome; send: carries a message to the server.
   * Throws what RTCPeerConnection throws.
   */
  constructor({ peer, iceServers, send }) {
    super();
    this.peer = peer;
    this.#send = send;
    this.#connection = new RTCPeerConnection({ iceServers, bundlePolicy: "max-bundle" });
    this.#connection.onicecandidate = ({ candidate }) => this.#trickle(candidate);
    this.#connection.onconnectionstatechange = () => this.#connectionChanged();
    this.#connection.ontrack = ({ track, receiver }) => this.#received(track, receiver);
    this.#connection.ondatachannel = ({ channel }) => this.#opened(channel);
  }

  /** Is this offer a renegotiation of this session? */
  continues(sdp) {
    return !this.#closed && sameTransport(this.#offered, sdp);
  }

  get connected() {
    return this.#connection.connectionState === "connected";
  }

  /** Take an offer and answer it. Offers and candidates are handled in the order of the calls. */
  offer(sdp) {
    this.#offered = sdp;
    this.#enqueue(async () => {
      const connection = this.#connection;
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
      const held = this.#held;
      this.#held = null;
      for (const message of held ?? []) this.#send(message);
      if (!this.connected) this.#failAfter(CONNECT_MS, "No path to the host answered.");
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

  #connectionChanged() {
    const state = this.#connection.connectionState;
    if (state === "connected") clearTimeout(this.#timer);
    this.#emit("connection", state);
    if (state === "failed") this.#fail("ice", "No path to the host works any more.");
    if (state === "disconnected") this.#failAfter(DISCONNECTED_MS, "The path to the host went silent.");
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
