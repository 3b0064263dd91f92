// AI Studio: how far each account's page is, its window, and the files to paste there.

import * as api from "./api.js";
import { confirmed, copyButton, dialog, field, fill, h, inline, sentence, toast, told } from "./dom.js";
import { when } from "./format.js";

const STEPS = [
  ["signed_in", "Signed in to Google"], ["app_loaded", "App open"], ["connected", "Connected to Dragoman"],
];
const WINDOW = {
  closed: "Window closed", opening: "Window opens", shown: "Window open", hidden: "Window hidden, works on",
  waiting: "Window opens again", failed: "Window failed",
};

export function studioCards() {
  const cards = h("div", { class: "cards" });
  const element = h("div", {}, h("div", { class: "bar" }, h("h2", {}, "AI Studio"),
    h("button", { type: "button", onclick: () => begin() }, "Set up an account")), cards);
  let known = null;

  async function load() {
    try {
      known = await api.get("/admin/aistudio");
    } catch (error) {
      if (error.status !== 401) fill(cards, h("p", { class: "note bad" }, told(error)));
      return;
    }
    fill(cards, known.accounts.length ? known.accounts.map((one) => card(one, known.windows, act))
      : h("p", { class: "sub" }, "No account yet. A page in AI Studio can answer Gemini calls, signed in as you."));
  }

  async function act(one, order) {
    try {
      if (order === "files") {
        await setUp(one.label);
        return;
      }
      if (order === "sign-out") {
        const sure = await confirmed(`Sign ${one.label} out?`,
          "The window closes, and everything that it kept is deleted: the sign-in at Google and the address of the app.", "Sign out");
        if (!sure) return;
      }
      const told = await api.post(`/admin/aistudio/windows/${encodeURIComponent(one.label)}/${order}`);
      if (order === "browser" && !known.windows) open(told.address, "_blank", "noopener");
    } catch (error) {
      toast(told(error), true);
    }
    await load();
  }

  async function begin() {
    if (!known) await load();
    const name = field("Name of the account", h("input", { type: "text", value: known.accounts.length ? "" : "home",
      maxlength: "64", autocomplete: "off" }), "Each Google account gets one of its own.");
    const form = h("form", { onsubmit: async (event) => {
      event.preventDefault();
      try {
        await setUp(name.control.value, () => shown.close());
      } catch (error) {
        name.fail(told(error));
      }
    } }, h("div", { class: "note warn" }, h("p", {}, known.consent.text), h("p", {}, sentence(known.consent.instead))),
    name.element, h("div", { class: "actions" }, h("button", { type: "button", onclick: () => shown.close() }, "Cancel"),
      h("button", { class: "primary" }, "I have read this and turn it on")));
    const shown = dialog("Set up AI Studio", form);
    name.control.select();
  }

  /** Make a relay key, show the files to paste, and open AI Studio beside them. */
  async function setUp(label, then = () => {}) {
    const made = await api.post("/admin/aistudio/app", { account: label, consent: known.consent.version });
    then();
    const order = known.windows ? "show" : "browser";
    const buttons = h("div", { class: "actions" },
      h("button", { type: "button", class: "primary", onclick: () => act({ label }, order) }, "Open AI Studio"),
      h("button", { type: "button", onclick: () => act({ label }, "browser") }, "Open in my browser"));
    dialog(`The app for ${label}`,
      h("ol", {}, h("li", {}, "Open AI Studio and sign in to Google."),
        h("li", {}, "Under Build, make an empty app, and replace its files by these three."),
        h("li", {}, "Start it, press Launch if it is shown, and allow it to reach devices on the local network if you are asked.")),
      h("ul", { class: "plain" }, Object.entries(made.files).map(([name, text]) =>
        h("li", { class: "bar" }, h("code", {}, name), copyButton(text, `Copy ${name}`)))),
      h("p", { class: "sub" }, "The files hold a relay key that is shown here only. If they get lost, make new ones here and revoke the old key under Keys."),
      buttons);
    await load();
  }

  return { element, load };
}

function card(one, windows, act) {
  const button = (order, text, primary = false) => h("button", { type: "button", class: primary ? "primary" : "",
    "data-key": `${one.label}-${order}`, onclick: () => act(one, order) }, text);
  const state = one.window.state;
  const open = ["opening", "shown", "hidden", "waiting", "failed"].includes(state);
  const kind = one.step === "connected" ? "good" : one.step === "refused" ? "bad" : "warn";
  return h("article", { class: "card", "aria-label": `AI Studio, ${one.label}` },
    h("header", {}, h("div", { class: "card-name" }, h("h2", {}, one.label), h("p", { class: "sub" }, "AI Studio")),
      h("div", { class: "pills" }, h("span", { class: `pill ${kind}` }, one.connected ? "Connected" : "Not connected"))),
    h("ul", { class: "plain" }, STEPS.map(([name, text]) =>
      h("li", {}, h("span", { "aria-hidden": "true" }, one[name] ? "✓ " : ""), text, one[name] ? "" : ": not yet"))),
    one.text && h("p", { class: one.step === "refused" ? "note bad" : "note" }, inline(one.text)),
    one.window.reason && h("p", { class: "note warn" }, one.window.reason),
    h("p", { class: "sub" }, one.where === "browser" ? "Opened in your browser" : WINDOW[state] || state,
      one.window.until ? `, ${when(one.window.until)}` : ""),
    h("div", { class: "actions" },
      windows && button("show", state === "hidden" ? "Show window" : "Open window", !one.connected && one.step !== "refused"),
      windows && state === "shown" && button("hide", "Hide window"),
      button("browser", "Open in my browser", one.step === "refused" || (!windows && !one.connected)),
      windows && open && button("close", "Close window"),
      button("files", "New files"),
      button("sign-out", "Sign out")));
}
