// Who plays: the button that says where one stands, and the panel with every control of the room.
//
// Keyboard and mouse are asked for and given together; they are one row for as long as the same
// person has both.

import { button, fillSelect, make, select, setText, syncKeyed } from "./dom.js";
import { clockWords, controlsTitle, joined, controlWords, placeWords } from "./words.js";

const SOON_S = 15; // before a turn ends, it is shown

export class Play {
  #warned = new Set();

  /**
   * root: the document; room: a Room; ask: carries out a request and tells of a refusal; onSoon:
   * called once when a turn of ours is about to end, with the control's name.
   */
  constructor(root, room, { ask, onSoon }) {
    const part = (id) => root.getElementById(id);
    this.room = room;
    this.ask = ask;
    this.onSoon = onSoon;
    this.button = part("play-button");
    this.words = part("play-words");
    this.more = part("play-more"); // left out where there is no room for it
    this.hint = part("play-hint");
    this.rows = part("play-rows");
  }

  /** Draw what is, also once a second for the clocks. */
  draw() {
    const { room } = this;
    const groups = groupsOf(room);
    this.#drawButton();
    setText(this.hint, hintOf(room));
    syncKeyed(this.rows, groups, (names) => names.join(" "), (key) => this.#row(key.split(" ")));
    this.#warn();
  }

  #drawButton() {
    const { room } = this;
    const held = room.heldBy(room.peer);
    const waited = room.controlNames.filter((name) => room.place(name) > 0);
    const state = held.length ? "yours" : waited.length ? "asked" : "none";
    this.button.dataset.state = state;
    let [words, more] = ["Ask", " for a controller"];
    if (state === "yours") {
      const left = soonest(room, held);
      words = left === null ? controlsTitle(held) : `${controlsTitle(held)} · ${clockWords(left)}`;
      more = "You play · ";
    } else if (state === "asked") {
      const best = Math.min(...waited.map((name) => room.place(name)));
      const which = controlsTitle(waited.filter((name) => room.place(name) === best));
      const handed = room.settings.control_policy === "ask";
      words = `${best > 1 ? `${placeWords(best)} in line` : handed ? "Asked" : "Next"} · ${which}`;
      more = "";
    }
    setText(this.words, words);
    setText(this.more, more);
    if (state === "yours") this.words.before(this.more);
    else this.words.after(this.more);
  }

  #row(names) {
    const title = make("b", "", {}, [controlsTitle(names)]);
    const state = make("span", "state");
    const bar = make("i", "bar-left", { "aria-hidden": "true" });
    const queue = make("p", "queue");
    const each = (type, more = {}) => names.map((control) => this.ask({ type, control, ...more }));
    const act = button("", () => each(act.dataset.type), { className: "small" });
    const whom = select(`Give ${joined(names.map(controlWords))} to`, []);
    const give = button("Give", () => whom.value && each("control-give", { peer: whom.value }), { className: "small" });
    const handing = make("div", "handing", {}, [whom, give]);
    const take = button("Take back", () => each("control-take"), { className: "quiet" });
    const node = make("li", "row", {}, [
      make("div", "line-up", {}, [make("div", "what", {}, [title, state]), act, take]),
      bar,
      queue,
      handing,
    ]);
    const draw = () => {
      const { room } = this;
      const { holder, until, away } = room.control(names[0]);
      const mine = holder === room.peer;
      const place = room.place(names[0]);
      const left = room.left(until);
      node.classList.toggle("mine", mine);
      setText(state, stateOf(room, { holder, away, left }));
      const share = left !== null && room.settings.turn_s > 0 ? Math.min(1, left / room.settings.turn_s) : 0;
      bar.hidden = !holder || left === null;
      bar.style.width = `${share * 100}%`;
      act.dataset.type = mine || place ? "control-release" : "control-request";
      setText(act, mine ? "Let go" : place ? "Withdraw" : "Ask");
      act.setAttribute("aria-label", `${act.textContent}: ${joined(names.map(controlWords))}`);
      take.hidden = mine || !holder || !room.maySteer(room.members.get(holder) ?? {});
      setText(queue, queueOf(room, names[0], place));
      queue.hidden = queue.textContent === "";
      const others = mine ? takers(room).filter(({ role }) => role !== "viewer") : [];
      handing.hidden = others.length === 0;
      fillSelect(whom, others.map(({ peer }) => [peer, room.nameOf(peer)]));
    };
    return { node, draw };
  }

  /** A turn that ends soon is said, once. */
  #warn() {
    const { room } = this;
    for (const name of room.controlNames) {
      const { holder, until } = room.control(name);
      const left = holder === room.peer ? room.left(until) : null;
      const soon = left !== null && left > 0 && left <= SOON_S && room.settings.turn_s > 2 * SOON_S;
      if (soon && !this.#warned.has(name)) this.onSoon(name);
      if (soon) this.#warned.add(name);
      else this.#warned.delete(name);
    }
  }
}

/** The controls in rows: keyboard and mouse in one while they are in the same hands. */
export function groupsOf(room) {
  const names = room.controlNames;
  const [keyboard, mouse] = ["keyboard", "mouse"].map((name) => room.control(name));
  if (!names.includes("mouse") || keyboard.holder !== mouse.holder) return names.map((name) => [name]);
  return [...names.filter((name) => name.startsWith("pad:")).map((name) => [name]), ["keyboard", "mouse"]];
}

/** Who could be given a control by the staff; a holder hands it to players alone. */
function takers(room) {
  return room.others.filter(({ role, waiting, away }) => role !== "host" && !waiting && !away);
}

function hintOf(room) {
  if (room.staff) return "Take a control back here; hand them out under People.";
  return {
    ask: "Ask, and the host decides.",
    free: "What is free is yours when you ask.",
    turns: "Everyone has a turn: ask, and your place in line is kept.",
  }[room.settings.control_policy] ?? "";
}

function stateOf(room, { holder, away, left }) {
  if (!holder) return "Free";
  const who = holder === room.peer ? "You" : room.nameOf(holder);
  const words = [who];
  if (away) words.push("lost the connection");
  if (left !== null) words.push(clockWords(left));
  return words.join(" · ");
}

function queueOf(room, name, place) {
  const count = room.queue(name).length;
  if (count === 1 && place) return room.settings.control_policy === "ask" ? "You have asked" : "You are next";
  if (place) return `You are ${placeWords(place)} of ${count} in line`;
  return count ? `${count} in line` : "";
}

function soonest(room, names) {
  const lefts = names.map((name) => room.left(room.control(name).until)).filter((left) => left !== null);
  return lefts.length ? Math.min(...lefts) : null;
}
