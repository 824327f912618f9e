// The room beside the picture: wires what the page knows of it (room.js) to its panels and notices.

import { Chat } from "./chat.js";
import { setText } from "./dom.js";
import { Invitation } from "./invitation.js";
import { linkTo } from "./link.js";
import { newsOf } from "./news.js";
import { Notices } from "./notices.js";
import { Panels } from "./panels.js";
import { People } from "./people.js";
import { Play } from "./play.js";
import { Room } from "./room.js";
import { RoomSettings } from "./roomsettings.js";
import { controlWords, sentence } from "./words.js";

const CLOCK_MS = 1000;
const NAME_KEY = "playcast.name";

export class RoomView {
  #signal = null;
  #roomName = "";

  /** root: the document; onNotice: called when something is shown; onName: when we are renamed. */
  constructor(root, { onNotice, onName }) {
    const part = (id) => root.getElementById(id);
    this.root = root;
    this.room = new Room();
    this.notices = new Notices(root, onNotice);
    const request = (message) => this.#request(message);
    const ask = (message) => this.#ask(message);
    this.panels = new Panels(root, (open) => this.chat.opened(open === "chat"));
    this.chat = new Chat(root, this.room, {
      request,
      onUnread: (count) => this.#badge("chat", count, "new"),
    });
    this.play = new Play(root, this.room, {
      ask,
      onSoon: (name) => this.notices.tell(`Your turn with ${controlWords(name)} is about to end.`, { mine: true }),
    });
    const body = part("people-body");
    this.people = new People(body, this.room, ask);
    this.invitation = new Invitation(body, this.room, {
      request,
      linkFor: (token) => linkTo(window.location, this.#roomName, token),
      tell: (text, how) => this.notices.tell(text, how),
    });
    this.settings = new RoomSettings(body, this.room, ask);
    this.nameText = part("name-text");
    this.nameText.value = this.name;
    part("name-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#rename(onName);
    });
    this.room.addEventListener("change", ({ detail }) => this.#draw(detail));
    setInterval(() => this.room.joined && this.play.draw(), CLOCK_MS);
  }

  /** How the person here wants to be called, or "". */
  get name() {
    return storage()?.getItem(NAME_KEY) ?? "";
  }

  /** Begin with the room of this name, over this Signal. `chat` is what is known of it already. */
  enter(name, signal, chat = []) {
    this.leave();
    this.#roomName = name;
    this.#signal = signal;
    this.room.chat = chat;
  }

  /** The room is left: nothing of it is shown. */
  leave() {
    this.#signal = null;
    this.room.clear();
    this.notices.clear();
    for (const name of ["play", "chat", "people"]) this.panels.offer(name, false);
  }

  /** Take one message of the server's. */
  take(message) {
    const news = this.room.joined ? newsOf(this.room, message) : [];
    this.room.take(message);
    for (const { text, mine } of news) this.notices.tell(text, { mine });
  }

  /** The link to the server is lost; `final`: for good. */
  down(final) {
    if (final) this.leave();
    else this.chat.down();
  }

  #draw(message) {
    const { room } = this;
    this.play.draw();
    this.chat.draw(message);
    this.panels.offer("play", room.controlNames.length > 0);
    this.panels.offer("chat", true);
    this.panels.offer("people", room.staff);
    this.root.getElementById("people-key").hidden = !room.staff;
    if (message.type === "welcome") this.nameText.placeholder = room.nameOf(room.peer, {});
    if (!room.staff) return;
    setText(this.root.getElementById("people-count"), room.viewers === null ? "" : `${room.viewers} watching`);
    this.people.draw();
    this.invitation.draw();
    this.settings.draw();
    this.#badge("people", this.people.wanting, "waiting");
  }

  #badge(name, count, words) {
    const badge = this.root.getElementById(`${name}-badge`);
    setText(badge, count > 99 ? "99+" : String(count));
    badge.hidden = count === 0;
    const title = name === "chat" ? "Chat" : "People";
    const label = count ? `${title}, ${count} ${words}` : title;
    setText(this.root.querySelector(`#${name}-button .hidden`), label);
  }

  #request(message) {
    return this.#signal.request(message);
  }

  /** Carry out a request, and tell of a refusal. True when it was done. */
  async #ask(message) {
    try {
      await this.#request(message);
      return true;
    } catch (error) {
      this.notices.tell(sentence(error.message), { mine: true, bad: true });
      return false;
    }
  }

  #rename(onName) {
    const name = this.nameText.value.trim();
    if (name === this.name) return;
    storage()?.setItem(NAME_KEY, name);
    onName();
  }
}

/** What this browser keeps for this site, or null where it is forbidden to. */
function storage() {
  try {
    return window.localStorage;
  } catch (error) {
    if (error.name !== "SecurityError") throw error;
    return null;
  }
}
