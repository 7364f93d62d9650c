/** What goes on beside one's own uploads: what others upload, what is stored, how things ended. */

import { Away } from "./away.js";
import { Others } from "./others.js";
import { say } from "./say.js";
import { Server } from "./server.js";
import { OVER } from "./states.js";
import { Stored } from "./stored.js";
import { ask, note } from "./tell.js";
import { bytes, legible } from "./units.js";
import { Watching } from "./watch.js";
import { explain, words } from "./words.js";

/** Milliseconds: hidden for so long, the page watches no more. */
const REST = 60_000;
/** Until the server is asked again, when it did not answer. */
const AGAIN = 5000;
/** For a session to open, before the rest is shown without. */
const PATIENCE = 2000;
/** Until it is looked whose upload that is which has one's own name and size. */
const DOUBT = 500;
/** Until the server tells of everything for sure. */
const SETTLED = 1000;
/** For what has ended on the page to be noted. */
const NOTED = 500;
/** Phases in which no session tells how an upload ends. */
const ASIDE = new Set(["needs-file", "paused", "queued", "retrying", "offline", "failed"]);
/** Phases in which the server may know an upload whose id we do not know yet. */
const NAMELESS = new Set(["uploading", "storing", "retrying", "offline", "cancelling"]);

/** States of a watch that does not come back. */
const OVER_AND_OUT = new Set(["refused", "closed"]);

export class Around {
  #uploader;
  #dismiss;
  #options;
  #watching = null;
  #begins = false; // asks whether it may
  #timers = {};
  #own = null; // ids and names of one's own uploads, until something changes

  /** `dismiss(upload)` takes it off the list of one's own. */
  constructor(uploader, { clientId, token, dismiss }) {
    this.#uploader = uploader;
    this.#dismiss = dismiss;
    this.#options = { server: uploader.url, clientId, token: () => token({ refused: false }) };
    this.server = new Server(uploader.url, clientId, token);
    this.others = new Others({ isOwn: (one) => this.#isOwn(one), cancel: (one) => this.#cancel(one) });
    this.stored = new Stored(this.server, ({ id }) => this.#find(id));
    this.away = new Away(this.server, (id) => OVER.has(this.#find(id)?.progress.phase));
    document.addEventListener("visibilitychange", () => this.#turned());
  }

  /** Show all of it, from now on. */
  async begin() {
    this.#after("again", null);
    if (this.#options.token() !== null) import("./lend.js"); // has links followed
    if (this.#begins || document.hidden || (this.#watching && !OVER_AND_OUT.has(this.#watching.connection.state))) return;
    this.#begins = true;
    const of = await this.server.sees().catch(() => null);
    this.#begins = false;
    if (of) this.#watch(of);
    else this.#after("again", AGAIN, () => this.begin());
  }

  /** One's own `upload` has changed. */
  changed(upload) {
    this.#own = null;
    this.others.draw();
    if (upload?.progress.phase !== "done") return;
    this.stored.remove(upload.id);
    if (!document.hidden) this.#after("noted", NOTED, () => this.#look());
  }

  /** One's own `upload` is not shown any more. */
  left({ id, name, url, size, mediaType, progress }) {
    this.#own = null;
    if (progress.phase === "done") this.stored.add({ id, name, url, size, mediaType, at: Date.now(), mine: true });
  }

  // --- whose it is -------------------------------------------------------------------------------

  #mine() {
    if (this.#own) return this.#own;
    const ids = new Map(), nameless = new Set();
    for (const upload of this.#uploader.uploads) {
      if (upload.id) ids.set(upload.id, upload);
      else if (NAMELESS.has(upload.progress.phase)) nameless.add(`${upload.size} ${upload.name}`);
    }
    return this.#own = { ids, nameless };
  }

  #find(id) {
    return this.#mine().ids.get(id);
  }

  /** The server tells others of an upload before it tells us its id. */
  #isDoubtful({ name, total }) {
    return this.#mine().nameless.has(`${total} ${name}`);
  }

  #isOwn(upload) {
    return this.#find(upload.id) || this.#isDoubtful(upload);
  }

  // --- watching ----------------------------------------------------------------------------------

  #watch(of) {
    const watching = this.#watching = new Watching(of, this.#options);
    this.others.of = of;
    let known = false;
    const open = () => {
      this.#after("open", null);
      if (watching === this.#watching) this.#catchUp(of);
    };
    this.#after("open", PATIENCE, open);
    watching.on("progress", ({ detail }) => this.#moved(detail));
    watching.on("gone", ({ detail }) => this.#gone(detail));
    watching.on("connection", ({ detail: { state } }) => {
      if (state === "open" && !known) open();
      known = state === "open";
    });
  }

  /** The server has begun to tell; what was before that must be asked for. */
  async #catchUp(of) {
    this.stored.load(of);
    this.#after("settled", SETTLED, () => this.stored.refresh());
    await this.#look();
    const ids = [...this.#mine().ids.values()].filter((one) => ASIDE.has(one.progress.phase)).map(({ id }) => id);
    if (!ids.length) return;
    const asked = new Watching(ids, this.#options), left = new Set(ids);
    const heard = (id) => left.delete(id) && !left.size && asked.close();
    asked.on("progress", ({ detail }) => heard(detail.id, this.#moved(detail)));
    asked.on("gone", ({ detail }) => heard(detail.id, this.#gone(detail)));
    setTimeout(() => asked.close(), REST);
  }

  #moved(upload) {
    if (upload.state === "published") return this.#published(upload);
    return this.#find(upload.id) || this.others.moved(upload);
  }

  #published(upload) {
    const { id, name, url, total } = upload, own = this.#find(id);
    this.others.drop(id);
    if (own) own.learn({ state: "published", url });
    else if (this.#isDoubtful(upload)) setTimeout(() => this.#published(upload), DOUBT);
    else this.stored.add({ id, name: name ?? id, url, size: total, mediaType: "", at: Date.now(), mine: false });
  }

  #gone({ id, reason }) {
    this.others.gone(id, reason);
    const own = this.#find(id);
    if (own && own.progress.phase !== "done") return own.learn({ state: reason });
    if (own) {
      this.#dismiss(own);
      say(words.saidErased(own.name));
    }
    return this.stored.deleted(id);
  }

  async #cancel(upload) {
    if (!upload) return;
    const { id, stored } = upload, name = legible(upload.name ?? id);
    if (!await ask(words.askStop(name, bytes(stored)), words.askCancelYes, words.no, true)) return;
    try {
      await this.server.remove(id, { unfinished: true });
      this.others.drop(id);
    } catch (error) {
      if (error.code !== "conflict") note([words.notStopped(name), ...explain(error)].join(" ")); // it is complete
    }
  }

  // --- what was missed ---------------------------------------------------------------------------

  /** What ended while nobody looked; of one's own uploads that waited, no more is to be said. */
  async #look() {
    const notices = await this.away.look().catch(() => []);
    for (const { upload, state, url } of notices) {
      const own = this.#find(upload);
      if (!own || OVER.has(own.progress.phase)) continue;
      own.learn({ state, url });
      if (state === "published") this.#dismiss(own);
    }
  }

  #turned() {
    this.#after("rest", null);
    if (document.hidden) return this.#after("rest", REST, () => this.#rest());
    return this.#watching ? this.#look() : this.begin();
  }

  #rest() {
    this.#after("open", null);
    this.#watching?.close();
    this.#watching = null;
    this.others.clear();
  }

  #after(name, wait, act) {
    clearTimeout(this.#timers[name]);
    if (wait !== null) this.#timers[name] = setTimeout(act, wait);
  }
}
