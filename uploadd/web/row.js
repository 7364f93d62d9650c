/** One row of a list: a mark, a name, what is said of it, buttons, a bar. */

import { node, tell } from "./tell.js";
import { legible } from "./units.js";
import { words } from "./words.js";

const ICONS = { pause: "pause", resume: "resume", cancel: "cross", remove: "cross", stop: "cross", erase: "bin" };
const SVG = "http://www.w3.org/2000/svg";
let serial = 0;

/** A button; with an icon alone where everybody knows it. `label` is for those who listen. */
export function button(act, text, label, icon) {
  const made = Object.assign(document.createElement("button"), { type: "button", className: icon ? "icon" : "" });
  made.dataset.act = act;
  if (label) made.setAttribute("aria-label", label);
  if (!icon) made.textContent = text;
  else {
    made.title = text;
    const picture = made.appendChild(document.createElementNS(SVG, "svg"));
    picture.setAttribute("aria-hidden", "true");
    picture.appendChild(document.createElementNS(SVG, "use")).setAttribute("href", `#i-${icon}`);
  }
  return made;
}

/** Show exactly the buttons `wanted`, each named as `make` says; the focus stays in the group. */
export function offer(group, wanted, make) {
  const old = new Map([...group.children].map((one) => [one.dataset.act, one]));
  if ([...old.keys()].join() === wanted.join()) return;
  const focused = group.contains(document.activeElement) ? document.activeElement : null;
  group.replaceChildren(...wanted.map((act) => old.get(act) ?? make(act)));
  if (focused) (group.contains(focused) ? focused : group.querySelector("button") ?? group.closest("li"))?.focus();
}

/** Take `element` off its list; the focus, if it was there, goes to the next, or to `otherwise`. */
export function leave(element, otherwise) {
  const next = element.contains(document.activeElement)
    && (element.nextElementSibling ?? element.previousElementSibling ?? otherwise);
  element.remove();
  if (next) next.focus();
}

/** Call `deed(act, element)` for a button that is pressed in a row of `list`. */
export function pressed(list, deed) {
  list.addEventListener("click", ({ target }) => {
    const found = target.closest("button[data-act]");
    if (found) deed(found.dataset.act, found.closest(".row"));
  });
}

export class Row {
  reason = null;
  #text = "";
  #why = "";

  constructor(name) {
    this.name = name = legible(name);
    this.element = node("row").content.cloneNode(true).firstElementChild;
    const part = (which) => this.element.querySelector(which);
    [this.bdi, this.state, this.bar, this.group] = [".name bdi", ".state", ".bar", ".acts"].map(part);
    this.bdi.textContent = name;
    this.bar.setAttribute("aria-label", name);
  }

  /** Where it is, for eyes: `phase` for colours, `mark` is an icon. */
  phase(phase, mark) {
    this.element.dataset.phase = phase;
    this.element.querySelector("use").setAttribute("href", `#i-${mark}`);
  }

  /** The line below the name. */
  line(text) {
    if (this.#text !== text) this.state.textContent = this.#text = text;
  }

  offer(acts) {
    offer(this.group, acts, (act) => {
      const [text, label] = words.acts[act];
      const made = button(act, text, label(this.name), ICONS[act]);
      if (this.reason) made.setAttribute("aria-describedby", this.reason.id);
      return made;
    });
  }

  /** Lead to the stored file; `lend.js` has it lead there with a token, too. */
  link({ id, url }) {
    const link = Object.assign(document.createElement("a"), { href: url, target: "_blank", rel: "noopener" });
    Object.assign(link.dataset, { upload: id, url });
    link.append(this.name);
    this.bdi.replaceChildren(link);
  }

  /** What is wrong and what to do, or null; tied to what it is about. */
  why(pair, alert) {
    const text = pair?.join(" ") ?? "";
    if (text === this.#why) return;
    this.#why = text;
    this.reason?.remove();
    this.reason = null;
    const about = [this.bar, ...this.group.children];
    if (!pair) return about.forEach((one) => one.removeAttribute("aria-describedby"));
    this.reason = Object.assign(document.createElement("p"), { id: `why-${++serial}`, className: "why" });
    if (alert) this.reason.setAttribute("role", "alert");
    tell(this.reason, pair);
    this.state.after(this.reason);
    about.forEach((one) => one.setAttribute("aria-describedby", this.reason.id));
  }
}
