/** The token: asked for in the page or brought by a link, kept as long as the tab, never in an address. */

import { node } from "./tell.js";
import { words } from "./words.js";

const PLACE = "uploadd-token";
const form = node("token-form");
let given = linked() ?? kept();
let asked = null;

/** What `Uploader` wants to know. */
export function token({ refused }) {
  if (!refused) return given;
  asked ??= prompt(given === null ? words.tokenNeeded : words.tokenRefused).finally(() => { asked = null; });
  return asked;
}

/** The server's answer to a token, good or bad, is the next state of the connection that lasts. */
export function heard({ state }) {
  if (!asked && state !== "connecting" && state !== "refused") form.hidden = true;
}

function prompt(why) {
  const field = node("token");
  ready(why, false);
  form.hidden = false;
  field.value = "";
  field.focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      if (form.ariaBusy === "true") return;
      given = field.value.trim();
      keep();
      ready(words.tokenChecking, true);
      resolve(given);
    };
  });
}

/** Say *text*; *busy*: nothing can be typed until the server has answered. */
function ready(text, busy) {
  form.ariaBusy = String(busy);
  node("token").readOnly = busy;
  node("token-why").textContent = text;
}

/** What a link to send one file has behind its #, which no server and no proxy sees. */
function linked() {
  const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
  if (ticket === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  try {
    sessionStorage.setItem(PLACE, ticket);
  } catch {
    // then the link is good until the next reload
  }
  return ticket;
}

/** Browsers may forbid to keep anything. */
function kept() {
  try {
    return sessionStorage.getItem(PLACE);
  } catch {
    return null;
  }
}

function keep() {
  try {
    sessionStorage.setItem(PLACE, given);
  } catch {
    // it is asked for again after a reload
  }
}
