/** Where one upload is. `stored` is the only phase-independent truth: durable on the server. */
export type Phase =
  | "queued"      // waits for its turn
  | "uploading"
  | "storing"     // the server has received all; it makes it durable and gives it its name
  | "paused"      // by `pause()`
  | "offline"     // the browser says that there is no network; goes on by itself
  | "retrying"    // the connection or the server failed; goes on by itself, see `reason`
  | "cancelling"  // by `cancel()`, until the server has said that it is deleted
  | "needs-file"  // restored after a reload: choose the same file again, see `provide()`
  | "done"
  | "failed"      // see `reason`; `resume()` tries again where that makes sense
  | "cancelled";

/** All in bytes; `speed` in stored bytes per second, `eta` in seconds. */
export interface Progress {
  readonly sent: number;
  readonly stored: number;
  readonly total: number;
  readonly speed: number;
  readonly eta: number | null;
  readonly phase: Phase;
  /** Why it is retrying, needs-file or failed. */
  readonly reason: UploadError | null;
}

/** `code` is stable (docs/protocol.md has them; local ones: see `LocalCode`). */
export class UploadError extends Error {
  /** For those who write a `fallback`. */
  constructor(code: string, message: string, options?: { hint?: string | null; retryable?: boolean; cause?: unknown });
  readonly code: string;
  readonly hint: string | null;
  /** Whether the same may succeed later without a change on this side. */
  readonly retryable: boolean;
}

export type LocalCode =
  | "connection-lost" | "offline" | "restarting" | "upgrade-stripped" | "unreachable"
  | "too-large"   // also of the protocol: over the server's limit, nothing was sent
  | "file-changed" | "file-unreadable" | "other-file" | "bad-server"
  | "cancelled"   // by `cancel()`, or by somebody else who may
  | "aborted";    // let go by a signal or by `close()`; `resume()` goes on, where the uploader is not closed

export interface Stored { readonly id: string; readonly url: string; readonly length: number; readonly name: string }

export interface UploaderOptions {
  /** A bearer token, or where to get one: called again, after a refusal, with `refused: true`. */
  token?: string | ((state: { refused: boolean }) => string | null | Promise<string | null>);
  /** Aborting it closes the uploader; what is durable stays and can be resumed. */
  signal?: AbortSignal;
  /** Uploads that send at a time (3). Files that go in one chunk are sent beside them, more at a time. */
  jobs?: number;
  /** Remember unfinished uploads in this browser, so that `restore()` finds them after a reload (true). */
  remember?: boolean;
  /**
   * Who owns what is begun: a secret of at least 22 random characters. If nothing is said it is one
   * that this browser keeps for this server, so that `watch("mine")` finds what it has begun; null
   * for nobody, as it is without `remember`.
   */
  clientId?: string | null;
  /**
   * What to do where `Upgrade` is stripped on the way: plain HTTP (tus), if nothing else is said;
   * with null such uploads wait and say so.
   */
  fallback?: ((attempt: FallbackAttempt) => Promise<Stored | null>) | null;
}
/**
 * What a way over plain HTTP is given to carry one upload, or to delete it. Two attempts of one
 * upload never run at a time: the next one begins when the promise of the one before has settled.
 *
 * To carry it (`remove` is false): tell `begun` as soon as the server has given it an id, also when
 * `signal` has been aborted by then, so that it can be found or deleted later; feed the progress
 * with `sent` and `stored`; resolve with what is stored under its name.
 *
 * To delete it (`remove` is true): resolve with null when the server has none of it (any more), or
 * with `Stored` when it was complete already. `id` is null where `begun` was never told: the server
 * may still know `key`. `file` is null for what an earlier page began.
 *
 * It may reject with an `UploadError`. A retryable one: it is called again after a pause. Another
 * one ends the upload; with `remove` it means that there was nothing to delete. `signal` aborts on
 * pause, cancel and close; stop sending then, and settle.
 */
