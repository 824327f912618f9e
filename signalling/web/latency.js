// Where a frame's time goes, from the host's capture to the end of decoding here, as one list of
// parts for the stage bar. The two ends are measured by their own clocks; the way between them is
// taken as half the round trip.

/**
 * stats: a snapshot of stats.js or null; host: of hoststats.js or null.
 * Returns {parts: [{name, side, ms}], totalMs}; side is "host", "way" or "here", ms a median. totalMs
 * is null until all three sides have been heard of.
 */
export function latencyBudget(stats, host) {
  const stages = host?.stages ?? {};
  const parts = [];
  let sum = 0;
  for (const name of ["capture", "convert", "encode"]) {
    if (!stages[name]) continue;
    parts.push({ name, side: "host", ms: stages[name].p50 });
    sum += stages[name].p50;
  }
  if (stages.last_packet) {
    parts.push({ name: "send", side: "host", ms: Math.max(0, stages.last_packet.p50 - sum) });
  }
  const add = (name, side, ms) => Number.isFinite(ms) && parts.push({ name, side, ms });
  add("network", "way", halfOf(stats?.rttMs));
  add("buffer", "here", stats?.jitterBufferMs);
  add("decode", "here", stats?.decodeMs);
  const sides = new Set(parts.map((part) => part.side));
  const totalMs = sides.size === 3 ? parts.reduce((total, part) => total + part.ms, 0) : null;
  return { parts, totalMs };
}

function halfOf(value) {
  return Number.isFinite(value) ? value / 2 : null;
}
