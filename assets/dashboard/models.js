// Every name that clients may ask for: what it can do, who answers it, and a place to try it.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { copyButton, dialog, empty, fill, h, sentence, told } from "./dom.js";
import { count } from "./format.js";

const SHOWN = 100;

export function modelsSection(app) {
  const filter = h("input", { type: "search", placeholder: "Name, service, account", "aria-label": "Filter models" });
  const number = h("p", { class: "sub", role: "status" });
  const body = h("tbody", {});
  const table = h("table", { class: "rows models" }, h("thead", {}, h("tr", {},
    ["Name", "Goes to", "Can", "Context", "Longest answer", ""].map((name) =>
      h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Try"))))), body);
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => {
    shown += SHOWN;
    draw();
  } }, "Show more");
  const nothing = h("div", {});
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Models"), filter), number, nothing,
    h("div", { class: "scroll" }, table), more);
  let rows = [];
  let shown = SHOWN;
  let told = "";

  async function load() {
    try {
      rows = (await api.get("/admin/models")).models;
      draw();
    } catch (error) {
      if (error.status !== 401) fill(nothing, h("p", { class: "note bad" }, told(error)));
    }
  }

  function draw() {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = rows.filter((row) => {
      const text = `${row.name} ${row.title} ${row.service} ${row.provider} ${row.accounts.join(" ")} ${row.alias_of}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    table.hidden = !found.length;
    more.hidden = found.length <= shown;
    number.textContent = rows.length ? `${count(found.length)} of ${count(rows.length)} names` : "";
    if (!rows.length) {
      fill(nothing, empty("No model is known yet.", h("p", {}, "Models appear when an account has told which it has."),
        h("p", { class: "actions" }, h("a", { class: "button", href: "#/accounts" }, "Accounts"))));
    } else fill(nothing, found.length ? "" : h("p", { class: "note" }, "Nothing matches."));
    fill(body, found.slice(0, shown).map((row) => modelRow(row, app)));
  }

  filter.addEventListener("input", () => {
    shown = SHOWN;
    draw();
  });
  app.on("status", () => {
    const now = JSON.stringify(app.status && [app.status.models, app.status.default_model]);
    if (now === told) return;
    told = now;
    if (element.isConnected) load();
  });
  return { element, show: load };
}

function modelRow(row, app) {
  const cell = (name, kind, ...children) => h("td", { "data-name": name, class: kind }, ...children);
  const preset = app.status && app.status.default_model === row.name;
  const abilities = [row.tools && "tools", row.images && "images", row.reasoning && row.reasoning !== "none" && "thinks"].filter(Boolean);
  return h("tr", { class: row.reason ? "off" : "" },
    cell("Name", "wide", h("span", { class: "name" }, row.name), preset && h("span", { class: "pill" }, "Default"),
      (row.alias_of || row.title) && h("span", { class: "sub" }, row.alias_of ? `stands for ${row.alias_of}` : row.title)),
    cell("Goes to", "wide", row.reason
      ? h("span", { class: "fault" }, sentence(row.reason))
      : [row.account || row.service, h("span", { class: "sub" },
        [row.upstream !== row.name && `as ${row.upstream}`, row.accounts.length > 1 && `${row.accounts.length} accounts have it`]
          .filter(Boolean).join(" · "))]),
    cell("Can", "", abilities.length ? h("span", {}, abilities.map((name) => h("span", { class: "pill" }, name))) : "–"),
    cell("Context", "num", count(row.context)),
    cell("Longest answer", "num", count(row.max_output)),
    cell("", "", h("button", { type: "button", "data-key": `try:${row.name}`, "aria-label": `Try ${row.name}`,
      onclick: () => tryModel(row.name) }, "Try")));
}

function tryModel(name) {
  const prompt = h("textarea", { rows: "3", "aria-label": "What to ask" }, "Say hello in one short sentence.");
  const answer = h("div", { class: "answer", role: "log", "aria-live": "polite", tabindex: "0", "aria-label": "Answer" });
  const route = h("p", { class: "sub" });
  const sendButton = h("button", { class: "primary" }, "Send");
  let abort = null;
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    if (abort) abort.abort();
    else send();
  } }, prompt, h("div", { class: "actions" }, sendButton, copyButton(() => answer.textContent, "Copy the answer")));

  async function send() {
    abort = new AbortController();
    sendButton.textContent = "Stop";
    answer.textContent = "";
    route.textContent = "";
    answer.classList.remove("fault");
    try {
      const found = await ask(name, prompt.value, abort.signal, (piece) => answer.append(piece));
      route.textContent = found.route;
      if (!answer.textContent) answer.textContent = "The answer was empty.";
    } catch (error) {
      if (error.name !== "AbortError") {
        answer.classList.add("fault");
        answer.append(...told(error));
      }
    }
    abort = null;
    sendButton.textContent = "Send";
  }

  const shown = dialog(`Try ${name}`, form, answer, route);
  shown.addEventListener("close", () => { if (abort) abort.abort(); });
  prompt.select();
}
