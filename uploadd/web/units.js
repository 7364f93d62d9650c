/** Bytes, seconds and percent as people read them, in the language of the page. */

import { language } from "./words.js";

const SIZES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
const formats = new Map();

function format(value, unit, digits) {
  const key = unit + digits;
  if (!formats.has(key)) {
    const unitDisplay = unit === "byte" ? "long" : "short";
    const style = { style: "unit", unit, unitDisplay, maximumFractionDigits: digits };
    formats.set(key, new Intl.NumberFormat(language, style));
  }
  return formats.get(key).format(value);
}

function scaled(value, suffix) {
  let step = 0;
  while (value >= 999.5 && step < SIZES.length - 1) {
    value /= 1000;
    step += 1;
  }
  return format(value, SIZES[step] + suffix, step && value < (step > 2 ? 99 : 9.95) ? 1 : 0);
}

/** A name of somebody else's: what turns the line round (so that "exe" looks like "png") is shown instead of done. */
export const legible = (name) => name.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "\ufffd");

export const bytes = (count) => scaled(count, "");
export const perSecond = (speed) => scaled(speed, "-per-second");

/** Whole seconds, minutes or hours: what jumps about tells nobody anything. */
export function duration(seconds) {
  if (seconds < 60) return format(Math.max(1, Math.ceil(seconds)), "second", 0);
  if (seconds < 5400) return format(Math.round(seconds / 60), "minute", 0);
  return format(seconds / 3600, "hour", seconds < 36000 ? 1 : 0);
}

/** Never rounded up: 100 is kept for what is done. */
export const percent = (part, whole) => (whole ? Math.min(99, Math.floor((100 * part) / whole)) : 0);

/** A moment, given in milliseconds since 1970: to the minute, and without the date if that is today. */
export function moment(at) {
  const date = new Date(at), today = date.toDateString() === new Date().toDateString();
  const time = date.toLocaleTimeString(language, { timeStyle: "short" });
  const day = today ? new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(0, "day")
    : date.toLocaleDateString(language, { dateStyle: "medium" });
  return `${day}, ${time}`;
}

export const count = (number) => number.toLocaleString(language);
