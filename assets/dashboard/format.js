// Numbers and times as people read them.

export function count(number) {
  if (number === null || number === undefined) return "–";
  if (number < 10_000) return number.toLocaleString("en");
  if (number < 1_000_000) return `${cut((number / 1000).toFixed(number < 100_000 ? 1 : 0))}k`;
  return `${cut((number / 1_000_000).toFixed(1))}M`;
}

function cut(digits) {
  return digits.replace(/\.0$/, "");
}

export function bytes(number) {
  if (number < 1024) return `${number} B`;
  if (number < 1024 * 1024) return `${(number / 1024).toFixed(1)} KB`;
  return `${(number / 1024 / 1024).toFixed(1)} MB`;
}

export function milliseconds(number) {
  if (number === null || number === undefined) return "–";
  if (number < 1000) return `${number} ms`;
  if (number < 60_000) return `${(number / 1000).toFixed(1)} s`;
  return span(number / 1000);
}

/** A length of time in its two largest units. */
export function span(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) {
    const minutes = Math.floor((s % 3600) / 60);
    return `${Math.floor(s / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  const hours = Math.floor((s % 86_400) / 3600);
  return `${Math.floor(s / 86_400)} d${hours ? ` ${hours} h` : ""}`;
}

/** When something comes or came, seen from now; epoch seconds. */
export function when(at, now = Date.now() / 1000) {
  const left = at - now;
  return left >= 0 ? `in ${span(left)}` : `${span(-left)} ago`;
}

/** An amount in US dollars; small ones with the digits that tell them from nothing. */
export function money(dollars) {
  if (dollars === null || dollars === undefined) return "–";
  if (dollars === 0) return "$0";
  if (dollars < 0.01) return `$${dollars.toPrecision(2)}`;
  return dollars.toLocaleString("en", { style: "currency", currency: "USD",
    maximumFractionDigits: dollars < 1000 ? 2 : 0 });
}

export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

export function day(at) {
  return new Date(at * 1000).toLocaleDateString("en-GB",
    { day: "numeric", month: "short", year: "numeric" });
}

const WINDOWS = {
  "5h": "5 hours", "7d": "7 days", month: "Month", day: "Day", requests: "Requests",
  "7d_opus": "7 days, Opus", "7d_sonnet": "7 days, Sonnet",
};

export function windowName(name) {
  return WINDOWS[name] || name.replaceAll("_", " ");
}
