/** Where no WebSocket gets through: one attempt over the other way, to carry an upload or delete it. */

import { UploadError } from "./wire.js";

export class Aside {
  sent = 0;
  #job;
  #control = new AbortController();

  /** It begins when the attempt `before` it is over: they must not meet on the server. */
  constructor(job, before) {
    this.#job = job;
    this.over = this.#run(before);
  }

  stop() {
    this.#control.abort();
  }

  async #run(before) {
    const job = this.#job, { signal } = this.#control;
    await before?.over;
    if (signal.aborted) return;
    try {
      const stored = await job.host.fallback(this.#attempt());
      if (!signal.aborted) job.over(stored);
    } catch (cause) {
      const error = cause instanceof UploadError ? cause
        : new UploadError("connection-lost", "The upload was interrupted.", { retryable: true, cause });
      if (!signal.aborted) job.refused(error, !error.retryable);
    }
  }

  /** What the other way is given, see `FallbackAttempt`. */
  #attempt() {
    const job = this.#job, { signal } = this.#control;
    const { host, file, name, path, mediaType, metadata, key, id, cancelling: remove } = job;
    return {
      base: host.url, clientId: host.clientId, file, name, path, mediaType, metadata, key, id, remove, signal,
      token: () => host.line.token(),
      begun: (...told) => {
        host.line.judged(true);
        if (job.key === key) job.begun(...told); // also when it was stopped: to find it again
      },
      sent: (end) => {
        this.sent = end;
        if (!signal.aborted) job.show();
      },
      stored: (offset) => signal.aborted || job.acked(offset),
    };
  }
}
