/** Where uploads are, whoever sends them: `watch()` of uploadd.d.ts. */

import { Emitter, Seldom, deferred, whenAborted } from "./emitter.js";
import { Stream } from "./events.js";
import { Line } from "./line.js";
import { HERE, baseOf, browserId } from "./place.js";
import { UploadError, batches, refusal, told, under } from "./wire.js";

const INTERVAL = 50; // milliseconds between changes of the list
const PATIENCE = 5; // seconds for a WebSocket to open, before it is tried otherwise meanwhile
const KEPT = 100; // published uploads that stay on the list of "mine" and "all"
const QUERY = 6000; // bytes of ids in one address
const MOST = 1000; // ids that may be asked after, where the server has not said how many
const ALMOST = 0.99; // of a bar, before it is published
const CALLBACKS = { onProgress: "progress", onGone: "gone", onNotice: "notice", onChange: "change", onError: "error",
  onConnection: "connection" };

export class Watching extends Emitter {
  #subjects; // ids, "mine", "all", that are watched still
  #uploads = new Map(); // id → Watched
  #notices = new Map(); // id of the notice → Notice, not read
  #published = new Set(); // ids, in the order in which they were told
  #inside;
  #lists = {}; // what `uploads` and `notices` gave, until it changes
  #seldom = new Seldom(INTERVAL, () => this.emit("change", this.uploads));
  #over = deferred();
  #connection = {}; // as it was told last
  #state = null; // closed, refused
  #error = null;

  constructor(what, options = {}) {
    super();
    const base = baseOf(options.server ?? HERE);
    const clientId = options.clientId === undefined ? browserId(base) : options.clientId;
    this.#subjects = new Set([what].flat());
    if (this.#subjects.has("mine") && !clientId && !options.token)
      throw new UploadError("forbidden", "Nothing is yours without a client id or a token.");
    for (const [name, type] of Object.entries(CALLBACKS))
      if (options[name]) this.on(type, ({ detail }) => options[name](detail));
    this.#over.promise.catch(() => {}); // whoever does not iterate listens to events
    this.#inside = new Inside({ base, clientId, token: options.token }, this.#subjects, {
      heard: (said) => this.#hear(said),
      opened: () => this.#opened(),
      refused: (error, subjects) => this.#refused(error, subjects),
      changed: () => this.#connected(),
    });
    whenAborted(options.signal, () => this.close());
    if (!this.#subjects.size) queueMicrotask(() => this.close());
  }

