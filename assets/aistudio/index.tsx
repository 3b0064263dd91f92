// The page's side of Dragoman's relay. It connects to Dragoman on this computer, carries out the
// calls to the Gemini API that it is sent, and streams the answers back. AI Studio adds the
// session's credentials to these calls, so there is no key of Google's in here. Nothing but the
// Gemini API is ever called. Plain JavaScript, so that it runs as it is wherever it is pasted.

// The program fills these two in when it hands the files out; the form on the page changes them.
const GIVEN = { address: "DRAGOMAN_ADDRESS", key: "DRAGOMAN_KEY" };

const SITE = "https://generativelanguage.googleapis.com/";
const PING_MS = 25_000;
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 30_000;
const JITTER_MS = 500;
const MOST_CHARS = 256 * 1024; // of one frame
const MOST_BUFFERED = 4 * 1024 * 1024; // bytes that may wait in the socket before reading goes on
const REPLACED = 4001;
const REFUSED = 4003;

const stored = {
  get(name) {
    try {
      return localStorage.getItem(`dragoman.${name}`) ?? "";
    } catch {
      return ""; // storage is off in some sandboxes; the values then last as long as the page
    }
  },
  set(name, value) {
    try {
      localStorage.setItem(`dragoman.${name}`, value);
    } catch {
      // as above
    }
  },
};

const given = (name) => (GIVEN[name].startsWith("DRAGOMAN_") ? "" : GIVEN[name]);
const settings = {
  address: given("address") || stored.get("address") || "ws://127.0.0.1:8317/v1/ws",
  key: given("key") || stored.get("key"),
};
// The form wins over what was given, as long as what was given stays the same.
if (stored.get("given") === given("address") + given("key")) {
  settings.address = stored.get("address") || settings.address;
  settings.key = stored.get("key") || settings.key;
}

const clientId = stored.get("client") || crypto.randomUUID();
stored.set("client", clientId); // outlives a reload: to Dragoman it is the same page then

const calls = new Map(); // id of a call → { abort, paused, go }
let socket = null;
let wanted = false;
let retryMs = FIRST_RETRY_MS;
let retryTimer = 0;
let pingTimer = 0;
let served = 0;

const element = (id) => document.getElementById(id);

function show(state, text, detail = "") {
  const place = element("state");
  place.dataset.state = state;
  place.textContent = text;
  element("detail").textContent = detail;
  document.title = `${text} – Dragoman relay`;
}

function count() {
  element("counts").textContent = `${calls.size} running, ${served} served`;
}

// --- the socket ----------------------------------------------------------------------------------

function connect() {
  clearTimeout(retryTimer);
  wanted = true;
  if (socket !== null) {
    return;
  }
  if (!settings.key) {
    wanted = false;
    show("stopped", "No relay key", "Make one with: dragoman keys create --relay aistudio/home");
    return;
  }
  show("connecting", "Connecting", settings.address);
  let opened;
  try {
    const mark = settings.address.includes("?") ? "&" : "?";
    const query = `${mark}auth_token=${encodeURIComponent(settings.key)}`;
    opened = new WebSocket(settings.address + query);
  } catch (error) {
    wanted = false;
    show("stopped", "The address cannot be used", String(error));
    return;
  }
  socket = opened;
  opened.onopen = () => {
    retryMs = FIRST_RETRY_MS;
    send(opened, "", "hello", { client_id: clientId, version: 1 });
    pingTimer = setInterval(() => send(opened, "", "ping"), PING_MS);
    show("connected", "Connected", settings.address);
    count();
  };
  opened.onmessage = (event) => heard(opened, event.data);
  opened.onclose = (event) => closed(opened, event);
}

function closed(old, event) {
  if (socket !== old) {
    return;
  }
  socket = null;
  clearInterval(pingTimer);
  for (const call of calls.values()) {
    call.abort.abort();
  }
  if (event.code === REPLACED) {
    wanted = false;
    show("stopped", "Another page took over", "This account is served by a newer page.");
  } else if (event.code === REFUSED) {
    wanted = false;
    show("stopped", "The relay key is no longer valid", "Make a new one and put it in below.");
  } else if (wanted) {
    const waitMs = retryMs + Math.random() * JITTER_MS;
    retryMs = Math.min(retryMs * 2, LAST_RETRY_MS);
    retryTimer = setTimeout(connect, waitMs);
    const why = event.reason ? ` (${event.reason})` : "";
    show(
      "connecting",
      "Not connected",
      `Trying again in ${Math.round(waitMs / 1000)} s${why}. Is Dragoman running, is the key right, ` +
        "and does the browser allow this page to reach the local network?",
    );
  } else {
    show("stopped", "Disconnected");
  }
}

function disconnect() {
  wanted = false;
  clearTimeout(retryTimer);
  if (socket === null) {
    show("stopped", "Disconnected");
  } else {
    socket.close(1000, "disconnected by the user");
  }
}

