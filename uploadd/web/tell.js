/** What concerns the whole page: trouble with the connection, and questions. */

import { say } from "./say.js";
import { TOKEN } from "./wire.js";
import { explain, words } from "./words.js";

export const node = (id) => document.getElementById(id);
let told = null;

/** Put `[what, todo]` into *box*. */
export function tell(box, [what, todo]) {
  const strong = Object.assign(document.createElement("strong"), { textContent: what });
  box.replaceChildren(strong, ` ${todo}`);
}

/** Say something once, for eyes and ears; nothing takes it away. */
export function note(text) {
  node("note").textContent = text;
  node("note").hidden = !text;
  if (text) say(text);
}

/** Say what is wrong with the connection, until it is open again. */
export function trouble({ state, error }) {
  const offline = state === "offline" || (!navigator.onLine && state !== "open" && state !== "idle");
  if (state === "connecting" && !offline) return;
  const code = offline ? "offline" : error?.code ?? null;
  if (code === told) return;
  const box = node("trouble");
  if (code === null || TOKEN.has(code)) box.hidden = true;
  else {
    tell(box, explain(offline ? { code } : error));
    box.hidden = false;
  }
  if (told && state === "open") say(words.saidOnline);
  told = code;
}

let asked = Promise.resolve();

/** Ask, when what was asked before is answered; whether the answer was yes. */
export function ask(...what) {
  asked = asked.then(() => put(...what));
  return asked;
}

/** `grave`: what is done cannot be undone, and is others' loss, too. */
function put(question, yes, no, grave = false) {
  const box = node("ask");
  const [keep, go] = box.querySelectorAll("button"), before = document.activeElement;
  [node("ask-what").textContent, keep.textContent, go.textContent] = [question, no, yes];
  go.classList.toggle("grave", grave);
  box.returnValue = "";
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener("close", () => {
      before.focus(); // browsers do not always find back
      resolve(box.returnValue === "yes");
    }, { once: true });
  });
}
