/** What the jobs of one uploader share: the line, the turns, the memory. */

import { Line } from "./line.js";
import { Memory } from "./memory.js";
import { browserId } from "./place.js";
import { Speed, UploadError } from "./wire.js";

const ALIVE = 64; // uploads that may wait for their last word
const SMALL = 256 << 10; // bytes of a file that needs no turn, if it goes in one chunk
const BESIDE = 32; // of those, at a time
const now = () => performance.now() / 1000;

export class Inside {
  jobs = new Set(); // all
  active = new Set(); // have a turn, or wait for their last word
  speed = new Speed();
  closed = false;
  durability = null;
  maxLength = null;
  #large = new Set(); // wait for a turn
  #small = new Set(); // likewise
  #doomed = new Set(); // to be deleted on the server
  #filling = false;
  #listeners = new AbortController();

  /** `told()` is called when something of the connection has changed. */
  constructor(url, { token, jobs = 3, remember = true, clientId, fallback }, told) {
    if (clientId === undefined) clientId = remember ? browserId(url) : null;
    Object.assign(this, { url, most: jobs, clientId, fallback, told });
    this.memory = new Memory(url, remember);
    this.line = new Line(url, { token, clientId }, this);
    const { signal } = this.#listeners;
    globalThis.addEventListener?.("pagehide", () => this.#keep(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden && this.#keep(), { signal });
  }

  get working() { return this.active.size > 0 || this.#doomed.size > 0; }

  /** Whether the other way is taken. */
  get aside() { return this.line.stripped && !!this.fallback; }

  /** The page may go: write down what is not yet. */
  #keep() {
    for (const job of this.jobs) job.keep();
    this.memory.flush();
  }

  // --- turns -------------------------------------------------------------------------------------

  enqueue(job) {
    if (this.active.has(job)) return job.go();
    if (this.#refuses(job)) return queueMicrotask(() => job.fail(tooLarge())); // when somebody can listen
    job.small = job.size <= Math.min(SMALL, this.line.pace.size);
    (job.small ? this.#small : this.#large).add(job);
    this.fill();
    return this.line.wanted();
  }

  /** Give turns, to as many as may send at a time; soon, when all has been said that is to be. */
  fill() {
    if (this.#filling) return;
    this.#filling = true;
    queueMicrotask(() => {
      this.#filling = false;
      if (this.closed) return;
      let [large, small] = [this.most, BESIDE];
      for (const job of this.active) if (!job.allSent) job.small ? small-- : large--;
      this.#give(this.#large, large);
      this.#give(this.#small, small);
      this.line.need();
    });
  }

  #give(queue, count) {
    const alive = Math.min(ALIVE, this.line.limits?.max_refs ?? ALIVE) - this.#doomed.size;
    for (const job of queue) {
      if (count-- <= 0 || this.active.size >= alive) return;
      queue.delete(job);
      this.active.add(job);
      job.go();
      job.show();
    }
  }

  /** `job` needs no turn any more. */
  release(job) {
    for (const set of [this.#large, this.#small, this.active, this.#doomed]) set.delete(job);
    this.fill();
  }

  doom(job) {
    this.#doomed.add(job);
    this.fill();
    this.line.wanted();
  }

  moved(count) {
    this.speed.add(count, now());
    this.line.moved();
  }

  // --- what the server takes ---------------------------------------------------------------------

  learn({ durability, limits: { max_length: most = null } }) {
    [this.durability, this.maxLength] = [durability, most];
    for (const job of [...this.active, ...this.#large, ...this.#small]) if (this.#refuses(job)) job.fail(tooLarge());
    this.told();
  }

  #refuses(job) {
    return this.maxLength !== null && job.size > this.maxLength && job.untried;
  }

  // --- for the line ------------------------------------------------------------------------------

  opened() {
    this.#go();
    this.fill();
  }

  lost() {
    for (const job of this.jobs) job.lost();
    if (this.aside) this.#go();
  }

  #go() {
    for (const job of [...this.active, ...this.#doomed]) job.go();
  }

  refused(error) {
    const all = [...this.active, ...this.#large, ...this.#small];
    for (const set of [this.active, this.#large, this.#small]) set.clear();
    for (const job of all) job.fail(error);
  }

  changed() {
    this.told();
    for (const job of [...this.active, ...this.#doomed]) job.show();
  }

  close() {
    if (this.closed) return;
    this.closed = true;
    this.#listeners.abort();
    for (const job of this.jobs) job.abandon();
    this.line.close();
  }
}

function tooLarge() {
  return new UploadError("too-large", "The file is larger than this server takes.",
    { hint: "Make it smaller, split it, or ask whoever runs the server for a higher limit." });
}
