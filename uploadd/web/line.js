/** One WebSocket that comes back by itself. */

import { Pump } from "./pump.js";
import { Backoff, Pace, TOKEN, UploadError, Wire, told } from "./wire.js";

const OPENING = 20; // seconds from connecting to `welcome`
const SILENT = 35; // seconds without a word while one is owed: the connection is dead
const ALARMED = 5; // the same, when the browser says that the network has changed
const TICK = 2.5;
const QUIET = 15; // seconds without a word after which somebody who only listens asks for one
const ASKED = 15; // seconds in which that must come
const IDLE = 15; // seconds without work after which the session is closed
const SLOW = [10, 30]; // seconds between attempts where only an operator can help

const now = () => performance.now() / 1000;

export class Line {
  state = "idle";
  error = null;
  pace = new Pace();
  stripped = false; // `Upgrade` does not get through
  #base;
  #token;
  #clientId;
  #host;
  #listeners = new AbortController();
  #attempt = null; // to open; another one makes it stale
  #socket = null;
  #wire = null;
  #pump = null;
  #known = undefined; // the token, until it is refused
  #refused = false;
  #backoff = new Backoff(0.2, 10);
  #failures = 0; // to open, in a row
  #suspect = false; // HTTP works where WebSocket did not
  #drain = null;
  #farewell = null; // the error that the server ended the session with
  #timers = {};
  #quiet = 0; // seconds without a word that is owed
  #still = 0; // seconds in which none was owed
  #patience = SILENT;
  #ticked = 0;

