// Asking the program. The session's token lives in this tab only.

const KEY = "dragoman-session";

/** Where the token is kept: in the tab, or only in the page where a window has no such place. */
const place = tabStorage() || {
  held: null,
  getItem() { return this.held; },
  setItem(_key, value) { this.held = value; },
  removeItem() { this.held = null; },
};

function tabStorage() {
  try {
    return window.sessionStorage;
  } catch {
    return null;
  }
}

export class Refused extends Error {
  constructor(status, code, message, body) {
    super(message);
    this.status = status;
    this.code = code;
    this.body = body;
  }
}

let ended = () => {};

/** Call `then` when the session is over. */
export function onEnd(then) {
  ended = then;
}

export function token() {
  return place.getItem(KEY);
}

function forget() {
  place.removeItem(KEY);
}

/** Trade the ticket in the address, if there is one, for a session, and go to the section that the
 * address names beside it. */
export async function redeem() {
  const match = /^#ticket=([\w-]+?)(?:&show=([\w%./-]+))?$/.exec(location.hash);
  if (!match) return;
  history.replaceState(null, "", location.pathname + (match[2] ? `#/${match[2]}` : ""));
  const answer = await fetch("/admin/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ticket: match[1] }),
  });
  const body = await answer.json();
  if (!answer.ok) throw refusal(answer.status, body);
  place.setItem(KEY, body.token);
}

function refusal(status, body) {
  const error = (body && body.error) || {};
  return new Refused(status, error.code || "", error.message || `The answer was ${status}.`, body);
}

/** Send a request with the session; the caller reads the answer. */
export async function send(method, path, body, options = {}) {
  const headers = { Authorization: `Bearer ${token()}` };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers, cache: "no-store",
      body: body === undefined ? undefined : JSON.stringify(body), ...options,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "Dragoman does not answer. Is it still running?");
  }
  if (answer.ok) return answer;
  const refused = refusal(answer.status, await answer.json().catch(() => null));
  if (refused.status === 401 && path.startsWith("/admin/")) {
    forget();
    ended();
  }
  throw refused;
}

async function json(method, path, body) {
  return (await send(method, path, body)).json();
}

export const get = (path) => json("GET", path);
export const post = (path, body = {}) => json("POST", path, body);
export const patch = (path, body) => json("PATCH", path, body);
export const remove = (path) => json("DELETE", path);

/** End the session. */
export async function leave() {
  try {
    await remove("/admin/session");
  } finally {
    forget();
    ended();
  }
}

/** Yield the lines of a streamed answer. */
export async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const found = (rest + value).split("\n");
      rest = found.pop();
      yield* found;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** Follow the live feed until the session ends; `take` gets each message, `state` the connection. */
export async function follow(take, state) {
  let wait = 500;
  while (token()) {
    try {
      const answer = await send("GET", "/admin/live");
      state(true);
      wait = 500;
      for await (const line of lines(answer)) if (line) take(JSON.parse(line));
    } catch (error) {
      if (error.status === 401) return;
    }
    state(false);
    await new Promise((resolve) => { setTimeout(resolve, wait); });
    wait = Math.min(wait * 2, 10_000);
  }
}
