/** Uploads to one server: what `uploadd.js` gives to pages that upload. */

import { Emitter, Seldom, deferred, whenAborted } from "./emitter.js";
import { Inside } from "./inside.js";
import { Job } from "./job.js";
import { carry, letGo, same } from "./memory.js";
import { HERE, baseOf } from "./place.js";
import { UploadError } from "./wire.js";

const INTERVAL = 100; // milliseconds between events of progress
const now = () => performance.now() / 1000;

export class Upload extends Emitter {
  #job;
  #outcome;
  #seldom = new Seldom(INTERVAL, () => this.emit("progress", this.progress));
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
  get reopens() { return Boolean(this.#job.handle); }
  get progress() { return this.#job.progress; }

  pause() { this.#job.pause(); }
  resume() { this.#job.resume(); }
  cancel() { return this.#job.cancel(); }
  provide(file) { return this.#job.provide(file); }
  learn(told) { this.#job.learn(told); }

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
    let changed = deferred();
    const off = this.on("progress", () => changed.resolve());
    try {
      while (true) {
        yield this.progress;
        if (this.#ended) return;
        await changed.promise;
        changed = deferred();
      }
    } finally {
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

/** Where no WebSocket gets through; loaded when it is needed. */
async function overHttp(attempt) {
  return (await import("./tus.js")).overHttp(attempt);
}

export class Uploader extends Emitter {
  #inside;
  #uploads = new Map(); // Upload → Job, of those that are shown
  #lets = new Map(); // Upload → to be called when it is removed
  #seldom = new Seldom(INTERVAL, () => this.emit("progress", this.progress));

  constructor(url = HERE, options = {}) {
    super();
    this.url = baseOf(url);
    const all = { fallback: overHttp, ...options };
    this.#inside = new Inside(this.url, all, () => this.emit("connection", this.connection));
    whenAborted(options.signal, () => this.close());
  }

  get uploads() { return [...this.#uploads.keys()]; }

  get connection() {
    const { line, durability, maxLength } = this.#inside;
    return { state: line.state, error: line.error, durability, maxLength };
  }

  get progress() {
    return totals(this.#uploads.values(), this.#inside.speed.at(now()));
  }

  async check() {
    const info = await this.#inside.line.info().catch(() => null);
    if (info?.name === "uploadd") this.#inside.learn(info);
    return this.connection;
  }

  upload(file, options = {}) {
    if (this.#inside.closed) throw new UploadError("aborted", "This uploader is closed.");
    const waiting = this.#waitingFor(file, options.path);
    if (waiting) return waiting;
    const job = new Job(this.#inside, file, options);
    const upload = this.#add(job);
    this.#inside.enqueue(job);
    this.#lets.set(upload, whenAborted(options.signal, () => job.abandon()));
    return upload;
  }

  /** A restored upload that waits for this very file goes on with it. */
  #waitingFor(file, path) {
    for (const [upload, job] of this.#uploads) {
      if (job.file || job.phase !== "needs-file" || !file.name || !same(job, file)) continue;
      if ((path ?? (file.webkitRelativePath || file.name)) !== job.path) continue;
      job.provide(file);
      return upload;
    }
    return null;
  }

  async restore() {
    const { memory } = this.#inside, restored = [];
    const ours = await Promise.all((await memory.all()).map(async ({ key }) => await carry(key) && key));
    const left = await memory.all(); // another tab may have ended some before it let go of them
    for (const key of ours) if (key && !left.some((record) => record.key === key)) letGo(key);
    for (const record of left.filter(({ key }) => ours.includes(key))) {
      const job = Job.from(this.#inside, record);
      if (record.cancelled) job.cancel();
      else restored.push(this.#add(job));
    }
    await Promise.all(restored.map((upload) => reopened(this.#uploads.get(upload))));
    return restored;
  }

  pause() { for (const job of this.#uploads.values()) job.pause(); }

  resume() {
    for (const job of this.#uploads.values()) if (job.paused || job.reason?.retryable) job.resume();
  }

  /** What is taken over is another's by now. */
  async cancel() {
    const ours = [...this.#uploads.values()].filter((job) => job.reason?.code !== "taken-over");
    await Promise.all(ours.map((job) => job.cancel()));
  }

  remove(upload) {
    const job = this.#uploads.get(upload);
    if (!job?.end) return;
    if (job.key && job.reason?.code !== "taken-over") this.#inside.memory.drop(job.key);
    this.#inside.jobs.delete(job);
    this.#uploads.delete(upload);
    this.#lets.get(upload)?.();
    this.#lets.delete(upload);
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
    this.#uploads.set(upload, job);
    this.emit("add", upload);
    return upload;
  }
}

/** Read on without asking, where the user has allowed that before. */
async function reopened(job) {
  try {
    if (await job.handle?.queryPermission({ mode: "read" }) === "granted") await job.provide(await job.handle.getFile());
  } catch (error) {
    job.reason = error instanceof UploadError ? error : null;
    job.show();
  }
}

const ORDER = ["uploading", "storing", "offline", "retrying", "queued", "paused", "cancelling", "needs-file", "failed",
  "done", "cancelled"];

/** All together; the phase is the liveliest of them. */
function totals(jobs, speed) {
  const sum = { sent: 0, stored: 0, total: 0, files: 0, finished: 0, failed: 0 };
  let phase = "done", rank = ORDER.length, reason = null, left = 0;
  for (const job of jobs) {
    const { sent, stored, total, phase: one, reason: why } = job.progress;
    if (one === "cancelled") continue;
    sum.files++;
    sum.finished += one === "done";
    sum.failed += one === "failed";
    if (one !== "failed" || why.code !== "too-large") { // that is never to be stored
      sum.sent += sent;
      sum.stored += stored;
      sum.total += total;
    }
    if (ORDER.indexOf(one) < 5) left += total - stored;
    if (ORDER.indexOf(one) < rank) [rank, phase, reason] = [ORDER.indexOf(one), one, why];
  }
  return { ...sum, speed, eta: speed > 0 && left ? left / speed : null, phase, reason };
}
