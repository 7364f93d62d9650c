/** What the page asks the server beside uploading: lists, deleting, how things ended. docs/api.md */

import { TOKEN, UploadError, refusal, under } from "./wire.js";

const PAGE = 50;
const FORBIDDEN = new Set([...TOKEN, "forbidden", "origin-not-allowed", "http-401", "http-403"]);

/** Whether `error` says that this is nothing for us. */
export const isForbidden = ({ code }) => FORBIDDEN.has(code);

export class Server {
  #clientId;
  #token;

  constructor(base, clientId, token) {
    this.base = base;
    this.#clientId = clientId;
    this.#token = token;
  }

  /** Whose files this browser may see: "all", "mine". */
  async sees() {
    if ((await this.#ask("GET", "-/info")).access?.list === "everybody") return "all";
    if (!await this.#token({ refused: false })) return "mine";
    return this.list({ of: "all" }).then(() => "all", (error) => { // a token may permit it
      if (isForbidden(error)) return "mine";
      throw error;
    });
  }

  /** `{files, next}`: published files, newest first; `next` leads on. */
  async list({ of, name, cursor, signal }) {
    const query = new URLSearchParams({ of, state: "published", limit: PAGE, ...(name && { name }), ...(cursor && { cursor }) });
    const { uploads, next = null } = await this.#ask("GET", `api/uploads?${query}`, { signal });
    return { files: uploads.map((one) => this.#file(one)), next };
  }

  #file({ upload: id, name, length: size, url, media_type: mediaType = "", modified, mine = false }) {
    return { id, name: name ?? id, size, url: under(this.base, url), mediaType, at: modified * 1000, mine };
  }

  /** Delete a file, or cancel what is not complete. What is gone already is gone. */
  async remove(id, { unfinished = false } = {}) {
    try {
      await (unfinished ? this.#ask("POST", `api/upload/${id}/cancel`) : this.#ask("DELETE", `api/upload/${id}`));
    } catch (error) {
      if (error.code !== "not-found" && error.code !== "gone") throw error;
    }
  }

  /** How uploads of this browser ended, newest first, as far as that was not read. */
  async notices() {
    const { notices } = await this.#ask("GET", "api/notices?unread=1");
    return notices.map(({ url, ...rest }) => ({ ...rest, url: url && under(this.base, url) }));
  }

  read(notices) {
    return this.#ask("POST", "api/notices/read", { body: JSON.stringify({ notices }) });
  }

  /** Throws UploadError, whatever goes wrong. */
  async #ask(method, path, { body, signal } = {}) {
    const token = await this.#token({ refused: false });
    const headers = { "X-Client-Id": this.#clientId, ...(token && { Authorization: `Bearer ${token}` }) };
    const answer = await fetch(new URL(path, this.base), { method, body, signal, headers, cache: "no-store" })
      .catch((cause) => { throw new UploadError("unreachable", "The server cannot be reached.", { retryable: true, cause }); });
    if (answer.status === 204) return null;
    const text = await answer.text().catch(() => "");
    if (!answer.ok) throw refusal({ status: answer.status, text });
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new UploadError("bad-server", "The server said something that makes no sense.", { cause });
    }
  }
}