  get uploads() { return this.#lists.uploads ??= Object.freeze([...this.#uploads.values()]); }
  get notices() { return this.#lists.notices ??= Object.freeze([...this.#notices.values()]); }

  get connection() {
    if (this.#state) return { state: this.#state, error: this.#error, over: null };
    return this.#inside.connection;
  }

  async read(notices = this.notices) {
    const ids = [notices].flat().map((one) => one.notice ?? one);
    await this.#inside.read(ids);
    for (const id of ids) this.#notices.delete(id);
    this.#changed("notices");
  }

  close() { this.#end("closed"); }

  async *[Symbol.asyncIterator]() {
    let changed = deferred();
    const off = this.on("change", () => changed.resolve());
    let told = null;
    try {
      while (true) {
        await Promise.race([changed.promise, this.#over.promise]);
        changed = deferred();
        if (this.#state && !this.#isOver()) return; // by whoever watches
        if (told !== this.uploads) yield told = this.uploads;
        if (this.#state) return;
      }
    } finally {
      off();
      this.close();
    }
  }

  // --- hearing -----------------------------------------------------------------------------------

  /** There is a session, or a stream: soon it is known how all stands. */
  #opened() {
    this.#inside.ask(this.#unsettled());
    if (this.#subjects.has("mine") || this.#subjects.has("all")) this.#seldom.ask();
  }

  #connected() {
    const { state, error, over } = this.connection, known = this.#connection;
    if (state === known.state && error === known.error && over === known.over) return;
    this.#connection = { state, error, over };
    this.emit("connection", this.#connection);
  }

  /** What of the list may have ended while nobody could tell. */
  #unsettled() {
    const ids = [...this.#uploads.values()].filter(({ state }) => state !== "published").map(({ id }) => id);
    return ids.filter((id) => !this.#subjects.has(id));
  }

  #hear(said) {
    if (this.#state) return;
    if (said.type === "progress") this.#moved(watched(said, this.#inside.base));
    else if (said.type === "gone") this.#gone(said);
    else if (said.type === "notice") this.#noted(said);
    else if (said.type === "error" && said.code !== "unsupported") this.#refused(told(said), this.#suspects);
    if (this.#isOver()) this.#end("closed");
  }

  #moved(upload) {
    const known = this.#uploads.get(upload.id);
    if (known && (known.state === "published" || known.stored > upload.stored)) return; // said before that
    this.#uploads.set(upload.id, Object.freeze(upload));
    if (upload.state === "published" && !this.#subjects.has(upload.id)) this.#keep(upload.id);
    this.emit("progress", upload);
    this.#changed("uploads");
  }

  /** What is published stays on the list, but not for ever. */
  #keep(id) {
    this.#published.add(id);
    if (this.#published.size <= KEPT) return;
    const [oldest] = this.#published;
    this.#published.delete(oldest);
    this.#uploads.delete(oldest);
  }

  #gone({ upload: id, reason }) {
    const { name = null } = this.#uploads.get(id) ?? {};
    const known = [this.#uploads, this.#subjects, this.#published].map((one) => one.delete(id));
    // Of many, also what was stored before anybody watched is told of when it is deleted.
    if (!known.includes(true) && !this.#subjects.has("mine") && !this.#subjects.has("all")) return;
    this.emit("gone", { id, reason, name });
    this.#changed("uploads");
  }

  #noted({ notice, upload: id, state, at, name = null, length = null, url }) {
    if (this.#notices.has(notice)) return;
    const made = { notice, id, state, at: new Date(at * 1000), name, length, url: place(url, this.#inside.base) };
    this.#notices.set(notice, Object.freeze(made));
    this.emit("notice", made);
    this.#changed("notices");
  }

  #changed(list) {
    delete this.#lists[list];
    this.#seldom.ask();
  }

  // --- the end -----------------------------------------------------------------------------------

  /** Whether nothing can move any more: ids alone were watched, and each is published or gone. */
  #isOver() {
    for (const one of this.#subjects) if (this.#uploads.get(one)?.state !== "published") return false;
    return true;
  }

  /** What a refusal in the session is about, which does not say so; of ids it is said one by one. */
  get #suspects() {
    return ["all", "mine"].filter((one) => this.#subjects.has(one)).slice(0, 1);
  }

  /** Of `subjects` nothing is told, because of `error`. */
  #refused(error, subjects) {
    if (error.code === "forbidden" || !error.retryable) for (const one of subjects) this.#subjects.delete(one);
    this.#error = error;
    this.emit("error", error);
    if (!this.#subjects.size) this.#end("refused");
    else if (this.#isOver()) this.#end("closed");
  }

  #end(state) {
    if (this.#state) return;
    this.#state = state;
    this.#inside.close();
    if (state === "refused") this.#over.reject(this.#error);
    else this.#over.resolve();
    this.#seldom.now();
    this.#connected();
  }
}

/** How what is watched is heard: in a session, or by streams where there can be none. */
class Inside {
  working = true; // until it is closed
  #host;
  #subjects;
  #line;
  #streams = [];
  #timer = null;

  /** `host` has: heard(said), opened(), refused(error, subjects), changed(). */
  constructor({ base, clientId, token }, subjects, host) {
    Object.assign(this, { base, clientId });
    this.#host = host;
    this.#subjects = subjects;
    this.#line = new Line(base, { token, clientId }, this);
    queueMicrotask(() => this.working && this.#line.need()); // when somebody can listen
  }

  get connection() {
    if (this.#line.state === "open") return { state: "open", error: null, over: "websocket" };
    if (this.#streams.some(({ open }) => open)) return { state: "open", error: null, over: "events" };
    const { state, error } = this.#line;
    return { state, error, over: null };
  }

  /** How the uploads `ids` stand: they may have ended while nobody could tell. */
  ask(ids) {
    const room = (this.#line.limits?.max_watched ?? MOST) - this.#subjects.size;
    ids = ids.slice(0, Math.max(0, room));
    if (this.#line.wire) this.#line.tell((wire) => wire.watch(ids));
    else for (const id of ids) this.#look(id);
  }

  async #look(id) {
    const answer = await this.#fetch(`api/upload/${id}/status`).catch(() => null);
    if (answer?.ok) this.#host.heard({ type: "progress", ...await answer.json() });
    else if (answer?.status === 404 || answer?.status === 410)
      this.#host.heard({ type: "gone", upload: id, reason: "unknown" });
  }

  async read(notices) {
    const body = JSON.stringify({ notices });
    const answer = await this.#fetch("api/notices/read", { method: "POST", body }, { "Content-Type": "application/json" })
      .catch((cause) => { throw new UploadError("connection-lost", "The connection was lost.", { retryable: true, cause }); });
    if (!answer.ok) throw refusal({ status: answer.status, text: await answer.text() });
  }

  async #fetch(path, options = {}, more = {}) {
    const token = await this.token();
    const known = { ...(this.clientId && { "X-Client-Id": this.clientId }), ...(token && { Authorization: `Bearer ${token}` }) };
    const headers = { ...known, ...more };
    return fetch(new URL(path, this.base), { cache: "no-store", headers, ...options });
  }

  token() { return this.#line.token(); }
  judged(good) { return this.#line.judged(good); }

  close() {
    this.working = false;
    this.#quit();
    this.#line.close();
  }

  // --- by streams --------------------------------------------------------------------------------

  #stream() {
    if (!this.working || this.#streams.length || this.#line.state === "open") return;
    const ids = [...this.#subjects].filter((one) => one !== "mine" && one !== "all");
    const groups = [["mine"], ["all"]].filter(([one]) => this.#subjects.has(one));
    this.#streams = [...groups, ...batches(ids, QUERY)].map((subjects) => new Stream(this, subjects));
  }

  #quit() {
    clearTimeout(this.#timer);
    this.#timer = null;
    for (const stream of this.#streams.splice(0)) stream.close();
  }

  // --- for the line, and for streams -------------------------------------------------------------

  learn() {}

  opened() {
    this.#line.tell((wire) => wire.watch([...this.#subjects]));
    this.#quit();
    this.#host.opened();
  }

  lost() {
    if (this.#line.stripped) this.#stream();
  }

  /** A proxy may keep a handshake for ever. */
  changed() {
    if (this.#line?.state !== "connecting") [clearTimeout(this.#timer), this.#timer = null];
    else this.#timer ??= setTimeout(() => this.#stream(), PATIENCE * 1000);
    if (this.working) this.#host.changed();
  }

  heard(said) {
    if (said.type === "progress") this.#line.moved();
    this.#host.heard(said);
  }

  listening({ open }) {
    if (open) this.#host.opened();
    this.changed();
  }

  refused(error, subjects = [...this.#subjects]) {
    if (error.code !== "not-found") this.#host.refused(error, subjects);
    else for (const upload of subjects) this.#host.heard({ type: "gone", upload, reason: "unknown" });
  }
}

function watched({ upload: id, name = null, held: stored, length, expected, rate: speed = 0, state, url, part = null }, base) {
  const total = length ?? expected ?? null, whole = state === "published";
  const fraction = whole ? 1 : total === null ? null : Math.min(ALMOST, total && stored / total);
  const eta = state === "receiving" && speed > 0 && total !== null ? Math.max(0, total - stored) / speed : null;
  return { id, name, stored, total, fraction, speed, eta, state, part, url: place(url, base) };
}

function place(url, base) {
  return url ? under(base, url) : null;
}
