/** The page: what the user brings goes to the uploader, what the uploader tells goes to the list. */

import { Uploader } from "./uploader.js";
import { brought, chosen, pasted, picked } from "./choose.js";
import { deeds } from "./deeds.js";
import { keep } from "./keep.js";
import { browserId } from "./place.js";
import { Rows } from "./rows.js";
import { say } from "./say.js";
import { total } from "./totals.js";
import { heard, token } from "./token.js";
import { ask, node, note, tell, trouble } from "./tell.js";
import { count } from "./units.js";
import { TOKEN } from "./wire.js";
import { fill, words } from "./words.js";

fill(document);
node("host").textContent = words.host(location.host);
node("drop").hidden = false;

const uploader = new Uploader(undefined, { token });
const replaced = new Set(); // off the list, until the server has deleted them
const everything = () => uploader.uploads.filter((one) => !replaced.has(one));
const view = { limit: null };
const rows = new Rows(node("rows"), view, (...what) => act(...what), () => {
  keep(total(everything(), uploader.progress), everything);
});
let around = null; // what goes on beside it, once that is loaded
const act = deeds({ uploader, rows, everything, choose, replace, remove });

uploader.on("add", ({ detail: upload }) => {
  rows.add(upload);
  for (const event of ["progress", "done", "error"]) upload.on(event, () => changed(upload));
});
uploader.on("progress", () => rows.touch());
uploader.on("connection", ({ detail }) => {
  learn(detail);
  trouble(detail);
  heard(detail);
  if (detail.state === "open") lookAround();
  if (detail.state === "refused" && TOKEN.has(detail.error.code)) queueMicrotask(askAgain);
});

for (const event of ["online", "offline"]) addEventListener(event, () => trouble(uploader.connection));

/** A second wrong token fails what runs; going on asks for the next one. */
function askAgain() {
  for (const upload of uploader.uploads) {
    if (TOKEN.has(upload.progress.reason?.code)) upload.resume();
  }
}

function changed(upload) {
  rows.touch(upload);
  around?.changed(upload);
}

function remove(upload) {
  uploader.remove(upload);
  rows.remove(upload);
  around?.left(upload);
}

/** What the server takes and promises. */
function learn({ maxLength, durability }) {
  if (maxLength !== null && view.limit !== maxLength) {
    view.limit = maxLength;
    rows.all();
  }
  if (durability === null) return;
  node("loud").hidden = durability !== "written";
  node("promise").hidden = durability === "written";
}

async function restore() {
  const { length } = await uploader.restore();
  if (length) say(words.saidRestored(length, count(length)));
}

/** Show what others do, and what is stored: loaded when files can be brought already. */
async function lookAround() {
  await restored;
  const { Around } = await import("./around.js");
  around ??= new Around(uploader, { clientId: browserId(uploader.url), token, dismiss: remove });
  around.begin();
}

/** Take what was brought; `only`: the upload that waits for its file, nothing else begins. */
async function take(promise, only = null) {
  const { files, unreadable } = await promise;
  await informed;
  note(unreadable ? words.unreadable(unreadable, count(unreadable)) : files.length ? "" : words.nothing);
  if (!files.length) return undefined;
  const others = await provide(files);
  if (only) return others.length === files.length ? rows.wrong(only) : undefined;
  const wanted = others.length === files.length || (others.length && await ask(
    words.askOthers(others.length, count(others.length)), words.askOthersYes, words.askOthersNo));
  if (!wanted) return undefined;
  say(words.saidAdded(others.length, count(others.length)));
  for (const [index, { file, path, handle }] of others.entries()) {
    if (index % 100 === 99) await new Promise((go) => { setTimeout(go); }); // the page stays alive
    uploader.upload(file, { name: path.split("/").pop(), path, handle });
  }
  return undefined;
}

/** Give files to the uploads that wait for them; the files that nobody waited for. */
async function provide(files) {
  const waiting = new Map();
  for (const upload of uploader.uploads) {
    if (upload.progress.phase !== "needs-file") continue;
    const key = `${upload.size} ${upload.name}`;
    waiting.set(key, [...(waiting.get(key) ?? []), upload]);
  }
  const others = [];
  for (const one of files) {
    const fits = waiting.get(`${one.file.size} ${one.path.split("/").pop()}`) ?? [];
    const ordered = [...fits].sort((a, b) => (b.path === one.path) - (a.path === one.path));
    let taker = null;
    for (const upload of ordered) {
      const fitting = await upload.provide(one.file).then(() => true, () => false);
      if (!fitting) continue;
      taker = upload;
      break;
    }
    if (taker) fits.splice(fits.indexOf(taker), 1);
    else others.push(one);
  }
  return others;
}

async function choose(only) {
  const found = await picked(node("picker"));
  if (found) await take(found, only);
}

/** Choose what is uploaded in place of *upload*. */
async function replace(upload) {
  const [chosen] = (await picked(node("picker")))?.files ?? [];
  if (!chosen) return;
  uploader.upload(chosen.file, { name: upload.name, path: upload.path, handle: chosen.handle });
  replaced.add(upload);
  rows.remove(upload);
  await upload.cancel();
  uploader.remove(upload);
  replaced.delete(upload);
}

const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
const over = (on) => document.body.classList.toggle("over", on);

document.addEventListener("dragover", (event) => {
  if (!holdsFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
  over(true);
});
document.addEventListener("dragleave", (event) => over(event.relatedTarget !== null && holdsFiles(event)));
document.addEventListener("drop", (event) => {
  over(false);
  if (!holdsFiles(event)) return;
  event.preventDefault();
  take(brought(event.dataTransfer));
});
document.addEventListener("paste", (event) => {
  if (event.target.closest?.("input")) return;
  const { items } = event.clipboardData;
  if (!items.length) return;
  event.preventDefault();
  const time = new Date().toLocaleString("sv").replaceAll(":", ".");
  take(pasted(event.clipboardData, words.pasted(time)));
});
node("zone").addEventListener("click", () => choose());
for (const id of ["files", "folder"]) node(id).addEventListener("change", ({ target }) => take(chosen(target)));
node("files").addEventListener("click", (event) => {
  if (!window.showOpenFilePicker || !event.isTrusted) return;
  event.preventDefault(); // the other picker gives handles
  choose();
});
node("folder-label").hidden = !("webkitdirectory" in node("folder"));
node("all").addEventListener("click", ({ target }) => act.all(target.closest("button")?.dataset.act));

tell(node("loud"), words.written);
const informed = uploader.check();
const restored = restore();
lookAround();
