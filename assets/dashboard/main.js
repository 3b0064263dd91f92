// The page: sections, the address bar, colours, and the state that sections share.

import * as api from "./api.js";
import { fill, h, inline, toast, told } from "./dom.js";
import { showAbout } from "./about.js";
import { accountsSection } from "./accounts.js";
import { agentsSection } from "./agents.js";
import { helpSection } from "./help.js";
import { historySection } from "./history.js";
import { keysSection } from "./keys.js";
import { logsSection } from "./logs.js";
import { modelsSection } from "./models.js";
import { nowSection } from "./now.js";
import { routesSection } from "./routes.js";
import { servicesSection } from "./services.js";
import { settingsSection } from "./settings.js";
import { usageSection } from "./usage.js";
import { welcomeSection } from "./welcome.js";

const SECTIONS = [
  ["now", "Now", nowSection], ["usage", "Usage", usageSection], ["history", "History", historySection],
  ["accounts", "Accounts", accountsSection], ["models", "Models", modelsSection],
  ["routes", "Routes", routesSection], ["agents", "Agents", agentsSection],
  ["keys", "Keys", keysSection], ["services", "Services", servicesSection],
  ["settings", "Settings", settingsSection], ["logs", "Logs", logsSection],
  ["help", "Help", helpSection],
];
/** Sections that stand alone, without the list of the others. */
const APART = [["welcome", "Welcome", welcomeSection]];
const KEPT_REQUESTS = 300;
const KEPT_LINES = 1000;

class App extends EventTarget {
  status = null;
  connected = false;
  requests = new Map();
  log = [];

  on(name, listener) {
    this.addEventListener(name, listener);
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }

  take(message) {
    if (message.kind === "status") {
      this.status = message.status;
      this.tell("status");
    } else if (message.kind === "requests") {
      this.requestsCame(message.changed);
    } else if (message.kind === "log") {
      if (this.fresh) this.log = [];
      this.fresh = false;
      if (message.lost) {
        this.log.push({ at: Date.now() / 1000, level: "warning", name: "dragoman.live",
          text: `${message.lost} lines were too many to show; the log file has them.` });
      }
      this.log.push(...message.lines);
      this.log.splice(0, Math.max(0, this.log.length - KEPT_LINES));
      this.tell("log");
    }
  }

  requestsCame(rows) {
    if (this.fresh) this.requests.clear();
    for (const row of rows) this.requests.set(row.id, row);
    if (this.requests.size > KEPT_REQUESTS) {
      const ended = [...this.requests.values()].filter((row) => row.state !== "running");
      ended.sort((a, b) => a.at - b.at);
      for (const row of ended.slice(0, this.requests.size - KEPT_REQUESTS)) {
        this.requests.delete(row.id);
      }
    }
    this.tell("requests");
  }

  linked(on) {
    this.connected = on;
    if (on) this.fresh = true;
    this.tell("status");
  }
}

const app = new App();
const main = document.getElementById("main");
const built = new Map();

function showSection() {
  if (!api.token()) return;
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const found = [...SECTIONS, ...APART].find((section) => section[0] === name) || SECTIONS[0];
  const [id, title, make] = found;
  document.body.classList.toggle("apart", APART.includes(found));
  if (!built.has(id)) {
    const section = make(app);
    section.element.id = `section-${id}`;
    built.set(id, section);
  }
  for (const link of document.querySelectorAll("#nav a")) {
    if (link.dataset.section === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const section = built.get(id);
  document.title = `${title} · Dragoman`;
  if (main.firstElementChild !== section.element) {
    main.replaceChildren(section.element);
    scrollTo(0, 0);
    showLink();
  }
  if (section.show) section.show(rest.map(decodeURIComponent).join("/"));
}

/** Keep the section's name in sight where the list of them is a strip that scrolls. */
function showLink() {
  const link = document.querySelector("#nav a[aria-current]");
  if (link) link.scrollIntoView({ block: "nearest", inline: "center" });
}

const STATES = {
  running: "Running", working: "Answering", attention: "Needs attention",
  paused: "Paused", stopped: "Stopped",
};

function showState() {
  const place = document.getElementById("state");
  const status = app.status;
  if (!app.connected) {
    place.className = "state bad";
    fill(place, status ? "Connection lost, trying again" : "Connecting");
    return;
  }
  if (!status) return;
  const bad = status.state === "attention" || status.state === "stopped";
  place.className = `state ${bad ? "bad" : status.state === "paused" ? "warn" : "good"}`;
  place.title = status.reason.replaceAll("`", "");
  fill(place, h("span", { class: "state-name" }, STATES[status.state] || status.state),
    status.reason && h("span", { class: "state-reason" }, inline(status.reason)));
}

function theme() {
  const select = document.getElementById("theme");
  let kept = "auto";
  try {
    kept = localStorage.getItem("dragoman-theme") || "auto";
  } catch {
    select.title = "This browser keeps no choice";
  }
  const apply = (value) => { document.documentElement.dataset.theme = value; };
  select.value = kept;
  apply(kept);
  select.addEventListener("change", () => {
    apply(select.value);
    try {
      localStorage.setItem("dragoman-theme", select.value);
    } catch {
      toast("This browser does not keep the choice.");
    }
  });
}

function showClosed(reason) {
  document.body.classList.add("closed");
  document.title = "Dragoman";
  built.clear();
  document.getElementById("state").textContent = "";
  document.getElementById("about").replaceChildren();
  main.replaceChildren(h("section", { class: "closed-page" },
    h("h1", {}, "Open the dashboard from Dragoman"),
    h("p", {}, reason || "This page shows nothing by itself: it needs a ticket that only you can get."),
    h("p", {}, "Choose ", h("b", {}, "Open dashboard"), " in the tray menu, or run this in a terminal:"),
    h("pre", { tabindex: "0" }, "dragoman open")));
}

async function start() {
  theme();
  fill(document.getElementById("nav"), SECTIONS.map(([id, title]) =>
    h("a", { href: `#/${id}`, data: { section: id } }, title)));
  document.getElementById("leave").addEventListener("click", () => api.leave().catch(() => {}));
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault();
    main.focus();
  });
  let reason = "";
  api.onEnd(() => showClosed(reason || "This session has ended."));
  addEventListener("resize", showLink);
  addEventListener("hashchange", async () => {
    if (location.hash.startsWith("#ticket=")) location.reload();
    else showSection();
  });
  try {
    await api.redeem();
  } catch (error) {
    reason = told(error, "/help/");
  }
  if (!api.token()) {
    showClosed(reason);
    return;
  }
  reason = "";
  app.on("status", showState);
  showAbout(app, document.getElementById("about"));
  showState();
  showSection();
  await api.follow((message) => app.take(message), (on) => app.linked(on));
}

start();
