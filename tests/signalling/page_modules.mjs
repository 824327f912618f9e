// The page's pure modules in node. Arguments: the folder they are in, and the name of a case below.
// Prints what the case found, as JSON.
import { pathToFileURL } from "node:url";

const [folder, name] = process.argv.slice(2);
const load = (module) => import(pathToFileURL(`${folder}/${module}`));
const settled = () => new Promise((resolve) => setImmediate(resolve));

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

async function joinedSignal(options = {}) {
  const { Signal } = await load("signal.js");
  const link = { room: "den", token: "a.b.c" };
  const signal = new Signal({ url: "ws://x/ws", link, random: () => 1, ...options });
  const came = [];
  signal.addEventListener("message", ({ detail }) => came.push(detail.type === "chat-message" ? detail.text : detail.type));
  signal.addEventListener("down", ({ detail }) => came.push(detail));
  signal.start();
  await open();
  return { signal, came };
}

async function open() {
  sockets.at(-1).onopen();
  await settled();
}

async function say(...messages) {
  for (const message of messages) sockets.at(-1).onmessage({ data: JSON.stringify(message) });
  await settled();
}

/** The server answers the last ping. */
async function pong() {
  const { at } = sockets.at(-1).sent.findLast(({ type }) => type === "ping");
  await say({ type: "pong", at });
}

async function reopen(signal) {
  sockets.at(-1).onclose({ code: 1006, reason: "" });
  signal.retryNow();
  await open();
}

const welcome = (more) => ({ type: "welcome", peer: "p", room: "den", role: "viewer", seq: 10, secret: "s1", ...more });
const chat = (seq, text) => ({ type: "chat-message", seq, text });
const sent = (type) => sockets.map((socket) => socket.sent.filter((message) => message.type === type));

