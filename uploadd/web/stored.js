/** All finished files: searched, page by page, deleted. However many there are, the rows are bounded. */

import { copy } from "./deeds.js";
import { leave, pressed, Row } from "./row.js";
import { preview } from "./rows.js";
import { say } from "./say.js";
import { isForbidden } from "./server.js";
import { previewable } from "./states.js";
import { ask, node } from "./tell.js";
import { bytes, count, moment } from "./units.js";
import { explain, words } from "./words.js";

/** Rows that are added at a time, at least, if there are so many. */
const PAGE = 50;
const MOST = 500;
/** Pages asked for at a time: a name may be found on none of them. */
const TRIES = 100;
/** Ids of deleted files that are remembered: an answer under way may name them still. */
const DELETED = 1000;
/** Milliseconds without a key, before it is searched. */
const PAUSE = 250;

class FileRow extends Row {
  constructor(file, cursor) {
    super(file.name);
    Object.assign(this, { upload: file, cursor });
    this.phase("done", "done");
    this.link(file);
    this.bar.hidden = true;
    this.offer(previewable(file) ? ["copy", "preview", "erase"] : ["copy", "erase"]);
    this.line([bytes(file.size), moment(file.at), ...(file.mine ? [words.mine] : [])].join(" · "));
  }
}

export class Stored {
  #server;
  #rows = new Map(); // id → FileRow, in the order of the list
  #elements = new WeakMap();
  #name = "";
  #next = null; // the cursor of the next page
  #more = false; // there may be one
  #deep = false; // the newest are not on the list any more
  #turn = null; // what is being loaded
  #fresh = new Map(); // id → file, to be put on top
  #meanwhile = null; // id → row, or null: came or went since the loading began, if it goes on
  #deleted = new Set(); // ids, none of which comes back
  #timer = 0;
  #again = null; // how it was to be loaded when that failed

