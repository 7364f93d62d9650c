/** What the buttons do, of one upload and of all. */

import { preview } from "./rows.js";
import { say } from "./say.js";
import { OVER } from "./states.js";
import { ask, node, note } from "./tell.js";
import { count, moment } from "./units.js";
import { explain, words } from "./words.js";

/** Bytes that nobody throws away without being asked. */
const DEAR = 50e6;

/** `act(name, upload, row)` and `act.all(name)`. */
export function deeds({ uploader, rows, everything, choose, replace, remove }) {
  const resume = (upload) => upload.resume();

  async function reopen(upload) {
    if (!await upload.reopen().catch(() => false)) await choose(upload);
  }

  const one = {
    resume,
    retry: resume,
    here: resume,
    anew: resume,
    reopen,
    provide: reopen, // the browser may still have the file
    pause: (upload) => upload.pause(),
    preview: (upload, row) => preview(row),
    copy,
    another: replace,

    async cancel(upload, { name }) {
      const { stored } = upload.progress;
      if (stored < DEAR || await ask(words.askCancel(name), words.askCancelYes, words.no)) {
        await upload.cancel();
      }
    },

    remove(upload, { name }) {
      remove(upload);
      say(words.saidRemoved(name));
    },

    again(upload) {
      const { file, name, path, mediaType } = upload;
      uploader.upload(file, { name, path, mediaType });
      remove(upload);
    },
  };

  const ended = ({ progress: { phase } }) => OVER.has(phase);
  const unfinished = () => uploader.uploads.filter((one) => !ended(one) && one.progress.phase !== "cancelling");
  const all = {
    pause: () => uploader.pause(),
    resume: () => uploader.resume(),
    problem: () => rows.first(["failed", "needs-file"])?.focus(),

    async cancel() {
      const n = unfinished().length;
      const sure = await ask(words.askCancelAll(n, count(n)), words.askCancelAllYes, words.no);
      if (sure) unfinished().forEach((upload) => upload.cancel());
    },

    clear() {
      everything().filter(ended).forEach(remove);
      node(rows.size ? "sum" : "zone").focus();
    },
  };

  const act = async (name, upload, row) => {
    const before = upload.progress.phase;
    const done = one[name](upload, row);
    rows.touch(upload, true);
    await done;
    rows.touch(upload, true);
    const { phase } = upload.progress;
    if (phase !== before) say(words.saidFile(row.name, words[phase]));
  };
  act.all = async (name) => {
    await all[name]?.();
    rows.all();
  };
  return act;
}

/** Copy a link that somebody without a token can use, too. */
export async function copy(upload, row) {
  const { address, HANDED_ON } = await import("./lend.js");
  const found = await address(upload, HANDED_ON).catch((error) => error);
  if (found instanceof Error) return note(explain(found).join(" "));
  if (!await write(found.url)) return note(words.notCopied);
  if (found.until === null) say(words.copied);
  else note(words.lent(moment(found.until)));
  const button = row.group.querySelector("[data-act=copy]");
  const text = words.acts.copy[0];
  button.textContent = words.copied;
  return setTimeout(() => { button.textContent = text; }, 2000);
}

/** The clipboard is for https and localhost only; elsewhere the old way. */
async function write(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = Object.assign(document.createElement("textarea"), { value: text, className: "unseen" });
    const { activeElement } = document;
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    activeElement?.focus();
    return copied;
  }
}