const cases = {
  async resume() {
    const { signal, came } = await joinedSignal();
    await say(welcome(), chat(4, "before you came"), chat(11, "one"), chat(12, "two"));
    await reopen(signal);
    await say(welcome({ resumed: true, seq: 0, secret: "s2" }), chat(12, "two"), chat(13, "three"));
    await reopen(signal);
    const resumes = sent("hello").map(([hello]) => hello.resume ?? null);
    return { resumes, came: came.filter((entry) => typeof entry === "string") };
  },

  async requests() {
    const { signal } = await joinedSignal();
    const ends = {};
    const ask = (key) =>
      signal.request({ type: "chat", text: key }).then(
        () => (ends[key] = "done"),
        (error) => (ends[key] = error.code),
      );
    await say(welcome());
    ask("answered");
    ask("refused");
    ask("answered late");
    ask("never reached");
    await say({ type: "done", id: "1" }, { type: "error", id: "2", code: "forbidden", message: "no" });
    sockets.at(-1).onclose({ code: 1006, reason: "" });
    ask("while away");
    signal.retryNow();
    await open();
    await say(welcome({ resumed: true, seq: 0 }), { type: "done", id: "3" });
    const before = sent("chat")[1].length;
    await pong();
    await say({ type: "done", id: "4" }, { type: "done", id: "5" });
    ask("lost with the seat");
    sockets.at(-1).onclose({ code: 1006, reason: "" });
    ask("for the next seat");
    signal.retryNow();
    await open();
    await say(welcome({ peer: "q" }));
    await pong();
    await say({ type: "done", id: "7" });
    return { ends, before, chats: sent("chat").map((some) => some.map(({ text }) => text)) };
  },

  async delays() {
    const found = {};
    const down = async (error, code) => {
      const { came } = await joinedSignal();
      await say({ type: "error", message: "", retry: true, ...error });
      sockets.at(-1).onclose({ code, reason: "" });
      found[error.code] = came.at(-1).delayMs;
    };
    await down({ code: "rate-limited", retry_after_s: 7 }, 4429);
    await down({ code: "shutting-down" }, 1012);
    await down({ code: "room-full" }, 4503);
    await down({ code: "kicked", retry: false }, 4403);
    await down({ code: "internal" }, 1011);
    return found;
  },

  async link() {
    const { parseLink, linkTo } = await load("link.js");
    const location = { href: "https://play.example/watch/index.html?x=1#room=a" };
    return {
      jwt: parseLink("#room=den&token=a.b.c"),
      invitation: parseLink("#room=den&token=invite.k1.aGk.bWFj"),
      cut: parseLink("#room=den&token=invite.k1.aGk").token ?? "refused",
      signedIn: parseLink("#room=den", { needsToken: false }),
      mangled: parseLink("#room=den&token=abc", { needsToken: false }).problem !== undefined,
      made: linkTo(location, "den", "invite.k1.aGk.bWFj"),
    };
  },

  async seat() {
    const { keepSeat, takeSeat } = await load("resume.js");
    const storage = {
      items: {},
      setItem(key, value) {
        this.items[key] = value;
      },
      getItem(key) {
        return this.items[key] ?? null;
      },
      removeItem(key) {
        delete this.items[key];
      },
    };
    const seat = { room: "den", peer: "p", secret: "s", seq: 7 };
    const takeAfter = (ms, room = "den", more = {}) => {
      keepSeat(storage, { ...seat, ...more }, 1000);
      return takeSeat(storage, room, 1000 + ms)?.peer ?? null;
    };
    const found = { soon: takeAfter(5000), late: takeAfter(61000), elsewhere: takeAfter(1, "attic"), back: takeAfter(-5) };
    found.withinWindow = takeAfter(9000, "den", { windowS: 10 });
    found.afterWindow = takeAfter(11000, "den", { windowS: 10 });
    found.twice = takeSeat(storage, "den", 1001);
    storage.setItem("playcast.seat", "{");
    found.broken = takeSeat(storage, "den", 1001);
    storage.setItem("playcast.seat", JSON.stringify({ ...seat, seq: "7", keptAt: 1000 }));
    found.wrong = takeSeat(storage, "den", 1001);
    found.forbidden = takeSeat(null, "den", 1001);
    return found;
  },

  async trace() {
    const { Trace } = await load("trace.js");
    const trace = new Trace({ startMs: 100, origin: 1000, random: (bytes) => bytes.fill(171) });
    const { traceparent } = trace;
    trace.end("never begun", 150);
    trace.begin("ice", 200);
    trace.end("ice", 230);
    trace.begin("first-frame.receive", 240);
    trace.span("backwards", 300, 200);
    trace.span("for ever", 0, 700000);
    trace.firstFrame(290, { receiveTime: 270, processingDuration: 0.01 });
    const spans = trace.take().spans.map(({ name, start_ms, duration_ms }) => [name, start_ms, duration_ms]);
    return { traceparent, spans, after: [trace.traceparent, trace.take()] };
  },

  async words() {
    const { placeWords, clockWords, spanWords, controlsTitle } = await load("words.js");
    return {
      places: [1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111].map(placeWords),
      clocks: [0, 6.2, 60, 119.1, 3600, 3661].map(clockWords),
      spans: [0.2, 1, 59.9, 90, 119.98, 3585, 3600, 7000, 86399, 604800].map(spanWords),
      titles: [["pad:1"], ["pad:1", "pad:2"], ["keyboard"], ["keyboard", "mouse"], ["pad:1", "keyboard", "mouse"]].map(controlsTitle),
    };
  },

  async news() {
    const { Room } = await load("room.js");
    const { newsOf } = await load("news.js");
    const room = new Room(() => 5000_000);
    const said = [];
    const take = (message) => {
      said.push(newsOf(room, message).map(({ text, mine }) => (mine ? `! ${text}` : text)));
      room.take(message);
    };
    const control = (more, reason, message = "") => ({ type: "controls", controls: [{ control: "pad:1", holder: null, until: null, queue: [], ...more }], reason, message });
    const card = (peer, more) => ({ type: "peer-joined", peer, role: "viewer", name: "", away: false, waiting: false, ...more });
    // The room's clock is 10 s ahead of ours.
    room.take({ type: "welcome", peer: "me", role: "moderator", at: 5010, settings: { pads: 1, keyboard: false, locked: false, chat: true }, controls: [], members: [card("hostpeer", { role: "host" })] });
    take(card("ann", { name: "Ann" }));
    take(card("xyz1234", { waiting: true }));
    take(card("xyz1234"));
    take(card("ann", { name: "Ann", away: true }));
    take(card("ann", { name: "Ann" }));
    take(card("ann", { name: "Ann", role: "player" }));
    take(control({ queue: ["ann", "me"] }, "requested"));
    take(control({ queue: ["me"], holder: "ann" }, "granted"));
    take(control({ holder: "me", until: 5130 }, "expired"));
    const left = room.left(room.control("pad:1").until);
    take(control({ holder: "ann" }, "given"));
    take(control({ holder: "ann", queue: ["me"] }, "requested"));
    take(control({ holder: "ann" }, "denied", "Not now."));
    take({ type: "settings", settings: { pads: 1, keyboard: false, locked: true, chat: false }, viewers: 3 });
    take({ type: "peer-left", peer: "ann", role: "player", reason: "kicked" });
    take({ type: "peer-left", peer: "hostpeer", role: "host", reason: "bye" });
    take(card("me", { role: "viewer" }));
    return { said, left, others: room.others.map(({ peer }) => peer), staff: room.staff };
  },
};

console.warn = () => {};
console.log(JSON.stringify(await cases[name]()));
process.exit(0);
