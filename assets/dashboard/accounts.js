// Accounts as cards: what is left, how they are, and what can be done with them.

import * as api from "./api.js";
import { confirmed, dialog, empty, field, fill, h, sentence, toast, told } from "./dom.js";
import { count, day, when, windowName } from "./format.js";
import { signIn } from "./signin.js";

const HEALTH = {
  ready: "Ready", cooling: "Waiting", disabled: "Off", refused: "Refused", unusable: "Not usable",
};

export function accountsSection(app) {
  const cards = h("div", { class: "cards" });
  const notes = h("div", {});
  const element = h("section", {},
    h("div", { class: "bar" }, h("h1", {}, "Accounts"),
      h("button", { type: "button", onclick: () => load(true) }, "Ask what is left"),
      h("button", { type: "button", class: "primary", onclick: () => add() }, "Add account")),
    notes, cards);
  let known = null;
  let quotas = new Map();
  let told = "";
  let loading = null;

  /** Ask for everything; who comes while that runs waits for the same answer. */
  function load(refresh = false) {
    loading ||= ask(refresh).finally(() => { loading = null; });
    return loading;
  }

  async function ask(refresh) {
    try {
      const [accounts, quota] = await Promise.all([
        api.get("/admin/accounts"), api.get(`/v1/quota${refresh ? "?refresh=1" : ""}`),
      ]);
      known = accounts;
      quotas = new Map(quota.accounts.map((row) => [row.id, row]));
      draw();
      if (refresh) toast("Asked every service that tells.");
    } catch (error) {
      if (error.status !== 401) fill(notes, h("p", { class: "note bad" }, told(error)));
    }
  }

  function draw() {
    const vault = known.vault;
    const shut = !["open", "passphrase", "memory_only"].includes(vault.state) && vault.message;
    fill(notes, shut && h("p", { class: "note warn" }, sentence(`${vault.message} ${vault.hint}`)));
    if (!known.accounts.length) {
      fill(cards, empty("No account yet.",
        h("p", {}, "Sign in to a service you have, or store a key. Until then the demo models answer."),
        h("p", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => add() }, "Add account"))));
      return;
    }
    const status = new Map(((app.status && app.status.accounts) || []).map((a) => [a.id, a]));
    const consents = new Map(known.providers.map((provider) => [provider.id, provider.consent]));
    fill(cards, known.accounts.map((account) =>
      card(account, quotas.get(account.id), status.get(account.id), consents.get(account.provider), act)));
  }

  async function act(account, name, body) {
    try {
      if (name === "login") {
        signIn(known, { provider: account.provider, account: account.id }, () => load());
        return;
      }
      if (name === "rename") {
        await rename(account);
      } else if (name === "consent") {
        await agree(account, body);
      } else if (name === "logout") {
        const sure = await confirmed(`Sign out of ${account.label}?`,
          "Its sign-in is revoked where the service can do that, and deleted here. Requests then go to the other accounts.", "Sign out");
        if (!sure) return;
        toast((await api.remove(path(account))).message);
      } else {
        await api.post(`${path(account)}/${name}`, body);
        const said = { primary: "is asked first now", refresh: "was renewed", pause: "is paused", resume: "is used again" };
        toast(`${account.label} ${said[name]}.`);
      }
    } catch (error) {
      toast(told(error), true);
    }
    await load();
  }

  async function agree(account, consent) {
    await new Promise((resolve) => {
      const fault = h("p", { class: "note bad", role: "alert", hidden: true });
      const shown = dialog(`Use ${account.label}?`, h("div", { class: "note warn" },
        h("p", {}, consent.text), h("p", {}, sentence(consent.instead))), fault,
      h("div", { class: "actions" }, h("button", { type: "button", onclick: () => shown.close() }, "Cancel"),
        h("button", { type: "button", class: "primary", onclick: async () => {
          try {
            await api.post(`${path(account)}/consent`, { version: consent.version });
            shown.close();
          } catch (error) {
            fill(fault, told(error));
            fault.hidden = false;
          }
        } }, "I have read this and turn it on")));
      shown.addEventListener("close", resolve);
    });
  }

  async function rename(account) {
    await new Promise((resolve) => {
      const name = field("Name", h("input", { type: "text", value: account.label, maxlength: "64", autocomplete: "off" }));
      const form = h("form", { onsubmit: async (event) => {
        event.preventDefault();
        try {
          await api.post(`${path(account)}/rename`, { label: name.control.value });
          shown.close();
        } catch (error) {
          name.fail(told(error));
        }
      } }, name.element, h("div", { class: "actions" }, h("button", { class: "primary" }, "Rename")));
      const shown = dialog(`Rename ${account.label}`, form);
      shown.addEventListener("close", resolve);
      name.control.select();
    });
  }

  async function add() {
    if (!known) await load();
    if (known) signIn(known, {}, () => load());
  }

  app.on("status", () => {
    const now = JSON.stringify(app.status && [app.status.accounts, app.status.sign_ins]);
    if (now === told) return;
    told = now;
    if (element.isConnected) load();
  });
  /** Show the cards; `add` begins a new sign-in, `sign-in/ID` one to an account again. */
  async function show(wanted) {
    await load();
    if (!wanted || !known) return;
    history.replaceState(null, "", "#/accounts");
    const id = wanted.replace(/^sign-in\//, "");
    const account = known.accounts.find((one) => one.id === id);
    if (wanted === "add") add();
    else if (account) act(account, "login");
  }

  return { element, show };
}

