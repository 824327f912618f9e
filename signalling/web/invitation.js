// Makes invitations: a link for someone else, with what it lets them do and for how long.

import { button, fillSelect, make, select, setText } from "./dom.js";
import { INVITATION_ROLES, INVITATION_TIMES, sentence } from "./words.js";

export class Invitation {
  /**
   * root: where to draw; room: a Room; request: sends a message and promises its answer; linkFor:
   * makes the link from a token; tell: says that something was refused, or done.
   */
  constructor(root, room, { request, linkFor, tell }) {
    this.room = room;
    this.role = select("What they come for", []);
    this.time = select("How long the link is good", INVITATION_TIMES, "3600");
    this.link = make("input", "", { readonly: "", "aria-label": "Invitation link", spellcheck: "false" });
    this.until = make("p", "hint");
    const send = button("Make a link", async () => {
      try {
        const wish = { type: "invite", role: this.role.value, for_s: Number(this.time.value) };
        this.#show(await request(wish), linkFor);
      } catch (error) {
        tell(sentence(error.message), { mine: true, bad: true });
      }
    }, { className: "small" });
    const copy = button("Copy", async () => tell(await copied(this.link), { mine: true }));
    this.made = make("div", "made", {}, [make("div", "doing-row", {}, [this.link, copy]), this.until]);
    this.made.hidden = true;
    this.node = make("details", "group", {}, [
      make("summary", "", {}, ["Invite someone"]),
      make("div", "doing-row", {}, [this.role, this.time, send]),
      this.made,
    ]);
    root.append(this.node);
  }

  draw() {
    const { appointable } = this.room;
    this.node.hidden = appointable.length === 0;
    fillSelect(this.role, INVITATION_ROLES.filter(([role]) => appointable.includes(role)));
  }

  #show({ token, until }, linkFor) {
    this.link.value = linkFor(token);
    const time = new Date(until * 1000);
    setText(this.until, `Lets anyone in who has it, until ${time.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}.`);
    this.made.hidden = false;
    this.link.focus();
    this.link.select();
  }
}

/** Copy a field's text. Returns what to say about it. */
async function copied(field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value); // in a secure context alone
  } catch (error) {
    console.warn(`playcast: the clipboard was refused: ${error.message}`);
    if (!document.execCommand("copy")) return "The browser does not let the page copy: press Ctrl and C.";
  }
  return "The link is copied.";
}
