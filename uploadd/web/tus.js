/** The way over plain HTTP, for where no WebSocket gets through: tus 1.0, on the same uploads. */

import { UploadError, refusal } from "./wire.js";

const PIECE = 32 << 20; // bytes of one request: after each of them it is known what is stored
const SPOKEN = { "Tus-Resumable": "1.0.0" };

/** Carry one upload, or delete it; see `FallbackAttempt`. */
export async function overHttp(attempt) {
  if (attempt.remove) return remove(attempt);
  const { size } = attempt.file;
  let at = attempt.id === null ? null : await look(attempt, attempt.id);
  let { id } = attempt;
  if (at === null) [id, at] = [await create(attempt), 0];
  attempt.begun(id, place(attempt, id), at);
  if (size > 0 && at === size) await append(attempt, id, at); // all is there; now it is complete, too
  while (at < size) {
    at = await append(attempt, id, at);
    attempt.stored(at);
  }
  return { id, url: place(attempt, id), length: size, name: attempt.name };
}

async function create(attempt) {
  const { name, path, mediaType, metadata, file } = attempt;
  const texts = { filename: name, filetype: mediaType, ...metadata };
  if (path && path !== name) texts.relativePath = path;
  const told = Object.entries(texts).filter(([, text]) => text).map(([key, text]) => `${key} ${packed(text)}`);
  const answer = await ask(attempt, "POST", "files/", {
    "Upload-Length": String(file.size),
    "Upload-Metadata": told.join(","),
  });
  if (answer.status !== 201) throw refusal(answer);
  return answer.field("Location").split("/").pop();
}

/** Where to go on; null when the server has nothing of it any more. */
async function look(attempt, id) {
  const answer = await ask(attempt, "HEAD", `files/${id}`);
  if (answer.status === 404 || answer.status === 410) return null;
  if (answer.status !== 200) throw refusal(answer);
  return Number(answer.field("Upload-Offset"));
}

/** Send the next piece; where to go on then. */
async function append(attempt, id, at) {
  const piece = attempt.file.slice(at, at + PIECE);
  const fields = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": String(at) };
  const answer = await ask(attempt, "PATCH", `files/${id}`, fields, piece, (sent) => attempt.sent(at + sent));
  if (answer.status !== 204) throw refusal(answer);
  return Number(answer.field("Upload-Offset"));
}

async function remove(attempt) {
  if (attempt.id === null) return null; // over this way the server knows nothing but ids
  const answer = await ask(attempt, "DELETE", `files/${attempt.id}`);
  if (![204, 404, 410].includes(answer.status)) throw refusal(answer);
  return null;
}

/** One request, below the base.  XMLHttpRequest, since fetch tells nothing while it sends. */
async function ask({ base, clientId, signal, token }, method, path, fields = {}, body = null, sent = null) {
  const said = await token();
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open(method, new URL(path, base));
    const all = { ...SPOKEN, ...fields, "X-Client-Id": clientId, Authorization: said && `Bearer ${said}` };
    for (const [name, value] of Object.entries(all)) if (value) request.setRequestHeader(name, value);
    if (sent) request.upload.onprogress = (event) => sent(event.loaded);
    request.onloadend = () => {
      signal.removeEventListener("abort", abort);
      if (signal.aborted) return reject(new UploadError("aborted", "The upload was interrupted."));
      resolve({ status: request.status, text: request.responseText, field: (name) => request.getResponseHeader(name) });
    };
    if (signal.aborted) return reject(new UploadError("aborted", "The upload was interrupted."));
    signal.addEventListener("abort", abort);
    request.send(body);
  });
}

function place({ base, name }, id) {
  const plain = !/[/\\\p{C}]|%[0-9a-f]{2}|^\.+$/iu.test(name); // else it cannot stand in an address
  return new URL(`f/${id}${plain ? `/${encodeURIComponent(name)}` : ""}`, base).href;
}

/** Base64 of UTF-8. */
function packed(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
