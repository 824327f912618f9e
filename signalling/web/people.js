// The panel of who runs the room: who waits to be let in, who asks for a control, who is here and
// what can be done about them, who is kept out.

import { button, fillSelect, make, select, setText, syncKeyed } from "./dom.js";
import { BAN_TIMES, controlWords, controlsTitle, GRANT_TIMES, ROLE_WORDS, spanWords } from "./words.js";

export class People {
  #sections = {};

  /**
   * root: where to draw; room: a Room; ask: carries out a request, tells of a refusal, and returns a
   * promise that is true when it was done.
   */
  constructor(root, room, ask) {
    this.room = room;
    this.ask = ask;
    this.giveFor = select("How long a control is given", GRANT_TIMES);
    root.append(
      this.#section("waiting", "Waiting to be let in"),
      this.#section("asking", "Asking for a control", [this.giveFor]),
      this.#section("here", "Also here"),
      this.#section("banned", "Kept out"),
    );
  }

  /** How many want something of the staff. */
  get wanting() {
    return this.#waiting.length + this.#asking.length;
  }

  get #waiting() {
    return this.room.others.filter(({ waiting }) => waiting);
  }

  get #asking() {
    const { room } = this;
    if (room.settings.control_policy !== "ask") return [];
    return room.controlNames
      .filter((name) => name !== "mouse" || !sameQueue(room))
      .flatMap((name) => room.queue(name).map((peer) => ({ name, peer })));
  }

  draw() {
    const here = this.room.others.filter(({ waiting }) => !waiting);
    this.#fill("waiting", this.#waiting, ({ peer }) => peer, (peer) => this.#waitingRow(peer));
    this.#fill("asking", this.#asking, ({ name, peer }) => `${peer} ${name}`, (key) => this.#askingRow(...key.split(" ")));
    this.#fill("here", here, ({ peer }) => peer, (peer) => this.#memberRow(peer));
    this.#fill("banned", this.room.bans, ({ subject }) => subject, (subject) => this.#bannedRow(subject));
    this.#sections.here.node.hidden = false;
    setText(this.#sections.here.empty, here.length ? "" : "Nobody but you.");
  }

  #section(name, title, extra = []) {
    const count = make("span", "count-of");
    const list = make("ul", "rows");
    const empty = make("p", "hint");
    const node = make("section", "group", { "aria-label": title }, [
      make("div", "group-head", {}, [make("h3", "", {}, [title, " ", count]), ...extra]),
      empty,
      list,
    ]);
    this.#sections[name] = { node, count, list, empty };
    return node;
  }

  #fill(name, items, keyOf, create) {
    const { node, count, list } = this.#sections[name];
    node.hidden = items.length === 0;
    setText(count, items.length ? String(items.length) : "");
    syncKeyed(list, items, keyOf, create);
  }

  #waitingRow(peer) {
    const who = make("b", "name");
    const admit = button("Admit", () => this.ask({ type: "admit", peer }), { className: "small" });
    const refuse = button("Refuse", () => this.ask({ type: "kick", peer, message: "" }));
    const node = make("li", "row", {}, [make("div", "line-up", {}, [who, refuse, admit])]);
    const draw = (member) => {
      const name = this.room.nameOf(peer);
      setText(who, name);
      admit.setAttribute("aria-label", `Admit ${name}`);
      refuse.setAttribute("aria-label", `Refuse ${name}`);
      admit.disabled = refuse.disabled = !this.room.mayActOn(member);
    };
    return { node, draw };
  }

  #askingRow(peer, name) {
    const names = () => (name === "keyboard" && sameQueue(this.room) ? ["keyboard", "mouse"] : [name]);
    const each = (type, more = {}) => names().map((control) => this.ask({ type, control, peer, ...more }));
    const who = make("b", "name");
    const what = make("span", "state");
    const give = button("Give", () => each("control-grant", time(this.giveFor)), { className: "small" });
    const deny = button("Decline", () => each("control-deny", { message: "" }));
    const node = make("li", "row", {}, [
      make("div", "line-up", {}, [make("div", "what", {}, [who, what]), deny, give]),
    ]);
    const draw = () => {
      const called = this.room.nameOf(peer);
      setText(who, called);
      setText(what, controlsTitle(names()));
      give.setAttribute("aria-label", `Give ${called} ${names().map(controlWords).join(" and ")}`);
      deny.setAttribute("aria-label", `Decline ${called}’s request`);
    };
    return { node, draw };
  }

  #memberRow(peer) {
    const name = make("b", "name");
    const role = make("span", "role");
    const state = make("span", "state");
    const control = this.#controlForm(peer);
    const standing = this.#roleForm(peer);
    const out = this.#outForm(peer);
    const nothing = make("p", "hint", {}, ["Nothing that you may change."]);
    const node = make("li", "row", {}, [
      make("details", "person", {}, [
        make("summary", "line-up", {}, [make("span", "what", {}, [name, role, state])]),
        make("div", "doings", {}, [control.node, standing.node, out.node, nothing]),
      ]),
    ]);
    const draw = (member) => {
      const { room } = this;
      const held = room.heldBy(peer);
      setText(name, room.nameOf(peer));
      setText(role, member.role === "viewer" ? "" : ROLE_WORDS[member.role]);
      setText(state, [member.away ? "connection lost" : "", held.length ? controlsTitle(held) : ""].filter(Boolean).join(" · "));
      node.classList.toggle("away", member.away === true);
      const shown = [control, standing, out].map((form) => form.draw(member, held));
      nothing.hidden = shown.some(Boolean);
    };
    return { node, draw };
  }

  #controlForm(peer) {
    const which = select("Control", []);
    const time_ = select("For how long", GRANT_TIMES);
    const give = button("Give", () => this.#give(peer, which.value, time_), { className: "small" });
    const take = button("Take back", () => {
      for (const control of this.room.heldBy(peer)) this.ask({ type: "control-take", control });
    });
    const giving = make("div", "doing-row", {}, [which, time_, give]);
    const taking = make("div", "doing-row", {}, [take]);
    const node = make("div", "doing", {}, [giving, taking]);
    const draw = (member, held) => {
      const names = this.room.controlNames;
      node.hidden = !this.room.maySteer(member) || names.length === 0;
      giving.hidden = member.away === true;
      taking.hidden = held.length === 0;
      setText(take, `Take back ${held.map(controlWords).join(" and ")}`);
      fillSelect(which, choices(names));
      return !node.hidden && !(giving.hidden && taking.hidden);
    };
    return { node, draw };
  }

  #give(peer, which, forHowLong) {
    for (const control of which.split(" ")) {
      this.ask({ type: "control-grant", control, peer, ...time(forHowLong) });
    }
  }

  #roleForm(peer) {
    const roles = select("Role", []);
    const change = button("Change", () => this.ask({ type: "promote", peer, role: roles.value }));
    const node = make("div", "doing", {}, [make("div", "doing-row", {}, [roles, change])]);
    let was = "";
    const draw = (member) => {
      const { appointable } = this.room;
      node.hidden = !this.room.mayActOn(member) || appointable.length === 0;
      const options = appointable.map((role) => [role, `Be a ${ROLE_WORDS[role]}`]);
      fillSelect(roles, options, was === member.role ? roles.value : member.role);
      was = member.role;
      return !node.hidden;
    };
    return { node, draw };
  }

  #outForm(peer) {
    const kick = button("Put out", () => this.ask({ type: "kick", peer, message: why.value.trim() }));
    const ban = button("Ban…", () => confirm(true), { className: "quiet bad" });
    const first = make("div", "doing-row", {}, [kick, ban]);
    const why = make("input", "", { maxlength: "200", placeholder: "Why (they read it)", "aria-label": "Why" });
    const time_ = select("For how long they are kept out", BAN_TIMES);
    const sure = button("", () => this.ask({ type: "ban", peer, message: why.value.trim(), ...time(time_) }), { className: "small bad" });
    const cancel = button("Cancel", () => confirm(false));
    const second = make("div", "doing-row", { role: "group" }, [time_, sure, cancel]);
    const node = make("div", "doing", {}, [why, first, second]);
    second.hidden = true;
    const confirm = (on) => {
      first.hidden = on;
      second.hidden = !on;
      (on ? time_ : ban).focus();
    };
    const draw = (member) => {
      node.hidden = !this.room.mayActOn(member);
      const name = this.room.nameOf(peer);
      setText(sure, `Ban ${name}`);
      second.setAttribute("aria-label", `Ban ${name}?`);
      return !node.hidden;
    };
    return { node, draw };
  }

  #bannedRow(subject) {
    const who = make("b", "name");
    const until = make("span", "state");
    const lift = button("Let back in", () => this.ask({ type: "unban", subject }));
    const node = make("li", "row", {}, [make("div", "line-up", {}, [make("div", "what", {}, [who, until]), lift])]);
    const draw = (entry) => {
      const left = this.room.left(entry.until);
      setText(who, entry.name || subject);
      setText(until, left === null ? "for good" : `another ${spanWords(left)}`);
      lift.setAttribute("aria-label", `Let ${who.textContent} back in`);
    };
    return { node, draw };
  }
}

/** {for_s} of a <select> of times; nothing where it is without an end. */
function time(chosen) {
  return chosen.value ? { for_s: Number(chosen.value) } : {};
}

function choices(names) {
  const pads = names.filter((name) => name.startsWith("pad:")).map((name) => [name, controlsTitle([name])]);
  return names.includes("keyboard") ? [...pads, ["keyboard mouse", "Keyboard and mouse"]] : pads;
}

/** Do the same people wait for keyboard and mouse? Then they are one request. */
function sameQueue(room) {
  const [keyboard, mouse] = ["keyboard", "mouse"].map((name) => room.queue(name));
  return keyboard.length === mouse.length && keyboard.every((peer, i) => peer === mouse[i]);
}
