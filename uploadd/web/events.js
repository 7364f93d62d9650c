/** Server-sent events, for where no WebSocket gets through: a stream that comes back by itself. */

import { Backoff, TOKEN, UploadError, refusal } from "./wire.js";

const SILENT = 35_000; // milliseconds without a word, when a comment is due every 15 seconds

/**
 * By fetch: EventSource can send no fields, and a client id does not belong into an address.
 * `host` has: base, clientId, token(), judged(good), heard(said), listening(stream), refused(error, subjects).
 */
export class Stream {
  open = false;
  #host;
  #subjects;
  #control = new AbortController();
  #backoff = new Backoff(0.5, 10);
  #last = null; // id of the newest event
  #pause = 0; // milliseconds, said by the server

  /** `subjects`: ids, or "mine", or "all". */
  constructor(host, subjects) {
    this.#host = host;
    this.#subjects = subjects;
    this.#run();
  }

  close() {
    this.#control.abort();
  }

  async #run() {
    const { signal } = this.#control;
    while (!signal.aborted) {
      const error = await this.#listen().then(() => null, (cause) => cause);
      if (signal.aborted) return;
      this.#is(false);
      if (this.#isFinal(error)) return this.#host.refused(error, this.#subjects);
      await new Promise((go) => { setTimeout(go, this.#pause + 1000 * this.#backoff.next()); });
    }
  }

  #isFinal(error) {
    if (!(error instanceof UploadError) || error.retryable) return false;
    return !(TOKEN.has(error.code) && this.#host.judged(false));
  }

  #is(open) {
    if (open === this.open) return;
    this.open = open;
    this.#host.listening(this);
  }

  /** Until the stream ends; throws when it breaks. */
  async #listen() {
    const attempt = new AbortController(), stop = () => attempt.abort();
    let silence = setTimeout(stop, SILENT);
    this.#control.signal.addEventListener("abort", stop);
    try {
      const answer = await this.#ask(attempt.signal);
      this.#host.judged(true);
      this.#is(true);
      for await (const event of events(answer.body)) {
        clearTimeout(silence);
        silence = setTimeout(stop, SILENT);
        this.#hear(event);
      }
    } finally {
      clearTimeout(silence);
      this.#control.signal.removeEventListener("abort", stop);
      attempt.abort();
    }
  }

  async #ask(signal) {
    const { base, clientId } = this.#host, token = await this.#host.token();
    const url = new URL("api/events", base);
    url.searchParams.set("upload", this.#subjects.join(","));
    const fields = { "X-Client-Id": clientId, "Last-Event-ID": this.#last, Authorization: token && `Bearer ${token}` };
    const headers = Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
    const answer = await fetch(url, { headers, cache: "no-store", signal });
    if (!answer.ok) throw refusal({ status: answer.status, text: await answer.text() });
    return answer;
  }

  #hear({ data, id, retry }) {
    if (id) this.#last = id;
    if (retry) this.#pause = Number(retry);
    if (!data) return;
    this.#backoff.moved();
    this.#host.heard(JSON.parse(data));
  }
}

/** The events in `body`, fields by name; a comment is one without any. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { done, value } = await reader.read();
    if (done) return;
    const whole = (rest + value).split("\n\n");
    rest = whole.pop();
    for (const block of whole) yield fieldsOf(block);
  }
}

function fieldsOf(block) {
  const fields = {};
  for (const line of block.split("\n")) {
    const [, name, value] = /^([^:]*):? ?(.*)$/.exec(line);
    fields[name] = value;
  }
  return fields;
}
