/** One file on its way, over as many sessions as it takes. `uploadd.js` shows it to the page. */

import { Aside } from "./aside.js";
import { carry, letGo, newKey, same } from "./memory.js";
import { Reader } from "./reader.js";
import { AT_ONCE, Backoff, Speed, TOKEN, UploadError, fit, told, under } from "./wire.js";

const NOTE = 2; // seconds between notes of what is stored
const ANEW = new Set(["not-found", "gone", "key-conflict", "length-conflict", "length-exceeded"]);
const LOST = new Set(["expired", "lost"]); // nobody wanted that: begin anew
const SELF = new Set(["file-changed", "file-unreadable"]);
const OVER = new Set(["done", "cancelled"]); // for good
const now = () => performance.now() / 1000;
let newest = 0; // when the last one was added

export class Job {
  id = null;
  url = null;
  key = null;
  run = null; // in the session that is open
  stored = 0;
  end = null; // done, failed, cancelled
  reason = null;
  paused = false;
  cancelling = false;
  small = false; // goes beside the others
  told = null; // of the end: Stored
  #tried = false; // the server may know the key
  #preparing = null;
  #reader = null;
  #aside = null; // the attempt over the other way
  #before = null; // the one that was stopped before it
  #backoff = new Backoff(1, 30, 0.5);
  #timer = null;
  #speed = new Speed();
  #noted = { at: 0, stored: 0 };
  #anew = false; // begun anew, since bytes last moved
  #renewed = false; // with another token, likewise
  #ended = []; // to be called when it is over

  /** `host` is the uploader's inside; `show()` tells the page. */
  constructor(host, file, { name, path, mediaType, metadata = {}, handle = null }) {
    this.host = host;
    this.file = file;
    this.name = fit(name ?? file?.name ?? "unnamed");
    this.path = path ?? (file?.webkitRelativePath || this.name);
    this.size = file?.size ?? 0;
    this.mediaType = mediaType ?? file?.type ?? "";
    this.metadata = this.path.includes("/") ? { relativePath: this.path, ...metadata } : { ...metadata };
    this.handle = handle;
    this.lastModified = file?.lastModified;
    this.added = newest = Math.max(Date.now(), newest + 1);
    this.show = () => {};
    host.jobs.add(this);
  }

  /** The upload that this browser remembers as `record`; it is carried already. */
  static from(host, record) {
    const job = new Job(host, null, record);
    Object.assign(job, { key: record.key, id: record.id, url: record.url, size: record.size, stored: record.stored,
      lastModified: record.lastModified, metadata: record.metadata, added: record.added ?? job.added });
    job.#tried = true;
    job.#preparing = Promise.resolve();
    return job;
  }

