/** Where the server is, and who this browser is to it. */

import { newKey } from "./memory.js";

/** The server that this file came from. */
export const HERE = new URL("../", import.meta.url);

export function baseOf(url) {
  const base = new URL(url, globalThis.location?.href);
  base.protocol = base.protocol.replace("ws", "http");
  base.search = base.hash = "";
  if (!base.pathname.endsWith("/")) base.pathname += "/";
  return base;
}

const known = new Map(); // base → id, of this page

/**
 * The client id of this browser for the server at `base`: a secret that it keeps, so that what it
 * begins is its own. One for each server: none of them learns what opens another.
 */
export function browserId(base) {
  const place = `uploadd-client ${base.href}`;
  if (!known.has(base.href)) known.set(base.href, kept(place) ?? newKey());
  return known.get(base.href);
}

/** Where nothing can be kept, an id lives as long as the page. */
function kept(place) {
  try {
    if (!localStorage.getItem(place)) localStorage.setItem(place, newKey());
    return localStorage.getItem(place);
  } catch {
    return null;
  }
}
