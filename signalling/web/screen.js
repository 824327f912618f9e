// Draws a state: the words over the stage, the toast over a running picture, and the same words
// for screen readers.

import { STATES } from "./states.js";

export class Screen {
  #timer = null;

  /** root: the document; onAction: called when the state's button is pressed. */
  constructor(root, onAction) {
    const part = (id) => root.getElementById(id);
    this.body = root.body;
    this.parts = Object.fromEntries(
      ["title", "text", "checks", "check-title", "check-list", "action", "count", "detail", "room", "toast", "toast-text", "status"].map(
        (id) => [id, part(id)],
      ),
    );
    this.parts.action.addEventListener("click", onAction);
  }

  /**
   * Show the state `name` of the table. room: for {room}; title: what it is called; detail: the server's or browser's own
   * sentence; retryAt: performance.now() of the next try, counted down.
   */
  show(name, { room = "", title: called = room, detail = "", retryAt = null } = {}) {
    const { tone, title, text, heading = "What to check", checks = [], action = "" } = STATES[name];
    const fill = (words) => words.replaceAll("{room}", room);
    const { parts } = this;
    this.body.dataset.state = name;
    this.body.dataset.tone = tone;
    parts.title.textContent = title;
    parts.text.textContent = fill(text);
    parts["check-title"].textContent = heading;
    parts["check-list"].replaceChildren(...checks.map((words) => element("li", fill(words))));
    parts.checks.hidden = checks.length === 0;
    parts.action.textContent = action;
    parts.action.hidden = action === "";
    parts.detail.textContent = detail;
    parts.detail.hidden = detail === "";
    parts.room.textContent = called;
    parts.room.hidden = called === "";
    document.title = tone === "live" ? `${called} · Playcast` : `${title} · Playcast`;
    this.#say([title, fill(text), ...checks.map(fill), detail].filter(Boolean).join(". "));
    this.#countDown(retryAt, (left) => {
      parts.count.textContent = left === null ? "" : `Trying again in ${left} s…`;
    });
  }

  /** Words over a running picture, or none. `retryAt` as in show(). */
  toast(words, retryAt = null) {
    const { parts } = this;
    parts.toast.hidden = !words;
    parts["toast-text"].textContent = words ?? "";
    if (words) this.#say(words);
    this.#countDown(retryAt, (left) => {
      if (left !== null) parts["toast-text"].textContent = `${words} Trying again in ${left} s…`;
    });
  }

  #say(words) {
    this.parts.status.textContent = words;
  }

  #countDown(retryAt, draw) {
    clearTimeout(this.#timer);
    const tick = () => {
      const ms = retryAt === null ? 0 : retryAt - performance.now();
      draw(ms > 0 ? Math.ceil(ms / 1000) : null);
      if (ms > 0) this.#timer = setTimeout(tick, ms % 1000 || 1000);
    };
    tick();
  }
}

function element(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}
