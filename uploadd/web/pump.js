/** Keeps one socket full, but not too full: chunks of all who have something to send, in turn. */

import { HEADER } from "./wire.js";

export class Pump {
  #socket;
  #wire;
  #pace;
  #turns = []; // jobs, the one whose turn it is first
  #message = new Uint8Array(0); // of chunks with nothing before them: `send` copies
  #handed = 0; // bytes given to the socket
  #gone = 0; // bytes that had left it, when it was looked at
  #looked = 0;
  #nap = 4; // milliseconds
  #timer = null;

  constructor(socket, wire, pace) {
    [this.#socket, this.#wire, this.#pace] = [socket, wire, pace];
  }

  stop() {
    clearTimeout(this.#timer);
    this.#turns = [];
  }

  /** `job` may have something to send. */
  offer(job) {
    if (!this.#turns.includes(job)) this.#turns.push(job);
    this.run();
  }

  /** Send until the browser's buffer is full; acks, slices and a short timer go on. */
  run() {
    if (!this.#wire.open || this.#socket.readyState !== WebSocket.OPEN) return;
    const bound = this.#pace.buffer;
    while (this.#socket.bufferedAmount < bound) if (!this.#sendOne()) return;
    this.#timer ??= this.#sleep();
  }

  /** Look again when half of what waits should be gone; less and less often when nothing moves. */
  #sleep() {
    const left = this.#socket.bufferedAmount, at = performance.now();
    const gone = this.#handed - left - this.#gone;
    if (gone > 0) this.#nap = Math.min(Math.max(left / 2 * (at - this.#looked) / gone, 4), 100);
    else this.#nap = Math.min(this.#nap * 2, 1000);
    this.#gone += gone;
    this.#looked = at;
    return setTimeout(() => {
      this.#timer = null;
      this.run();
    }, this.#nap);
  }

  #sendOne() {
    for (let left = this.#turns.length; left > 0; left--) {
      const job = this.#turns.shift();
      const bytes = job.ready;
      if (!bytes) continue; // offers itself again
      this.#turns.push(job);
      const count = this.#wire.allowance(job.run, bytes.length, this.#pace.size);
      if (!count) continue;
      this.#sendChunk(job, bytes.subarray(0, count));
      return true;
    }
    return false;
  }

  #sendChunk(job, bytes) {
    const { run } = job;
    const message = this.#around(bytes);
    this.#pace.sent(this.#wire.underway, performance.now() / 1000);
    const last = run.sent + bytes.length === job.size;
    const flush = !this.#pace.rate; // to know the rate soon
    this.#wire.chunk(run, bytes.length, { last, flush }, message);
    this.#socket.send(message);
    this.#handed += message.length;
    job.took(bytes.length);
  }

  /** A message that ends with `bytes`: over the last of what was sent, or else a copy. */
  #around(bytes) {
    const { buffer, byteOffset, length } = bytes;
    if (byteOffset >= HEADER) return new Uint8Array(buffer, byteOffset - HEADER, HEADER + length);
    if (this.#message.length < HEADER + length) this.#message = new Uint8Array(HEADER + length);
    this.#message.set(bytes, HEADER);
    return this.#message.subarray(0, HEADER + length);
  }
}
