/** What ended while nobody looked: told once, and read when it was on the screen. */

import { say } from "./say.js";
import { node } from "./tell.js";
import { bytes, count, legible, moment } from "./units.js";
import { own, words } from "./words.js";

/** Lines; of the others it is said how many there are. */
const MOST = 8;

export class Away {
  #server;
  #told = new Map(); // id → notice, of those that are on the page

  /** `wasSeen(id)`: this page has shown how that upload ended. */
  constructor(server, wasSeen) {
    this.#server = server;
    this.wasSeen = wasSeen;
    node("away-close").addEventListener("click", () => this.#close());
  }

  /** Tell what is new; the notices. */
  async look() {
    const notices = await this.#server.notices();
    const news = notices.filter(({ notice, upload }) => !this.#told.has(notice) && !this.wasSeen(upload));
    if (news.length) this.#show(news);
    requestAnimationFrame(() => this.#read(notices)); // a tab that is hidden draws nothing
    return notices;
  }

  /** What cannot be said now is said when the page looks next. */
  #read(notices) {
    const ids = notices.map(({ notice }) => notice);
    if (ids.length) this.#server.read(ids).catch(() => {});
  }

  #show(news) {
    const bad = (one) => Number(one.state !== "published");
    for (const one of news) this.#told.set(one.notice, one);
    const all = [...this.#told.values()].sort((a, b) => bad(b) - bad(a) || b.at - a.at);
    node("away-lines").replaceChildren(...all.slice(0, MOST).map(line));
    const more = all.length - MOST;
    node("away-more").hidden = more <= 0;
    node("away-more").textContent = more > 0 ? words.andMore(more, count(more)) : "";
    node("away").hidden = false;
    say(words.saidAway(news.length, count(news.length)));
  }

  #close() {
    const had = node("away").contains(document.activeElement);
    node("away").hidden = true;
    this.#told.clear(); // what is read is not told again
    if (had) node("zone").focus();
  }
}

function line({ upload, state, name, length, url, at }) {
  const made = document.createElement("li"), bdi = document.createElement("bdi");
  const text = legible(name ?? upload);
  made.dataset.state = state;
  if (!url) bdi.textContent = text;
  else bdi.append(Object.assign(document.createElement("a"), { href: url, target: "_blank", rel: "noopener", textContent: text }));
  const size = length === undefined ? [] : [bytes(length)];
  const soft = Object.assign(document.createElement("span"), { className: "soft" });
  soft.textContent = [own(words.ended, state) ?? state, ...size, moment(at * 1000)].join(" · ");
  made.append(bdi, " ", soft);
  return made;
}
