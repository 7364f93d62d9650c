/** What tells of itself: events, at most so often, and promises that are settled from outside. */

export class Emitter extends EventTarget {
  on(type, listener) {
    this.addEventListener(type, listener);
    return () => this.removeEventListener(type, listener);
  }

  emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** Calls `act` at most every `interval` milliseconds, but always after the last `ask`. */
export class Seldom {
  #timer = null;
  #last = -Infinity;

  constructor(interval, act) {
    this.interval = interval;
    this.act = act;
  }

  ask() {
    if (this.#timer === null)
      this.#timer = setTimeout(() => this.now(), Math.max(0, this.#last + this.interval - performance.now()));
  }

  now() {
    clearTimeout(this.#timer);
    this.#timer = null;
    this.#last = performance.now();
    this.act();
  }
}

export function deferred() {
  let resolve, reject;
  const promise = new Promise((...both) => [resolve, reject] = both);
  return { promise, resolve, reject };
}

/** Call `act` when `signal` is aborted, or is already; returns how not to. */
export function whenAborted(signal, act) {
  if (signal?.aborted) act();
  signal?.addEventListener("abort", act);
  return () => signal?.removeEventListener("abort", act);
}
