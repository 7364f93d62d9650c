/**
 * Every text of the page. Another language is one more object like `en` in `languages`.
 * Numbers and sizes come formatted; a text that depends on a number gets it beside them.
 */

const files = (n, shown) => (n === 1 ? "1 file" : `${shown} files`);

const en = {
  title: "Upload files",
  host: (host) => `to ${host}`,
  dropArea: "Add files",
  drop: "Drop files or folders here",
  dropOr: "or press to choose",
  chooseFiles: "Choose files",
  chooseFolder: "Choose a folder",
  hint: "You can paste files, pictures and text too.",
  release: "Let go to upload",
  footer: "What this page calls stored has arrived safely. If the connection breaks, or you reload, "
    + "an upload goes on from there.",
  pasted: (time) => `Pasted ${time}`,

  // Asking for a token
  tokenLabel: "Token",
  tokenNeeded: "This server asks for a token. Whoever runs it can give you one.",
  tokenRefused: "The server did not accept this token. Check that it is complete, or ask for a new one.",
  tokenSend: "Continue",
  tokenChecking: "Asking the server whether it accepts this token…",

  // What a row says
  queued: "Waiting for its turn",
  uploading: "Uploading",
  storing: "All sent, waiting until it is stored",
  paused: "Paused",
  offline: "Waiting for the network",
  retrying: "Trying again",
  "needs-file": "Interrupted",
  done: "Stored",
  failed: "Not uploaded",
  cancelling: "Cancelling",
  cancelled: "Cancelled",
  stored: (part, whole) => `${part} of ${whole} stored`,
  left: (time) => `${time} left`,
  bar: (stored, sent) => `${stored} % stored, ${sent} % sent`,

  // Buttons: what is seen, and what is said of one file
  acts: {
    pause: ["Pause", (name) => `Pause ${name}`],
    resume: ["Go on", (name) => `Go on with ${name}`],
    cancel: ["Cancel", (name) => `Cancel ${name}`],
    remove: ["Remove from the list", (name) => `Remove ${name} from the list`],
    retry: ["Try again", (name) => `Try again: ${name}`],
    here: ["Go on here", (name) => `Go on here: ${name}`],
    reopen: ["Go on", (name) => `Go on: ${name}`],
    provide: ["Choose the file again", (name) => `Choose the file again: ${name}`],
    another: ["Choose the file again", (name) => `Choose the file again: ${name}`],
    anew: ["Upload again", (name) => `Upload again: ${name}`],
    again: ["Upload again", (name) => `Upload again: ${name}`],
    copy: ["Copy link", (name) => `Copy link: ${name}`],
    preview: ["Preview", (name) => `Preview: ${name}`],
    stop: ["Cancel", (name) => `Cancel ${name} of somebody else`],
    erase: ["Delete", (name) => `Delete ${name}`],
  },
  all: {
    problem: "Show problem",
    pause: "Pause all",
    resume: "Go on with all",
    cancel: "Cancel all",
    clear: "Clear finished",
  },

  // What others upload
  others: {
    all: (n, shown) => `Others are uploading ${n ? files(n, shown) : "nothing any more"}`,
    mine: (n, shown) => `You are uploading ${n ? files(n, shown) : "nothing"} elsewhere`,
  },
  seen: {
    queued: "Waiting for its sender",
    receiving: "Uploading",
    storing: "All here, being made safe",
    verifying: "All here, being compared with its checksum",
    published: "Stored",
    cancelled: "Cancelled",
    expired: "Expired: nobody went on with it, and it was deleted",
    failed: "Broken off: nothing of it was kept",
  },
  processing: (part) => `Processing part ${part}`,
  storedSoFar: (part) => `${part} stored`,
  andMore: (n, shown) => `and ${shown} more`,
  askStop: (name, size) => `Cancel ${name}? Somebody else is uploading it. The server deletes what it has`
    + ` of it (${size}), and it cannot go on.`,
  notStopped: (name) => `${name} could not be cancelled.`,

  // What is stored
  stores: { all: "Stored files", mine: "Your stored files" },
  find: "Search stored files by name",
  findHint: "Search",
  mine: "yours",
  more: "Show more",
  newest: "Back to the newest",
  found: (n, shown, more) => `${more ? "More than " : ""}${files(n, shown)} found`,
  notFound: (name) => `No stored file has “${name}” in its name.`,
  notFoundYet: "None found among the newest files.",
  notLoaded: "The list could not be loaded.",
  askErase: (name, size) => `Delete ${name} (${size}) from the server? Links to it stop working, for everybody,`
    + " and it cannot be brought back.",
  askEraseYes: "Delete file",
  notErased: "It could not be deleted.",
  saidErased: (name) => `${name} was deleted`,

  // What ended while nobody looked
  away: "While you were away",
  awayClose: "Close what happened while you were away",
  saidAway: (n, shown) => `While you were away, ${n === 1 ? "1 upload" : `${shown} uploads`} ended`,
  ended: {
    published: "stored",
    failed: "broke off, and nothing of it was kept: upload it again",
    expired: "not finished in time, and deleted: upload it again",
  },

  // Totals
  sumBusy: (done, n, shown) => `${done} of ${files(n, shown)} stored`,
  sumDone: (n, shown) => (n === 1 ? "Your file is stored" : `All ${shown} files are stored`),
  sumFailed: (n, shown) => `${files(n, shown)} with a problem`,
  sumNeeds: (n, shown) => `${files(n, shown)} to choose again`,
  sumPaused: "paused",
  sumSize: (size) => `${size} in all`,

  // Title of the tab
  tab: (percent) => `${percent} %`,
  tabDone: "Stored",
  tabFailed: (shown) => `Problem (${shown})`,

  // Said aloud
  saidAdded: (n, shown) => `${files(n, shown)} added`,
  saidPercent: (percent) => `${percent} % stored`,
  saidFile: (name, state) => `${name}: ${state}`,
  saidAll: (n, shown) => `${n === 1 ? "The file is" : `All ${shown} files are`} stored`,
  saidFailed: (n, shown) => `${files(n, shown)} could not be uploaded`,
  saidRestored: (n, shown) => `${files(n, shown)} from last time: go on where you stopped`,
  saidRemoved: (name) => `${name} removed from the list`,
  saidOnline: "Connected again",
  copied: "Link copied",
  lent: (until) => `Link copied. Whoever has it can have this file, until ${until} at the latest.`,
  notCopied: "The link could not be copied. Open it, and copy the address.",
  preview: (name) => `Preview of ${name}`,
  noPreview: "This browser cannot show this file. Open or save it instead.",
  nothing: "There was no file in it. Empty folders are not uploaded.",
  unreadable: (n, shown) => `${files(n, shown)} could not be read and were left out`,

  // Questions
  no: "No, keep",
  askCancel: (name) => `Cancel ${name}? The server deletes what it has of it.`,
  askCancelYes: "Cancel upload",
  askCancelAll: (n, shown) => `Cancel ${files(n, shown)}? The server deletes what it has of them.`,
  askCancelAllYes: "Cancel all",
  askOthers: (n, shown) => `Your interrupted uploads go on. ${files(n, shown)} in this choice `
    + `${n === 1 ? "was" : "were"} not among them. Upload ${n === 1 ? "it" : "them"} too?`,
  askOthersYes: "Upload too",
  askOthersNo: "Leave out",

  written: ["Stored, but not safe from a power cut.", "The operator has set this server to confirm "
    + "files before its disk has them. Keep your own copies for now."],

  /** What happened, and what to do; by code of the error. `limit` is bytes as text, or null. */
  errors: {
    "token": () => ["The server wants a valid token.", "Type it in above."],
    "token-expired": () => ["Your token has expired.", "Ask for a new one, and type it in above."],
    "too-large": ({ size, limit }) => [
      `Too large: this file has ${size}${limit ? `, and this server takes up to ${limit}` : ""}.`,
      "Make it smaller, split it, or ask whoever runs the server for a higher limit."],
    "http-413": ({ size }) => [`Something in front of the server refuses a file of ${size}.`,
      "Tell whoever runs the server: its proxy limits sizes (nginx: client_max_body_size 0;)."],
    "no-space": () => ["The server’s disk is full.",
      "It goes on by itself when there is room. Tell whoever runs the server."],
    "restarting": () => ["The server is restarting.", "It goes on by itself in a moment."],
    "draining": () => ["The server is restarting.", "It goes on by itself in a moment."],
    "connection-lost": () => ["The connection was lost.",
      "It goes on by itself when the server answers. What is stored stays."],
    "unreachable": () => ["The server does not answer.",
      "Trying again by itself. If it lasts, check your network, or ask whoever runs the server."],
    "offline": () => ["You are offline.", "It goes on by itself when the network is back."],
    "upgrade-stripped": () => ["Something between you and the server blocks this kind of connection.",
      "Another network may help. Tell whoever runs the server: the proxy must pass WebSocket."],
    "taken-over": () => ["This upload goes on elsewhere, perhaps in another tab.",
      "Leave it there, or go on here instead."],
    "file-changed": () => ["The file has changed since the upload began.",
      "Choose it again to upload it as it is now."],
    "file-unreadable": () => ["The file cannot be read any more; it may have been moved or deleted.",
      "Choose it again."],
    "other-file": () => ["That was another file, or it has changed.",
      "Choose the same file: same name, size and date."],
    "file-gone": () => ["Choose the same file again,", "and it goes on where it stopped."],
    "permission": () => ["Press “Go on”.", "The browser may ask whether this page may read the file again."],
    "gone": () => ["The server has deleted what it had of this file.", "Upload it again."],
    "not-found": () => ["The server does not know this upload any more.", "Upload it again."],
    "store-failed": () => ["The server’s disk failed.", "Trying again by itself. Tell whoever runs the server."],
    "store-not-writable": () => ["The server cannot write to its disk.",
      "Trying again by itself. Tell whoever runs the server."],
    "internal": () => ["Something went wrong in the server.", "Try again. If it stays, tell whoever runs it."],
    "too-many": () => ["The server is busy.", "It goes on by itself when others have finished."],
    "too-slow": () => ["The connection was too slow.", "Trying again by itself."],
    "holder-stuck": () => ["The server is still busy with the last part.", "Trying again by itself."],
    "origin-not-allowed": () => ["The server does not take uploads from this address.",
      "Tell whoever runs it: this page’s origin must be allowed."],
    "over-quota": () => ["What you may have on this server is used up.",
      "Delete something, or ask whoever runs the server for more."],
    "too-often": () => ["That was too much at once.", "It goes on by itself in a moment."],
    "type-not-allowed": () => ["The server does not take this kind of file.",
      "Choose another, or ask whoever runs the server."],
    "refused": () => ["The server does not take this file.", "Ask whoever runs it why."],
    "hook-failed": () => ["The server cannot tell yet whether it takes this file.",
      "Trying again by itself. If it lasts, tell whoever runs the server."],
    "forbidden": () => ["The server does not let you do this.", "Ask whoever runs it for permission."],
    "host-not-allowed": () => ["The server does not take uploads under this name.",
      "Tell whoever runs it: this host name must be allowed."],
    "length-exceeded": () => ["The file has grown since the upload began.", "Choose it again to upload it as it is now."],
    "length-conflict": () => ["The file has changed since the upload began.", "Choose it again to upload it as it is now."],
    "key-conflict": () => ["The file has changed since the upload began.", "Choose it again to upload it as it is now."],
    "digest-mismatch": () => ["The file was damaged on its way.", "Upload it again."],
    "bad-server": () => ["The server gave an answer that makes no sense.",
      "Reload the page. If it stays, tell whoever runs the server."],
  },
};

const languages = { en };

/** The first language of the user that there is. */
export const language = navigator.languages.find((one) => one.split("-")[0] in languages) ?? "en";
export const words = languages[language.split("-")[0]];

/** What `table` has for *key*, and nothing that it inherits: keys come from the server. */
export const own = (table, key) => (Object.hasOwn(table, key) ? table[key] : undefined);

/** What happened and what to do; for a code without words of ours, the server's own. */
export function explain(error, about = {}) {
  const known = own(words.errors, error.code);
  return known ? known(about) : [error.message, error.hint ?? ""];
}

/** Put the texts into the page that stand in it from the start. */
export function fill(root) {
  root.documentElement.lang = language;
  for (const node of root.querySelectorAll("[data-t]")) node.textContent = words[node.dataset.t];
  for (const node of root.querySelectorAll("[data-t-label]")) {
    node.setAttribute("aria-label", words[node.dataset.tLabel]);
  }
  for (const node of root.querySelectorAll("[data-t-hint]")) node.placeholder = words[node.dataset.tHint];
}
