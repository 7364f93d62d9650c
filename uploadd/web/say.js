/** One polite voice for those who listen: at most once a second, the newest last. */

const region = document.getElementById("said");
const QUIET = 1000;
const MOST = 3;
let waiting = [];
let timer = 0;

export function say(text) {
  waiting = [...waiting.filter((one) => one !== text), text].slice(-MOST);
  timer ||= setTimeout(speak, 100);
}

function speak() {
  region.textContent = waiting.join(". ");
  waiting = [];
  timer = setTimeout(rest, QUIET);
}

function rest() {
  timer = 0;
  if (waiting.length) speak();
}
