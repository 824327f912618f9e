// The host's own figures, one JSON object a second over the data channel "stats":
//
//   {"fps": 60.0, "bitrate_bps": 8000000, "viewers": 2, "width": 1280, "height": 720,
//    "codec": "H264", "encoder": "x264", "drops": {"skipped": 0, "late": 0},
//    "network": {"state": "steady", "target_bps": 8300000, "queue_ms": 0.2, "rtt_ms": 20.1,
//                "loss": 0.0, "repair": 0.02},
//    "stages": {"capture": {"p50_ms": 0.3, "p99_ms": 0.6}, "convert": …, "encode": …,
//               "first_packet": …, "last_packet": …}}
//
// capture, convert and encode are how long that stage takes; first_packet and last_packet are
// counted from the start of capture, and lie partly inside encode: slices leave while the encoder
// is still at work. network is what the host's congestion control makes of the path. Unknown keys are ignored; a field of the wrong kind counts as absent.

export const STAGES = ["capture", "convert", "encode", "first_packet", "last_packet"];

const MAX_LENGTH = 16384;

/** Read one message. Returns a frozen object of numbers, strings and nulls; null if it is no object. */
export function parseHostStats(text) {
  if (text.length > MAX_LENGTH) return null;
  let data;
  try {
    data = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
  if (!isObject(data)) return null;
  const stages = {};
  for (const name of STAGES) {
    const stage = isObject(data.stages) ? data.stages[name] : null;
    const p50 = amount(stage?.p50_ms);
    if (p50 !== null) stages[name] = Object.freeze({ p50, p99: amount(stage.p99_ms) });
  }
  return Object.freeze({
    fps: amount(data.fps),
    bitrateBps: amount(data.bitrate_bps),
    viewers: amount(data.viewers),
    width: amount(data.width),
    height: amount(data.height),
    codec: word(data.codec),
    encoder: word(data.encoder),
    skipped: amount(data.drops?.skipped),
    late: amount(data.drops?.late),
    network: parseNetwork(data.network),
    stages: Object.freeze(stages),
  });
}

/** What the host makes of the path to here; null where its rate is fixed. */
function parseNetwork(data) {
  if (!isObject(data)) return null;
  return Object.freeze({
    state: word(data.state),
    targetBps: amount(data.target_bps),
    queueMs: amount(data.queue_ms),
    repair: amount(data.repair),
  });
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function amount(value) {
  return Number.isFinite(value) && value >= 0 ? value : null;
}

function word(value) {
  return typeof value === "string" && value !== "" ? value.slice(0, 32) : null;
}
