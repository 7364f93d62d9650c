/**
 * Uploads to an uploadd server, from a page. No dependency, no build step:
 *
 *     import { Uploader } from "https://files.example.com/-/uploadd.js";
 *     const { url } = await new Uploader().upload(file);
 *
 * What everything means is in uploadd.d.ts.
 */

import { Job } from "./job.js";
import { Line } from "./line.js";
import { Memory, carry, letGo, same } from "./memory.js";
import { Speed, UploadError } from "./wire.js";

export { UploadError };

const INTERVAL = 100; // milliseconds between events of progress
const ALIVE = 64; // uploads that may wait for their last word
const now = () => performance.now() / 1000;

class Emitter extends EventTarget {
  on(type, listener) {
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Calls `act` at most ten times a second, but always after the last `ask`. */
class Seldom {
  #timer = null;
  #last = -Infinity;

  constructor(act) {
    this.act = act;
  }

  ask() {
    if (this.#timer === null)
      this.#timer = setTimeout(() => this.now(), Math.max(0, this.#last + INTERVAL - performance.now()));
  }

  now() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#last = performance.now();
    this.act();
  }
}

export class Upload extends Emitter {
  #job;
  #outcome;
  #seldom = new Seldom(() => this.emit("progress", this.progress));
  #ended = null;

  /** @internal */
  constructor(job) {
    super();
    this.#job = job;
    this.#promise();
    job.show = () => this.#show();
  }

  get name() { return this.#job.name; }
  get path() { return this.#job.path; }
  get size() { return this.#job.size; }
  get mediaType() { return this.#job.mediaType; }
  get id() { return this.#job.id; }
  get url() { return this.#job.url; }
  get file() { return this.#job.file; }
  get progress() { return this.#job.progress; }

  pause() { this.#job.pause(); }
  resume() { this.#job.resume(); }
  provide(file) { return this.#job.provide(file); }

  async cancel() {
    const { promise, resolve } = deferred();
    if (this.#job.end === "done" || this.#job.end === "cancelled") return;
    const off = this.on("progress", () => this.#ended && resolve());
    await this.#job.cancel();
    if (!this.#ended) await promise;
    off();
  }

  async reopen() {
    const { handle } = this.#job;
    if (!handle || await handle.requestPermission?.({ mode: "read" }) !== "granted") return false;
    await this.#job.provide(await handle.getFile());
    return true;
  }

  then(resolved, rejected) {
    return this.#outcome.promise.then(resolved, rejected);
  }

  async *[Symbol.asyncIterator]() {
    while (true) {
      const changed = deferred();
      const off = this.on("progress", changed.resolve);
      yield this.progress;
      if (this.#ended) return off();
      await changed.promise;
      off();
    }
  }

  #promise() {
    this.#outcome = deferred();
    this.#outcome.promise.catch(() => {}); // whoever does not await it listens to events
  }

  #show() {
    const { end, told, reason } = this.#job;
    if (end === this.#ended) return this.#seldom.ask();
    if (this.#ended) this.#promise(); // it failed, and was resumed
    this.#ended = end;
    this.#seldom.now();
    if (end === "done") this.#outcome.resolve(told);
    else if (end) this.#outcome.reject(reason);
    if (end) this.emit(end === "done" ? "done" : "error", told ?? reason);
  }
}

function deferred() {
  let resolve, reject;
  const promise = new Promise((...both) => [resolve, reject] = both);
  return { promise, resolve, reject };
}

export class Uploader extends Emitter {
  #inside;
  #uploads = [];
  #jobs = new Map(); // Upload → Job, of those that are shown

  constructor(url = new URL("../", import.meta.url), options = {}) {
    super();
    this.url = baseOf(url);
    this.#inside = new Inside(this.url, options, () => this.emit("connection", this.connection));
    this.#seldom = new Seldom(() => this.emit("progress", this.progress));
    const { signal } = options;
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", () => this.close());
  }

  #seldom;

  get uploads() { return [...this.#uploads]; }

  get connection() {
    const { line, durability, maxLength } = this.#inside;
    return { state: line.state, error: line.error, durability, maxLength };
  }

  get progress() {
    return totals([...this.#jobs.values()], this.#inside.speed.at(now()));
  }

  upload(file, options = {}) {
    if (this.#inside.closed) throw new UploadError("aborted", "This uploader is closed.");
    const waiting = this.#waitingFor(file, options.path);
    if (waiting) return waiting;
    const job = new Job(this.#inside, file, options);
    const upload = this.#add(job);
    this.#inside.enqueue(job);
    const { signal } = options;
    if (signal?.aborted) job.abandon();
    signal?.addEventListener("abort", () => job.abandon());
    return upload;
  }

  /** A restored upload that waits for this very file goes on with it. */
  #waitingFor(file, path) {
    for (const [upload, job] of this.#jobs) {
      if (job.phase !== "needs-file" || !file.name || !same(job, file)) continue;
      if ((path ?? (file.webkitRelativePath || file.name)) !== job.path) continue;
      job.provide(file);
      return upload;
    }
    return null;
  }

  async restore() {
    const restored = [], records = await this.#inside.memory.all();
    const ours = await Promise.all(records.map(({ key }) => carry(key)));
    for (const record of records.filter((_, at) => ours[at])) {
      const job = Job.from(this.#inside, record);
      if (record.cancelled) job.cancel();
      else restored.push(this.#add(job));
    }
    await Promise.all(restored.map((upload) => reopened(this.#jobs.get(upload))));
    return restored;
  }

  pause() { for (const job of this.#jobs.values()) job.pause(); }

  resume() {
    for (const job of this.#jobs.values()) if (job.paused || job.reason?.retryable) job.resume();
  }

  async cancel() { await Promise.all(this.#uploads.map((upload) => upload.cancel())); }

  remove(upload) {
    const job = this.#jobs.get(upload);
    if (!job?.end) return;
    if (job.key && job.reason?.code !== "taken-over") this.#inside.memory.drop(job.key);
    this.#inside.jobs.delete(job);
    this.#jobs.delete(upload);
    this.#uploads.splice(this.#uploads.indexOf(upload), 1);
    this.#seldom.ask();
  }

  close() { this.#inside.close(); }

  #add(job) {
    const upload = new Upload(job);
    const show = job.show;
    job.show = () => {
      show();
      this.#seldom.ask();
    };
    this.#jobs.set(upload, job);
    this.#uploads.push(upload);
    this.emit("add", upload);
    return upload;
  }
}

function baseOf(url) {
  const base = new URL(url, globalThis.location?.href);
  base.protocol = base.protocol.replace("ws", "http");
  base.search = base.hash = "";
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}

/** Read on without asking, where the user has allowed that before. */
async function reopened(job) {
  try {
    if (await job.handle?.queryPermission({ mode: "read" }) === "granted") await job.provide(await job.handle.getFile());
  } catch (error) {
    job.reason = error instanceof UploadError ? error : null;
  }
}

const ORDER = ["uploading", "storing", "offline", "retrying", "queued", "paused", "needs-file", "failed", "done", "cancelled"];

/** All together; the phase is the liveliest of them. */
function totals(jobs, speed) {
  const sum = { sent: 0, stored: 0, total: 0, files: 0, finished: 0, failed: 0 };
  let phase = "done", rank = ORDER.length, reason = null, left = 0;
  for (const job of jobs) {
    const { sent, stored, total, phase: one, reason: why } = job.progress;
    if (one === "cancelled") continue;
    sum.files++;
    sum.sent += sent;
    sum.stored += stored;
    sum.total += total;
    sum.finished += one === "done";
    sum.failed += one === "failed";
    if (ORDER.indexOf(one) < 5) left += total - stored;
    if (ORDER.indexOf(one) < rank) [rank, phase, reason] = [ORDER.indexOf(one), one, why];
  }
  return { ...sum, speed, eta: speed > 0 && left ? left / speed : null, phase, reason };
}

/** What the jobs of one uploader share: the line, the turns, the memory. */
class Inside {
  jobs = new Set(); // all
  active = new Set(); // have a turn, or wait for their last word
  speed = new Speed();
  closed = false;
  durability = null;
  maxLength = null;
  #queue = new Set();
  #doomed = new Set(); // to be deleted on the server

  constructor(url, { token, jobs = 3, remember = true, fallback }, connection) {
    Object.assign(this, { url, most: jobs, fallback, connection });
    this.memory = new Memory(url, remember);
    this.line = new Line(url, token, this);
  }

  get working() { return this.active.size > 0 || this.#doomed.size > 0; }

  enqueue(job) {
    this.#queue.add(job);
    this.fill();
  }

  /** Give turns: to as many as may send at a time. */
  fill() {
    const alive = Math.min(ALIVE, this.line.limits?.max_refs ?? ALIVE);
    let sending = 0;
    for (const job of this.active) sending += !job.storing;
    for (const job of this.#queue) {
      if (sending >= this.most || this.active.size >= alive) break;
      this.#queue.delete(job);
      this.active.add(job);
      sending++;
      job.start();
      job.show();
    }
    this.line.need();
  }

  /** `job` needs no turn any more. */
  release(job) {
    this.#queue.delete(job);
    this.active.delete(job);
    this.#doomed.delete(job);
    if (!this.closed) this.fill();
  }

  doom(job) {
    this.#queue.delete(job);
    this.active.delete(job);
    this.#doomed.add(job);
    this.fill();
  }

  moved(count) {
    this.speed.add(count, now());
    this.line.moved();
  }

  // --- for the line ------------------------------------------------------------------------------

  opened() {
    ({ durability: this.durability, limits: { max_length: this.maxLength = null } } = this.line);
    for (const job of [...this.active, ...this.#doomed]) job.opened();
  }

  lost() {
    for (const job of this.jobs) job.lost();
    if (this.line.stripped && this.fallback) for (const job of this.active) job.start();
  }

  refused(error) {
    const all = [...this.active, ...this.#queue];
    this.#queue.clear();
    for (const job of all) job.fail(error);
  }

  changed() {
    this.connection();
    for (const job of this.jobs) if (!job.end) job.show();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    for (const job of this.jobs) job.abandon();
    this.line.close();
  }
}