function send(to, id, type, payload = undefined) {
  if (to.readyState === 1) {
    to.send(JSON.stringify({ id, type, payload }));
  }
}

function heard(from, data) {
  let told;
  try {
    told = JSON.parse(data);
  } catch {
    return; // no message of Dragoman's
  }
  const call = calls.get(told.id);
  switch (told.type) {
    case "http_request":
      if (call === undefined) {
        carryOut(from, told.id, told.payload ?? {});
      }
      break;
    case "cancel":
      call?.abort.abort();
      break;
    case "pause":
      if (call !== undefined) {
        call.paused = true;
      }
      break;
    case "resume":
      if (call !== undefined) {
        call.paused = false;
        call.go();
      }
      break;
    case "welcome":
      show("connected", "Connected", `Serving ${told.payload?.account ?? "Dragoman"}`);
      break;
    default: // pong, and what later versions may say
  }
}

// --- one call ------------------------------------------------------------------------------------

async function carryOut(to, id, asked) {
  const call = { abort: new AbortController(), paused: false, go: () => {} };
  const { signal } = call.abort;
  calls.set(id, call);
  count();
  let seq = 0;
  const chunk = (text) => {
    for (const data of split(text)) {
      send(to, id, "stream_chunk", { data, seq: seq++ });
    }
  };
  let stage = "FETCH_ERROR";
  try {
    const response = await fetch(checked(asked.url), options(asked, signal));
    stage = "STREAM_ERROR";
    const headers = {};
    response.headers.forEach((value, name) => {
      headers[name] = value;
    });
    send(to, id, "stream_start", { status: response.status, headers });
    if (response.body) {
      const reader = response.body.getReader();
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      for (;;) {
        await myTurn(to, call);
        const { done, value } = await reader.read();
        if (done) {
          break;
        }
        chunk(decoder.decode(value, { stream: true }));
      }
      chunk(decoder.decode());
    } else {
      chunk(await response.text());
    }
    send(to, id, "stream_end", {});
    served += 1;
  } catch (error) {
    if (!signal.aborted) {
      const message = String(error);
      send(to, id, "error", { code: stage, message, error: `${stage} ${message}`, status: 502 });
    }
  } finally {
    calls.delete(id);
    count();
  }
}

function checked(url) {
  if (typeof url !== "string" || !url.startsWith(SITE)) {
    throw new TypeError("this page calls the Gemini API only");
  }
  return url;
}

function options(asked, signal) {
  const headers = {};
  for (const [name, value] of Object.entries(asked.headers ?? {})) {
    headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  const method = asked.method ?? "GET";
  const bare = method === "GET" || method === "HEAD";
  return bare ? { method, headers, signal } : { method, headers, signal, body: asked.body ?? "" };
}

// Waits while Dragoman has asked for a pause, and while the socket has too much to send.
async function myTurn(to, call) {
  const { signal } = call.abort;
  while (call.paused && !signal.aborted) {
    await new Promise((resolve) => {
      call.go = resolve;
      signal.addEventListener("abort", resolve, { once: true });
    });
  }
  while (to.bufferedAmount > MOST_BUFFERED && !signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  signal.throwIfAborted();
}

// Cuts a text into pieces that fit a frame, never through a character.
function* split(text) {
  let from = 0;
  while (from < text.length) {
    let to = Math.min(from + MOST_CHARS, text.length);
    const last = text.charCodeAt(to - 1);
    if (to < text.length && last >= 0xd800 && last <= 0xdbff) {
      to -= 1;
    }
    yield text.slice(from, to);
    from = to;
  }
}

// --- the page ------------------------------------------------------------------------------------

element("address").value = settings.address;
element("key").value = settings.key;
element("settings").addEventListener("submit", (event) => {
  event.preventDefault();
  settings.address = element("address").value.trim();
  settings.key = element("key").value.trim();
  stored.set("address", settings.address);
  stored.set("key", settings.key);
  stored.set("given", given("address") + given("key"));
  if (socket !== null) {
    const old = socket;
    closed(old, { code: 1000, reason: "" });
    clearTimeout(retryTimer);
    old.close(1000, "settings changed");
  }
  retryMs = FIRST_RETRY_MS;
  connect();
});
element("stop").addEventListener("click", disconnect);
globalThis.addEventListener?.("online", () => wanted && connect());
// A page that was left may be kept frozen with its socket open, and would then answer nothing.
globalThis.addEventListener?.("pagehide", () => {
  if (socket !== null) {
    const old = socket;
    closed(old, { code: 1000, reason: "" });
    clearTimeout(retryTimer);
    old.close(1000, "the page was left");
  }
});
globalThis.addEventListener?.("pageshow", (event) => event.persisted && wanted && connect());
document.addEventListener?.("visibilitychange", () => {
  if (document.visibilityState === "visible" && wanted) {
    connect();
  }
});
count();
connect();
