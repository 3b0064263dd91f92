// Keys for agents that cannot prove who they are, and for other machines: scopes, limits and their use.

import * as api from "./api.js";
import { confirmed, copyButton, dialog, empty, field, fill, h, toast, told } from "./dom.js";
import { day, when } from "./format.js";

const KINDS = { client: "Models", admin: "Models, and change Dragoman", relay: "AI Studio page" };
const ENDS = [["", "Never"], ["1", "After a day"], ["30", "After 30 days"], ["365", "After a year"]];
const KEPT = [["0", "At once"], ["3600", "In an hour"], ["86400", "In a day"], ["604800", "In a week"]];
const LISTS = [
  ["models", "Only these models", "* stands for anything: gpt-*, claude-*."],
  ["providers", "Only these services", "Such as openai, claude."],
  ["accounts", "Only these accounts", "Such as openai/work."],
  ["limits", "Limits", "Such as 60/minute, 2m tokens/day, 5 usd/month."],
];

export function keysSection() {
  const place = h("div", {});
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Keys"),
    h("button", { type: "button", class: "primary", onclick: () => edit(null) }, "New key")),
  h("p", { class: "sub" }, "Programs of your own on this machine need none. Other machines, and web pages, do. ",
    h("a", { href: "#/help/keys" }, "Keys, limits and budgets")), place);

  async function load() {
    try {
      draw((await api.get("/admin/keys")).keys);
    } catch (error) {
      if (error.status !== 401) fill(place, h("p", { class: "note bad" }, told(error)));
    }
  }

  function draw(keys) {
    if (!keys.length) {
      fill(place, empty("No key yet."));
      return;
    }
    keys.sort((a, b) => (b.state === "active") - (a.state === "active") || b.created_at - a.created_at);
    const cell = (name, kind, ...children) => h("td", { "data-name": name, class: kind }, ...children);
    fill(place, h("div", { class: "scroll" }, h("table", { class: "rows keys" },
      h("thead", {}, h("tr", {}, ["Name", "May use", "Limits", "State", "Ends", ""].map((name) =>
        h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Actions"))))),
      h("tbody", {}, keys.map((key) => h("tr", { class: key.state === "active" ? "" : "off" },
        cell("Name", "wide", h("span", { class: "name" }, key.label || "unnamed"), h("span", { class: "sub" }, `${key.id}, made ${day(key.created_at)}`)),
        cell("May use", "wide", KINDS[key.kind] || key.kind, h("span", { class: "sub" }, scope(key))),
        cell("Limits", "wide", key.limits.length ? key.limits.map(use) : "none"),
        cell("State", "", h("span", { class: `pill ${key.state === "active" ? "good" : ""}` }, key.state)),
        cell("Ends", "num", key.expires_at === null ? "never" : when(key.expires_at)),
        cell("", "", key.state === "active" && h("div", { class: "buttons" },
          key.kind !== "relay" && button(key, "Change", () => edit(key)),
          button(key, "Rotate", () => rotate(key)), button(key, "Revoke", () => revoke(key), "danger")))))))));
  }

  function button(key, name, onclick, kind = "") {
    return h("button", { type: "button", class: kind, "data-key": `${name}:${key.id}`, "aria-label": `${name} ${key.label || key.id}`, onclick }, name);
  }

  async function revoke(key) {
    if (!await confirmed(`Revoke ${key.label || key.id}?`, "Whoever uses it is refused from now on.", "Revoke")) return;
    try {
      await api.post(`/admin/keys/${key.id}/revoke`);
      toast("The key is revoked.");
    } catch (error) {
      toast(told(error), true);
    }
    load();
  }

  function rotate(key) {
    const kept = field("The former key ends", h("select", {}, KEPT.map(([value, text]) => h("option", { value }, text))),
      "Scopes, limits and what was used of them stay.");
    form(`New secret for ${key.label || key.id}`, [kept], "Rotate",
      () => api.post(`/admin/keys/${key.id}/rotate`, { keep_s: Number(kept.control.value) }));
  }

  function edit(key) {
    const label = field("Name", h("input", { type: "text", maxlength: "64", required: true, autocomplete: "off", placeholder: "laptop", value: key ? key.label : "" }));
    const kind = field("May use", h("select", {}, ["client", "admin"].map((name) => h("option", { value: name }, KINDS[name]))));
    const ends = field("Ends", h("select", {}, [...(key ? [["keep", key.expires_at === null ? "Never, as now" : `${when(key.expires_at)}, as now`]] : []), ...ENDS]
      .map(([value, text]) => h("option", { value }, text))));
    const lists = LISTS.map(([name, title, help]) => [name, field(title, h("input", { type: "text", autocomplete: "off",
      value: key ? (name === "limits" ? key.limits.map((one) => one.limit) : key[name] || []).join(", ") : "" }),
    `${help} Separated by commas; empty: ${name === "limits" ? "none" : "all"}.`)]);
    const preset = field("Model for calls that name none", h("input", { type: "text", autocomplete: "off", value: key ? key.default_model || "" : "" }));
    form(key ? `Change ${key.label || key.id}` : "New key",
      [label, ...(key ? [] : [kind]), ends, ...lists.map(([, one]) => one), preset], key ? "Save" : "Create", () => {
        const body = { label: label.control.value, default_model: preset.control.value.trim() || null };
        if (ends.control.value !== "keep") {
          body.expires_at = ends.control.value ? Date.now() / 1000 + Number(ends.control.value) * 86_400 : null;
        }
        for (const [name, one] of lists) {
          const found = one.control.value.split(",").map((text) => text.trim()).filter(Boolean);
          body[name] = found.length ? found : null;
        }
        if (key) return api.post(`/admin/keys/${key.id}`, body);
        return api.post("/admin/keys", { ...body, kind: kind.control.value });
      });
  }

  function form(title, fields, action, send) {
    const fault = h("p", { class: "note bad", role: "alert", hidden: true });
    const shown = dialog(title, h("form", { onsubmit: async (event) => {
      event.preventDefault();
      try {
        const made = await send();
        shown.close();
        if (made.key) reveal(made.key);
        else toast("Saved. It holds for the next call.");
        load();
      } catch (error) {
        fill(fault, told(error));
        fault.hidden = false;
        fault.scrollIntoView({ block: "nearest" });
      }
    } }, fields.map((one) => one.element), fault, h("div", { class: "actions" }, h("button", { class: "primary" }, action))));
  }

  return { element, show: load };
}

function use(one) {
  const percent = one.amount ? Math.min(100, (one.used / one.amount) * 100) : 100;
  return h("div", { class: `window ${one.reached ? "bad" : ""}` }, h("span", { class: "sub" }, one.text),
    h("meter", { min: "0", max: "100", value: percent.toFixed(1), "aria-label": one.limit }));
}

function reveal(key) {
  dialog("Your new key", h("p", {}, "It is shown only now: copy it before you close this."),
    h("p", { class: "code small", tabindex: "0" }, key), h("div", { class: "actions" }, copyButton(key, "Copy the key")));
}

function scope(key) {
  const named = [["models", key.models], ["services", key.providers], ["accounts", key.accounts]]
    .filter(([, names]) => names).map(([what, names]) => `${what}: ${names.join(", ")}`);
  if (key.default_model) named.push(`without a model: ${key.default_model}`);
  for (const [name, model] of Object.entries(key.aliases || {})) named.push(`${name} means ${model}`);
  return named.join(" · ");
}
