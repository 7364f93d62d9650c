/**
 * What this browser remembers of unfinished uploads, so that they go on after a reload. Without
 * IndexedDB (private windows, no room) uploading works all the same and nothing is remembered.
 */

/** @typedef {object} Remembered
 * key, server, id, url, name, path, size, lastModified, mediaType, metadata, stored, handle, cancelled */

const STORE = "uploads";
const PATIENCE = 500; // milliseconds for another tab to let go
let database = null;

function open() {
  database ??= answer(() => {
    const request = indexedDB.open("uploadd", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "key" });
    return request;
  });
  return database;
}

function answer(ask) {
  return new Promise((resolve, reject) => {
    const request = ask();
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** What `act` asks of the store, or `otherwise`. */
async function attempt(mode, act, otherwise) {
  try {
    const db = await open();
    return await answer(() => act(db.transaction(STORE, mode).objectStore(STORE)));
  } catch {
    return otherwise;
  }
}

/** 128 random bits: whoever knows the key has the upload. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(18));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Whether `file` seems to be the one that `record` is about. */
export function same(record, file) {
  return record.name === (file.name ?? record.name) && record.size === file.size
    && record.lastModified === file.lastModified;
}

const carried = new Map(); // key → how to let go of it

/**
 * Be the one tab that carries the upload of `key`; false when another does. `steal`: the user
 * wants it here. Locks exist only on https and localhost; elsewhere the server sees to it that
 * one alone writes.
 */
export async function carry(key, steal = false) {
  if (carried.has(key)) return false;
  carried.set(key, () => {});
  const locks = globalThis.navigator?.locks;
  if (!locks) return true;
  // A page that was just reloaded still has its locks for a moment.
  const options = steal ? { steal } : { signal: AbortSignal.timeout(PATIENCE) };
  return new Promise((resolve) => {
    const hold = () => new Promise((release) => {
      carried.set(key, release);
      resolve(true);
    });
    locks.request(`uploadd:${key}`, options, hold).catch(() => { // another tab has it, or took it
      carried.delete(key);
      resolve(false);
    });
  });
}

/** Another tab may carry it now. */
export function letGo(key) {
  carried.get(key)?.();
  carried.delete(key);
}

export class Memory {
  #server;
  #on;

  constructor(server, on) {
    this.#server = server.href;
    this.#on = on;
  }

  async all() {
    if (!this.#on) return [];
    const all = await attempt("readonly", (store) => store.getAll(), []);
    return all.filter((record) => record.server === this.#server);
  }

  /** The unfinished upload of this very file, if no tab carries it; it is carried then. */
  async find(file, path) {
    for (const record of await this.all()) {
      if (record.cancelled || record.path !== path || !same(record, file)) continue;
      if (await carry(record.key)) return record;
    }
    return null;
  }

  async put(record) {
    if (!this.#on) return;
    const full = { ...record, server: this.#server };
    const put = (what) => attempt("readwrite", (store) => store.put(what), null);
    if (await put(full) === null && full.handle) await put({ ...full, handle: null });
  }

  async drop(key) {
    if (this.#on) await attempt("readwrite", (store) => store.delete(key), null);
  }
}
