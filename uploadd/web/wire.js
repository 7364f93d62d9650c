/**
 * uploadd.v1 without a socket, a clock or a file: what is said, what is heard, and how much may be
 * sent. The protocol is in docs/protocol.md; `line.js` gives this a socket.
 */

/** What went wrong: `code` for programs, `message` and `hint` for people. */
export class UploadError extends Error {
  constructor(code, message, { hint = null, retryable = false, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "UploadError";
    this.code = code;
    this.hint = hint;
    this.retryable = retryable;
  }
}

/** The answer to the next `begin` says where to go on: nothing to wait for. */
export const AT_ONCE = new Set(["offset-mismatch", "checksum-mismatch", "incomplete"]);
const LATER = new Set(["draining", "holder-stuck", "internal", "no-space", "store-failed",
  "store-not-writable", "too-many", "too-slow", ...AT_ONCE]);

/** Another token may help. */
export const TOKEN = new Set(["token", "token-expired"]);

/** The error that the server told in `said`. */
export function told({ code, message, hint = null, final }) {
  return new UploadError(code, message, { hint, retryable: LATER.has(code) || !final });
}

/** Where the server's absolute `path` is, also when the server stands below a path of somebody else's. */
export function under(base, path) {
  return new URL(path.replace(/^\/+/, "./"), base).href;
}

// Over HTTP.  After 409 too: somebody else appends, or what we know of the offset is old.  Not at once.
const NOT_NOW = new Set([0, 408, 409, 423, 425, 429, 500, 502, 503, 504, 507]);

/** The error in an answer over HTTP that is not the one that was asked for. */
export function refusal({ status, text }) {
  const retryable = NOT_NOW.has(status);
  if (status === 0) return new UploadError("connection-lost", "The connection was lost.", { retryable });
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // of a proxy, which says nothing that we could pass on
  }
  const { code = `http-${status}`, detail = `The server answered with status ${status}.`, hint = null } = problem;
  return new UploadError(code, detail, { hint, retryable });
}

const WITHOUT_REF = new Set(["welcome", "drain", "error", "progress", "gone", "notice"]);
const TEXT = 8192; // bytes of a text message
const NAME = 1024; // bytes of a name
export const HEADER = 16; // bytes before the payload of a chunk
const REFS = 2 ** 31 - 1;
const utf8 = new TextEncoder();

/** Cut `name` to what the server takes, from the front: the end says what kind of file it is. */
export function fit(name) {
  let text = name.toWellFormed?.() ?? name;
  while (utf8.encode(text).length > NAME) text = text.slice(1).toWellFormed?.() ?? text.slice(1);
  return text;
}

/**
 * The client's side of one session. A run is one upload in it:
 * `{ref, owner, state, sent, received, offset, limit}`, its state one of opening, open, finishing,
 * dropped (refused; begin again), cancelling, over.
 */
export class Wire {
  limits = null; // of `welcome`
  durability = null;
  maxChunk = 0;
  open = false; // between `welcome` and `drain`
  #runs = new Map();
  #next = 1;
  #out = [];
  #asked = false;

  /** The text messages to send now, in order. */
  messages() {
    return this.#out.splice(0);
  }

  hello(token, clientId) {
    this.#say({ type: "hello", token: token ?? undefined, client: "uploadd.js/1", client_id: clientId ?? undefined });
  }

  /** Watch `subjects`: ids, "mine", "all". */
  watch(subjects) {
    for (const one of ["mine", "all"]) if (subjects.includes(one)) this.#say({ type: "watch", uploads: one });
    const ids = subjects.filter((one) => one !== "mine" && one !== "all");
    for (const uploads of batches(ids, TEXT - 100)) this.#say({ type: "watch", uploads });
  }

  /** Ask for a sign of life: a type that the server does not know is answered, and ends nothing. */
  ask() {
    this.#asked = true;
    this.#say({ type: "ping" });
  }

  /**
   * Begin or go on with `what`; `old` is the run that was refused, not finally. `eager`: the server
   * cannot have any of it, so that bytes may follow at once.
   */
  begin(owner, what, { old = null, eager = false } = {}) {
    const ref = old?.state === "dropped" ? old.ref : this.#free();
    const run = { ref, owner, state: "opening", sent: 0, received: 0, offset: 0,
      limit: eager ? this.limits.initial : 0 };
    this.#say({ type: "begin", ref, ...what });
    this.#runs.set(ref, run);
    return run;
  }

  /** How many of `have` bytes may go, in chunks of `size`: a whole chunk, not every crumb of credit. */
  allowance(run, have, size) {
    if (!this.open || (run.state !== "opening" && run.state !== "open")) return 0;
    const wanted = Math.min(have, size, this.maxChunk);
    const credit = run.limit - run.sent;
    if (credit >= wanted) return wanted;
    return run.offset === run.sent ? credit : 0; // all is durable: no more credit will come
  }

  /** Write the header of the next `count` bytes of `run` into `message`. */
  chunk(run, count, { last = false, flush = false }, message) {
    const view = new DataView(message.buffer, message.byteOffset);
    view.setUint32(0, 0x01000000 | ((last ? 2 : 0) | (flush ? 4 : 0)) << 16);
    view.setUint32(4, run.ref);
    view.setBigUint64(8, BigInt(run.sent));
    run.sent += count;
    if (last) run.state = "finishing";
  }

  finish(run) {
    this.#say({ type: "finish", ref: run.ref });
    run.state = "finishing";
  }

  cancel(run) {
    if (run.state === "cancelling") return;
    this.#say({ type: "cancel", ref: run.ref });
    run.state = "cancelling";
  }

