/**
 * Uppy uploads by uploadd: `uppy.use(Uploadd, { server, token, jobs })`, the options of `Uploader`.
 *
 * `bytesUploaded` is what is stored: it survives, whatever happens to the server. What is interrupted
 * goes on by itself, also when the same file is added again after a reload.
 */

import { BasePlugin, EventManager } from "@uppy/core";
import { filterFilesToEmitUploadStarted, filterFilesToUpload } from "@uppy/core/utils";
import { Uploader } from "uploadd";

const ALMOST = 0.99; // Uppy rounds, and 100 % is the end to it: only what is published may show that
const OVER = new Set(["needs-file", "cancelled"]); // phases from which only a new upload leads on
const ALONE = new Set(["name", "type", "relativePath"]); // of `meta`: told otherwise

export default class Uploadd extends BasePlugin {
  #uploader;
  #uploads = new Map(); // id of the file → its upload, as long as it may go on

  constructor(uppy, options) {
    super(uppy, options);
    this.type = "uploader";
    this.id = this.opts.id ?? "Uploadd";
  }

  install() {
    const { server, ...options } = this.opts;
    this.#uploader = new Uploader(server, options);
    this.uppy.addUploader(this.#send);
    this.uppy.on("file-removed", this.#removed);
    this.#able(true);
  }

  uninstall() {
    this.#able(false);
    this.uppy.off("file-removed", this.#removed);
    this.uppy.removeUploader(this.#send);
    this.#uploader.close();
  }

  #able(resumableUploads) {
    this.uppy.setState({ capabilities: { ...this.uppy.getState().capabilities, resumableUploads } });
  }

  #send = async (ids) => {
    const files = filterFilesToUpload(this.uppy.getFilesByIds(ids));
    this.uppy.emit("upload-start", filterFilesToEmitUploadStarted(files));
    await Promise.all(files.map((file) => this.#carry(file)));
  };

  /** Send one file, until it is stored, has failed or is not wanted any more. */
  async #carry(file) {
    const { uppy } = this, upload = this.#begin(file), events = new EventManager(uppy);
    const removed = new Promise((resolve) => { events.onFileRemove(file.id, resolve); });
    events.onPause(file.id, (paused) => paused ? upload.pause() : upload.resume());
    events.onPauseAll(file.id, () => upload.pause());
    events.onResumeAll(file.id, () => upload.resume());
    if (file.isPaused) upload.pause();
    const off = upload.on("progress", () => this.#tell(file.id, upload));
    const stored = upload.then((body) => this.#stored(file.id, upload, body), (error) => this.#failed(file.id, error));
    await Promise.race([stored, removed]);
    off();
    events.remove();
  }

  #begin({ id, data, name, type: mediaType, meta }) {
    const before = this.#uploads.get(id);
    before?.resume(); // it has failed
    if (before && !OVER.has(before.progress.phase)) return before;
    const texts = Object.entries(meta).filter(([key, value]) => !ALONE.has(key) && value != null);
    const metadata = Object.fromEntries(texts.map(([key, value]) => [key, String(value)]));
    const upload = this.#uploader.upload(data, { name, mediaType, metadata, path: meta.relativePath || name });
    this.#uploads.set(id, upload);
    return upload;
  }

  #tell(id, { progress: { stored, total, phase, reason } }) {
    const file = this.uppy.getFile(id);
    if (!file || phase === "done") return;
    const { uploadStarted } = file.progress;
    const bytesUploaded = Math.min(stored, Math.floor(total * ALMOST));
    this.uppy.emit("upload-progress", file, { uploadStarted, bytesUploaded, bytesTotal: total });
    if (reason && (phase === "retrying" || phase === "offline")) this.uppy.emit("upload-stalled", reason, [file]);
  }

  #stored(id, upload, body) {
    this.#uploads.delete(id);
    this.#uploader.remove(upload);
    this.uppy.emit("upload-success", this.uppy.getFile(id), { uploadURL: body.url, status: 200, body });
  }

  #failed(id, error) {
    const file = this.uppy.getFile(id);
    if (file) this.uppy.emit("upload-error", file, Object.assign(error, { details: error.hint }));
  }

  /** Not wanted any more: the server deletes what it has of it. */
  #removed = ({ id }) => {
    const upload = this.#uploads.get(id);
    this.#uploads.delete(id);
    if (!upload || upload.progress.reason?.code === "taken-over") return; // that is another's by now
    upload.cancel().then(() => this.#uploader.remove(upload));
  };
}
