// What the browser knows about the picture: RTCPeerConnection.getStats() boiled down to one flat
// snapshot a second. Cumulative counters become rates over the time between two samples.
//
// Every figure is a number, or null where this browser does not tell it.

export class Collector {
  #last = null;

  /** Forget the last sample: the next one belongs to another connection. */
  reset() {
    this.#last = null;
  }

  /**
   * report: an RTCStatsReport; presented: frames shown by the <video> element so far;
   * nowMs: the time of the sample. Returns a frozen snapshot, or null while there is no video.
   */
  sample(report, presented, nowMs) {
    const video = find(report, (s) => s.type === "inbound-rtp" && s.kind === "video");
    if (!video) return null;
    const previous = this.#last;
    this.#last = { video, presented, nowMs };
    const transport = find(report, (s) => s.type === "transport");
    const pair = report.get(transport?.selectedCandidatePairId) ?? find(report, nominated);
    const local = report.get(pair?.localCandidateId);
    const remote = report.get(pair?.remoteCandidateId);
    const codec = report.get(video.codecId);

    const seconds = previous ? (nowMs - previous.nowMs) / 1000 : 0;
    const grown = (key) => difference(video[key], previous?.video[key]);
    const rate = (growth) => (growth !== null && seconds > 0 ? growth / seconds : null);
    const meanMs = (total, count) => {
      const [sum, n] = [grown(total), grown(count)];
      return sum !== null && n > 0 ? (sum / n) * 1000 : null;
    };
    const bytes = grown("bytesReceived");

    return Object.freeze({
      fps: rate(grown("framesDecoded")),
      presentedFps: rate(difference(presented, previous?.presented)),
      bitrateBps: rate(bytes === null ? null : bytes * 8),
      rttMs: scaled(pair?.currentRoundTripTime),
      jitterBufferMs: meanMs("jitterBufferDelay", "jitterBufferEmittedCount"),
      decodeMs: meanMs("totalDecodeTime", "framesDecoded"),
      width: number(video.frameWidth),
      height: number(video.frameHeight),
      codec: codec?.mimeType?.replace(/^video\//i, "") ?? null,
      decoder: video.decoderImplementation ?? null,
      framesDecoded: number(video.framesDecoded),
      framesDropped: number(video.framesDropped),
      keyFrames: number(video.keyFramesDecoded),
      packets: number(video.packetsReceived),
      lost: number(video.packetsLost),
      retransmitted: number(video.retransmittedPacketsReceived),
      nacks: number(video.nackCount),
      plis: number(video.pliCount),
      freezes: number(video.freezeCount),
      path: local && remote ? `${local.candidateType} – ${remote.candidateType}` : null,
      protocol: local?.relayProtocol ?? local?.protocol ?? null,
      relayed: local && remote ? local.candidateType === "relay" || remote.candidateType === "relay" : null,
    });
  }
}

/** Counts the frames that a <video> shows. */
export class FrameCounter {
  presented = 0;

  /** onFrame is called with each frame shown: when (performance.now()), and what is known of it. */
  constructor(video, onFrame) {
    if (!("requestVideoFrameCallback" in video)) {
      this.presented = null;
      video.addEventListener("timeupdate", () => onFrame(performance.now(), {}));
      return;
    }
    const count = (now, frame) => {
      this.presented = frame.presentedFrames;
      onFrame(now, frame);
      video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
  }
}

function find(report, matches) {
  for (const entry of report.values()) if (matches(entry)) return entry;
  return null;
}

function nominated(entry) {
  return entry.type === "candidate-pair" && entry.nominated && entry.state === "succeeded";
}

function number(value) {
  return Number.isFinite(value) ? value : null;
}

function scaled(seconds) {
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

function difference(now, before) {
  return Number.isFinite(now) && Number.isFinite(before) && now >= before ? now - before : null;
}
