// What the viewer needs to read of a session description (RFC 8866).

/**
 * Does the second offer go on with the session of the first? True when both show one certificate
 * (RFC 8122) and have one ICE user name (RFC 8839: a renegotiation) or one session id (RFC 8866
 * section 5.2: an ICE restart has new user names). Else it begins a new session.
 */
export function sameSession(a, b) {
  const fingerprint = attribute(a, "fingerprint")?.toLowerCase();
  if (!fingerprint || fingerprint !== attribute(b, "fingerprint")?.toLowerCase()) return false;
  return same(a, b, (sdp) => attribute(sdp, "ice-ufrag")) || same(a, b, sessionId);
}

function same(a, b, read) {
  const value = read(a);
  return value !== null && value === read(b);
}

function sessionId(sdp) {
  return sdp.match(/^o=\S+ (\d+) /m)?.[1] ?? null;
}

function attribute(sdp, name) {
  return sdp.match(new RegExp(`^a=${name}:(.+?)\\r?$`, "m"))?.[1] ?? null;
}

/** Is every video section of this answer rejected (port 0: no codec in common)? */
export function videoRejected(sdp) {
  const ports = [...sdp.matchAll(/^m=video (\d+)/gm)].map((match) => Number(match[1]));
  return ports.length > 0 && ports.every((port) => port === 0);
}

/** The value of a=candidate as RTCIceCandidate wants it: with its "candidate:" in front. */
export function candidateLine(value) {
  const line = value.replace(/^a=/, "");
  return line === "" || line.startsWith("candidate:") ? line : `candidate:${line}`;
}
