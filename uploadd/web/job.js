/** One file on its way, over as many sessions as it takes. `uploadd.js` shows it to the page. */

import { carry, letGo, newKey, same } from "./memory.js";
import { Reader } from "./reader.js";
import { AT_ONCE, Backoff, Speed, UploadError, fit, told } from "./wire.js";

const NOTE = 2; // seconds between notes of what is stored
const ANEW = new Set(["not-found", "gone", "key-conflict", "length-conflict", "length-exceeded"]);
const LOST = new Set(["expired", "lost"]); // nobody wanted that: begin anew
const SELF = new Set(["file-changed", "file-unreadable"]);
const now = () => performance.now() / 1000;

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
  told = null; // of the end: Stored
  aside = null; // the AbortController of the other way, while it is taken
  sentAside = 0;
  #tried = false; // the server may know the key
  #preparing = null;
  #reader = null;
  #backoff = new Backoff(1, 30, 0.5);
  #timer = null;
  #speed = new Speed();
  #noted = 0;
  #anew = false; // begun anew, since bytes last moved

  /** `host` is the uploader's inside; `show(change)` tells the page. */
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
    this.show = () => {};
    host.jobs.add(this);
  }

  /** The upload that this browser remembers as `record`; it is carried already. */
  static from(host, record) {
    const job = new Job(host, null, record);
    Object.assign(job, { key: record.key, id: record.id, url: record.url, size: record.size,
      stored: record.stored, lastModified: record.lastModified, metadata: record.metadata });
    job.#tried = true;
    job.#preparing = Promise.resolve();
    return job;
  }

  /** Where it is: follows from all else, so that it is never out of step. */
  get phase() {
    if (this.end) return this.end;
    if (this.paused) return "paused";
    if (!this.file) return "needs-file";
    if (!this.host.active.has(this)) return "queued";
    if (this.#timer) return "retrying";
    const { state, error } = this.host.line;
    if (state === "offline") return this.aside ? "uploading" : "offline";
    if (error && !this.aside) return "retrying";
    return this.storing ? "storing" : "uploading";
  }

  get storing() {
    return this.run?.state === "finishing";
  }

  get progress() {
    const phase = this.phase, moving = phase === "uploading" || phase === "storing";
    const sent = Math.max(this.stored, this.run?.sent ?? this.sentAside);
    const speed = moving ? this.#speed.at(now()) : 0;
    const eta = speed > 0 ? (this.size - this.stored) / speed : null;
    const reason = this.reason ?? (phase === "retrying" || phase === "offline" ? this.host.line.error : null);
    return { sent: Math.min(sent, this.size), stored: this.stored, total: this.size, speed, eta, phase, reason };
  }

  // --- verbs -----------------------------------------------------------------------------------

  /** It has a turn. */
  async start() {
    try {
      await (this.#preparing ??= this.#prepare());
      this.#begin();
    } catch (error) {
      this.fail(error instanceof UploadError ? error : new UploadError("bad-message", String(error)));
    }
  }

  pause() {
    if (this.end || this.paused) return;
    this.paused = true;
    this.#halt();
    this.host.release(this);
    this.show();
  }

  async resume() {
    if (this.end === "done" || this.cancelling || this.end === "cancelled") return;
    const { end, reason } = this;
    this.paused = false;
    this.reason = this.end = null;
    if (end === "failed") await this.#revive(reason);
    this.#stopTimer();
    if (this.file) this.host.enqueue(this);
    this.host.line.retry();
    this.show();
  }

  async #revive(reason) {
    if (SELF.has(reason?.code)) {
      this.file = null;
      this.reason = reason;
    }
    if (ANEW.has(reason?.code)) await this.#forget();
    if (this.key) await carry(this.key, true);
  }

  /** The server is to delete it. */
  async cancel() {
    if (this.end === "done" || this.end === "cancelled" || this.cancelling) return;
    this.#halt();
    this.end = null;
    this.cancelling = true;
    if (!this.#tried) return this.#finish("cancelled", cancelled());
    await this.host.memory.put({ ...this.record, cancelled: true });
    this.host.doom(this);
    this.delete();
  }

  /** Ask the server to delete it, when there is a session. */
  delete() {
    const wire = this.host.line.wire;
    if (!wire) return this.host.line.need();
    this.run ??= wire.begin(this, this.#what());
    wire.cancel(this.run);
    this.host.line.flush();
  }

  /** Here is the file again. */
  async provide(file) {
    if (this.file) return;
    if (!same(this, file))
      throw new UploadError("other-file", "This is another file, or it has changed.",
        { hint: `Choose ${this.path} as it was when its upload began, or upload this one as a new file.` });
    this.file = file;
    this.reason = null;
    this.host.enqueue(this);
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

  // --- its life in a session -------------------------------------------------------------------

  /** Have a key that this browser remembers, before the server hears of it. */
  async #prepare() {
    const found = this.file.lastModified === undefined ? null : await this.host.memory.find(this.file, this.path);
    if (found) {
      Object.assign(this, { key: found.key, id: found.id, url: found.url, stored: found.stored });
      this.#tried = true;
    }
    await this.#take(found?.key ?? newKey());
  }

  async #take(key) {
    this.key = key;
    await carry(key);
    if (this.file.lastModified !== undefined) await this.#note();
  }

  get record() {
    const { key, id, url, name, path, size, lastModified, mediaType, metadata, stored, handle } = this;
    return { key, id, url, name, path, size, lastModified, mediaType, metadata, stored, handle };
  }

  #note() {
    this.#noted = now();
    return this.host.memory.put(this.record);
  }

  #what() {
    if (this.id) return { upload: this.id };
    const { name, size: length, mediaType, metadata, key } = this;
    return { name, length, media_type: mediaType.slice(0, 255) || undefined, metadata, key };
  }

  /** Say `begin`, or go on after a pause. */
  #begin() {
    const { line, active } = this.host;
    if (!active.has(this) || this.#timer || this.cancelling || this.aside) return;
    if (line.stripped && this.host.fallback) return this.#goAside();
    if (!line.wire) return line.need();
    this.#reader ??= new Reader(this.file, () => 11 * line.pace.size, (error) => this.#read(error));
    if (this.run && this.run.state !== "dropped" && this.run.state !== "over") return this.#feed();
    const fresh = !this.#tried;
    this.#tried = true;
    this.run = line.wire.begin(this, this.#what(), this.run);
    if (fresh) this.#feed(); // else the server says where
    line.flush();
    this.show();
  }

  /** There is a session. */
  opened() {
    if (this.cancelling) this.delete();
    else this.start();
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
    if (this.storing) {
      this.#reader = null;
      this.host.fill();
    }
    this.show();
  }

  hear(said) {
    if (said.run !== this.run) return;
    if (said.type === "ready") this.#ready(said);
    else if (said.type === "ack") this.#stored(said.offset);
    else if (said.type === "done") this.#done(said);
    else if (said.type === "gone") this.#gone(said);
    else this.#refused(said);
  }

  #ready({ upload, url, offset }) {
    this.id = upload;
    this.url = new URL(url, this.host.url).href;
    this.stored = offset;
    this.#speed.add(0, now());
    if (this.cancelling) return;
    this.#note();
    if (this.run && !this.paused) this.#feed();
    this.show();
  }

  #stored(offset) {
    const more = offset - this.stored;
    if (more > 0) this.moved(more);
    this.stored = Math.max(this.stored, offset);
    if (now() - this.#noted > NOTE) this.#note();
    this.show();
  }

  /** `count` more bytes are stored. */
  moved(count) {
    this.#speed.add(count, now());
    this.host.moved(count);
    this.#backoff.moved();
    this.#anew = false;
    this.reason = null;
  }

  #done({ upload, url, length }) {
    if (length !== this.size) return this.fail(new UploadError("bad-server",
      `The server stored ${length} bytes instead of ${this.size}.`));
    this.moved(length - this.stored);
    this.finished({ id: upload, url: new URL(url, this.host.url).href, length, name: this.name });
  }

  finished(stored) {
    Object.assign(this, { id: stored.id, url: stored.url, stored: this.size, told: stored });
    this.#finish("done", null);
  }

  #gone({ reason, message }) {
    this.run = null;
    if (this.cancelling) return this.#finish("cancelled", cancelled());
    if (reason === "taken-over") return this.fail(takenOver());
    if (LOST.has(reason) && !this.#anew) return this.#again();
    this.fail(new UploadError("gone", `The server does not have this upload any more (${reason}).`,
      { hint: "Try again to upload it from the start." }));
  }

  /** Begin anew, from nothing and under another key; once, unless bytes move. */
  async #again() {
    this.#anew = true;
    await this.#forget();
    this.start();
  }

  async #forget() {
    await this.host.memory.drop(this.key);
    letGo(this.key);
    this.id = this.url = this.key = this.run = this.#preparing = null;
    this.stored = 0;
    this.#tried = false;
  }

  #refused(said) {
    const error = told(said), { code } = error;
    if (said.final) this.run = null;
    if (this.cancelling) return said.final && this.#finish("cancelled", cancelled());
    this.#reader?.drop();
    if (code === "taken-over") return this.fail(takenOver());
    if ((code === "not-found" || code === "key-conflict") && !this.#anew) return this.#again();
    if (!error.retryable) return this.fail(error);
    if (code === "draining") return; // the session ends, and the next one begins it again
    const seconds = AT_ONCE.has(code) && this.#backoff.fresh ? 0 : this.#backoff.next();
    this.#wait(seconds, error);
  }

  #wait(seconds, error) {
    if (seconds) this.reason = error;
    else this.#backoff.next();
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.start();
    }, seconds * 1000);
    this.show();
  }

  #stopTimer() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }

  #halt() {
    this.#stopTimer();
    this.#reader?.drop();
    this.aside?.abort();
    this.aside = null;
  }

  // --- where no WebSocket gets through -------------------------------------------------------------

  async #goAside() {
    const { signal } = this.aside = new AbortController();
    const { host, file, name, path, mediaType, metadata, key, id } = this;
    const unless = (act) => (...told) => signal.aborted || act(...told);
    this.#tried = true;
    try {
      const stored = await host.fallback({
        base: host.url, file, name, path, mediaType, metadata, key, id, signal,
        token: () => host.line.token(),
        begun: unless((upload, url, offset) => this.#ready({ upload, url, offset })),
        sent: unless((end) => { this.sentAside = end; this.show(); }),
        stored: unless((offset) => this.#stored(offset)),
      });
      unless(() => this.finished(stored))();
    } catch (error) {
      unless(() => this.#asideFailed(error))();
    }
  }

  #asideFailed(cause) {
    this.aside = null;
    const error = cause instanceof UploadError ? cause
      : new UploadError("connection-lost", "The upload was interrupted.", { retryable: true, cause });
    if (error.retryable) this.#wait(this.#backoff.next(), error);
    else this.fail(error);
  }

  #finish(end, reason) {
    this.end = end;
    this.reason = reason;
    this.cancelling = false;
    this.#reader = this.aside = null;
    if (this.key) {
      if (end !== "failed") this.host.memory.drop(this.key);
      letGo(this.key);
    }
    this.host.release(this);
    this.show();
  }
}

function cancelled() {
  return new UploadError("cancelled", "The upload was cancelled.");
}

function takenOver() {
  return new UploadError("taken-over", "The upload goes on elsewhere: in another window or on another device.",
    { hint: "Resume it to go on here." });
}
