/** The list: one row for an upload, drawn again only where something has changed. */

import { acts, draw, line, mark, OVER, why } from "./states.js";
import { tell } from "./tell.js";
import { words } from "./words.js";

const ICONS = { pause: "pause", resume: "resume", cancel: "cross", remove: "cross" };
const SVG = "http://www.w3.org/2000/svg";
/** More alerts than this at a time help nobody: the totals have the rest. */
const ALERTS = 3;
/** Rows drawn at a time: between them the page can be used. */
const MOST = 250;
let serial = 0;

const shownName = (upload) => upload.path || upload.name;

/** A button; with an icon alone where everybody knows it. `label` is for those who listen. */
export function button(act, text, label, icon) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: icon ? "icon" : "" });
  made.dataset.act = act;
  if (label) made.setAttribute("aria-label", label);
  if (!icon) made.textContent = text;
  else {
    made.title = text;
    const picture = made.appendChild(document.createElementNS(SVG, "svg"));
    picture.setAttribute("aria-hidden", "true");
    picture.appendChild(document.createElementNS(SVG, "use")).setAttribute("href", `#i-${icon}`);
  }
  return made;
}

/** Show exactly the buttons `wanted`, each named as `make` says; the focus stays in the group. */
export function offer(group, wanted, make) {
  const old = new Map([...group.children].map((one) => [one.dataset.act, one]));
  if ([...old.keys()].join() === wanted.join()) return;
  const focused = group.contains(document.activeElement) ? document.activeElement : null;
  group.replaceChildren(...wanted.map((act) => old.get(act) ?? make(act)));
  if (focused) (group.contains(focused) ? focused : group.querySelector("button") ?? group.closest("li"))?.focus();
}

class Row {
  constructor(upload) {
    this.upload = upload;
    this.element = document.getElementById("row").content.cloneNode(true).firstElementChild;
    const part = (name) => this.element.querySelector(name);
    [this.bdi, this.state, this.bar, this.group] = [".name bdi", ".state", ".bar", ".acts"].map(part);
    this.use = part("use");
    this.name = shownName(upload);
    this.bdi.textContent = this.name;
    this.bar.setAttribute("aria-label", this.name);
    this.wrong = false;
    this.drawn = {};
  }

  /** Draw what has changed. */
  draw(limit, alerts) {
    const { upload, drawn } = this;
    const { phase } = upload.progress;
    if (drawn.phase !== phase) this.#phase(phase);
    offer(this.group, acts(upload), (act) => this.#button(act));
    this.#why(this.wrong && phase === "needs-file" ? words.errors["other-file"]() : why(upload, limit),
      phase === "failed" ? alerts : this.wrong);
    const text = line(upload);
    if (drawn.text !== text) this.state.textContent = drawn.text = text;
    if (!this.bar.hidden) draw(this.bar, upload.progress);
  }

  #phase(phase) {
    this.drawn.phase = this.element.dataset.phase = phase;
    this.use.setAttribute("href", `#i-${mark(phase)}`);
    this.bar.hidden = OVER.has(phase) && (phase !== "failed" || !this.upload.progress.stored);
    if (phase === "done" && this.upload.url) {
      const link = Object.assign(document.createElement("a"), { href: address(this.upload), target: "_blank" });
      link.rel = "noopener";
      link.append(this.name);
      this.bdi.replaceChildren(link);
    }
  }

  #button(act) {
    const [text, label] = words.acts[act];
    const made = button(act, text, label(this.name), ICONS[act]);
    if (this.reason) made.setAttribute("aria-describedby", this.reason.id);
    return made;
  }

  /** The reason, tied to what it is about. */
  #why(pair, alert) {
    const text = pair?.join(" ") ?? "";
    if (text === (this.drawn.why ?? "")) return;
    this.drawn.why = text;
    this.reason?.remove();
    this.reason = null;
    if (!pair) return this.#about((one) => one.removeAttribute("aria-describedby"));
    this.reason = Object.assign(document.createElement("p"), { id: `why-${++serial}`, className: "why" });
    if (alert) this.reason.setAttribute("role", "alert");
    tell(this.reason, pair);
    this.state.after(this.reason);
    return this.#about((one) => one.setAttribute("aria-describedby", this.reason.id));
  }

  #about(tie) {
    [this.bar, ...this.group.children].forEach(tie);
  }
}

/** Where the file is found, under its own name where that may stand in an address. */
export function address(upload) {
  const url = new URL(upload.url, location.origin);
  const plain = /^\/f\/[^/]+$/.test(url.pathname) && !/[/\\%\p{C}]/u.test(upload.name);
  if (plain) url.pathname += `/${encodeURIComponent(upload.name)}`;
  return url.href;
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
    list.addEventListener("click", ({ target }) => {
      const found = target.closest("button[data-act]");
      const row = found && this.#elements.get(found.closest(".row"));
      if (row) deed(found.dataset.act, row.upload, row);
    });
  }

  get size() {
    return this.#rows.size;
  }

  add(upload) {
    const row = new Row(upload);
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
    const { element } = row;
    const had = element.contains(document.activeElement);
    const next = element.nextElementSibling ?? element.previousElementSibling;
    this.#rows.delete(upload);
    this.#dirty.delete(row);
    element.remove();
    if (had) (next ?? document.getElementById("zone")).focus();
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
  shown.src = address(row.upload);
  frame.append(shown);
  row.element.append(frame);
  return undefined;
}
