// Adding an account, or signing in to one again: every way that a service offers.

import * as api from "./api.js";
import { copyButton, dialog, field, fill, h, sentence, toast } from "./dom.js";
import { span } from "./format.js";

const WAYS = { browser: "Sign in in the browser", device: "Sign in with a code", secret: "Enter" };
const POLL_MS = 1500;

/** Open the dialog. `wanted` may name a provider and an account to repair; `done` is called after
 * a sign-in has ended well. */
export function signIn(known, wanted, done) {
  const place = h("div", { class: "signin" });
  const shown = dialog(wanted.account ? "Sign in again" : "Add account", place);
  let flow = null;
  let timer = 0;
  let over = false;

  shown.addEventListener("close", () => {
    over = true;
    clearTimeout(timer);
    if (flow && ["waiting", "other_identity"].includes(flow.state)) {
      complete({ cancel: true }).catch(() => {});
    }
  });

  function complete(body) {
    return api.post(`/admin/accounts/${encodeURIComponent(flow.provider)}/oauth/complete`, { flow: flow.flow, ...body });
  }

  function chooseService() {
    const search = h("input", { type: "search", placeholder: "Service", "aria-label": "Filter services" });
    const list = h("div", { class: "choices" });
    const draw = () => {
      const word = search.value.toLowerCase();
      fill(list, known.providers.filter((p) => p.title.toLowerCase().includes(word) || p.id.includes(word))
        .map((provider) => h("button", { type: "button", class: "choice", onclick: () => chooseWay(provider) },
          h("b", {}, provider.title), h("span", { class: "sub" }, [...new Set(provider.ways.map((way) => wayName(way)))].join(" · ").replaceAll("`", "")))));
    };
    search.addEventListener("input", draw);
    draw();
    fill(place, known.providers.length > 8 && search, list,
      h("p", { class: "sub" }, "Any other server that speaks one of the four dialects is named in the ",
        h("a", { href: "#/help/settings", onclick: () => shown.close() }, "settings"), "."));
  }

  function chooseWay(provider) {
    const options = {};
    const agree = h("input", { type: "checkbox" });
    const label = field("Name for this account (optional)", h("input", { type: "text", maxlength: "64", autocomplete: "off" }));
    const host = field("Server, where the service runs on your own (optional)",
      h("input", { type: "text", placeholder: "company.example.com", autocomplete: "off" }));
    const memory = h("input", { type: "checkbox" });
    const shut = !["open", "passphrase", "memory_only"].includes(known.vault.state);
    const fault = h("p", { class: "note bad", role: "alert", hidden: true });
    const buttons = provider.ways.map((way) => h("button", { type: "button", class: "primary", onclick: () => {
      options.way = way.way;
      begin(provider, way);
    } }, wayTitle(way, provider.ways)));
    const gate = () => buttons.forEach((button) => { button.disabled = Boolean(provider.consent) && !agree.checked; });
    agree.addEventListener("change", gate);
    gate();

    async function begin(service, way) {
      buttons.forEach((button) => { button.disabled = true; });
      fault.hidden = true;
      const body = { way: way.way, consent: service.consent ? service.consent.version : "" };
      if (wanted.account) body.account = wanted.account;
      else if (label.control.value) body.label = label.control.value;
      if (host.control.value) body.host = host.control.value;
      if (memory.checked) body.memory_only = true;
      try {
        flow = await api.post(`/admin/accounts/${encodeURIComponent(service.id)}/oauth/start`, body);
        showFlow(service);
      } catch (error) {
        fault.textContent = error.message;
        fault.hidden = false;
        gate();
      }
    }

    fill(place, h("h3", {}, provider.title),
      provider.consent && h("div", { class: "note warn consent" }, h("p", {}, provider.consent.text),
        h("p", {}, sentence(provider.consent.instead)),
        h("label", { class: "check" }, agree, h("span", {}, "I have read this and turn it on."))),
      shut && h("div", { class: "note warn" }, h("p", {}, sentence(`${known.vault.message} ${known.vault.hint}`)),
        h("label", { class: "check" }, memory, h("span", {}, "Keep this sign-in only until Dragoman stops."))),
      !wanted.account && label.element,
      provider.ways.some((way) => way.kind === "device") && h("details", {}, h("summary", {}, "More"), host.element),
      fault,
      h("div", { class: "actions" }, !wanted.provider && h("button", { type: "button", onclick: chooseService }, "Back"), buttons));
  }

  function showFlow(provider) {
    if (over) return;
    const drawn = flow.state;
    fill(place, h("h3", {}, provider.title), view(provider));
    const input = place.querySelector("input");
    if (input) input.focus();
    if (["waiting", "working"].includes(drawn)) timer = setTimeout(() => poll(provider), POLL_MS);
  }

  async function poll(provider) {
    try {
      const fresh = await api.get(`/admin/accounts/flows/${flow.flow}`);
      if (over) return;
      const changed = fresh.state !== flow.state;
      flow = fresh;
      const left = place.querySelector(".left");
      if (left) left.textContent = `Still valid for ${span(flow.expires_in)}.`;
      if (changed) {
        showFlow(provider);
        return;
      }
    } catch (error) {
      if (error.status === 404 || error.status === 401) {
        fill(place, h("p", { class: "note bad" }, error.message));
        return;
      }
    }
    timer = setTimeout(() => poll(provider), POLL_MS);
  }

  function view(provider) {
    switch (flow.state) {
      case "waiting": return waiting(provider);
      case "working": return h("p", { role: "status" }, `Asking ${provider.title}.`);
      case "done":
        done();
        return [h("p", { class: "note good", role: "status" },
          `${flow.account} is signed in${flow.name ? ` as ${flow.name}` : ""}${flow.plan ? ` (${flow.plan})` : ""}.`),
        h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => shown.close() }, "Done"))];
      case "other_identity":
        return [h("p", { class: "note warn" }, flow.error), h("div", { class: "actions" },
          h("button", { type: "button", onclick: () => shown.close() }, "Cancel"),
          h("button", { type: "button", class: "primary", onclick: () => finish(provider, { confirm: true }) }, "Use this one"))];
      default:
        return [h("p", { class: "note bad", role: "alert" }, flow.error || "The sign-in has ended without success."),
          h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => {
            flow = null;
            chooseWay(provider);
          } }, "Start again"))];
    }
  }

  function waiting(provider) {
    const left = h("p", { class: "sub left" }, `Still valid for ${span(flow.expires_in)}.`);
    if (flow.kind === "device") {
      return [h("p", {}, "Open this page and type the code there:"),
        h("p", { class: "code", "aria-label": `Code ${[...flow.user_code].join(" ")}` }, flow.user_code),
        h("div", { class: "actions" }, copyButton(flow.user_code, "Copy the code"), page("Open the page")),
        h("p", { role: "status" }, `Waiting for ${provider.title}.`), left];
    }
    if (flow.kind === "secret") return [entry(provider, flow.prompt || "Key", "secret", "password", "Sign in"), left];
    return [
      h("ol", {}, h("li", {}, "Sign in on the service's page."),
        h("li", {}, flow.listening ? "This window notices by itself when you are done." : "Paste below what the page gives you.")),
      h("div", { class: "actions" }, page("Open the sign-in page"), copyButton(flow.url, "Copy the link")),
      flow.notice && h("p", { class: "note" }, flow.notice),
      h("details", { open: !flow.listening }, h("summary", {}, "Paste the code or the address instead"),
        entry(provider, "Code, or the whole address that the browser ended at", "text", "text", "Continue")),
      left];
  }

  function page(text) {
    return h("a", { class: "button primary", href: safeUrl(flow.url), target: "_blank", rel: "noopener noreferrer" }, text);
  }

  function entry(provider, label, name, type, action) {
    const input = field(label, h("input", { type, autocomplete: "off", spellcheck: "false", required: true }));
    return h("form", { onsubmit: (event) => {
      event.preventDefault();
      finish(provider, { [name]: input.control.value }, input);
    } }, input.element, h("div", { class: "actions" }, h("button", { class: "primary" }, action)));
  }

  async function finish(provider, body, input) {
    clearTimeout(timer);
    try {
      flow = await complete(body);
      showFlow(provider);
    } catch (error) {
      if (input) input.fail(error.message);
      else toast(error.message, true);
      timer = setTimeout(() => poll(provider), POLL_MS);
    }
  }

  const provider = known.providers.find((p) => p.id === wanted.provider);
  if (provider) chooseWay(provider);
  else chooseService();
}

function wayName(way) {
  return way.kind === "secret" ? `${WAYS.secret} ${way.prompt || "a key"}` : WAYS[way.kind];
}

/** Return a way's name; where two are of one kind, with what tells them apart. */
function wayTitle(way, ways) {
  const name = wayName(way).replaceAll("`", "");
  const first = ways.find((other) => wayName(other) === wayName(way));
  return first === way ? name : `${name} (${way.way})`;
}

function safeUrl(url) {
  return /^https?:\/\//.test(url) ? url : "about:blank";
}
