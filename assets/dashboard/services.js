// What belongs to the program: the router, pages of AI Studio, windows, and helper programs with
// their switches.

import * as api from "./api.js";
import { confirmed, dialog, fill, h, sentence, toast, told } from "./dom.js";
import { studioCards } from "./studio.js";
import { bytes, span, when } from "./format.js";

const KIND = { router: "Router", page: "Page", window: "Window", service: "Helper program" };
const BUSY = ["installing", "starting", "stopping", "waiting"];
const GOOD = ["ready"];
const QUIET = ["off", "not_installed", "hidden"];

export function servicesSection(app) {
  const parts = h("tbody", {});
  const count = h("p", { class: "sub" });
  const cards = h("div", { class: "cards" });
  const fault = h("div", {});
  const studios = studioCards();
  const element = h("section", {}, h("h1", {}, "Services"),
    h("p", {}, "Programs beside Dragoman. Each is off until you turn it on, runs in an environment of its own, and is reached on this machine only."),
    fault, cards, studios.element,
    h("div", { class: "bar" }, h("h2", {}, "What is running"), count),
    h("div", { class: "scroll" }, h("table", { class: "rows" },
      h("thead", {}, h("tr", {}, ["Part", "State", "For", "Memory", "Next try"].map((name) => h("th", { scope: "col" }, name)))),
      parts)));
  let known = [];
  let drawnFor = "";

  function vitals() {
    return (app.status && app.status.vitals) || [];
  }

  async function load() {
    try {
      known = (await api.get("/admin/services")).services;
      fill(fault);
    } catch (error) {
      if (error.status !== 401) fill(fault, h("p", { class: "note bad" }, told(error)));
    }
    draw();
    await studios.load();
  }

  function draw() {
    fill(cards, known.map((one) => card(one, act)));
    const shown = vitals().filter((one) => !["off", "not_installed"].includes(one.state));
    const processes = vitals().filter((one) => one.pid !== null).length;
    fill(count, processes === 1 ? "One process." : `${processes} processes.`);
    fill(parts, shown.map((one) => h("tr", {},
      h("td", { "data-name": "Part" }, one.title, h("span", { class: "sub" }, KIND[one.kind])),
      h("td", { "data-name": "State" }, pill(one.state), one.reason && h("span", { class: "sub" }, sentence(one.reason))),
      h("td", { "data-name": "For", class: "num" }, one.since ? span(Date.now() / 1000 - one.since) : "–"),
      h("td", { "data-name": "Memory", class: "num" }, one.memory_bytes === null ? "–" : bytes(one.memory_bytes)),
      h("td", { "data-name": "Next try", class: "num" }, one.until ? when(one.until) : "–"))));
  }

  async function act(one, name) {
    try {
      if (name === "logs") {
        await showLog(one);
        return;
      }
      if (name === "start" && !one.agreed && !(await agreed(one))) return;
      if (name === "stop" && !(await confirmed(`Turn ${one.title} off?`, "Answers that it is giving are cut off.", "Turn off"))) return;
      await api.post(`/admin/services/${one.name}/${name}`, name === "start" ? { consent: one.consent.version } : {});
    } catch (error) {
      toast(told(error), true);
    }
    await load();
  }

  app.on("status", () => {
    if (!element.isConnected) return;
    const now = JSON.stringify([app.status && app.status.studios,
      vitals().filter((one) => one.kind === "service").map((one) => `${one.state} ${one.reason}`)]);
    if (now !== drawnFor) {
      drawnFor = now;
      load();
    } else draw();
  });
  return { element, show: load };
}

function pill(state) {
  const kind = GOOD.includes(state) ? "good" : BUSY.includes(state) ? "warn" : QUIET.includes(state) ? "" : "bad";
  return h("span", { class: `pill ${kind}` }, state.replaceAll("_", " "));
}

function card(one, act) {
  const button = (name, text, primary = false) => h("button", { type: "button", class: primary ? "primary" : "",
    "data-key": `${one.name}-${name}`, onclick: () => act(one, name) }, text);
  const answered = Object.entries(one.answered);
  const facts = [
    ["Address", one.address],
    ["Version", one.installed],
    ["Started again", one.restarts ? `${one.restarts} times` : ""],
    ["Next try", one.until ? when(one.until) : ""],
    ["Agreed to", one.agreed && one.consented_at ? when(one.consented_at) : ""],
    ["Who answered", answered.map(([who, times]) => `${who} ${times}`).join(", ")],
  ];
  const installed = one.outside || one.installed;
  return h("article", { class: "card", "aria-label": one.title },
    h("header", {}, h("div", { class: "card-name" }, h("h2", {}, one.title)), h("div", { class: "pills" }, pill(one.state))),
    one.reason && h("p", {}, sentence(one.reason)),
    one.outside && h("p", { class: "sub" }, "You run it; Dragoman only looks at it."),
    h("dl", { class: "facts" }, facts.filter((fact) => fact[1]).map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    h("div", { class: "actions" },
      !installed && one.state !== "installing" && button("install", "Install", true),
      installed && !one.on && button("start", "Turn on", true),
      one.on && one.state === "failed" && button("start", "Start again", true),
      one.on && button("stop", "Turn off"),
      !one.outside && button("logs", "Log")));
}

/** Show what turning it on means; resolves to whether the user agrees. */
function agreed(one) {
  return new Promise((resolve) => {
    let answer = false;
    const shown = dialog(`Turn ${one.title} on?`, h("div", { class: "note warn" },
      h("p", {}, one.consent.text), h("p", {}, sentence(one.consent.instead))),
    h("div", { class: "actions" }, h("button", { type: "button", onclick: () => shown.close() }, "Cancel"),
      h("button", { type: "button", class: "primary", onclick: () => {
        answer = true;
        shown.close();
      } }, "I have read this and turn it on")));
    shown.addEventListener("close", () => resolve(answer));
  });
}

async function showLog(one) {
  const { lines } = await api.get(`/admin/services/${one.name}/logs?n=300`);
  dialog(`Log of ${one.title}`, lines.length
    ? h("pre", { class: "log", tabindex: "0" }, lines.join("\n"))
    : h("p", { class: "sub" }, "Nothing has been printed yet."));
}
