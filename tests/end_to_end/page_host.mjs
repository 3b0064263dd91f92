// Runs the page's own script in Node, in what little of a browser it needs:
//   node --experimental-websocket page_host.mjs SCRIPT GOOGLE [CLIENT_ID]
// Its fetch reaches a stand-in for Google at the address GOOGLE, and refuses what a sandboxed page
// may not do. Each change of the shown state is one line of JSON on standard output; a line on
// standard input clicks or submits the element of that id.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [script, google, clientId] = process.argv.slice(2);
const SITE = "https://generativelanguage.googleapis.com";

class Element extends EventTarget {
  dataset = {};
  value = "";
  #text = "";

  constructor(id) {
    super();
    this.id = id;
  }

  get textContent() {
    return this.#text;
  }

  set textContent(text) {
    this.#text = text;
    if (this.id === "detail") {
      const { dataset, textContent } = document.getElementById("state");
      console.log(JSON.stringify({ state: dataset.state, text: textContent, detail: text }));
    }
  }
}

const elements = new Map();
globalThis.document = {
  title: "",
  visibilityState: "visible",
  addEventListener() {},
  getElementById(id) {
    if (!elements.has(id)) {
      elements.set(id, new Element(id));
    }
    return elements.get(id);
  },
};

const kept = new Map(clientId ? [["dragoman.client", clientId]] : []);
globalThis.localStorage = {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, String(value)),
};

const reach = globalThis.fetch;
globalThis.fetch = async (url, options = {}) => {
  const names = Object.keys(options.headers ?? {}).map((name) => name.toLowerCase());
  if (!url.startsWith(`${SITE}/`) || new URL(url).searchParams.has("key")) {
    throw new TypeError("Failed to fetch");
  }
  if (names.some((name) => name !== "content-type")) {
    throw new TypeError(`Refused to set unsafe header ${names}`);
  }
  return reach(google + url.slice(SITE.length), options);
};

// Node 20 tells of a refused handshake by "error" alone; browsers always say "close" after it.
globalThis.WebSocket = class extends WebSocket {
  constructor(url) {
    super(url);
    let closed = false;
    this.addEventListener("close", () => {
      closed = true;
    });
    this.addEventListener("error", () =>
      setImmediate(() => {
        if (!closed) {
          this.dispatchEvent(Object.assign(new Event("close"), { code: 1006, reason: "" }));
        }
      }),
    );
  }
};

createInterface({ input: process.stdin }).on("line", (id) => {
  const event = new Event(id === "settings" ? "submit" : "click", { cancelable: true });
  document.getElementById(id).dispatchEvent(event);
}).on("close", () => process.exit(0));

await import(pathToFileURL(script));
