// Adding an account, or signing in to one again: every way that a service offers.

import * as api from "./api.js";
import { copyButton, dialog, field, fill, h, helpLink, sentence, toast, told } from "./dom.js";
import { span } from "./format.js";

const WAYS = { browser: "Sign in in the browser", device: "Sign in with a code", secret: "Enter" };
const POLL_MS = 500;
const ALONE = { desktop: false, windows: false, line: "", remembered: {}, pages: {} };

/** Open the dialog. `wanted` may name a provider and an account to repair; `done` is called after
 * a sign-in has ended well. */
export async function signIn(known, wanted, done) {
  const place = h("div", { class: "signin" });
  const shown = dialog(wanted.account ? "Sign in again" : "Add account", place);
  const view = signInView(place, known, wanted, { done, close: () => shown.close() });
  shown.addEventListener("close", () => view.end());
  await view.start();
}

/** Return what shows a sign-in in an element. `wanted` may name a `provider`, an `account` to
 * repair, or a `flow` that runs, with `place`, where its page is, `paste` to open its field, or
 * `trouble`, why the service's page cannot go on (`host` and `what`). `hooks`: `done` is called after a sign-in has ended well,
 * `close` closes the view, `alone` says that it is all there is in its window. */
export function signInView(place, known, wanted, hooks) {
  let flow = null;
  let places = ALONE;
  let timer = 0;
  let over = false;

  async function start() {
    places = await api.get("/admin/accounts/places").catch(() => ALONE);
    if (over) return;
    if (wanted.flow) {
      await resume();
      return;
    }
    const provider = known.providers.find((p) => p.id === wanted.provider);
    if (provider) await chooseWay(provider);
    else chooseService();
  }

  /** End the view; whoever closes it before the sign-in has ended does not want it any more. */
  function end() {
    over = true;
    clearTimeout(timer);
    if (flow && ["waiting", "other_identity"].includes(flow.state)) {
      complete({ cancel: true }).catch(() => {});
    }
  }

  async function resume() {
    try {
      flow = await api.get(`/admin/accounts/flows/${wanted.flow}`);
    } catch (error) {
      fill(place, h("p", { class: "note bad", role: "alert" }, told(error)));
      return;
    }
    flow.place = wanted.place;
    showFlow(known.providers.find((p) => p.id === flow.provider));
  }

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
        h("a", { href: "#/help/settings", onclick: () => hooks.close() }, "settings"), "."));
  }

  /** Say whether a way ends on a page of the service, which the desktop can show. */
  function paged(provider, way) {
    return way.kind !== "secret" || Boolean(places.pages[`${provider.id}/${way.way}`]);
  }

  async function chooseWay(provider) {
    const agree = h("input", { type: "checkbox" });
    const label = field("Name for this account (optional)", h("input", { type: "text", maxlength: "64", autocomplete: "off" }));
    const host = field("Server, where the service runs on your own (optional)",
      h("input", { type: "text", placeholder: "company.example.com", autocomplete: "off" }));
    const memory = h("input", { type: "checkbox" });
    const shut = !["open", "passphrase", "memory_only"].includes(known.vault.state);
    const fault = h("p", { class: "note bad", role: "alert", hidden: true });
    const agreed = known.accounts.some((one) => one.id === wanted.account && one.consented_at > 0);
    const asks = provider.consent && !agreed;
    const buttons = [];
    const gate = () => buttons.forEach((button) => { button.disabled = Boolean(asks) && !agree.checked; });
    agree.addEventListener("change", gate);

    function button(text, way, where) {
      const last = where && places.remembered[provider.id] === where;
      const made = h("button", { type: "button", class: "primary", ...(last ? { "data-last": "" } : {}),
        onclick: () => begin(way, where) }, text);
      buttons.push(made);
      return made;
    }

    async function begin(way, where) {
      buttons.forEach((one) => { one.disabled = true; });
      fault.hidden = true;
      const body = { way: way.way, consent: provider.consent ? provider.consent.version : "" };
      if (wanted.account) body.account = wanted.account;
      else if (label.control.value) body.label = label.control.value;
      if (host.control.value) body.host = host.control.value;
      if (memory.checked) body.memory_only = true;
      try {
        flow = await api.post(`/admin/accounts/${encodeURIComponent(provider.id)}/oauth/start`, body);
        wanted.trouble = null;
        const there = where || (hooks.alone && "here");
        if (there && flow.state === "waiting") await showPage(there);
        showFlow(provider);
      } catch (error) {
        fill(fault, told(error));
        fault.hidden = false;
        gate();
      }
    }

    const main = places.desktop ? provider.ways.find((way) => paged(provider, way)) : null;
    const rest = provider.ways.filter((way) => way !== main);
    const both = main && h("div", { class: "places" },
      places.windows && button("Sign in", main, "window"), button("In my browser", main, "browser"));
    const others = rest.map((way) => button(wayTitle(way, provider.ways), way, ""));
    if (main) others.forEach((one) => one.classList.remove("primary"));
    gate();
    // A key has no page and nothing to choose: its field comes at once.
    if (hooks.alone && !main && rest.length === 1 && !asks && !shut && rest[0].kind === "secret") {
      await begin(rest[0], "");
      if (flow) return;
    }
    fill(place, !hooks.alone && h("h3", {}, provider.title),
      asks && h("div", { class: "note warn consent" }, ...provider.consent.text.split("\n\n").map((text) => h("p", {}, text)),
        h("p", {}, sentence(provider.consent.instead)),
        h("label", { class: "check" }, agree, h("span", {}, "I have read this and turn it on."))),
      shut && h("div", { class: "note warn" }, h("p", {}, sentence(`${known.vault.message} ${known.vault.hint}`)),
        h("label", { class: "check" }, memory, h("span", {}, "Keep this sign-in only until Dragoman stops."))),
      both, main && placesHelp(provider),
      fault,
      (!wanted.account || provider.ways.some((way) => way.kind === "device")) && details(main || hooks.alone,
        !wanted.account && label.element,
        provider.ways.some((way) => way.kind === "device") && host.element),
      (others.length > 0 || !wanted.provider) && h("div", { class: "actions" },
        !wanted.provider && h("button", { type: "button", onclick: chooseService }, "Back"), others));
    const last = place.querySelector("[data-last]:not(:disabled)");
    if (last) last.focus();
  }

  /** Return fields that few people need: folded where there is something better to look at. */
  function details(folded, ...fields) {
    if (!folded) return fields.filter(Boolean);
    return h("details", { class: "more-fields" }, h("summary", {}, "More"), fields);
  }

  function placesHelp(provider) {
    const last = { window: "a window", browser: "your browser" }[places.remembered[provider.id]];
    return [
      places.windows
        ? h("p", { class: "sub" }, "“Sign in” opens the page in a window of its own. Passkeys, links by e-mail and “Continue with Google” often work in your browser only.",
          last && ` Last time it was ${last}.`)
        : h("p", { class: "sub" }, "The page opens in your browser."),
      places.line && h("p", { class: "sub" }, "For windows of its own, Dragoman needs this: ", h("code", {}, places.line)),
    ];
  }

  /** Have the desktop show the page of the flow; returns whether it does. */
  async function showPage(where) {
    try {
      flow.place = (await api.post(`/admin/accounts/flows/${flow.flow}/place`, { place: where })).shown ? where : "";
    } catch (error) {
      toast(told(error), true);
    }
  }

  function showFlow(provider) {
    if (over) return;
    const drawn = flow.state;
    fill(place, !hooks.alone && h("h3", {}, provider.title), view(provider));
    const input = place.querySelector("form:not(details:not([open]) form) input");
    if (input) input.focus();
    if (["waiting", "working", "other_identity"].includes(drawn)) timer = setTimeout(() => poll(provider), POLL_MS);
  }

  async function poll(provider) {
    clearTimeout(timer);
    try {
      const fresh = await api.get(`/admin/accounts/flows/${flow.flow}`);
      if (over) return;
      const changed = fresh.state !== flow.state || fresh.error !== flow.error;
      flow = { ...fresh, place: flow.place };
      const left = place.querySelector(".left");
      if (left) left.textContent = `Still valid for ${span(flow.expires_in)}.`;
      if (changed) {
        showFlow(provider);
        return;
      }
    } catch (error) {
      if (error.status === 404 || error.status === 401) {
        fill(place, h("p", { class: "note bad" }, told(error)));
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
        hooks.done();
        return done(provider);
      case "other_identity":
        return [h("p", { class: "note warn" }, flow.error), h("div", { class: "actions" },
          h("button", { type: "button", onclick: () => finish(provider, { cancel: true }) }, "Cancel"),
          h("button", { type: "button", class: "primary", onclick: () => finish(provider, { confirm: true }) }, "Use this one"))];
      default:
        return [h("p", { class: "note bad", role: "alert" }, flow.error || "The sign-in has ended without success.",
          flow.code && [" ", helpLink(flow.code)]),
          flow.state === "failed" && paged(provider, wayOf(provider)) && places.windows
            && h("p", { class: "sub" }, "Where a page refuses windows like this one, your own browser is let in."),
          h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => {
            const again = flow;
            flow = null;
            wanted = { ...wanted, account: wanted.account || (wanted.flow && again.account) || "" };
            chooseWay(provider);
          } }, "Start again"))];
    }
  }

  function done(provider) {
    if (!hooks.alone) {
      return [h("p", { class: "note good", role: "status" },
        `${flow.account} is signed in${flow.name ? ` as ${flow.name}` : ""}${flow.plan ? ` (${flow.plan})` : ""}.`),
      h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => hooks.close() }, "Done"))];
    }
    return h("div", { class: "welcome-in", role: "status" },
      h("p", { class: "who" }, flow.name || flow.account),
      h("p", {}, [provider.title, flow.plan && `plan ${flow.plan}`].filter(Boolean).join(" · ")),
      h("p", { class: "note good" }, `${flow.account} is signed in. This window closes by itself.`));
  }

  function wayOf(provider) {
    return provider.ways.find((way) => way.way === flow.way) || { kind: flow.kind, way: flow.way };
  }

  function trouble(provider) {
    const found = wanted.trouble;
    if (!found) return null;
    const host = found.host || "The page";
    const what = {
      refused: `${host} does not let people sign in in windows like this one.`,
      unreachable: `${host} cannot be reached from the window.`,
      popup: `${host} wants to open a second window, as for “Continue with Google”, and there is none here.`,
    }[found.what] || `${host} answered the window with an error (${found.what}).`;
    return h("div", { class: "note warn", role: "alert" }, h("p", {}, what),
      h("p", {}, `Go on in your browser: it is the same sign-in to ${provider.title}, and nothing is lost.`));
  }

  function waiting(provider) {
    const left = h("p", { class: "sub left" }, `Still valid for ${span(flow.expires_in)}.`);
    const head = [trouble(provider), flow.error && h("p", { class: "note bad", role: "alert" }, flow.error)];
    if (flow.kind === "device") {
      return [head, h("p", {}, "Type this code on the page of the service:"),
        h("p", { class: "code", "aria-label": `Code ${[...flow.user_code].join(" ")}` }, flow.user_code),
        h("div", { class: "actions" }, copyButton(flow.user_code, "Copy the code"),
          !places.desktop && page("Open the page")),
        where(provider, flow.url),
        h("p", { role: "status", class: "live" }, `Waiting for ${provider.title}.`), left];
    }
    const own = places.pages[`${provider.id}/${flow.way}`];
    if (flow.kind === "secret") {
      const typed = entry(provider, flow.prompt || "Key", "secret", "password", own ? "Continue" : "Sign in");
      if (!own || !places.desktop) return [head, typed, left];
      return [head, where(provider, own), h("details", { open: flow.place !== "window" },
        h("summary", {}, "Paste it by hand instead"), typed), left];
    }
    const noticed = flow.listening ? "This window notices by itself when you are done." : "Paste below what the page gives you.";
    return [
      head,
      !places.desktop && h("ol", {}, h("li", {}, "Sign in on the service's page."), h("li", {}, noticed)),
      places.desktop && h("p", { role: "status" }, {
        window: "The page is open in a window of its own. ", browser: "The page is open in your browser. ",
      }[flow.place] || "", noticed),
      places.desktop ? where(provider, flow.url)
        : h("div", { class: "actions" }, page("Open the sign-in page"), copyButton(flow.url, "Copy the link")),
      flow.notice && h("p", { class: "note" }, flow.notice),
      h("details", { open: !flow.listening || Boolean(wanted.paste) }, h("summary", {}, "Paste the code or the address instead"),
        entry(provider, "Code, or the whole address that the browser ended at", "text", "text", "Continue")),
      left];
  }

  /** Return the buttons that show the page: both the same, whatever was chosen before. */
  function where(provider, url) {
    if (!places.desktop) return null;
    const open = (text, there) => h("button", { type: "button", class: "primary", onclick: async () => {
      await showPage(there);
      wanted.trouble = null;
      clearTimeout(timer);
      showFlow(provider);
    } }, text);
    return [h("div", { class: "places" }, places.windows && open("Sign in", "window"), open("In my browser", "browser")),
      h("div", { class: "actions" }, url && copyButton(url, "Copy the link"))];
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
      flow = { ...await complete(body), place: flow.place };
      if (flow.state === "cancelled") hooks.close();
      else showFlow(provider);
    } catch (error) {
      if (input) input.fail(told(error));
      else toast(told(error), true);
      timer = setTimeout(() => poll(provider), POLL_MS);
    }
  }

  return { start, end };
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
