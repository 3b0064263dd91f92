// Keys for agents that cannot prove who they are, and for other machines.

import * as api from "./api.js";
import { confirmed, copyButton, dialog, empty, field, fill, h, toast } from "./dom.js";
import { day, when } from "./format.js";

const KINDS = { client: "Models", admin: "Everything", relay: "Relay" };

export function keysSection() {
  const place = h("div", {});
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Keys"),
    h("button", { type: "button", class: "primary", onclick: create }, "New key")),
  h("p", { class: "sub" }, "Programs of your own on this machine need none. Other machines, and web pages, do."), place);

  async function load() {
    try {
      draw((await api.get("/admin/keys")).keys);
    } catch (error) {
      if (error.status !== 401) fill(place, h("p", { class: "note bad" }, error.message));
    }
  }

  function draw(keys) {
    if (!keys.length) {
      fill(place, empty("No key yet."));
      return;
    }
    const now = Date.now() / 1000;
    const state = (key) => (key.revoked_at !== null ? "revoked" : key.expires_at !== null && key.expires_at <= now ? "expired" : "active");
    keys.sort((a, b) => (state(b) === "active") - (state(a) === "active") || b.created_at - a.created_at);
    const cell = (name, kind, ...children) => h("td", { "data-name": name, class: kind }, ...children);
    fill(place, h("div", { class: "scroll" }, h("table", { class: "rows keys" },
      h("thead", {}, h("tr", {}, ["Name", "May use", "State", "Made", "Ends", ""].map((name) =>
        h("th", { scope: "col" }, name || h("span", { class: "hidden" }, "Revoke"))))),
      h("tbody", {}, keys.map((key) => h("tr", { class: state(key) === "active" ? "" : "off" },
        cell("Name", "wide", h("span", { class: "name" }, key.label || "unnamed"), h("span", { class: "sub" }, key.id)),
        cell("May use", "wide", KINDS[key.kind] || key.kind, h("span", { class: "sub" }, scope(key))),
        cell("State", "", h("span", { class: `pill ${state(key) === "active" ? "good" : ""}` }, state(key))),
        cell("Made", "num", day(key.created_at)),
        cell("Ends", "num", key.expires_at === null ? "never" : when(key.expires_at)),
        cell("", "", state(key) === "active" && h("button", { type: "button", class: "danger", "data-key": key.id,
          "aria-label": `Revoke ${key.label || key.id}`, onclick: () => revoke(key) }, "Revoke"))))))));
  }

  async function revoke(key) {
    if (!await confirmed(`Revoke ${key.label || key.id}?`, "Whoever uses it is refused from now on.", "Revoke")) return;
    try {
      await api.post(`/admin/keys/${key.id}/revoke`);
      toast("The key is revoked.");
    } catch (error) {
      toast(error.message, true);
    }
    load();
  }

  function create() {
    const label = field("Name", h("input", { type: "text", maxlength: "64", required: true, autocomplete: "off", placeholder: "laptop" }));
    const kind = field("May use", h("select", {}, h("option", { value: "client" }, "Models"),
      h("option", { value: "admin" }, "Models, and change Dragoman")));
    const ends = field("Ends", h("select", {}, [["", "Never"], ["1", "After a day"], ["30", "After 30 days"], ["365", "After a year"]]
      .map(([value, text]) => h("option", { value }, text))));
    const models = field("Only these models", h("input", { type: "text", autocomplete: "off" }), "Separated by commas; a * at the end stands for anything. Empty: all.");
    const fault = h("p", { class: "note bad", role: "alert", hidden: true });
    const shown = dialog("New key", h("form", { onsubmit: async (event) => {
      event.preventDefault();
      const body = { label: label.control.value, kind: kind.control.value };
      if (ends.control.value) body.expires_at = Date.now() / 1000 + Number(ends.control.value) * 86_400;
      const names = models.control.value.split(",").map((name) => name.trim()).filter(Boolean);
      if (names.length) body.models = names;
      try {
        const made = await api.post("/admin/keys", body);
        shown.close();
        reveal(made.key);
        load();
      } catch (error) {
        fault.textContent = error.message;
        fault.hidden = false;
      }
    } }, label.element, kind.element, ends.element, models.element, fault,
    h("div", { class: "actions" }, h("button", { class: "primary" }, "Create"))));
  }

  return { element, show: load };
}

function reveal(key) {
  dialog("Your new key", h("p", {}, "It is shown only now: copy it before you close this."),
    h("p", { class: "code small", tabindex: "0" }, key), h("div", { class: "actions" }, copyButton(key, "Copy the key")));
}

function scope(key) {
  return [["models", key.models], ["services", key.providers], ["accounts", key.accounts]]
    .filter(([, names]) => names).map(([what, names]) => `${what}: ${names.join(", ")}`).join(" · ");
}
