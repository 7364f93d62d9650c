/** From what was dropped, pasted or chosen to files: `{file, path, handle}`, folders walked. */

/**
 * What a drop or paste brings. What it brings must be asked for before the event is over; the
 * promise then walks the folders. A handle, where there is one, can be read after a reload.
 */
export function brought(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const asked = items.map((item) => [
    item.getAsFileSystemHandle?.().catch(() => null),
    item.webkitGetAsEntry?.(),
    item.getAsFile(),
  ]);
  return gather(asked);
}

async function gather(asked) {
  const found = { files: [], unreadable: 0 };
  for (const [promise, entry, file] of asked) {
    const handle = await promise;
    if (handle) await walkHandle(handle, "", found);
    else if (entry) await walkEntry(entry, "", found);
    else if (file) found.files.push({ file, path: file.name });
  }
  return found;
}

async function walkHandle(handle, folder, found) {
  const path = folder + handle.name;
  try {
    if (handle.kind === "file") found.files.push({ file: await handle.getFile(), path, handle });
    else for await (const child of handle.values()) await walkHandle(child, `${path}/`, found);
  } catch {
    found.unreadable += 1;
  }
}

async function walkEntry(entry, folder, found) {
  const path = folder + entry.name;
  try {
    if (entry.isFile) {
      found.files.push({ file: await new Promise((good, bad) => entry.file(good, bad)), path });
    } else {
      for await (const child of children(entry)) await walkEntry(child, `${path}/`, found);
    }
  } catch {
    found.unreadable += 1;
  }
}

/** A reader gives some entries at a time, and none at the end. */
async function* children(entry) {
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((good, bad) => reader.readEntries(good, bad));
    if (!some.length) return;
    yield* some;
  }
}

/** What an `<input type=file>` has; it is emptied, so that the same can be chosen again. */
export function chosen(input) {
  const files = [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  input.value = "";
  return { files, unreadable: 0 };
}

/** Let the user choose, through the picker that gives handles where there is one; null: did not. */
export async function picked(input) {
  try {
    const handles = await window.showOpenFilePicker({ multiple: true });
    return await gather(handles.map((handle) => [handle]));
  } catch (error) {
    if (error.name === "AbortError") return null;
  }
  return new Promise((resolve) => {
    input.onchange = () => resolve(chosen(input));
    input.oncancel = () => resolve(null);
    input.click();
  });
}

/** What was pasted: files and pictures, else the text as a file. `name` is for what has none. */
export async function pasted(transfer, name) {
  const text = transfer.getData("text/plain");
  const found = await brought(transfer);
  if (!found.files.length && text) {
    const file = new File([text], `${name}.txt`, { type: "text/plain" });
    found.files.push({ file, path: file.name });
  }
  for (const one of found.files) {
    if (/^image\.\w+$/.test(one.path) && !one.handle) one.path = one.path.replace("image", name);
  }
  return found;
}