  /**
   * `host` has: working, learn(wire), opened(), lost(), refused(error), changed(); and heard(said),
   * if it listens to what is not about a ref.
   */
  constructor(base, { token, clientId }, host) {
    this.#base = base;
    this.#token = token;
    this.#clientId = clientId;
    this.#host = host;
    const { signal } = this.#listeners;
    globalThis.addEventListener?.("online", () => this.#alarm(), { signal });
    globalThis.addEventListener?.("offline", () => this.#alarm(), { signal });
    globalThis.addEventListener?.("pageshow", () => this.retry(), { signal });
    globalThis.document?.addEventListener("visibilitychange",
      () => document.hidden || (this.retry(), this.#pump?.run()), { signal });
  }

  /** The session, when something can be said in it. */
  get wire() {
    return this.#wire?.open ? this.#wire : null;
  }

  get limits() {
    return this.#wire?.limits ?? null;
  }

  /** There may be work, or none any more. */
  need() {
    if (!this.#host.working) return this.#rest();
    clearTimeout(this.#timers.idle);
    if (this.state === "idle") this.#connect();
  }

  /** Somebody wants to go on: perhaps it is not refused any more. */
  wanted() {
    if (this.state === "refused") this.#connect();
  }

  /** Do not wait any longer before the next attempt. */
  retry() {
    if (this.#timers.again) this.#connect();
  }

  close() {
    this.#listeners.abort();
    this.#hangUp();
    this.#set("closed", null);
  }

  // --- opening ---------------------------------------------------------------------------------

  async #connect() {
    this.#hangUp();
    this.#set("connecting", this.error);
    const attempt = this.#attempt = {};
    let token;
    try {
      token = await this.token();
    } catch (cause) {
      const why = cause instanceof UploadError ? cause : new UploadError("token",
        "The page could not get permission to upload.", { hint: String(cause?.message ?? cause), retryable: true, cause });
      if (attempt === this.#attempt) this.#lose(why);
      return;
    }
    if (attempt !== this.#attempt) return;
    try {
      this.#dial(token);
    } catch (cause) {
      this.#lose(new UploadError("unreachable", "This page may not connect to the server.",
        { hint: "A page that came over https can only use a server that does.", cause }));
    }
  }

  /** The token, asked for once, and again when it was refused. */
  async token() {
    if (typeof this.#token !== "function") return this.#token ?? null;
    if (this.#known === undefined || this.#refused) this.#known = await this.#token({ refused: this.#refused });
    return this.#known;
  }

  /** The token was good over another way, or not; whether it can go on there, perhaps with another one. */
  judged(good) {
    this.#refused = !good && typeof this.#token === "function";
    return good || this.#refused;
  }

  /**
   * What was begun last needs another token than the session has: have a new session, with that.
   * Whether there is one to ask for.
   */
  renew() {
    if (!this.judged(false)) return false;
    if (!this.#wire) return true; // then it is for the other way
    this.#hangUp();
    this.#host.lost();
    this.#connect();
    return true;
  }

  #dial(token) {
    const url = new URL("-/ws", this.#base);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = this.#socket = new WebSocket(url, ["uploadd.v1"]);
    const wire = new Wire();
    this.#drain = this.#farewell = null;
    socket.onopen = () => {
      this.#failures = 0;
      this.#suspect = this.stripped = false;
      this.#wire = wire;
      this.#pump = new Pump(socket, wire, this.pace);
      wire.hello(token, this.#clientId);
      this.flush();
    };
    socket.onmessage = ({ data }) => this.#hear(data);
    socket.onclose = (event) => this.#closed(event);
    this.#watch(OPENING);
  }

  #hangUp() {
    const socket = this.#socket;
    this.#pump?.stop();
    this.#socket = this.#wire = this.#pump = this.#attempt = null;
    for (const name of Object.keys(this.#timers)) this.#stop(name);
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  // --- hearing ---------------------------------------------------------------------------------

  #hear(data) {
    this.#quiet = this.#still = 0;
    this.#patience = SILENT;
    const wire = this.#wire, before = wire.underway;
    let said;
    try {
      said = wire.receive(data);
    } catch (cause) {
      return this.#lose(new UploadError("bad-server", "The server said something that makes no sense.",
        { hint: "Tell the operator; reload the page if the server was just updated.", retryable: true, cause }));
    }
    if (said?.run) this.#about(said, before);
    else if (said?.type === "welcome") this.#welcome();
    else if (said?.type === "drain") this.#drained(said);
    else if (said?.type === "error" && said.final) this.#farewell = told(said);
    else if (said) this.#host.heard?.(said);
    this.flush();
    this.#pump?.run();
  }

  #welcome() {
    this.#refused = false;
    this.#watch(SILENT);
    this.#host.learn(this.#wire);
    this.#set("open", null);
    this.#host.opened();
  }

  #about(said, before) {
    const after = this.#wire.underway;
    this.pace.taken(Math.max(0, before - after), after, now());
    said.run.owner.hear(said);
  }

  #drained(said) {
    this.#drain = said;
    this.#wire.drained(); // messages are handed over whole: there is none to end
  }

  /** Bytes moved: whatever comes next is a new trouble. */
  moved() {
    this.#backoff.moved();
  }

  // --- losing ----------------------------------------------------------------------------------

  async #closed({ code, reason }) {
    if (this.#wire) return this.#lose(this.#why(code, reason));
    this.#failures++;
    const attempt = this.#attempt;
    let error = lost();
    if (this.#failures >= 2) error = await this.#probe();
    if (attempt === this.#attempt) this.#lose(error);
  }

  #why(code, reason) {
    if (this.#farewell) return this.#farewell;
    if (this.#drain || code === 1012) return new UploadError("restarting", "The server is restarting.",
      { hint: "It goes on by itself.", retryable: true });
    if (code === 4401) return new UploadError("token", "The server does not accept the token.");
    if (code === 4403) return new UploadError("origin-not-allowed", "The server does not take uploads from this page.",
      { hint: "The operator must allow its address." });
    return lost(reason);
  }

  #lose(error) {
    const wait = this.#pause(error);
    this.#hangUp();
    this.#host.lost();
    if (wait === null) {
      this.#set("refused", error);
      this.#host.refused(error);
    } else if (!this.#host.working) this.#set("idle", null);
    else {
      this.#set(globalThis.navigator?.onLine === false ? "offline" : "lost", error);
      this.#after("again", wait, () => this.#connect());
    }
  }

  /** Seconds until the next attempt; null when there is to be none. */
  #pause(error) {
    if (TOKEN.has(error.code) && !error.retryable) return this.#askAgain();
    if (this.stripped) return SLOW[0] + Math.random() * (SLOW[1] - SLOW[0]);
    if (this.#suspect) return 0;
    if (!error.retryable) return null;
    if (error.code === "draining") return 1 + this.#backoff.next();
    return (this.#drain?.reconnect_after ?? 0) + this.#backoff.next();
  }

  #askAgain() {
    const again = typeof this.#token === "function" && !this.#refused;
    this.#refused = typeof this.#token === "function";
    return again ? 0 : null;
  }

  /** Why it does not open: browsers do not tell. */
  async #probe() {
    const suspect = this.#suspect;
    this.#suspect = false;
    let info = null;
    try {
      info = await this.info(10);
    } catch {
      return new UploadError("unreachable", "The server cannot be reached.",
        { hint: "It may be restarting, or the network does not lead there. It is tried again and again.", retryable: true });
    }
    if (info.name !== "uploadd") return refusedByHttp(info);
    // The server may have come back just now: only the next failure proves anything.
    this.#suspect = !suspect;
    this.stripped = suspect;
    return suspect ? stripped() : lost();
  }

  /** What the server tells over plain HTTP, within `seconds`. */
  async info(seconds = 3) {
    const answer = await fetch(new URL("-/info", this.#base),
      { cache: "no-store", signal: AbortSignal.timeout(seconds * 1000) });
    return answer.json();
  }

  // --- saying ------------------------------------------------------------------------------------

  /** Say what the machine has to say. */
  flush() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    for (const text of this.#wire.messages()) this.#socket.send(text);
  }

  /** Let `say` say something in the session that is open. */
  tell(say) {
    say(this.#wire);
    this.flush();
  }

  /** `job` may have something to send. */
  offer(job) {
    this.#pump?.offer(job);
  }

  // --- watching --------------------------------------------------------------------------------

  /**
   * A browser cannot ping. But whatever is under way is answered soon, so silence while an answer
   * is owed means a dead connection. Only time in which this page ran counts: after a sleep the
   * answers may be waiting to be read.
   */
  #watch(patience) {
    this.#patience = patience;
    this.#quiet = 0;
    this.#ticked = now();
    this.#stop("watch");
    this.#after("watch", TICK, () => this.#look());
  }

  #look() {
    const passed = Math.min(now() - this.#ticked, 4 * TICK);
    this.#ticked = now();
    const owed = this.state === "connecting" || this.#drain || this.#wire?.waits;
    this.#quiet = owed ? this.#quiet + passed : 0;
    this.#still += passed;
    if (!owed && this.#still >= QUIET) this.#ask();
    if (this.#quiet >= this.#patience) return this.#lose(lost("no answer"));
    this.#after("watch", TICK, () => this.#look());
  }

  /** Who only listens cannot tell a dead connection from one in which nothing happens. */
  #ask() {
    if (!this.#host.heard || !this.wire) return;
    this.#wire.ask();
    this.flush();
    this.#patience = Math.min(this.#patience, ASKED);
  }

  /** The network has come, gone or changed: a connection may have died with the old one. */
  #alarm() {
    if (navigator.onLine) this.retry();
    this.#ask();
    this.#patience = Math.min(this.#patience, ALARMED);
    if (this.state === "lost" || this.state === "offline")
      this.#set(navigator.onLine ? "lost" : "offline", this.error);
    this.#host.changed();
  }

  // --- resting ---------------------------------------------------------------------------------

  #rest() {
    if (this.state === "open" && !this.#timers.idle) this.#after("idle", IDLE, () => this.#sleepIn());
    else if (this.state === "lost" || this.state === "offline") this.#sleepIn();
  }

  #sleepIn() {
    if (this.#host.working) return;
    this.#hangUp();
    this.#host.lost();
    this.#set("idle", null);
  }

  #set(state, error) {
    if (state === this.state && error === this.error) return;
    this.state = state;
    this.error = error;
    this.#host.changed();
  }

  #after(name, seconds, act) {
    this.#stop(name);
    this.#timers[name] = setTimeout(() => {
      delete this.#timers[name];
      act();
    }, seconds * 1000);
  }

  #stop(name) {
    clearTimeout(this.#timers[name]);
    delete this.#timers[name];
  }
}

function lost(why = "") {
  return globalThis.navigator?.onLine === false
    ? new UploadError("offline", "There is no network.", { hint: "It goes on by itself.", retryable: true })
    : new UploadError("connection-lost", `The connection was lost${why && `: ${why}`}.`,
      { hint: "It goes on by itself.", retryable: true });
}

function stripped() {
  return new UploadError("upgrade-stripped", "Something between here and the server does not let WebSockets through.", {
    retryable: true,
    hint: "The operator's proxy must pass Upgrade on. nginx: proxy_http_version 1.1; "
      + 'proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;',
  });
}

function refusedByHttp({ code, detail = "The server refused.", hint }) {
  return code ? told({ code, message: detail, hint, final: true })
    : new UploadError("unreachable", "Something else answers at the address of the server.", { retryable: true });
}
