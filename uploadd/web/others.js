/** What others upload, live: drawn once a frame, in a list that stays bounded. */

import { Seldom } from "./emitter.js";
import { leave, pressed, Row } from "./row.js";
import { draw, mark } from "./states.js";
import { node } from "./tell.js";
import { bytes, count, duration, perSecond } from "./units.js";
import { own, words } from "./words.js";

/** Rows; of the others it is said how many there are. */
const MOST = 100;
/** Milliseconds for which it is said that one has failed, before it is off the list. */
const LINGER = 10_000;
/** Milliseconds after which one that nobody sends is off the list; it comes back when it moves. */
const STALE = 60_000;
const ENDS = { failed: "failed", lost: "failed", expired: "expired" };
const ENDED = new Set(Object.values(ENDS));
const MARKS = { queued: "queued", failed: "failed", expired: "failed" };

export class Others {
  #all = new Map(); // id → what was told last, with the moment
  #rows = new Map(); // id → Row
  #ids = new WeakMap(); // element of a row → id
  #dirty = new Set(); // ids
  #frame = 0;
  #soon = new Seldom(50, () => { this.#frame ||= requestAnimationFrame(() => this.#flush()); });
  #sweep = null;

  /** `isOwn(upload)`: it is shown elsewhere; `cancel(upload)` asks and does; `all`: whose they are. */
  constructor({ isOwn, cancel }) {
    Object.assign(this, { isOwn, of: "all" });
    pressed(node("others-rows"), (act, element) => cancel(this.#all.get(this.#ids.get(element))));
  }

  moved(upload) {
    this.#all.set(upload.id, { ...upload, heard: performance.now() });
    this.#dirty.add(upload.id);
    this.#sweep ??= setInterval(() => this.#forget(), LINGER);
    this.draw();
  }

  /** It has ended without a file; what somebody wanted to be gone is gone at once. */
  gone(id, reason) {
    const state = own(ENDS, reason);
    if (!state || !this.#rows.has(id)) return this.drop(id);
    this.moved({ ...this.#all.get(id), state });
    return setTimeout(() => this.#all.get(id)?.state === state && this.drop(id), LINGER);
  }

  drop(id) {
    if (!this.#all.delete(id)) return;
    this.#dirty.add(id);
    this.draw();
  }

  clear() {
    for (const id of this.#all.keys()) this.drop(id);
  }

  /** Something may have changed, also what is one's own. */
  draw() {
    if (this.#all.size || this.#rows.size) this.#soon.ask();
  }

  #forget() {
    const old = performance.now() - STALE;
    for (const { id, state, heard } of this.#all.values()) if (state === "queued" && heard < old) this.drop(id);
    if (!this.#all.size) [clearInterval(this.#sweep), this.#sweep = null];
  }

  #flush() {
    this.#frame = 0;
    const shown = [...this.#all.values()].filter((upload) => !this.isOwn(upload));
    const first = new Map(shown.slice(0, MOST).map((upload) => [upload.id, upload]));
    for (const [id, row] of this.#rows) {
      if (first.has(id)) continue;
      this.#rows.delete(id);
      leave(row.element, node(shown.length ? "others-sum" : "zone"));
    }
    for (const [id, upload] of first) {
      const row = this.#rows.get(id);
      if (!row) this.#add(upload);
      else if (this.#dirty.has(id)) paint(row, upload);
    }
    this.#dirty.clear();
    this.#head(shown);
  }

  #add(upload) {
    const row = new Row(upload.name ?? upload.id);
    this.#rows.set(upload.id, row);
    this.#ids.set(row.element, upload.id);
    paint(row, upload);
    node("others-rows").append(row.element);
  }

  #head(shown) {
    node("others").hidden = !shown.length;
    if (!shown.length) return;
    const running = shown.filter(({ state }) => !ENDED.has(state));
    put("others-sum", words.others[this.of](running.length, count(running.length)));
    put("others-line", running.length ? summary(running) : "");
    const more = shown.length - this.#rows.size;
    node("others-more").hidden = !more;
    put("others-more", more ? words.andMore(more, count(more)) : "");
  }
}

function paint(row, upload) {
  const { state, stored, total } = upload;
  const ended = ENDED.has(state);
  row.phase(ended ? "failed" : state, MARKS[state] ?? mark("uploading"));
  row.line(line(upload));
  row.offer(ended ? [] : ["stop"]);
  row.bar.hidden = ended || total === null;
  if (!row.bar.hidden) draw(row.bar, { sent: stored, stored, total, phase: state });
}

function line({ state, part, stored, total, speed, eta }) {
  const parts = [part === null ? own(words.seen, state) ?? state : words.processing(part)];
  if (ENDED.has(state)) return parts[0];
  if (total !== null) parts.push(words.stored(bytes(stored), bytes(total)));
  else if (stored) parts.push(words.storedSoFar(bytes(stored)));
  if (state === "receiving" && speed > 0) {
    parts.push(perSecond(speed));
    if (eta !== null) parts.push(words.left(duration(eta)));
  }
  return parts.join(" · ");
}

function summary(uploads) {
  const sum = { stored: 0, total: 0, speed: 0 };
  for (const { state, stored, total, speed } of uploads) {
    sum.stored += stored;
    sum.total += total ?? stored;
    if (state === "receiving") sum.speed += speed;
  }
  const parts = [words.stored(bytes(sum.stored), bytes(sum.total))];
  if (sum.speed > 0) parts.push(perSecond(sum.speed));
  return parts.join(" · ");
}

function put(id, text) {
  if (node(id).textContent !== text) node(id).textContent = text;
}
