// What the viewer needs to read of a session description (RFC 8866).

/**
 * Do two offers belong to one transport? True when ICE user name (RFC 8839) and DTLS fingerprint
 * (RFC 8122) are the same: then the second is a renegotiation, else a new session.
 */
export function sameTransport(a, b) {
  const id = identity(a);
  return id !== null && id === identity(b);
}

function identity(sdp) {
  const ufrag = attribute(sdp, "ice-ufrag");
  const fingerprint = attribute(sdp, "fingerprint");
  return ufrag && fingerprint ? `${ufrag} ${fingerprint.toLowerCase()}` : null;
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