  /** Where it is: follows from all else, so that it is never out of step. */
  get phase() {
    if (this.end) return this.end;
    if (this.cancelling) return "cancelling";
    if (this.paused) return "paused";
    if (!this.file) return "needs-file";
    if (!this.host.active.has(this)) return "queued";
    if (this.#timer) return "retrying";
    if (this.#aside) return "uploading";
    const { state, error } = this.host.line;
    if (state === "offline") return "offline";
    if (error) return "retrying";
    return this.allSent && this.run.received >= this.size ? "storing" : "uploading";
  }

  /** Whether the browser has been given all of it; the server need not have it yet. */
  get allSent() {
    return this.run?.state === "finishing";
  }

  /** Whether nothing of it can be on the server. */
  get untried() {
    return !this.#tried;
  }

  get progress() {
    const phase = this.phase, moving = phase === "uploading" || phase === "storing";
    const sent = Math.max(this.stored, this.run?.sent ?? this.#aside?.sent ?? 0);
    const speed = moving ? this.#speed.at(now()) : 0;
    const eta = speed > 0 ? (this.size - this.stored) / speed : null;
    const reason = this.reason ?? (phase === "retrying" || phase === "offline" ? this.host.line.error : null);
    return { sent: Math.min(sent, this.size), stored: this.stored, total: this.size, speed, eta, phase, reason };
  }

  // --- verbs -----------------------------------------------------------------------------------

  /** It has a turn, or is to be deleted; there may be a session. */
  go() {
    if (this.cancelling) this.#delete();
    else this.#start();
  }

  async #start() {
    try {
      await (this.#preparing ??= this.#prepare());
      if (this.end) this.#leave();
      else this.#begin();
    } catch (error) {
      this.fail(error instanceof UploadError ? error : new UploadError("bad-message", String(error)));
    }
  }

  pause() {
    if (this.end || this.paused || this.cancelling) return;
    this.paused = true;
    this.#halt();
    this.host.release(this);
    this.show();
  }

  resume() {
    if (this.host.closed || this.cancelling || OVER.has(this.end)) return;
    const { end, reason } = this;
    this.paused = false;
    this.reason = this.end = null;
    this.#stopTimer();
    if (end === "failed") this.#revive(reason);
    if (this.file) this.host.enqueue(this);
    this.host.line.retry();
    this.show();
  }

  #revive(reason) {
    if (SELF.has(reason?.code)) [this.file, this.reason] = [null, reason];
    if (ANEW.has(reason?.code)) this.#forget();
    else if (this.key) carry(this.key, true);
  }

  /** The server is to delete it; resolves when it is over, in whatever way. */
  async cancel() {
    if (OVER.has(this.end) || (this.end && this.host.closed)) return this.#doNotGoOn();
    const ended = new Promise((resolve) => { this.#ended.push(resolve); });
    if (!this.cancelling) this.#doom();
    return ended;
  }

  async #doom() {
    this.cancelling = true;
    this.end = this.reason = null;
    this.#halt();
    this.host.release(this);
    this.show();
    await this.#preparing?.catch(() => {}); // an earlier page may have begun it
    if (!this.#tried) return this.end || this.#finish("cancelled", cancelled());
    await this.#doNotGoOn();
    if (this.end) return undefined; // the page was closed
    this.host.doom(this);
    return this.#delete();
  }

  /** Have a later page delete it, if this one cannot. */
  async #doNotGoOn() {
    if (this.#tried && !OVER.has(this.end)) await this.host.memory.put({ ...this.record, cancelled: true });
  }

  /** Here is the file again. */
  async provide(file) {
    if (this.file || this.end || this.cancelling) return;
    if (!same(this, file))
      throw new UploadError("other-file", "This is another file, or it has changed.",
        { hint: `Choose ${this.path} as it was when its upload began, or upload this one as a new file.` });
    this.file = file;
    this.reason = null;
    if (!this.paused) this.host.enqueue(this);
    this.show();
  }

  /** Let go of it; what is stored stays. */
  abandon() {
    this.fail(new UploadError("aborted", "The upload was let go.",
      { hint: "What is stored stays; it can be resumed.", retryable: true }));
  }

  fail(error) {
    if (this.end) return;
    this.#halt();
    this.#finish("failed", error);
  }

  // --- what this browser remembers ---------------------------------------------------------------

  /** Have a key that this browser remembers, before the server hears of it. */
  async #prepare() {
    const found = this.#lasts ? await this.host.memory.find(this.file, this.path) : null;
    if (found) {
      const { key, id, url, stored } = found;
      Object.assign(this, { key, id, url, stored });
      this.#tried = true;
    } else {
      this.key = newKey();
      carry(this.key, true);
    }
    await this.note();
  }

  /** Whether the user can choose the same again. */
  get #lasts() {
    return this.lastModified !== undefined;
  }

  get record() {
    const { key, id, url, name, path, size, lastModified, mediaType, metadata, stored, added, handle } = this;
    return { key, id, url, name, path, size, lastModified, mediaType, metadata, stored, added, handle };
  }

  note() {
    this.#noted = { at: now(), stored: this.stored };
    return this.#lasts && this.host.memory.put(this.record);
  }

  /** Note what is stored, if it is not noted yet: the page may go. */
  keep() {
    if (this.#tried && !this.end && !this.cancelling && this.stored > this.#noted.stored) this.note();
  }

  /** Be as if it had never begun. */
  #forget() {
    if (this.key) this.host.memory.drop(this.key);
    letGo(this.key);
    this.id = this.url = this.key = this.run = this.#preparing = null;
    this.stored = 0;
    this.#tried = false;
  }

  /** It is over, so another tab may have it, if there is anything to have. */
  #leave() {
    if (!this.key) return;
    if (!this.#tried) this.#forget();
    else if (this.end !== "failed") this.host.memory.drop(this.key);
    letGo(this.key);
  }

  // --- its life in a session -------------------------------------------------------------------

  #what() {
    if (this.id) return { upload: this.id };
    const { name, size: length, mediaType, metadata, key } = this;
    return { name, length, media_type: mediaType.slice(0, 255) || undefined, metadata, key };
  }

  /** Say `begin`, or go on after a pause. */
  #begin() {
    const { line, active } = this.host;
    if (!active.has(this) || this.#timer || this.cancelling || this.#aside) return;
    if (this.host.aside) return this.#goAside();
    if (!line.wire) return line.need();
    this.#reader ??= new Reader(this.file, () => 11 * line.pace.size, (error) => this.#read(error));
    if (this.run && this.run.state !== "dropped") return this.#feed();
    const eager = !this.#tried;
    this.run = line.wire.begin(this, this.#what(), { old: this.run, eager });
    this.#tried = true;
    line.flush();
    if (eager) this.#feed(); // else the server says where
    this.show();
  }

  /** Ask the server to delete it, when there is a session. */
  #delete() {
    const { line } = this.host;
    if (this.#timer || this.#aside) return undefined;
    if (this.host.aside) return this.#goAside();
    if (!line.wire) return line.need();
    this.run ??= line.wire.begin(this, this.#what());
    line.wire.cancel(this.run);
    return line.flush();
  }

  #goAside() {
    this.#tried = true;
    this.#aside = new Aside(this, this.#before);
  }

  /** The session is lost. */
  lost() {
    this.run = null;
    this.#reader?.drop();
  }

  #feed() {
    const { run, size } = this;
    if (run.state !== "opening" && run.state !== "open") return;
    if (run.sent < size) {
      this.#reader.seek(run.sent);
      this.host.line.offer(this);
    } else {
      this.host.line.wire.finish(run);
      this.host.fill();
    }
  }

  #read(error) {
    if (error) this.fail(error);
    else this.host.line.offer(this);
  }