export interface FallbackAttempt {
  readonly base: URL; readonly clientId: string | null; readonly file: Blob | null; readonly name: string; readonly path: string;
  readonly mediaType: string; readonly metadata: Record<string, string>;
  readonly key: string; readonly id: string | null; readonly remove: boolean; readonly signal: AbortSignal;
  token(): Promise<string | null>;
  begun(id: string, url: string, stored: number): void;
  sent(end: number): void; stored(offset: number): void;
}
export interface UploadOptions {
  name?: string;
  /** Path below what was chosen, with "/", e.g. "photos/2024/a.jpg": kept on the server (metadata `relativePath`). */
  path?: string;
  mediaType?: string;
  metadata?: Record<string, string>;
  /** Aborting it lets go of the upload (failed, "aborted"); what is durable stays and can be resumed. */
  signal?: AbortSignal;
  /** With it, the upload goes on after a reload without choosing the file again (where the browser can). */
  handle?: FileSystemFileHandle;
}
export interface Totals extends Progress { readonly files: number; readonly finished: number; readonly failed: number }

/** Uploads to one server, in one session. Events: "add" (detail: Upload), "progress" (detail: Totals), "connection" (detail: Connection). */
export class Uploader extends EventTarget {
  constructor(url?: string | URL, options?: UploaderOptions);
  readonly url: URL;
  readonly uploads: readonly Upload[];
  readonly progress: Totals;
  readonly connection: Connection;
  /**
   * Starts at once, or when it is its turn. An upload that this browser remembers of the very same
   * file goes on where it was; if `restore()` has listed it already, that one is returned. Throws
   * when the uploader is closed.
   */
  upload(file: Blob, options?: UploadOptions): Upload;
  /**
   * Ask the server what it takes and promises, before there is a session; `connection` has it then.
   * Files over its limit fail with "too-large" from then on, or when the session is open.
   */
  check(): Promise<Connection>;
  /**
   * The unfinished uploads that this browser remembers for this server and no other tab carries, in
   * the order in which they were added.
   */
  restore(): Promise<Upload[]>;
  /**
   * All uploads; `resume` those that are paused or failed for a reason that passes, `cancel` all but
   * those that were taken over: they are another's by now.
   */
  pause(): void; resume(): void; cancel(): Promise<void>;
  /** Forget an upload that is done, failed or cancelled. */
  remove(upload: Upload): void;
  /** Let go of everything; what is durable stays. */
  close(): void;
  on(type: string, listener: (event: CustomEvent) => void): () => void;
}
export interface Connection {
  readonly state: "idle" | "connecting" | "open" | "lost" | "offline" | "refused" | "closed";
  readonly error: UploadError | null;
  /** As the server told, null before that. */
  readonly durability: "durable" | "written" | null;
  readonly maxLength: number | null;
}
/** One file on its way. Awaiting it gives `Stored` or throws `UploadError`; iterating gives the newest `Progress`, at most 10 a second. Events: "progress" (detail: Progress), "done" (detail: Stored), "error" (detail: UploadError). */
export class Upload extends EventTarget implements PromiseLike<Stored>, AsyncIterable<Progress> {
  readonly name: string; readonly path: string; readonly size: number; readonly mediaType: string;
  readonly id: string | null; readonly url: string | null; readonly file: Blob | null;
  readonly progress: Progress;
  pause(): void;
  /** Go on: after `pause`, after a failure, or to take back an upload that was taken over. */
  resume(): void;
  /**
   * Not wanted any more: the server deletes its bytes. Resolves when the server has said so, which
   * may take until the connection is back; it is done later also if the page is closed before.
   * If the upload was complete already it is "done" after all.
   */
  cancel(): Promise<void>;
  /** The same file again, for an upload in phase "needs-file". Throws UploadError "other-file". */
  provide(file: File): Promise<void>;
  /**
   * What was heard elsewhere of how it ended: published, cancelled, expired, … (`Notice`, or of `watch`).
   * Nothing changes where its own session will tell, or has told.
   */
  learn(told: { state: string; url?: string | null }): void;
  /** Whether a handle is kept, so that `reopen()` can get the file without choosing it again. */
  readonly reopens: boolean;
  /** Ask for permission to read the file again (needs a click); false where that is not possible. */
  reopen(): Promise<boolean>;
  then: Promise<Stored>["then"];
  [Symbol.asyncIterator](): AsyncIterator<Progress>;
  on(type: string, listener: (event: CustomEvent) => void): () => void;
}

