// The chat: text and nothing but text. What is said while the server is out of reach is sent when it
// is back.

import { make, setText } from "./dom.js";
import { ROLE_WORDS, sentence, spanWords } from "./words.js";

const MAX_LENGTH = 500;
const COUNT_FROM = 400; // characters; from there on what is left is counted down
const AT_END_PX = 40;

export class Chat {
  #unread = 0;
  #open = false;
  #wait = null;
  #underWay = 0;

  /**
   * root: the document; room: a Room; request: sends a message and promises its answer; onUnread:
   * called with how many lines nobody has seen.
   */
  constructor(root, room, { request, onUnread }) {
    const part = (id) => root.getElementById(id);
    this.room = room;
    this.log = part("chat-log");
    this.text = part("chat-text");
    this.send = part("chat-send");
    this.left = part("chat-left");
    this.trouble = part("chat-trouble");
    this.request = request;
    this.onUnread = onUnread;
    part("chat-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#say();
    });
    this.text.addEventListener("input", () => this.#count());
  }

  /** The panel is open, and nothing unread; or it is closed. */
  opened(open) {
    this.#open = open;
    if (!open) return;
    this.#setUnread(0);
    this.log.scrollTop = this.log.scrollHeight;
  }

  /** The room has changed by `message`. */
  draw(message) {
    const open = this.room.settings.chat !== false || this.room.staff;
    this.text.disabled = !open;
    this.text.placeholder = open ? "Say something" : "The chat is closed";
    this.send.disabled = this.text.disabled || this.#wait !== null;
    if (message.type === "chat-message") this.#heard(message);
    if (message.type === "welcome") this.#redraw();
  }

  /** The link to the server is lost. */
  down() {
    if (this.#underWay) setText(this.trouble, "It is sent when the server is back.");
  }

  #heard({ peer }) {
    const ours = peer === this.room.peer;
    const { log } = this;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < AT_END_PX;
    log.append(this.#line(this.room.chat.at(-1)));
    while (log.children.length > this.room.chat.length) log.firstElementChild.remove();
    if (atEnd || ours) log.scrollTop = log.scrollHeight;
    if (!this.#open && !ours) this.#setUnread(this.#unread + 1);
  }

  #redraw() {
    setText(this.trouble, "");
    this.log.replaceChildren(...this.room.chat.map((line) => this.#line(line)));
  }

  #line({ gap, peer, name, role, text, at }) {
    if (gap) return make("p", "gap", {}, ["Something may be missing here."]);
    const ours = peer === this.room.peer;
    const who = [make("b", "", {}, [ours ? "You" : this.room.nameOf(peer, { name, role })])];
    if (role in ROLE_WORDS && role !== "viewer" && role !== "player") {
      who.push(make("span", "role", {}, [ROLE_WORDS[role]]));
    }
    const time = new Date(at * 1000);
    if (!Number.isNaN(time.valueOf())) {
      const clock = time.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
      who.push(make("time", "", { datetime: time.toISOString() }, [clock]));
    }
    return make("div", ours ? "line ours" : "line", {}, [
      make("p", "who", {}, who),
      make("p", "said", { dir: "auto" }, [text]),
    ]);
  }

  async #say() {
    const text = this.text.value.trim();
    if (!text || this.send.disabled) return;
    this.text.value = "";
    this.#count();
    setText(this.trouble, "");
    this.#underWay += 1;
    try {
      await this.request({ type: "chat", text });
    } catch (error) {
      if (!this.text.value) this.text.value = text;
      this.#count();
      setText(this.trouble, sentence(error.message));
      if (error.code === "rate-limited") this.#waitFor(error.retryAfterS);
    } finally {
      this.#underWay -= 1;
    }
  }

  /** Too much was said: the button comes back after the time that the server names. */
  #waitFor(seconds) {
    if (!(seconds > 0)) return;
    setText(this.trouble, `That was a lot at once: wait ${spanWords(seconds)}.`);
    clearTimeout(this.#wait);
    this.send.disabled = true;
    this.#wait = setTimeout(() => {
      this.#wait = null;
      this.send.disabled = this.text.disabled;
      setText(this.trouble, "");
    }, seconds * 1000);
  }

  #count() {
    const left = MAX_LENGTH - this.text.value.length;
    this.left.textContent = left <= MAX_LENGTH - COUNT_FROM ? String(left) : "";
  }

  #setUnread(unread) {
    this.#unread = unread;
    this.onUnread(unread);
  }
}
