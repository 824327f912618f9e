// What this client knows of its room: who it is here, who holds which control,
// who else is there, how the room is run, what was said. Made from the server's messages alone.
//
// Event "change" (detail: the message) after every message that changed something.

const STAFF = new Set(["admin", "host", "moderator"]);
const MAX_CHAT = 200; // lines that are kept
const MAX_PADS = 8;

// What the staff may do, so that only that is offered. The server decides.
const ACTS_ON = {
  admin: ["host", "moderator", "player", "viewer"],
  host: ["moderator", "player", "viewer"],
  moderator: ["player", "viewer"],
};
const STEERS = {
  admin: ["admin", "moderator", "player", "viewer"],
  host: ["admin", "moderator", "player", "viewer"],
  moderator: ["moderator", "player", "viewer"],
};
const APPOINTS = {
  admin: ["viewer", "player", "moderator"],
  host: ["viewer", "player", "moderator"],
  moderator: ["viewer", "player"],
};
const CONFIGURES = { moderator: ["locked", "chat"] };

export class Room extends EventTarget {
  #offsetMs = 0;
  #clock;

  /** clock: Unix time in ms. */
  constructor(clock = Date.now) {
    super();
    this.#clock = clock;
    this.clear();
  }

  /** Know nothing. */
  clear() {
    this.joined = false;
    this.peer = "";
    this.role = "viewer";
    this.settings = {};
    this.viewers = null;
    this.controls = new Map(); // by name, as the server sent them
    this.members = new Map(); // by peer: whom we may see
    this.bans = [];
    this.chat = []; // {peer, name, role, text, at}, or {gap: true} where some may be missing
  }

  /** Take one message of the server's. */
  take(message) {
    if (!this.#apply(message)) return;
    this.dispatchEvent(new CustomEvent("change", { detail: message }));
  }

  #apply(message) {
    switch (message.type) {
      case "welcome":
        this.#welcomed(message);
        return true;
      case "controls":
        for (const state of list(message.controls)) this.controls.set(state.control, state);
        return true;
      case "settings":
        this.settings = message.settings ?? {};
        this.viewers = message.viewers ?? null;
        return true;
      case "peer-joined":
        this.members.set(message.peer, message);
        if (message.peer === this.peer) this.#become(message.role);
        return true;
      case "peer-left":
        return this.members.delete(message.peer);
      case "bans":
        this.bans = list(message.bans);
        return true;
      case "chat-message":
        this.#said(message);
        return true;
      default:
        return false;
    }
  }

  /** Viewers and players do not see all that the staff does. */
  #become(role) {
    this.role = role;
    if (this.staff) return;
    this.bans = [];
    for (const { peer, role: other, waiting } of this.others) {
      if (waiting || other === "viewer") this.members.delete(peer);
    }
  }

  #welcomed(message) {
    if (!message.resumed) this.chat = []; // what was said before follows
    this.joined = true;
    this.#offsetMs = message.at > 0 ? message.at * 1000 - this.#clock() : 0;
    if (message.resumed && message.complete === false && this.chat.length) this.chat.push({ gap: true });
    this.peer = message.peer;
    this.role = message.role;
    this.settings = message.settings ?? {};
    this.controls = new Map(list(message.controls).map((state) => [state.control, state]));
    this.members = new Map(list(message.members).map((member) => [member.peer, member]));
  }

  #said({ peer, name, role, text, at }) {
    this.chat.push({ peer, name: String(name ?? ""), role, text: String(text ?? ""), at });
    if (this.chat.length > MAX_CHAT) this.chat.shift();
  }

  /** The room's clock, in Unix seconds: every "until" counts by it. */
  now() {
    return (this.#clock() + this.#offsetMs) / 1000;
  }

  /** Seconds until `until`, never less than 0; null where there is no end. */
  left(until) {
    return Number.isFinite(until) ? Math.max(0, until - this.now()) : null;
  }

  /** May we run this room? */
  get staff() {
    return STAFF.has(this.role);
  }

  /** May we admit, promote, kick and ban them? */
  mayActOn({ peer, role }) {
    return peer !== this.peer && (ACTS_ON[this.role] ?? []).includes(role);
  }

  /** May we give them controls, and take those back? */
  maySteer({ role }) {
    return (STEERS[this.role] ?? []).includes(role);
  }

  /** What we may make of others, by promoting and inviting them. */
  get appointable() {
    return APPOINTS[this.role] ?? [];
  }

  /** May we change this setting of the room? */
  mayConfigure(name) {
    return this.staff && (CONFIGURES[this.role]?.includes(name) ?? true);
  }

  control(name) {
    return this.controls.get(name) ?? { control: name, holder: null, until: null, queue: [] };
  }

  /** The names of the controls that this room has: its pads, and keyboard and mouse. */
  get controlNames() {
    const { pads = 0, keyboard = false } = this.settings;
    const names = Array.from({ length: Math.min(pads, MAX_PADS) }, (_, i) => `pad:${i + 1}`);
    return keyboard ? [...names, "keyboard", "mouse"] : names;
  }

  /** The controls that `peer` holds. */
  heldBy(peer) {
    return this.controlNames.filter((name) => this.control(name).holder === peer);
  }

  /** Who waits for a control, in order. */
  queue(name) {
    const { queue } = this.control(name);
    return Array.isArray(queue) ? queue : [];
  }

  /** Where `peer` stands in the line for a control: 1 is next, 0 is not at all. */
  place(name, peer = this.peer) {
    return this.queue(name).indexOf(peer) + 1;
  }

  /** Whether a seat here is worth coming back to: a control, a place in a line, or that it is hard to
   * come in again. */
  get engaged() {
    const { policy, locked } = this.settings;
    if (this.joined && !this.staff && (policy === "approval" || locked)) return true;
    return this.controlNames.some((name) => this.control(name).holder === this.peer || this.place(name) > 0);
  }

  /** What to call someone. Who has no name is told from others by the end of their id. */
  nameOf(peer, { name, role } = this.members.get(peer) ?? {}) {
    return name || (role === "host" ? "The host" : `Guest ${String(peer).slice(-4)}`);
  }

  get host() {
    return [...this.members.values()].find(({ role }) => role === "host");
  }

  /** Those who are in and those who wait to be, besides ourselves, in the order of their coming. */
  get others() {
    return [...this.members.values()].filter(({ peer }) => peer !== this.peer);
  }
}

/** The objects of a list; none where it is no list. */
export function list(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && typeof item === "object") : [];
}
