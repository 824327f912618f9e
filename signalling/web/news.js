// What a message of the room's means to the person here, in sentences: to be shown where it concerns
// them, and to be read out in any case.

import { list } from "./room.js";
import { controlWords, controlsTitle, placeWords, ROLE_WORDS, spanWords } from "./words.js";

/**
 * room: as it was before; message: what comes. Returns [{text, mine}]; mine: it is shown too.
 */
export function newsOf(room, message) {
  switch (message.type) {
    case "peer-joined":
      return joined(room, message);
    case "peer-left":
      return left(room, message);
    case "controls":
      return list(message.controls).flatMap((state) => changed(room, state, message));
    case "settings":
      return configured(room.settings, message.settings ?? {});
    default:
      return [];
  }
}

function joined(room, { peer, role, name, away = false, waiting = false }) {
  const before = room.members.get(peer);
  const who = room.nameOf(peer, { name, role });
  if (peer === room.peer) {
    return role === room.role ? [] : [mine(`You are a ${ROLE_WORDS[role]} now.`)];
  }
  if (role === "host") return []; // the page's own states tell of the host
  if (!before) return [waiting ? mine(`${who} waits to be let in.`) : other(`${who} came in.`)];
  if (before.waiting && !waiting) return [other(`${who} came in.`)];
  if (before.role !== role) return [other(`${who} is a ${ROLE_WORDS[role]} now.`)];
  if (away && !before.away) return [other(`${who} lost the connection.`)];
  return [];
}

function left(room, { peer, role, reason }) {
  const before = room.members.get(peer);
  if (!before || role === "host") return [];
  const who = room.nameOf(peer);
  if (before.waiting) return [other(`${who} waits no longer.`)];
  return [other(reason === "kicked" ? `${who} was put out.` : `${who} left.`)];
}

function changed(room, state, { reason, message: words }) {
  const name = String(state.control);
  const before = room.control(name);
  const title = controlsTitle([name]);
  const next = state.holder ? room.nameOf(state.holder) : "";
  const sentences = [];
  if (state.holder === room.peer && before.holder !== room.peer) {
    const leftS = room.left(state.until);
    sentences.push(mine(leftS ? `${title} is yours for ${spanWords(leftS)}.` : `${title} is yours.`));
  } else if (before.holder === room.peer && state.holder !== room.peer) {
    sentences.push(mine(LOST[reason]?.(title, controlWords(name), next) ?? `${title} is no longer yours.`));
  } else if (state.holder && state.holder !== before.holder) {
    sentences.push(other(`${next} has ${controlWords(name)}.`));
  }
  return [...sentences, ...moved(room, state, before, reason, words)];
}

const LOST = {
  expired: (title) => `Your turn is over: ${title.charAt(0).toLowerCase()}${title.slice(1)} goes on to the next.`,
  taken: (title) => `${title} was taken back.`,
  given: (title, _, next) => `${title} is ${next}’s now.`,
  granted: (title, _, next) => `${title} is ${next}’s now.`,
  released: (_, words) => `You let ${words} go.`,
};

/** Where we stand in the line for it. */
function moved(room, state, before, reason, words) {
  const place = ({ queue }) => (Array.isArray(queue) ? queue.indexOf(room.peer) + 1 : 0);
  const [was, is] = [place(before), place(state)];
  const control = controlWords(String(state.control));
  if (was === is || state.holder === room.peer) return [];
  if (is === 0) {
    const said = words ? ` ${words}` : "";
    return reason === "denied" ? [mine(`You were not given ${control}.${said}`)] : [];
  }
  if (was === 0) return [other(`You asked for ${control}.`)];
  return [other(`You are ${placeWords(is)} in line for ${control}.`)];
}

function configured(before, after) {
  const turned = (key, on, off) =>
    typeof before[key] === "boolean" && before[key] !== after[key] ? [other(after[key] ? on : off)] : [];
  return [
    ...turned("locked", "The room is locked now.", "The room is not locked any more."),
    ...turned("chat", "The chat is open.", "The chat is closed now."),
  ];
}

function mine(text) {
  return { text, mine: true };
}

function other(text) {
  return { text, mine: false };
}
