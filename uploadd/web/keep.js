/** While uploads are under way: ask before the page goes, and keep the phone awake. */

import { census } from "./totals.js";

let lock = null;
let moving = 0;
let leaving = null;

/** Called with each new census; `uploads()` are those that it counted. */
export function keep(counts, uploads) {
  moving = counts.moving;
  if (counts.unstored && !leaving) {
    leaving = (event) => census(uploads()).unstored && event.preventDefault();
    addEventListener("beforeunload", leaving);
  } else if (!counts.unstored && leaving) {
    removeEventListener("beforeunload", leaving);
    leaving = null;
  }
  wake();
}

/** The browser takes the lock away when the page is hidden. */
async function wake() {
  const wanted = moving > 0 && document.visibilityState === "visible";
  if (!wanted) {
    lock?.then((held) => held?.release());
    lock = null;
  } else {
    lock ??= navigator.wakeLock?.request("screen").catch(() => null) ?? null;
  }
}

document.addEventListener("visibilitychange", wake);
