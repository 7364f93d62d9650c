/**
 * What this browser remembers of unfinished uploads, so that they go on after a reload. Without
 * IndexedDB (private windows, no room) uploading works all the same and nothing is remembered.
 */

/** @typedef {object} Remembered
 * key, server, id, url, name, path, size, lastModified, mediaType, metadata, stored, added, handle,
 * cancelled */

const STORE = "uploads";
const PATIENCE = 2000; // milliseconds for another tab to let go
const FRESH = 1000; // milliseconds for which it is known what other tabs have written
let database = null;

function open() {
  database ??= new Promise((resolve, reject) => {
    const request = indexedDB.open("uploadd", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return database;
}

/** Ask the store as `act` does, in one transaction; the answer to its last request, or null. */
async function attempt(mode, act) {
  try {
    const transaction = (await open()).transaction(STORE, mode);
    return await new Promise((resolve, reject) => {
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request);
      transaction.onabort = () => reject(transaction.error);
      transaction.commit(); // waits for what was asked, and for no page that is about to go
    });
  } catch {
    return null;
  }
}

/** Write `batch`, key → record or null; without the handles where the browser cannot keep them. */
async function write(batch) {
  const all = (change) => attempt("readwrite", (store) => {
    for (const [key, record] of batch) record ? store.put(change(record)) : store.delete(key);
    return true;
  });
  if (batch.size) await all((record) => record) ?? await all((record) => ({ ...record, handle: null }));
}

/** 144 random bits: whoever knows the key has the upload. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Whether `file` seems to be the one that `record` is about. */
export function same(record, file) {
  return record.name === (file.name ?? record.name) && record.size === file.size
    && record.lastModified === file.lastModified;
}

const carried = new Map(); // key → {release}, of this page

/**
 * Be the one tab that carries the upload of `key`; false when another does. `steal`: the user
 * wants it here, or the key is new. Locks exist only on https and localhost; elsewhere the server
 * sees to it that one alone writes.
 */
export async function carry(key, steal = false) {
  if (carried.has(key)) return false;
  const ours = { release: () => {} };
  carried.set(key, ours);
  const locks = globalThis.navigator?.locks;
  if (!locks) return true;
  // A page that was just reloaded still has its locks for a moment.
  const options = steal ? { steal } : { signal: AbortSignal.timeout(PATIENCE) };
  return new Promise((resolve) => {
    const hold = () => new Promise((release) => {
      ours.release = release;
      if (carried.get(key) !== ours) release(); // let go before it was ours
      resolve(true);
    });
    locks.request(`uploadd:${key}`, options, hold).catch(() => { // another tab has it, or took it
      if (carried.get(key) === ours) carried.delete(key);
      resolve(false);
    });
  });
}

/** Another tab may carry it now. */
export function letGo(key) {
  carried.get(key)?.release();
  carried.delete(key);
}

export class Memory {
  #server;
  #on;
  #known = new Map(); // key → record, as it was when it was read, and as we changed it since
  #read = -Infinity;
  #reading = null;
  #unread = new Map(); // what we changed since the reading began
  #batch = new Map(); // key → record, or null to forget it: to be written together
  #soon = null;
  #writing = Promise.resolve();

  constructor(server, on) {
    this.#server = server.href;
    this.#on = on;
  }

  /** In the order in which they were added. */
  async all() {
    await this.#look();
    return [...this.#known.values()].sort((a, b) => (a.added ?? 0) - (b.added ?? 0));
  }

  #look() {
    return this.#on && (this.#reading ??= this.#readAll().finally(() => { this.#reading = null; }));
  }

  async #readAll() {
    this.#unread = new Map(this.#batch);
    const all = (await attempt("readonly", (store) => store.getAll()))?.result ?? [];
    this.#known = new Map();
    for (const record of all) if (record.server === this.#server) this.#known.set(record.key, record);
    for (const [key, record] of this.#unread) this.#learn(key, record);
    this.#read = performance.now();
  }

  #learn(key, record) {
    if (record) this.#known.set(key, record);
    else this.#known.delete(key);
  }

  /** The unfinished upload of this very file, if no tab carries it; it is carried then. */
  async find(file, path) {
    if (performance.now() - this.#read > FRESH) await this.#look();
    for (const record of [...this.#known.values()]) {
      if (record.cancelled || record.path !== path || !same(record, file)) continue;
      if (!await carry(record.key)) continue;
      await this.#look(); // the tab that had it may have ended it
      if (this.#known.has(record.key)) return this.#known.get(record.key);
      letGo(record.key);
    }
    return null;
  }

  put(record) {
    return this.#change(record.key, { ...record, server: this.#server });
  }

  drop(key) {
    return this.#change(key, null);
  }

  /** Whoever comes while one batch is written is in the next. */
  async #change(key, record) {
    if (!this.#on) return;
    this.#learn(key, record);
    this.#unread.set(key, record);
    this.#batch.set(key, record);
    await (this.#soon ??= this.#writing.then(() => this.flush()));
  }

  /** Write now what is to be written. */
  flush() {
    const batch = this.#batch;
    this.#batch = new Map();
    this.#soon = null;
    this.#writing = Promise.all([this.#writing, write(batch)]);
    return this.#writing;
  }
}
