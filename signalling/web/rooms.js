// The list of public rooms. Where the site has tokens for its visitors (window.playcast.freshToken),
// a room's name is the way in; elsewhere one comes in by a link, and the list only tells what is on.

import { make, syncKeyed, setText } from "./dom.js";
import { spanWords } from "./words.js";

const AGAIN_MS = 10000;
const ENTRY = {
  approval: "they let you in",
  link: "with a link",
  invite: "with an invitation",
  followers: "for followers",
  subscribers: "for subscribers",
};

const list = document.getElementById("rooms");
const state = document.getElementById("rooms-state");
const entered = typeof window.playcast?.freshToken === "function";

function card(name) {
  const title = make(entered ? "a" : "b", "title", entered ? { href: `./#${new URLSearchParams({ room: name })}` } : {});
  const facts = make("p", "facts");
  const draw = (room) => {
    setText(title, room.title || name);
    setText(facts, factsOf(room).join(" · "));
  };
  return { node: make("li", "", {}, [title, facts]), draw };
}

function factsOf({ name, title, host, viewers, policy, locked, since }) {
  const lasting = Date.now() / 1000 - since;
  return [
    title ? name : "",
    host ? `by ${host}` : "",
    `${viewers} watching`,
    since > 0 && lasting > 0 ? `for ${spanWords(lasting)}` : "",
    locked ? "locked" : (ENTRY[policy] ?? ""),
  ].filter(Boolean);
}

async function look() {
  try {
    const answer = await fetch("rooms");
    if (!answer.ok) throw new TypeError(`the server answered with ${answer.status}`);
    const { rooms } = await answer.json();
    rooms.sort((a, b) => b.viewers - a.viewers || a.name.localeCompare(b.name));
    syncKeyed(list, rooms, ({ name }) => name, card);
    setText(state, rooms.length ? "" : "Nobody is casting to the public at the moment.");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error;
    console.warn(`playcast: no list of rooms: ${error.message}`);
    setText(state, "The list cannot be had at the moment. This page looks again by itself.");
  }
}

void look();
setInterval(() => document.hidden || void look(), AGAIN_MS);
document.addEventListener("visibilitychange", () => document.hidden || void look());
