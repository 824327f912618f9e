// The link that opens a stream: http://HOST:PORT/#room=ROOM&token=TOKEN, where the token is a JWT
// of the issuer's or an invitation that the server made.
//
// The fragment never reaches a server. It is taken out of the visible address (so that a shared
// screen does not show the token) and kept for this tab, so that a reload plays on. A site that has
// tokens of its own (window.playcast.freshToken) needs none in the link.

const KEY = "playcast.link";
const ROOM = /^[A-Za-z0-9_-]{1,64}$/;
const JWT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
const INVITATION = /^invite(?:\.[A-Za-z0-9_-]+){3}$/;
const MAX_TOKEN = 8192;

/**
 * Parse a fragment, with or without its "#". Without `needsToken` the token may be missing, and is "".
 * Returns {room, token}, or {problem} with a sentence that says what is wrong.
 */
export function parseLink(fragment, { needsToken = true } = {}) {
  const fields = new URLSearchParams(fragment.replace(/^#/, ""));
  const room = fields.get("room");
  const token = fields.get("token") ?? "";
  if (!room && !token) {
    return { problem: `This address carries ${needsToken ? "neither a room nor a token" : "no room"}.` };
  }
  if (!room) return { problem: "The room is missing from the link." };
  if (!ROOM.test(room)) {
    return { problem: "The room's name may only have letters, digits, “-” and “_” (64 at most)." };
  }
  if (!token && !needsToken) return { room, token };
  if (!token) return { problem: "The token is missing from the link." };
  if (token.length > MAX_TOKEN || !(JWT.test(token) || INVITATION.test(token))) {
    return { problem: "The token in the link is cut short or mangled." };
  }
  return { room, token };
}

/**
 * Take the link of this page: from the address if it has a fragment, else what this tab kept.
 * A broken fragment is reported, never papered over with the kept one.
 */
export function takeLink(location, history, storage, options) {
  if (location.hash.length > 1) {
    const link = parseLink(location.hash, options);
    history.replaceState(history.state, "", location.pathname + location.search);
    if (link.problem) storage?.removeItem(KEY);
    else storage?.setItem(KEY, new URLSearchParams(link).toString());
    return link;
  }
  return parseLink(storage?.getItem(KEY) ?? "", options);
}

/** A link to this page for someone else. */
export function linkTo(location, room, token) {
  const url = new URL(".", location.href);
  url.search = "";
  url.hash = new URLSearchParams({ room, token }).toString();
  return url.href;
}

/** This tab's sessionStorage, or null where the browser forbids it (then a reload needs the link). */
export function tabStorage() {
  try {
    return window.sessionStorage;
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
    return null;
  }
}

/** The signalling address that belongs to this page. */
export function signallingUrl(location) {
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.hash = "";
  url.search = "";
  return url.href;
}
