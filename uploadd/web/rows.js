/** The list: one row for an upload, drawn again only where something has changed. */

import { leave, pressed, Row } from "./row.js";
import { acts, draw, line, mark, OVER, why } from "./states.js";
import { node } from "./tell.js";
import { words } from "./words.js";

/** More alerts than this at a time help nobody: the totals have the rest. */
const ALERTS = 3;
/** Rows drawn at a time: between them the page can be used. */
const MOST = 250;

class UploadRow extends Row {
  #phase = null;
  wrong = false;

  constructor(upload) {
    super(upload.path || upload.name);
    this.upload = upload;
  }

  /** Draw what has changed. */
  draw(limit, alerts) {
    const { upload } = this;
    const { phase } = upload.progress;
    if (this.#phase !== phase) this.#turn(phase);
    this.offer(acts(upload));
    this.why(this.wrong && phase === "needs-file" ? words.errors["other-file"]() : why(upload, limit),
      phase === "failed" ? alerts : this.wrong);
    this.line(line(upload));
    if (!this.bar.hidden) draw(this.bar, upload.progress);
  }

  #turn(phase) {
    this.#phase = phase;
    this.phase(phase, mark(phase));
    this.bar.hidden = OVER.has(phase) && (phase !== "failed" || !this.upload.progress.stored);
    if (phase === "done" && this.upload.url) this.link(this.upload);
  }
}

/** All rows. `deed(act, upload, row)` is called for a button; drawing happens at most 4 times a second. */
export class Rows {
  #rows = new Map();
  #elements = new WeakMap();
  #dirty = new Set();
  #timer = 0;
  #last = 0;

  constructor(list, view, deed, drawn) {
    Object.assign(this, { list, view, drawn });
    pressed(list, (act, element) => {
      const row = this.#elements.get(element);
      deed(act, row.upload, row);
    });
  }

  get size() {
    return this.#rows.size;
  }

  add(upload) {
    const row = new UploadRow(upload);
    this.#rows.set(upload, row);
    this.#elements.set(row.element, row);
    this.list.append(row.element);
    this.touch(upload);
  }

  /** *upload* has changed; it is drawn soon, or `now`, because the user waits. */
  touch(upload, now = false) {
    const row = this.#rows.get(upload);
    if (row && now) row.draw(this.view.limit, true);
    else if (row) this.#dirty.add(row);
    this.#soon();
  }

  all() {
    for (const upload of this.#rows.keys()) this.touch(upload);
  }

  /** Take the row away; the focus, if it was there, goes to the next. */
  remove(upload) {
    const row = this.#rows.get(upload);
    if (!row) return;
    this.#rows.delete(upload);
    this.#dirty.delete(row);
    leave(row.element, node("zone"));
    this.#soon();
  }

  /** What was chosen for *upload* is another file. */
  wrong(upload) {
    this.#rows.get(upload).wrong = true;
    this.touch(upload, true);
  }

  first(phases) {
    for (const row of this.#rows.values()) if (phases.includes(row.upload.progress.phase)) return row.element;
    return null;
  }

  #soon() {
    this.#timer ||= setTimeout(() => this.#flush(), Math.max(0, this.#last + 250 - performance.now()));
  }

  #flush() {
    this.#timer = 0;
    this.#last = performance.now();
    const dirty = [...this.#dirty].slice(0, MOST);
    const failed = dirty.filter((row) => row.upload.progress.phase === "failed");
    for (const row of dirty) {
      this.#dirty.delete(row);
      row.draw(this.view.limit, failed.length <= ALERTS);
    }
    this.drawn();
    if (this.#dirty.size) this.#soon();
  }
}

async function lent(upload) {
  const { address, OPENED } = await import("./lend.js");
  return (await address(upload, OPENED)).url;
}

/** Show or hide the preview of a finished file below its row; the server's own bytes, with seeking. */
export function preview(row) {
  const toggle = row.group.querySelector("[data-act=preview]");
  const open = row.element.querySelector(".preview");
  toggle.setAttribute("aria-expanded", String(!open));
  if (open) return open.remove();
  const kind = row.upload.mediaType.split("/")[0];
  const shown = document.createElement(kind === "image" ? "img" : kind);
  const label = words.preview(row.name);
  if (kind === "image") shown.alt = label;
  else Object.assign(shown, { controls: true, preload: "metadata", ariaLabel: label });
  const frame = Object.assign(document.createElement("div"), { className: "preview" });
  shown.onerror = () => frame.replaceChildren(words.noPreview);
  lent(row.upload).then((url) => { shown.src = url; }, shown.onerror);
  frame.append(shown);
  row.element.append(frame);
  return undefined;
}
