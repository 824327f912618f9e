// How controls, roles, rules and times are called.

export const ROLE_WORDS = {
  admin: "admin",
  host: "host",
  moderator: "moderator",
  player: "player",
  viewer: "viewer",
};

export const POLICIES = [
  ["open", "Anyone with a good token"],
  ["link", "Only with a link to this room"],
  ["approval", "Whom we let in, one by one"],
  ["followers", "Followers of the host"],
  ["subscribers", "Subscribers of the host"],
  ["invite", "Only with an invitation"],
];

export const CONTROL_POLICIES = [
  ["ask", "We hand them out"],
  ["free", "Whoever asks first"],
  ["turns", "In turns"],
];

export const PRIVACIES = [
  ["unlisted", "Unlisted"],
  ["public", "In the public list"],
];

/** Lengths of time to choose from, in seconds; "" is without an end. */
export const GRANT_TIMES = [
  ["", "until taken back"],
  ["60", "for 1 minute"],
  ["300", "for 5 minutes"],
  ["900", "for 15 minutes"],
  ["3600", "for 1 hour"],
];
export const BAN_TIMES = [
  ["3600", "for 1 hour"],
  ["86400", "for 1 day"],
  ["604800", "for 7 days"],
  ["", "for good"],
];
export const INVITATION_TIMES = [
  ["900", "for 15 minutes"],
  ["3600", "for 1 hour"],
  ["86400", "for 1 day"],
  ["604800", "for 7 days"],
];
export const INVITATION_ROLES = [
  ["viewer", "to watch"],
  ["player", "to play"],
  ["moderator", "to help run the room"],
];

/** "pad 1", "the keyboard": as part of a sentence. */
export function controlWords(name) {
  return name.startsWith("pad:") ? `pad ${name.slice(4)}` : `the ${name}`;
}

/** "Pad 1", "Keyboard and mouse", "Pad 1, keyboard and mouse": as a title. */
export function controlsTitle(names) {
  const both = names.includes("keyboard") && names.includes("mouse");
  const single = names.filter((name) => !both || name.startsWith("pad:")).map(controlWords);
  return capital(both ? [...single, "keyboard and mouse"].join(", ") : joined(single));
}

export function joined(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

export function capital(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** What the server says, as a sentence of its own. */
export function sentence(words) {
  return /[.!?…]$/.test(words) ? capital(words) : `${capital(words)}.`;
}

/** 1 → "next", 2 → "2nd", 3 → "3rd", 11 → "11th". */
export function placeWords(place) {
  if (place === 1) return "next";
  const teens = place % 100 >= 11 && place % 100 <= 13;
  const ending = teens ? "th" : (["th", "st", "nd", "rd"][place % 10] ?? "th");
  return `${place}${ending}`;
}

/** Seconds as a clock shows them: "0:07", "2:00", "1:00:00". */
export function clockWords(seconds) {
  const whole = Math.ceil(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [h, m, s] = parts.map((part) => String(part).padStart(2, "0"));
  return h === "00" ? `${Number(m)}:${s}` : `${Number(h)}:${m}:${s}`;
}

/** Seconds in words, rounded: "7 seconds", "2 minutes", "3 hours", "2 days". */
export function spanWords(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  // The largest unit of which it is, rounded, at least one: 59 minutes and a half are an hour.
  const [size, unit] = UNITS.find(([size, , smaller]) => Math.round(whole / smaller) * smaller >= size);
  const count = Math.round(whole / size);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

const UNITS = [
  [86400, "day", 3600],
  [3600, "hour", 60],
  [60, "minute", 1],
  [1, "second", 1],
];