/**
 * Shows where uploads are, whoever sends them, over whatever way: one id, several, "mine" or "all" (if
 * the server permits it), also mixed. Comes back by itself, and listens to server-sent events where no
 * WebSocket gets through.
 */
export function watch(what: string | readonly string[], options?: WatchOptions): Watching;

export interface WatchOptions {
  /** Where the server is; if nothing is said, where this file came from. */
  server?: string | URL;
  token?: UploaderOptions["token"];
  /** Whose "mine" and notices are; as in `UploaderOptions`. With a token its owner counts; without either, "mine" throws "forbidden". */
  clientId?: string | null;
  /** Aborting it is `close()`. */
  signal?: AbortSignal;
  /** The same as listening to the events, from the first on. */
  onProgress?(upload: Watched): void; onGone?(gone: Gone): void; onNotice?(notice: Notice): void;
  onChange?(uploads: readonly Watched[]): void; onError?(error: UploadError): void;
  onConnection?(connection: WatchConnection): void;
}
/**
 * Where an upload is. A new object each time it has moved; it never changes. More states may come:
 * docs/api.md says what they mean.
 */
export interface Watched {
  readonly id: string; readonly name: string | null;
  /** Durable bytes. */
  readonly stored: number;
  /** Bytes in all; null when that is not known. A guess, for forms, until it is. */
  readonly total: number | null;
  /** How much of a bar is full, 0 … 1: 1 when it is published, never before. Null when that is not known. */
  readonly fraction: number | null;
  /** Stored bytes per second; seconds that are left. */
  readonly speed: number; readonly eta: number | null;
  readonly state: "queued" | "receiving" | "storing" | "verifying" | "published" | (string & {});
  /** Which part the server stores, from 1 on, where it stores files in parts and one is here; else null. */
  readonly part: number | null;
  /** Where the file is, once it is published. */
  readonly url: string | null;
}
/** "unknown": there is no such upload, or not any more; "forbidden": it is somebody else's. */
export interface Gone {
  readonly id: string; readonly name: string | null;
  readonly reason: "cancelled" | "expired" | "deleted" | "failed" | "lost" | "unknown" | "forbidden" | (string & {});
}
/** How an upload of this client id has ended, perhaps while nobody watched. Told again to each watch of "mine", until it was `read`. */
export interface Notice {
  /** The id of the notice; `id` is the upload's. */
  readonly notice: string;
  readonly id: string; readonly state: "published" | "failed" | "expired" | (string & {});
  readonly at: Date; readonly name: string | null; readonly length: number | null; readonly url: string | null;
}
export interface WatchConnection {
  /** As in `Connection`; "closed" also when nothing can move any more. */
  readonly state: Connection["state"];
  readonly error: UploadError | null;
  readonly over: "websocket" | "events" | null;
}
/**
 * Events: "progress" (detail: Watched), "gone" (detail: Gone), "notice" (detail: Notice), "change" (detail:
 * `uploads`; at most 20 a second, also when `notices` has changed), "error" (detail: UploadError; "forbidden": "all" is
 * not permitted), "connection" (detail: WatchConnection).
 *
 * Iterating gives `uploads` whenever it has changed, first when something is known. It ends with the
 * watching, and leaving it closes that; it throws when nothing is left that may be watched.
 */
export class Watching extends EventTarget implements AsyncIterable<readonly Watched[]> {
  constructor(what: string | readonly string[], options?: WatchOptions);
  /**
   * All that was told of and is not gone, in the order in which it was heard of first; of "mine" and
   * "all" those that moved since, with the last 100 that were published. The same array until it changes.
   */
  readonly uploads: readonly Watched[];
  /** Not `read` yet, in the order in which they came. The same array until it changes. */
  readonly notices: readonly Notice[];
  readonly connection: WatchConnection;
  /** These (all, if nothing is said) need not be told again. Throws when the server has not heard it. */
  read(notices?: Notice | string | readonly (Notice | string)[]): Promise<void>;
  /** Watch no more. Happens by itself when ids alone were watched and each is published or gone. */
  close(): void;
  [Symbol.asyncIterator](): AsyncIterator<readonly Watched[]>;
  on(type: string, listener: (event: CustomEvent) => void): () => void;
}
