// The words of every state: what a person reads, and what they can do about it.
//
// tone   "busy" something is under way; "wait" nothing to do but wait; "bad" it needs a person;
//        "live" the picture is on
// heading stands over the checks, where it is not "What to check"
// action the label of the button, if there is one: what it does is the app's choice
// retried the page tries again by itself, and the button only hurries it
// {room} stands for the room's name.

const NETWORK_CHECKS = [
  "This device is online, and the address in the link is right.",
  "The machine that serves Playcast is running, and its port is open in the firewall.",
  "Between you and it there is no proxy that refuses WebSockets.",
];

export const STATES = Object.freeze({
  connecting: {
    tone: "busy",
    title: "Opening the stream",
    text: "Finding the room.",
  },
  waiting: {
    tone: "wait",
    title: "Waiting for the host",
    text: "You are in. Nobody is casting here yet: the picture starts by itself when they do.",
  },
  joining: {
    tone: "busy",
    title: "The host is here",
    text: "Agreeing on a path and a codec.",
  },
  playing: {
    tone: "live",
    title: "Playing",
    text: "",
  },
  resuming: {
    tone: "live",
    title: "Reconnecting",
    text: "The network has gone quiet. Your place is kept, and the last picture stays.",
  },
  full: {
    tone: "wait",
    title: "Every place is taken",
    text: "Stay if you like: the picture starts by itself as soon as somebody leaves.",
    checks: [
      "Playcast is not open with this link in another tab or on another device of yours.",
      "The host can let more people watch (--max-viewers).",
    ],
  },
  "tap-to-play": {
    tone: "wait",
    title: "Ready when you are",
    text: "This browser starts a picture only when you ask for it.",
    action: "Play",
  },
  reconnecting: {
    tone: "busy",
    title: "Connection lost",
    text: "Your place is kept. The picture comes back as soon as the network does.",
    action: "Try now",
    retried: true,
  },
  "host-left": {
    tone: "wait",
    title: "The host has ended the stream",
    text: "Stay if you like: when they cast again, the picture starts by itself.",
  },
  "host-lost": {
    tone: "wait",
    title: "The host dropped out",
    text: "Its connection broke without a goodbye. The picture starts again when it comes back.",
    checks: [
      "The host's machine is awake and online.",
      "Playcast is still running there: its terminal says what happened.",
    ],
  },
  "host-silent": {
    tone: "bad",
    title: "The host does not answer",
    text: "It is in the room, but has made no offer of a picture.",
    checks: [
      "The host's terminal shows no error.",
      "The host is not paused, or starved of processor time.",
    ],
    action: "Try again",
  },
  "no-picture": {
    tone: "bad",
    title: "Connected, but no picture",
    text: "The path to the host stands, yet no frame has been decoded.",
    checks: [
      "The host's terminal shows frames being sent.",
      "This browser decodes the codec that is sent: try another browser.",
      "The path carries full-size UDP packets: some VPNs drop them.",
    ],
    action: "Try again",
  },
  unreachable: {
    tone: "bad",
    title: "The server cannot be reached",
    text: "Nothing answers where the stream should be.",
    checks: NETWORK_CHECKS,
    action: "Try now",
    retried: true,
  },
  "ice-failed": {
    tone: "bad",
    title: "No way through to the host",
    text: "You and the host found each other, but the picture has no path between you.",
    checks: [
      "The host's UDP port is open in its firewall, and forwarded if it is behind a router.",
      "Your own network lets UDP out: company networks and VPNs often do not.",
      "Where neither can be changed, a TURN server carries the picture. The host sets one up.",
    ],
    action: "Try now",
    retried: true,
  },
  "bad-token": {
    tone: "bad",
    title: "This link is not valid",
    text: "The server does not recognise the token in it.",
    checks: [
      "The whole link was copied, up to its very end.",
      "The link is for this server, and the server has not been set up anew since.",
      "Otherwise, ask the host for a fresh link.",
    ],
    action: "Try again",
  },
  "token-expired": {
    tone: "bad",
    title: "This link has expired",
    text: "Links to a stream are good for a limited time.",
    checks: [
      "Ask the host for a fresh link.",
      "If it is fresh: the clocks of the server and of whoever made the link agree.",
    ],
    action: "Try again",
  },
  forbidden: {
    tone: "bad",
    title: "This room is not for this link",
    text: "The token is good, but it does not let you watch here.",
    checks: [
      "The link was made for this room, “{room}”.",
      "The link is for watching. A host's own link cannot watch.",
    ],
    action: "Try again",
  },
  "room-taken": {
    tone: "bad",
    title: "There is no place left",
    text: "The room “{room}” takes nobody else at the moment.",
    checks: [
      "Playcast is not open with this link somewhere else.",
      "The host can raise the number of viewers.",
    ],
    action: "Try again",
  },
  approval: {
    tone: "wait",
    title: "Waiting to be let in",
    text: "You have knocked. Somebody who runs the room “{room}” opens, or does not: this page goes on by itself.",
  },
  "not-admitted": {
    tone: "bad",
    title: "You were not let in",
    text: "Who runs the room “{room}” decides who comes in.",
    heading: "What you can do",
    checks: ["Ask them for an invitation: a link of theirs opens this room."],
    action: "Knock again",
  },
  kicked: {
    tone: "bad",
    title: "You were put out",
    text: "Somebody who runs the room “{room}” has ended your visit.",
    action: "Come in again",
  },
  banned: {
    tone: "bad",
    title: "You are kept out of this room",
    text: "Who runs the room “{room}” does not let you in, for now or for good.",
    heading: "What you can do",
    checks: ["If it is a mistake, ask them to let you back in."],
    action: "Try again",
  },
  "room-locked": {
    tone: "wait",
    title: "The room is locked",
    text: "Nobody new comes into “{room}” at the moment. This page tries again by itself.",
    action: "Try now",
    retried: true,
  },
  "room-full": {
    tone: "wait",
    title: "The room is full",
    text: "Every place in “{room}” is taken. This page tries again by itself.",
    action: "Try now",
    retried: true,
  },
  replaced: {
    tone: "wait",
    title: "You are watching somewhere else",
    text: "This visit goes on in another tab or on another device of yours.",
    action: "Watch here",
  },
  "rate-limited": {
    tone: "wait",
    title: "That was a lot at once",
    text: "The server wants a pause. This page goes on by itself.",
    action: "Try now",
    retried: true,
  },
  "too-slow": {
    tone: "busy",
    title: "Your connection cannot keep up",
    text: "The server had to hang up: too much waited for you there. This page comes back by itself.",
    action: "Try now",
    retried: true,
  },
  "signed-out": {
    tone: "bad",
    title: "You are not signed in",
    text: "This site has no token for you.",
    heading: "What you can do",
    checks: ["Sign in again, and load the page anew."],
    action: "Try again",
  },
  "host-away": {
    tone: "wait",
    title: "The host is away for a moment",
    text: "Its connection to the server broke, and its place is kept. The picture starts again when it is back.",
  },
  "no-codec": {
    tone: "bad",
    title: "No codec in common",
    text: "The stream is H.264 or VP8. This browser decodes neither over WebRTC.",
    checks: [
      "Use a current Chrome, Edge, Safari or Firefox.",
      "In Firefox, the OpenH264 plugin is switched on (about:addons, Plugins).",
      "The host was built with VP8, for browsers without H.264.",
    ],
    action: "Try again",
  },
  "bad-offer": {
    tone: "bad",
    title: "The host's offer makes no sense here",
    text: "This browser could not read the description of the stream.",
    checks: [
      "The host and the server run the same version of Playcast.",
      "This browser is up to date.",
    ],
    action: "Try again",
  },
  unsupported: {
    tone: "bad",
    title: "WebRTC is switched off",
    text: "The picture comes over WebRTC, and this browser does not have it or blocks it.",
    checks: [
      "No extension or privacy setting blocks WebRTC.",
      "The browser's own settings allow it (Firefox: media.peerconnection.enabled).",
      "Use a current Chrome, Edge, Safari or Firefox.",
    ],
    action: "Try again",
  },
  "shutting-down": {
    tone: "busy",
    title: "The server is restarting",
    text: "It said goodbye properly. This page comes back when it does.",
    action: "Try now",
    retried: true,
  },
  "bad-link": {
    tone: "bad",
    title: "This link is incomplete",
    text: "A link to a stream ends in #room=…&token=…",
    checks: [
      "The whole link was copied: messengers sometimes cut long ones.",
      "It was pasted into one line, without spaces.",
      "Otherwise, ask the host for it again.",
    ],
  },
  version: {
    tone: "bad",
    title: "This page and the server differ",
    text: "They speak different versions of Playcast.",
    checks: ["Load the page again, without the cache (Shift and reload)."],
    action: "Reload",
  },
  "server-error": {
    tone: "bad",
    title: "The server had a problem",
    text: "It refused to go on.",
    checks: ["The server's log says what happened."],
    action: "Try again",
  },
});

/** The server's error codes, as states. */
const STATE_OF_CODE = {
  "bad-message": "server-error",
  "too-large": "server-error",
  internal: "server-error",
  "unknown-peer": "reconnecting",
  timeout: "reconnecting",
  conflict: "room-taken",
};

/** The state that tells of an error code of the protocol; "reconnecting" for null (a plain loss). */
export function stateOfCode(code) {
  if (code === null) return "reconnecting";
  const state = STATE_OF_CODE[code] ?? code;
  return state in STATES ? state : "server-error";
}