function path(account) {
  return `/admin/accounts/${account.id.split("/").map(encodeURIComponent).join("/")}`;
}

function card(account, quota, status, consent, act) {
  const state = account.paused ? "paused" : account.state;
  const needs = Boolean(status && status.needs_sign_in);
  const kind = state === "ready" ? "good" : state === "cooling" || state === "paused" ? "warn" : state === "disabled" ? "" : "bad";
  const trouble = account.reason || account.warning;
  const key = (name) => ({ "data-key": `${account.id}:${name}` });
  const button = (name, text, body, more = {}) => h("button", { type: "button", ...key(name), ...more,
    "aria-label": `${text}: ${account.label}`, onclick: () => act(account, name, body) }, text);
  const signedIn = !account.configured;
  const unread = consent && account.need === "consent";
  return h("article", { class: "card", "aria-label": `${account.title}, ${account.label}` },
    h("header", {}, h("div", { class: "card-name" }, h("h2", {}, account.label), h("p", { class: "sub" }, account.title)),
      h("div", { class: "pills" }, account.primary && h("span", { class: "pill" }, "Asked first"),
        h("span", { class: `pill ${kind}` }, account.paused ? "Paused" : HEALTH[state] || state))),
    (account.name || account.plan || account.organization) && h("p", { class: "identity" },
      [account.name, account.organization, account.plan || (quota && quota.plan)].filter(Boolean).join(" · ")),
    trouble && h("p", { class: kind === "good" || account.paused ? "sub" : `note ${kind}` }, sentence(trouble),
      account.until ? ` Tried again ${when(account.until)}.` : ""),
    windows(quota),
    h("p", { class: "sub" }, [
      account.configured ? "Named in the settings" : account.created_at ? `Signed in ${day(account.created_at)}` : "",
      account.consented_at ? `agreed ${day(account.consented_at)}` : "",
      account.renewing ? "renewing now" : account.next_renewal_at ? `renewed ${when(account.next_renewal_at)}` : "",
    ].filter(Boolean).join(" · ")),
    signedIn && h("div", { class: "actions" },
      unread && button("consent", "Read the terms", consent, { class: "primary" }),
      needs && button("login", "Sign in again", undefined, { class: unread ? null : "primary" }),
      !account.primary && button("primary", "Ask first", {}),
      account.paused ? button("resume", "Use again", {}) : button("pause", "Pause", { paused: true }),
      account.renewable && button("refresh", "Renew", {}),
      !needs && button("login", "Sign in again"),
      button("rename", "Rename"),
      button("logout", "Sign out", undefined, { class: "danger" })),
    account.configured && h("p", { class: "sub" }, h("a", { href: "#/settings/providers" }, "Change it in the settings")));
}

function windows(quota) {
  if (!quota || (!quota.windows.length && !quota.trouble)) return h("p", { class: "sub" }, "What is left is not known.");
  return h("div", { class: "windows" },
    quota.windows.map((window) => {
      const left = window.left_percent;
      const name = windowName(window.name);
      const amount = window.left !== null && window.limit ? `${count(window.left)} of ${count(window.limit)} left`
        : left === null ? "" : `${Math.round(left)} % left`;
      const kind = window.exhausted || left === 0 ? "bad" : left !== null && left < 20 ? "warn" : "good";
      return h("div", { class: `window ${kind}` },
        h("div", { class: "window-head" }, h("span", {}, name), h("span", {}, window.exhausted ? "used up" : amount)),
        left !== null && h("meter", { min: "0", max: "100", low: "20", high: "20.01", optimum: "100", value: String(left),
          "aria-label": `${name}: ${amount || "used up"}` }),
        h("p", { class: "sub" },
          [window.resets_at ? `begins anew ${when(window.resets_at)}` : "",
            window.runs_out_at && !window.exhausted ? `used up ${when(window.runs_out_at)} at this pace` : "",
            window.models.length ? `for ${window.models.join(", ")}` : ""].filter(Boolean).join(" · ")));
    }),
    quota.note && h("p", { class: "sub" }, quota.note),
    quota.trouble && h("p", { class: "sub fault" }, sentence(quota.trouble)));
}
