// The panel at the side: controllers, chat or people, one at a time. The picture makes room for it.

import { button, icon } from "./dom.js";

const NAMES = ["play", "chat", "people"];

export class Panels {
  #opener = null;

  /** root: the document; onChange: called with the name of what is open now, or "". */
  constructor(root, onChange) {
    this.body = root.body;
    this.panel = root.getElementById("panel");
    this.onChange = onChange;
    this.parts = {};
    for (const name of NAMES) {
      const section = root.getElementById(`${name}-panel`);
      const opener = root.getElementById(`${name}-button`);
      opener.addEventListener("click", () => this.toggle(name));
      const close = button("", () => this.close(), { className: "round", label: "Close" });
      close.title = "Close (Esc)";
      close.append(icon("close"));
      section.querySelector("header").append(close);
      this.parts[name] = { section, opener };
    }
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  /** What is open: "play", "chat", "people" or "". */
  open = "";

  /** May `name` be opened? Its button is there only then. */
  offer(name, on) {
    this.parts[name].opener.hidden = !on;
    if (!on && this.open === name) this.close();
  }

  toggle(name) {
    if (this.open === name) this.close();
    else if (!this.parts[name].opener.hidden) this.show(name);
  }

  show(name) {
    this.#opener = this.parts[name].opener;
    this.#set(name);
    const first = name === "chat" ? this.panel.querySelector("#chat-text:not(:disabled)") : null;
    (first ?? this.parts[name].section.querySelector("h2")).focus({ preventScroll: true });
  }

  close() {
    const inside = this.panel.contains(document.activeElement);
    this.#set("");
    if (inside) this.#opener?.focus({ preventScroll: true });
  }

  #set(open) {
    this.open = open;
    this.panel.hidden = open === "";
    this.body.classList.toggle("beside", open !== "");
    for (const [name, { section, opener }] of Object.entries(this.parts)) {
      section.hidden = name !== open;
      opener.setAttribute("aria-expanded", String(name === open));
    }
    this.onChange(open);
  }
}
