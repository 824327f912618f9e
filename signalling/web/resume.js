// The seat of this page in the room, which outlives its socket and, where it was put away, the page:
// {room, peer, secret, seq} as the hello's "resume" needs it, how long the server keeps it (windowS), and
// the chat so far.
//
// It is put away only while a page is being reloaded, and taken out once: a tab that the browser
// duplicates must not come as the one that it was copied from.

const KEY = "playcast.seat";
const LONGEST_MS = 60000; // where the server does not say how long it keeps a seat, and at most

/** Put `seat` away for the page that comes next in this tab. */
export function keepSeat(storage, seat, nowMs = Date.now()) {
  storage?.setItem(KEY, JSON.stringify({ ...seat, keptAt: nowMs }));
}

/** The seat that was put away for `room`, or null. It is gone after that. */
export function takeSeat(storage, room, nowMs = Date.now()) {
  const text = storage?.getItem(KEY) ?? null;
  if (text === null) return null;
  storage.removeItem(KEY);
  const seat = parse(text);
  const age = nowMs - seat?.keptAt;
  const known =
    seat?.room === room &&
    typeof seat.peer === "string" &&
    typeof seat.secret === "string" &&
    Number.isSafeInteger(seat.seq) &&
    age >= 0 &&
    age < Math.min(LONGEST_MS, (seat.windowS || Infinity) * 1000);
  return known ? seat : null;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
}