  /** Bytes that may be sent now. */
  get ready() {
    const may = this.run && !this.paused && !this.end && !this.cancelling && this.host.active.has(this);
    return may ? this.#reader?.ready : null;
  }

  /** The next `count` bytes of `ready` have been sent. */
  took(count) {
    this.#reader.take(count);
    if (this.allSent) {
      this.#reader = null;
      this.host.fill();
    }
    this.show();
  }

  hear(said) {
    if (said.run !== this.run) return;
    if (said.run.state === "over") this.run = null;
    if (this.end) return; // it failed here; `resume` asks again
    if (said.type === "ready") this.begun(said.upload, said.url, said.offset);
    else if (said.type === "ack") this.acked(said.offset);
    else if (said.type === "done") this.#done(said);
    else if (said.type === "gone") this.#gone(said);
    else this.refused(told(said), said.final);
  }

  begun(upload, url, offset) {
    this.id = upload;
    this.url = under(this.host.url, url);
    if (this.end || this.cancelling) return;
    this.stored = offset;
    this.#speed.add(0, now());
    if (!this.allSent) this.note();
    if (this.run && !this.paused) this.#feed();
    this.show();
  }

  acked(offset) {
    const more = offset - this.stored, { at, stored } = this.#noted;
    if (more > 0) this.#moved(more);
    this.stored = Math.max(this.stored, offset);
    if (this.stored > stored && (!stored || now() - at > NOTE)) this.note();
    this.show();
  }

