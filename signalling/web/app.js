// The page begins here.

import { Viewer } from "./viewer.js";

// A site with sign-in of its own sets window.playcast before this script runs: see Viewer.
const viewer = new Viewer(window.playcast ?? {});

// For tests and for the curious: what the page knows, to read and not to change.
Object.defineProperty(window, "playcast", {
  value: Object.freeze({
    get state() {
      return viewer.state;
    },
    get stats() {
      return viewer.stats;
    },
    get host() {
      return viewer.host;
    },
    get room() {
      return viewer.view.room;
    },
  }),
});

viewer.open(0); // the navigation began with the click
