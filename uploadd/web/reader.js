/** A file read ahead in slices: one to send from and one on its way, never more. */

import { UploadError } from "./wire.js";

const LARGEST = 8 << 20; // bytes of a slice; each costs the browser the same few milliseconds

export class Reader {
  #file;
  #tell;
  #size;
  #now = null; // {at, bytes}: to send from
  #next = null; // the same, read ahead
  #reading = false;
  #end = 0; // of what is read or being read
  #turn = 0; // what was asked for before a `seek` is thrown away

  /** `tell(error | null)` is called when a slice is there; `size()` says how large one should be. */
  constructor(file, size, tell) {
    this.#file = file;
    this.#size = size;
    this.#tell = tell;
  }

  /** Go on at `at`; what was read already is kept if that is where it begins. */
  seek(at) {
    if (this.#now?.at !== at) {
      this.#turn++;
      this.#now = this.#next = null;
      this.#reading = false;
      this.#end = at;
    }
    this.#ahead();
  }

  /** What can be sent now. What lies before it in its buffer was sent, and may be overwritten. */
  get ready() {
    return this.#now?.bytes ?? null;
  }

  /** `count` bytes of `ready` have been sent. */
  take(count) {
    const { at, bytes } = this.#now;
    if (count < bytes.length) this.#now = { at: at + count, bytes: bytes.subarray(count) };
    else {
      bytes.buffer.transfer?.(0); // free it now, not when the collector comes by
      [this.#now, this.#next] = [this.#next, null];
    }
    this.#ahead();
  }

  /** Forget everything, so that a file that waits takes no memory. */
  drop() {
    this.#turn++;
    this.#now = this.#next = null;
    this.#reading = false;
    this.#end = -1;
  }

  async #ahead() {
    if (this.#reading || this.#next || this.#end < 0 || this.#end >= this.#file.size) return;
    this.#reading = true;
    const turn = this.#turn, at = this.#end;
    const end = Math.min(at + Math.min(this.#size(), LARGEST), this.#file.size);
    let bytes = null, error = null;
    try {
      const slice = end - at < this.#file.size ? this.#file.slice(at, end) : this.#file; // a slice costs time
      bytes = new Uint8Array(await slice.arrayBuffer());
      if (bytes.length < end - at) error = changed();
    } catch (cause) {
      error = unreadable(cause);
    }
    if (turn !== this.#turn) return;
    this.#reading = false;
    if (error) return this.#tell(error);
    this.#end = end;
    if (this.#now) this.#next = { at, bytes };
    else this.#now = { at, bytes };
    this.#ahead();
    this.#tell(null);
  }
}

function changed(cause) {
  return new UploadError("file-changed", "The file has changed on this device.",
    { hint: "Choose it again to upload it as it is now.", cause });
}

function unreadable(cause) {
  if (cause?.name === "NotReadableError") return changed(cause); // what browsers say then
  return new UploadError("file-unreadable", "The file can no longer be read.",
    { hint: "It may have been moved, renamed or deleted, or its drive taken out: choose it again.", cause });
}
