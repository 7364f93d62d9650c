/** What a row shows and offers, from where its upload is. */

import { bytes, duration, percent, perSecond } from "./units.js";
import { explain, own, words } from "./words.js";

const MARKS = {
  queued: "queued", uploading: "up", storing: "up", paused: "pause", offline: "retrying",
  retrying: "retrying", "needs-file": "file", done: "done", failed: "failed", cancelled: "cross",
  cancelling: "cross",
};
const ACTS = {
  cancelling: [],
  storing: ["cancel"], paused: ["resume", "cancel"], cancelled: ["again", "remove"],
};
/** What helps after a failure; where nothing is named: trying again. */
const REMEDIES = {
  "taken-over": ["here", "remove"],
  "file-changed": ["another", "cancel"], "file-unreadable": ["another", "cancel"],
  "length-exceeded": ["another", "cancel"],
  "length-conflict": ["anew", "cancel"], "key-conflict": ["anew", "cancel"],
  "gone": ["anew", "remove"], "not-found": ["anew", "remove"], "digest-mismatch": ["anew", "cancel"],
  "too-large": ["remove"], "unsupported": ["remove"],
};
const SHOWN = /^(image\/(png|jpeg|gif|webp|avif)|audio\/.*|video\/.*)$/;

/** Phases in which something is lost, or stops, when the page goes. */
export const UNSTORED = new Set(["queued", "uploading", "storing", "paused", "offline", "retrying"]);
/** Phases in which the computer should stay awake. */
export const MOVING = new Set(["queued", "uploading", "storing", "retrying"]);
export const OVER = new Set(["done", "failed", "cancelled"]);

export const mark = (phase) => MARKS[phase];
export const previewable = (upload) => SHOWN.test(upload.mediaType);

/** Names of the buttons of *upload*, the one that helps most first. */
export function acts(upload) {
  const { phase, reason } = upload.progress;
  if (phase === "done") return previewable(upload) ? ["copy", "preview", "remove"] : ["copy", "remove"];
  if (phase === "needs-file") return [upload.reopens ? "reopen" : "provide", "cancel"];
  if (phase === "cancelled" && !upload.file) return ["remove"];
  if (phase !== "failed") return ACTS[phase] ?? ["pause", "cancel"];
  const remedy = own(REMEDIES, reason?.code) ?? ["retry", "cancel"];
  return remedy[0] === "anew" && !upload.file ? ["another", remedy[1]] : remedy;
}

/** The line below the name. */
export function line(upload) {
  const { stored, total, speed, eta, phase } = upload.progress;
  const parts = [words[phase]];
  if (phase === "done" || !stored || phase === "cancelled") parts.push(bytes(total));
  else parts.push(words.stored(bytes(stored), bytes(total)));
  if (phase === "uploading" && speed > 0) {
    parts.push(perSecond(speed));
    if (eta !== null && isFinite(eta)) parts.push(words.left(duration(eta)));
  }
  return parts.join(" · ");
}

/** What is wrong and what to do, or null: `[what, todo]`. */
export function why(upload, limit) {
  const { reason, total, phase } = upload.progress;
  const about = { size: bytes(total), limit: limit === null ? null : bytes(limit) };
  if (phase === "needs-file" && reason?.code !== "other-file") {
    return explain({ code: upload.reopens ? "permission" : "file-gone" }, about);
  }
  return reason && (phase === "failed" || phase === "retrying" || phase === "needs-file")
    ? explain(reason, about)
    : null;
}

/** Draw a bar: two shades, neither of them full before all is stored under its name. */
export function draw(bar, { sent, stored, total, phase }) {
  const whole = phase === "done";
  const [ahead, safe] = whole ? [100, 100] : [percent(sent, total), percent(stored, total)];
  const width = (part) => `${whole ? 100 : Math.min(99, total ? (100 * part) / total : 0).toFixed(2)}%`;
  bar.querySelector(".sent").style.inlineSize = width(Math.max(sent, stored));
  bar.querySelector(".stored").style.inlineSize = width(stored);
  bar.setAttribute("aria-valuenow", safe);
  bar.setAttribute("aria-valuetext", sent === stored ? words.saidPercent(safe) : words.bar(safe, ahead));
}