  /** `count` more bytes are stored. */
  #moved(count) {
    this.#speed.add(count, now());
    this.host.moved(count);
    this.#backoff.moved();
    this.#anew = this.#renewed = false;
    this.reason = null;
  }

  #done({ upload, url, length }) {
    if (length !== this.size) return this.fail(new UploadError("bad-server",
      `The server stored ${length} bytes instead of ${this.size}.`));
    this.over({ id: upload, url: under(this.host.url, url), length, name: this.name });
  }

  /** It has ended well, as `stored` tells; without it: it is deleted, as was wished. */
  over(stored) {
    if (!stored && this.cancelling) return this.#finish("cancelled", cancelled());
    this.#moved(this.size - this.stored);
    Object.assign(this, { id: stored.id, url: stored.url, stored: this.size, told: stored });
    this.#finish("done", null);
  }

  /** How it ended, from elsewhere; where it is in a session, that has the last word. */
  learn({ state, url }) {
    if (this.run || (this.end && this.end !== "failed") || this.reason?.code === "gone") return;
    this.end = null;
    if (state === "cancelled" || (this.cancelling && state !== "published")) return this.#finish("cancelled", cancelled());
    if (state !== "published") return this.fail(gone(state));
    this.stored = this.size; // nothing has moved
    this.over({ id: this.id, url, length: this.size, name: this.name });
  }

  #gone({ reason }) {
    if (this.cancelling || reason === "cancelled") return this.#finish("cancelled", cancelled());
    if (reason === "taken-over") return this.fail(takenOver());
    if (LOST.has(reason) && !this.#anew && this.file) return this.#again();
    this.fail(gone(reason));
  }

  /** Begin anew, from nothing and under another key; once, unless bytes move. */
  #again() {
    this.#anew = true;
    this.#forget();
    this.#start();
  }

  /** `final`: it was the last word. */
  refused(error, final) {
    const { code } = error;
    this.#stopAside();
    this.#reader?.drop();
    if (TOKEN.has(code) && !this.#renewed && this.host.line.renew()) {
      this.#renewed = true;
      return this.#wait(0, error);
    }
    if (this.cancelling) {
      if (final && !error.retryable) return this.#finish("cancelled", cancelled()); // there is nothing to delete
      if (this.run) return; // its last word is still to come
    } else {
      if (code === "taken-over") return this.fail(takenOver());
      if ((code === "not-found" || code === "key-conflict") && !this.#anew) return this.#again();
      if (!error.retryable) return this.fail(error);
    }
    if (code === "draining") return; // the session ends, and the next one begins it again
    this.#wait(AT_ONCE.has(code) && this.#backoff.fresh ? 0 : this.#backoff.next(), error);
  }

  #wait(seconds, error) {
    if (seconds) this.reason = error;
    else this.#backoff.next();
    this.#stopTimer();
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.go();
    }, seconds * 1000);
    this.show();
  }

  #stopTimer() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #stopAside() {
    this.#aside?.stop();
    this.#before = this.#aside ?? this.#before;
    this.#aside = null;
  }

  #halt() {
    this.#stopTimer();
    this.#stopAside();
    this.#reader?.drop();
  }

  #finish(end, reason) {
    if (end === "failed") this.keep();
    this.end = end;
    this.reason = reason;
    this.cancelling = false;
    this.#halt();
    this.#reader = null;
    this.#leave();
    this.host.release(this);
    this.show();
    for (const tell of this.#ended.splice(0)) tell();
  }
}

function cancelled() {
  return new UploadError("cancelled", "The upload was cancelled.");
}

function gone(reason) {
  return new UploadError("gone", `The server does not have this upload any more (${reason}).`,
    { hint: "Try again to upload it from the start." });
}

function takenOver() {
  return new UploadError("taken-over", "The upload goes on elsewhere: in another window or on another device.",
    { hint: "Resume it to go on here." });
}
