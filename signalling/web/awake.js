// Keeps the display on while the picture runs: watching without touching is not idling.

let lock = null;
let wanted = false;

/** Hold the display awake, or let it sleep again. Without effect where the browser has no such lock. */
export function keepAwake(on) {
  wanted = on;
  void settle();
}

async function settle() {
  if (!("wakeLock" in navigator) || document.visibilityState !== "visible") return;
  if (!wanted) {
    await lock?.release();
    lock = null;
  } else if (lock === null || lock.released) {
    try {
      lock = await navigator.wakeLock.request("screen");
    } catch (error) {
      if (error.name !== "NotAllowedError") throw error; // refused: low battery, or by policy
    }
  }
}

document.addEventListener("visibilitychange", () => void settle());
