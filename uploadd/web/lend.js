/** Addresses of stored files for a browser, which shows no token where it goes: with one, they are signed. */

import { HERE } from "./place.js";
import { isForbidden } from "./server.js";
import { note } from "./tell.js";
import { token } from "./token.js";
import { refusal, under, UploadError } from "./wire.js";
import { explain } from "./words.js";

const DAY = 86_400;
/** Seconds for which an address is good: of what is opened here, and of what is handed on. */
export const OPENED = DAY, HANDED_ON = 7 * DAY;
/** Milliseconds that one is still good at least. */
const LEFT = 60_000;
const made = new Map(); // id → {url, until, shown}, of what is opened

/** `{url, until}`, where a stored file can be had; `until` is null where its URL alone is enough. */
export async function address({ id, url }, seconds) {
  const shown = token({ refused: false });
  if (shown === null) return { url, until: null };
  try {
    return await sign(id, seconds, shown);
  } catch (error) {
    const isOpen = () => fetch(url, { method: "HEAD", cache: "no-store" }).then(({ ok }) => ok, () => false);
    if (isForbidden(error) && await isOpen()) return { url, until: null }; // access.read: everybody
    throw error;
  }
}

async function sign(upload, seconds, shown) {
  const answer = await fetch(new URL("api/links", HERE), {
    method: "POST", cache: "no-store", headers: { Authorization: `Bearer ${shown}` },
    body: JSON.stringify({ upload, expires_in: seconds }),
  }).catch((cause) => { throw new UploadError("unreachable", "The server cannot be reached.", { retryable: true, cause }); });
  const text = await answer.text().catch(() => "");
  if (!answer.ok) throw refusal({ status: answer.status, text });
  const { url, expires } = JSON.parse(text);
  return { url: under(HERE, url), until: expires * 1000 };
}

const linkOf = ({ target }) => target.closest?.("a[data-upload]") ?? null;

/** Whether `link` leads where its file can be had, now. */
function isReady({ dataset: { upload } }) {
  const shown = token({ refused: false }), known = made.get(upload);
  return shown === null || (known?.shown === shown && known.until - Date.now() > LEFT);
}

async function ready(link) {
  const { dataset: { upload, url } } = link, shown = token({ refused: false });
  const found = await address({ id: upload, url }, OPENED);
  made.set(upload, { until: found.until ?? Infinity, shown });
  link.href = found.url;
}

/** Soon somebody may follow it, or have the browser save it. */
function prepare(event) {
  const link = linkOf(event);
  if (link && !isReady(link)) ready(link).catch(() => {}); // told when it is followed
}

async function follow(event) {
  const link = linkOf(event);
  if (!link || event.button > 1 || isReady(link)) return;
  event.preventDefault();
  try {
    await ready(link);
    open(link.href, "_blank", "noopener");
  } catch (error) {
    note(explain(error).join(" "));
  }
}

for (const event of ["pointerover", "focusin"]) document.addEventListener(event, prepare);
for (const event of ["click", "auxclick"]) document.addEventListener(event, follow);
