/** The line above the list: all uploads together, in the page, in the tab's title, and aloud. */

import { button, offer } from "./row.js";
import { say } from "./say.js";
import { draw, MOVING, OVER, UNSTORED } from "./states.js";
import { node } from "./tell.js";
import { bytes, count, duration, percent, perSecond } from "./units.js";
import { words } from "./words.js";

let said = { quarter: 0, failed: 0, busy: false };

/** How many uploads there are in each phase. */
export function census(uploads) {
  const counts = { all: uploads.length, unstored: 0, moving: 0, over: 0 };
  for (const upload of uploads) {
    const { phase } = upload.progress;
    counts[phase] = (counts[phase] ?? 0) + 1;
    counts.unstored += UNSTORED.has(phase);
    counts.moving += MOVING.has(phase);
    counts.over += OVER.has(phase);
  }
  return counts;
}

/** Draw it; returns the census it was drawn from. */
export function total(uploads, progress) {
  const counts = census(uploads);
  const { done = 0, failed = 0, all } = counts;
  document.body.dataset.rows = Math.min(all, 2);
  node("uploads").hidden = !all;
  if (all) {
    heading(counts);
    node("sum-line").textContent = figures(progress, counts);
    const phase = done === all ? "done" : "uploading";
    draw(node("sum-bar"), { ...progress, phase });
    node("sum-bar").hidden = all < 2 || counts.over === all;
    offer(node("all"), buttons(counts), (act) => button(act, words.all[act]));
  }
  title(progress, counts);
  aloud(progress, counts, failed);
  return counts;
}

function heading({ all, done = 0, failed = 0, cancelled = 0, unstored, "needs-file": needs = 0 }) {
  const wanted = all - cancelled;
  const parts = done && done === wanted
    ? [words.sumDone(done, count(done))]
    : [words.sumBusy(count(done), wanted, count(wanted))];
  if (failed) parts.push(words.sumFailed(failed, count(failed)));
  if (needs && !unstored) parts.push(words.sumNeeds(needs, count(needs)));
  put(node("sum"), parts.join(", "));
}

function figures({ stored, total: whole, speed, eta }, counts) {
  if (stored === whole) return words.sumSize(bytes(whole));
  const parts = [words.stored(bytes(stored), bytes(whole))];
  if (counts.paused === counts.unstored) parts.push(words.sumPaused);
  else if (counts.uploading && speed > 0) {
    parts.push(perSecond(speed));
    if (eta !== null && isFinite(eta)) parts.push(words.left(duration(eta)));
  }
  return parts.join(" · ");
}

function buttons({ all, failed = 0, paused = 0, unstored, over, "needs-file": needs = 0 }) {
  if (all < 2) return [];
  const wanted = [];
  if (failed + needs) wanted.push("problem");
  if (unstored > paused) wanted.push("pause");
  if (paused) wanted.push("resume");
  if (unstored + needs) wanted.push("cancel");
  if (over) wanted.push("clear");
  return wanted;
}

function title({ stored, total: whole }, { all, done = 0, failed = 0, unstored }) {
  let state = "";
  if (unstored) state = words.tab(percent(stored, whole));
  else if (failed) state = words.tabFailed(count(failed));
  else if (all && done) state = words.tabDone;
  const text = state ? `${state} – ${words.title}` : words.title;
  if (document.title !== text) document.title = text;
}

/** Quarters of the way, the end, and failures: more would be noise. */
function aloud({ stored, total: whole }, { done = 0, all, cancelled = 0, unstored }, failed) {
  const quarter = Math.floor(percent(stored, whole) / 25);
  if (unstored && quarter > said.quarter) say(words.saidPercent(25 * quarter));
  if (said.busy && !unstored && done && done === all - cancelled) say(words.saidAll(done, count(done)));
  if (failed > said.failed && failed > 1) say(words.saidFailed(failed, count(failed)));
  said = { quarter: unstored ? quarter : 0, failed, busy: unstored > 0 };
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