  /** `isOwn(file)`: it is shown elsewhere. */
  constructor(server, isOwn) {
    this.#server = server;
    Object.assign(this, { isOwn, of: null });
    pressed(node("files-rows"), (act, element) => this.#deed(act, this.#elements.get(element)));
    node("find").addEventListener("input", () => this.#typed());
    node("find-form").addEventListener("submit", (event) => event.preventDefault());
    node("more").addEventListener("click", () => this.#load(this.#again ?? false));
    node("newest").addEventListener("click", () => this.load().then(() => node("files-sum").focus()));
  }

  /** The newest, of what is searched; `of`: whose, if that has changed. */
  load(of = this.of) {
    this.of = of;
    return this.#load(true);
  }

  /** It has been published, or is not shown elsewhere any more. */
  add(file) {
    if (this.#deep || !this.of || this.#deleted.has(file.id) || !file.name.toLowerCase().includes(this.#name.toLowerCase())) return;
    if (!this.#fresh.size) requestAnimationFrame(() => this.#flush());
    this.#fresh.set(file.id, file);
    if (this.#fresh.size > MOST) this.#fresh.delete(this.#fresh.keys().next().value);
  }

  /** It is there no more, whatever was asked before that and is answered later. */
  deleted(id) {
    this.#deleted.add(id);
    if (this.#deleted.size > DELETED) this.#deleted.delete(this.#deleted.values().next().value);
    this.remove(id);
  }

  /** It is shown elsewhere now. */
  remove(id) {
    this.#fresh.delete(id);
    this.#meanwhile?.set(id, null);
    const row = this.#rows.get(id);
    if (!row) return;
    this.#rows.delete(id);
    leave(row.element, node("find"));
    this.#tell();
  }

  /** What may have been stored before the server began to tell. */
  async refresh() {
    if (this.#deep || !this.of) return;
    const { files } = await this.#server.list({ of: this.of, name: this.#name }).catch(() => ({ files: [] }));
    for (const file of files.reverse()) this.add(file);
  }

  // --- the list ----------------------------------------------------------------------------------

  #typed() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(async () => {
      this.#name = node("find").value.trim();
      await this.#load(true);
      say(node("found").textContent || words.found(this.#rows.size, count(this.#rows.size), this.#more));
    }, PAUSE);
  }

  /** Load the next page, or `anew`; pages without any of ours are passed over. */
  async #load(anew) {
    if (!this.of) return;
    this.#turn?.abort();
    const turn = this.#turn = new AbortController();
    const meanwhile = this.#meanwhile = new Map();
    let cursor = anew ? null : this.#next;
    const kept = anew ? null : this.#rows, loaded = new Map();
    this.#busy(true);
    try {
      for (let tries = 0; tries < TRIES && loaded.size < PAGE; tries++) {
        const { files, next } = await this.#server.list({ of: this.of, name: this.#name, cursor, signal: turn.signal });
        if (turn.signal.aborted) return;
        for (const file of files) if (!kept?.has(file.id) && !this.isOwn(file)) loaded.set(file.id, this.#row(file, cursor));
        cursor = next;
        if (!next) break;
      }
    } catch (error) {
      if (!turn.signal.aborted) this.#failed(error, anew);
      return;
    }
    this.#again = this.#meanwhile = null;
    [this.#next, this.#more] = [cursor, cursor !== null];
    const came = anew ? [...meanwhile].filter(([id, row]) => row && !loaded.has(id)) : this.#rows;
    const rows = new Map([...came, ...loaded]);
    for (const [id, row] of meanwhile) if (!row) rows.delete(id);
    this.#show(rows, anew);
  }

  #row(file, cursor) {
    const row = this.#rows.get(file.id) ?? new FileRow(file, cursor);
    row.cursor = cursor;
    this.#elements.set(row.element, row);
    return row;
  }

  /** Put new rows where they belong; those that stay are not touched. */
  #show(rows, anew) {
    const ids = [...rows.keys()], surplus = Math.max(0, ids.length - MOST);
    this.#deep = surplus > 0 || (this.#deep && !anew);
    for (const id of ids.slice(0, surplus)) rows.delete(id);
    for (const [id, row] of this.#rows) if (!rows.has(id)) leave(row.element, node("more"));
    this.#rows = rows;
    let at = node("files-rows").firstElementChild;
    for (const { element } of rows.values()) {
      if (element === at) at = at.nextElementSibling;
      else node("files-rows").insertBefore(element, at);
    }
    this.#tell();
  }

  /** Put on top what is new; what is too much below can be loaded again. */
  #flush() {
    const fresh = [...this.#fresh.values()].filter((one) => !this.#rows.has(one.id) && !this.isOwn(one));
    this.#fresh.clear();
    if (!fresh.length) return;
    const rows = new Map(fresh.reverse().map((file) => [file.id, this.#row(file, null)]));
    for (const [id, row] of rows) {
      row.element.classList.add("fresh");
      this.#meanwhile?.set(id, row);
    }
    const all = [...rows, ...this.#rows];
    if (all.length > MOST) [this.#next, this.#more] = [all[MOST - 1][1].cursor, true];
    this.#show(new Map(all.slice(0, MOST)), true);
  }

  // --- what is said ------------------------------------------------------------------------------

  #busy(on) {
    node("files-rows").ariaBusy = String(on);
    node("more").disabled = on;
  }

  #tell(text = "") {
    this.#busy(false);
    const none = !this.#rows.size, again = this.#again !== null;
    if (none && !text && this.#name) text = this.#more ? words.notFoundYet : words.notFound(this.#name);
    node("stored").hidden = none && !text && !this.#name && !this.#more;
    node("found").textContent = text;
    node("found").hidden = !text;
    node("files-sum").textContent = words.stores[this.of];
    node("more").hidden = !this.#more && !again;
    node("more").textContent = again ? words.acts.retry[0] : words.more;
    node("newest").hidden = !this.#deep;
  }

  /** Without permission there is no such part of the page. */
  #failed(error, anew) {
    this.#again = anew;
    this.#meanwhile = null;
    this.#tell(`${words.notLoaded} ${explain(error).join(" ")}`);
    if (isForbidden(error)) node("stored").hidden = true;
  }

  // --- what the buttons do -----------------------------------------------------------------------

  #deed(act, row) {
    if (act === "copy") copy(row.upload, row);
    else if (act === "preview") preview(row);
    else this.#erase(row);
  }

  async #erase(row) {
    const { name } = row, { id, size } = row.upload;
    if (!await ask(words.askErase(name, bytes(size)), words.askEraseYes, words.no, true)) return;
    row.element.ariaBusy = "true";
    try {
      await this.#server.remove(id);
      this.deleted(id);
      say(words.saidErased(name));
    } catch (error) {
      row.why([words.notErased, explain(error).join(" ")], true);
    }
    row.element.ariaBusy = "false";
  }
}
