/**
 * Uploads to an uploadd server, from a page. No dependency, no build step:
 *
 *     import { Uploader } from "https://files.example.com/-/uploadd.js";
 *     const { url } = await new Uploader().upload(file);
 *
 * and shows where uploads are, whoever sends them:
 *
 *     import { watch } from "https://files.example.com/-/uploadd.js";
 *     for await (const [upload] of watch(id)) bar.value = upload.fraction;
 *
 * What everything means is in uploadd.d.ts.
 */

import { Watching } from "./watch.js";

export { Upload, Uploader } from "./uploader.js";
export { UploadError } from "./wire.js";
export { Watching };

export function watch(what, options) {
  return new Watching(what, options);
}
