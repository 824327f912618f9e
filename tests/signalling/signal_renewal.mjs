// The page's signalling client in node, with a socket of ours. Arguments: signal.js, and "none" for a
// page without a callback. Prints what it sent, its events, and whether it would open another socket.
import { pathToFileURL } from "node:url";

const [path, callback] = process.argv.slice(2);
const sockets = [];
globalThis.WebSocket = class {
  static OPEN = 1;
  readyState = 1;
  sent = [];
  constructor() {
    sockets.push(this);
  }
  send(frame) {
    this.sent.push(JSON.parse(frame));
  }
  close() {
    this.readyState = 3;
  }
};
const { Signal } = await import(pathToFileURL(path));

const tokens = ["first", "second", new Error("signed out"), "third"];
async function freshToken() {
  const token = tokens.shift();
  if (token instanceof Error) throw token;
  return token;
}
const settled = () => new Promise((resolve) => setImmediate(resolve));
console.warn = () => {};

const link = { room: "den", token: "of-the-link" };
const signal = new Signal({ url: "ws://x/ws", link, freshToken: callback === "none" ? null : freshToken });
const events = [];
signal.addEventListener("message", ({ detail }) => events.push(detail.type));
signal.addEventListener("down", ({ detail }) => events.push([detail.code, detail.delayMs !== null]));

async function receive(message) {
  sockets.at(-1).onmessage({ data: JSON.stringify(message) });
  await settled();
}
signal.start();
sockets[0].onopen();
await settled();
await receive({ type: "welcome" });
await receive({ type: "token-expiring", left_s: 20 });
await receive({ type: "token-accepted", left_s: 60 });
await receive({ type: "token-expiring", left_s: 20 });
await receive({ type: "error", code: "token-expired", message: "it is over", retry: false });
sockets[0].onclose({ code: 4401, reason: "token-expired" });
signal.retryNow();
sockets[1].onopen();
await settled();
const words = sockets.map(({ sent }) => sent.map(({ type, token }) => [type, token]));
console.log(JSON.stringify({ words, events }));
process.exit(0);