  drained() {
    this.#say({ type: "drained" });
  }

  /**
   * What `text` means: the message, with its `run` if it has a ref; null when it is nothing to us.
   * May throw.
   */
  receive(text) {
    const said = JSON.parse(text);
    this.#asked = false;
    if (said.type === "welcome") {
      this.limits = said.limits;
      this.durability = said.durability;
      this.maxChunk = said.limits.max_chunk;
      this.open = true;
    }
    if (said.type === "drain") this.open = false;
    const about = ["ready", "ack", "done", "gone", "error"].includes(said.type);
    if (about && said.ref != null) return this.#about(said, this.#runs.get(said.ref));
    return WITHOUT_REF.has(said.type) ? said : null;
  }

  #about(said, run) {
    if (said.max_chunk) this.maxChunk = said.max_chunk;
    if (!run) return null; // of a ref that has ended
    if (said.type === "ready" || said.type === "ack") this.#moved(run, said);
    else if (said.type === "error" && !said.final) {
      if (run.state !== "cancelling") run.state = "dropped";
    } else {
      run.state = "over";
      this.#runs.delete(run.ref);
    }
    said.run = run;
    return said;
  }

  #moved(run, { type, offset, received = offset, limit }) {
    if (type === "ready") {
      if (run.state === "opening") run.state = "open";
      run.sent = Math.max(run.sent, offset); // of a new one: go on where you are
    }
    run.received = Math.max(run.received, received);
    run.offset = offset;
    run.limit = Math.max(run.limit, limit);
  }

  /** Bytes that were sent and not taken yet. */
  get underway() {
    let bytes = 0;
    for (const run of this.#runs.values()) bytes += run.sent - run.received;
    return bytes;
  }

  /** Whether the server owes an answer to anything. */
  get waits() {
    if (this.#asked) return true;
    for (const { state, sent, offset } of this.#runs.values()) {
      if (state === "opening" || state === "finishing" || state === "cancelling") return true;
      if (state === "open" && sent > offset) return true;
    }
    return false;
  }

  #free() {
    while (this.#runs.has(this.#next)) this.#next = this.#next % REFS + 1;
    const ref = this.#next;
    this.#next = this.#next % REFS + 1;
    return ref;
  }

  #say(message) {
    const text = JSON.stringify(message);
    // The server would end the session, and with it all other uploads.
    if (utf8.encode(text).length > TEXT) throw new UploadError("bad-message", "Name and metadata are too long.");
    this.#out.push(text);
  }
}

/** `ids` in lists that each take at most `most` bytes of JSON. */
export function batches(ids, most) {
  const all = [];
  let room = 0;
  for (const id of ids) {
    const size = utf8.encode(JSON.stringify(id)).length + 1;
    if (size > room) [room] = [most, all.push([])];
    room -= size;
    all.at(-1).push(id);
  }
  return all;
}

const KIB = 1024;
const LARGEST = 768 * KIB; // browsers copy what is sent, and keep no larger blocks for the next copy
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** How much at once, from how fast the server took what was sent. */
export class Pace {
  #bytes = 0;
  #seconds = 0;
  #size = 64 * KIB;
  #since = 0;
  #fresh = 0;

  /** Something is sent at `now`, seconds, behind `underway` bytes. */
  sent(underway, now) {
    if (!underway) this.#since = now; // waiting for something to send is not slowness
  }

  /** `count` bytes were taken; `underway` still are. */
  taken(count, underway, now) {
    this.#fresh += count;
    const passed = now - this.#since;
    if (passed < 0.01 || (passed < 0.05 && underway)) return; // too short to tell
    this.#bytes = this.#bytes * 0.7 + this.#fresh;
    this.#seconds = this.#seconds * 0.7 + passed;
    this.#since = now;
    this.#fresh = 0;
    const wanted = Math.min(this.#size * 2, this.rate / 4);
    this.#size = clamp(wanted & -16 * KIB, 16 * KIB, LARGEST);
  }

  /** Bytes in a second; 0 when it is not known. */
  get rate() {
    return this.#seconds && this.#bytes / this.#seconds;
  }

  /** Bytes of a chunk: what goes in a quarter of a second. */
  get size() {
    return this.#size;
  }

  /** Bytes that may wait in the browser: likewise. */
  get buffer() {
    return clamp(this.rate / 4, 256 * KIB, 4096 * KIB);
  }
}

/** Bytes in a second, mostly over the last three; falls when nothing comes. */
export class Speed {
  #bytes = 0;
  #seconds = 0;
  #at = null;

  add(count, now) {
    this.#pass(now);
    this.#bytes += count;
  }

  at(now) {
    if (this.#at === null) return 0;
    const keep = Math.exp((this.#at - now) / 3);
    const seconds = this.#seconds * keep + now - this.#at;
    return seconds > 0 ? this.#bytes * keep / seconds : 0;
  }

  #pass(now) {
    const passed = this.#at === null ? 0 : now - this.#at;
    const keep = Math.exp(-passed / 3);
    this.#bytes *= keep;
    this.#seconds = this.#seconds * keep + passed;
    this.#at = now;
  }
}

/** Seconds to wait, up to `base`, then up to the double each time, at most `cap`; at random, so
 * that not all come back at once. */
export class Backoff {
  #tries = 0;

  constructor(base, cap, least = 0) {
    Object.assign(this, { base, cap, least });
  }

  next() {
    const bound = Math.min(this.cap, this.base * 2 ** Math.min(this.#tries++, 16));
    return bound * (this.least + (1 - this.least) * Math.random());
  }

  moved() {
    this.#tries = 0;
  }

  get fresh() {
    return this.#tries === 0;
  }
}
