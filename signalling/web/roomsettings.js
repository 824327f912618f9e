// The form of how the room is run. What a person is changing stays theirs until they save it or let
// it be; the rest follows the room.

import { button, make, select, setText } from "./dom.js";
import { CONTROL_POLICIES, POLICIES, PRIVACIES } from "./words.js";

const FIELDS = [
  ["title", "Title", { maxlength: "120" }],
  ["policy", "Who may come in", POLICIES],
  ["privacy", "Listed", PRIVACIES],
  ["capacity", "Places for viewers (0: no limit)", { type: "number", min: "0", max: "1000000", required: "" }],
  ["control_policy", "Who gets a control", CONTROL_POLICIES],
  ["turn_s", "A turn takes, in seconds", { type: "number", min: "5", max: "604800", step: "any", required: "" }],
  ["pads", "Game pads", { type: "number", min: "0", max: "8", required: "" }],
  ["keyboard", "Keyboard and mouse can be had", "switch"],
  ["chat", "The chat is open", "switch"],
  ["locked", "Locked: nobody new comes in", "switch"],
];

export class RoomSettings {
  #fields = new Map();
  #known = {};

  /** root: where to draw; room: a Room; ask: see People. */
  constructor(root, room, ask) {
    this.room = room;
    this.ask = ask;
    for (const [name, label, kind] of FIELDS) this.#fields.set(name, field(label, kind));
    this.save = make("button", "small", {}, ["Save"]);
    this.undo = button("Undo", () => this.#reset());
    this.form = make("form", "settings", {}, [
      ...[...this.#fields.values()].map(({ node }) => node),
      make("div", "doing-row", {}, [this.save, this.undo]),
    ]);
    this.form.addEventListener("input", () => this.#drawButtons());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#save();
    });
    this.summary = make("summary", "", {}, ["The room"]);
    this.node = make("details", "group", {}, [this.summary, this.form]);
    root.append(this.node);
  }

  draw() {
    for (const [name, { node, input, read, write }] of this.#fields) {
      const value = this.room.settings[name];
      node.hidden = !this.room.mayConfigure(name);
      if (value === undefined || value === this.#known[name]) continue;
      const untouched = !(name in this.#known) || read(input) === this.#known[name];
      if (untouched) write(input, value);
      this.#known[name] = value;
    }
    this.#drawButtons();
  }

  #changed() {
    const changes = {};
    for (const [name, { input, read }] of this.#fields) {
      const value = read(input);
      if (this.room.mayConfigure(name) && value !== this.#known[name]) changes[name] = value;
    }
    return changes;
  }

  #reset() {
    for (const [name, { input, write }] of this.#fields) write(input, this.#known[name]);
    this.#drawButtons();
  }

  async #save() {
    await this.ask({ type: "configure", ...this.#changed() });
    this.#drawButtons();
  }

  #drawButtons() {
    const same = Object.keys(this.#changed()).length === 0;
    this.save.disabled = this.undo.disabled = same;
    setText(this.save, same ? "Saved" : "Save");
  }
}

function field(label, kind) {
  if (kind === "switch") {
    const input = make("input", "", { type: "checkbox" });
    const node = make("label", "switch", {}, [make("span", "", {}, [label]), input]);
    return { node, input, read: () => input.checked, write: (_, value) => (input.checked = value) };
  }
  const input = Array.isArray(kind) ? select(label, kind) : make("input", "", kind);
  const node = make("label", "field", {}, [make("span", "", {}, [label]), input]);
  const read = kind.type === "number" ? () => input.valueAsNumber : () => input.value;
  return { node, input, read, write: (_, value) => (input.value = String(value)) };
}
