/** The token: asked for in the page, kept as long as the tab, never in an address. */

import { node } from "./tell.js";
import { words } from "./words.js";

const PLACE = "uploadd-token";
let asked = null;

/** What `Uploader` wants to know. */
export function token({ refused }) {
  const kept = sessionStorage.getItem(PLACE);
  if (!refused) return kept;
  asked ??= prompt(kept === null ? words.tokenNeeded : words.tokenRefused).finally(() => { asked = null; });
  return asked;
}

function prompt(why) {
  sessionStorage.removeItem(PLACE);
  const [form, field] = [node("token-form"), node("token")];
  form.hidden = false;
  node("token-why").textContent = why;
  field.value = "";
  field.focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      form.hidden = true;
      const given = field.value.trim();
      sessionStorage.setItem(PLACE, given);
      resolve(given);
    };
  });
}
