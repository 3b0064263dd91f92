// Requests of the ledger, page by page, with how each was routed.

import * as api from "./api.js";
import { copyButton, dialog, empty, fill, h, told } from "./dom.js";
import { clock, count, day, milliseconds, money } from "./format.js";
import { traceView } from "./trace.js";

const FILTERS = [["model", "Model"], ["account", "Account"], ["agent", "Agent"], ["key", "Key id"], ["provider", "Service"], ["session", "Conversation"]];
const SINCE = [["", "All that is kept"], ["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"]];

export function historySection() {
  const kind = h("select", { "aria-label": "Filter by" }, FILTERS.map(([id, name]) => h("option", { value: id }, name)));
  const word = h("input", { type: "search", placeholder: "Exact name", "aria-label": "Name to filter by" });
  const since = h("select", { "aria-label": "Time", onchange: () => load() }, SINCE.map(([id, name]) => h("option", { value: id }, name)));
  const failed = h("input", { type: "checkbox", onchange: () => load() });
  const body = h("tbody", {});
  const table = h("table", { class: "rows requests" },
    h("thead", {}, h("tr", {}, ["When", "Agent", "Model and route", "State", "Tokens", "Cost", "First", "Took"]
      .map((name) => h("th", { scope: "col" }, name)))), body);
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => load(true) }, "Show older");
  const nothing = h("div", {});
  const form = h("form", { class: "bar", onsubmit: (event) => {
    event.preventDefault();
    load();
  } }, h("h1", {}, "History"), kind, word, since,
  h("label", { class: "check" }, failed, h("span", {}, "Failed only")), h("button", {}, "Show"));
  const element = h("section", {}, form, nothing, h("div", { class: "scroll" }, table), more);
  let cursor = null;
  let asked = 0;
  let lastDay = "";

  async function load(older = false) {
    asked += 1;
    const mine = asked;
    const query = new URLSearchParams({ limit: "50" });
    if (word.value) query.set(kind.value, word.value);
    if (since.value) query.set("since", since.value);
    if (failed.checked) query.set("failed", "1");
    if (older && cursor) query.set("cursor", cursor);
    try {
      const page = await api.get(`/admin/requests?${query}`);
      if (mine === asked) draw(page, older);
    } catch (error) {
      if (mine !== asked || error.status === 401) return;
      fill(nothing, h("p", { class: "note bad" }, told(error)));
      if (!older) body.replaceChildren();
      table.hidden = !body.children.length;
    }
  }

  function draw(page, older) {
    if (!older) {
      body.replaceChildren();
      lastDay = "";
    }
    for (const one of page.requests) {
      const date = day(one.at);
      if (date !== lastDay) {
        body.append(h("tr", { class: "day" }, h("th", { colspan: "8", scope: "rowgroup" }, date)));
        lastDay = date;
      }
      body.append(row(one));
    }
    cursor = page.next;
    more.hidden = !cursor;
    table.hidden = !body.children.length;
    const filtered = word.value || since.value || failed.checked;
    fill(nothing, page.trouble && h("p", { class: "note warn" }, page.trouble), !body.children.length &&
      (filtered ? h("p", { class: "note" }, "Nothing matches.") : empty("No request was answered yet.",
        h("p", {}, "Each is kept here with its model, account, tokens and cost, and why it went where it went."))));
  }

  function row(one) {
    const cell = (name, kindOf, ...children) => h("td", { "data-name": name, class: kindOf }, ...children);
    const renamed = one.model && one.model !== one.asked;
    return h("tr", { class: one.error ? "failed" : "done" },
      cell("When", "num", h("time", {}, clock(one.at))), cell("Agent", "clip", one.client || "unknown"),
      cell("Model and route", "wide",
        h("button", { type: "button", class: "link", "data-key": one.id, onclick: () => details(one.id) }, one.asked || "no model"),
        h("span", { class: "sub" }, [renamed && one.model, one.account || "no account", one.grade, one.rule && `rule ${one.rule}`,
          one.attempts > 1 && `${one.attempts} attempts`, one.cached && "from our cache"].filter(Boolean).join(" · "))),
      cell("State", "", h("span", { class: `pill ${one.error ? "failed" : one.status === 499 ? "left" : "done"}` },
        one.error ? String(one.status) : one.status === 499 ? "Client left" : "Done"),
      one.error && h("span", { class: "sub fault clip2" }, one.error)),
      cell("Tokens", "num", one.output === null ? "–" : `${count(prompt(one))} → ${count(one.output)}`),
      cell("Cost", "num", one.cost_usd === null ? "–" : one.worth ? h("span", { class: "sub" }, `worth ${money(one.cost_usd)}`) : money(one.cost_usd)),
      cell("First", "num", milliseconds(one.first_ms)), cell("Took", "num", milliseconds(one.duration_ms)));
  }

  async function details(id) {
    const place = h("div", {}, h("p", {}, "One moment."));
    dialog("Request", place);
    try {
      const one = (await api.get(`/admin/requests/${encodeURIComponent(id)}`)).request;
      fill(place, facts(one), replay(one));
    } catch (error) {
      fill(place, h("p", { class: "note bad" }, told(error)));
    }
  }

  function show(rest = "") {
    const [name, ...value] = rest.split("/");
    if (FILTERS.some(([id]) => id === name)) {
      kind.value = name;
      word.value = value.join("/");
    }
    load();
  }

  return { element, show };
}

/** Asking the same again, of this model or another, where what was said was kept. */
function replay(one) {
  const model = h("input", { type: "text", "aria-label": "Another model", placeholder: one.asked || "model", autocomplete: "off" });
  const place = h("div", { role: "status", "aria-live": "polite" });
  const go = h("button", {}, "Ask again");
  return h("form", { onsubmit: async (event) => {
    event.preventDefault();
    go.disabled = true;
    fill(place, h("p", { class: "sub" }, "Waiting for the answer."));
    try {
      const found = await api.post(`/admin/requests/${encodeURIComponent(one.id)}/replay`, model.value ? { model: model.value } : {});
      fill(place, h("div", { class: "sides" }, side("Then", found.original), side("Now", found.replay)));
    } catch (error) {
      fill(place, h("p", { class: error.code === "body_not_kept" ? "note" : "note bad" }, told(error)));
    }
    go.disabled = false;
  } }, h("h3", {}, "Ask again"), h("div", { class: "line" }, model, go), place);
}

function side(title, one) {
  return h("section", {}, h("h4", {}, `${title}: ${one.model || one.asked}`),
    h("p", { class: "sub" }, [one.account, milliseconds(one.duration_ms), one.output === null ? "" : `${count(prompt(one))} → ${count(one.output)} tokens`,
      one.cost_usd === null ? "" : money(one.cost_usd)].filter(Boolean).join(" · ")),
    h("div", { class: "answer", tabindex: "0", "aria-label": `${title}: the answer` }, one.answer.text || one.answer.error || one.error || "Nothing was said."));
}

function prompt(one) {
  return (one.input || 0) + (one.cache_read || 0) + (one.cache_write || 0);
}

function facts(one) {
  const pairs = [
    ["When", `${day(one.at)}, ${clock(one.at)}`], ["Agent", one.client || "unknown"], ["Key", one.key_id],
    ["Asked for", `${one.asked || "no model"} (${one.dialect})`],
    ["Answered by", one.account && `${one.model}, ${one.account}${one.upstream ? ` (${one.upstream})` : ""}`],
    ["Way", one.grade], ["Rule", one.rule], ["Why there", one.reason],
    ["State", `status ${one.status}${one.stop ? `, ended by ${one.stop}` : ""}`], ["Error", one.error],
    ["Tokens in", one.output !== null && `${count(one.input)} new, ${count(one.cache_read)} from cache, ${count(one.cache_write)} into cache`],
    ["Tokens out", one.output !== null && `${count(one.output)}${one.reasoning ? `, of these ${count(one.reasoning)} thought` : ""}`],
    ["Cost", one.cost_usd !== null && (one.worth ? `${money(one.cost_usd)} at list price; a plan served it` : money(one.cost_usd))],
    ["First content", one.first_ms !== null && `after ${milliseconds(one.first_ms)}`], ["Took", milliseconds(one.duration_ms)],
  ];
  return [
    h("dl", { class: "facts" }, pairs.filter((pair) => pair[1]).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    one.tries.length > 0 && h("div", {}, h("h3", {}, one.tries.length > 1 ? "Attempts" : "Attempt"),
      h("ol", { class: "plain" }, one.tries.map((step) => h("li", {}, h("b", {}, step.account),
        ` ${step.model}, ${step.error ? `${step.status || "no answer"}: ${step.error}` : "answered"} after ${milliseconds(step.duration_ms)}`)))),
    one.losses.length > 0 && h("div", {}, h("h3", {}, "Not carried over"),
      h("ul", { class: "plain" }, one.losses.map(([path, reason]) => h("li", {}, h("code", {}, path), ` ${reason}`)))),
    one.trace && h("div", {}, h("h3", {}, "How the route was chosen"), traceView(one.trace)),
    h("p", { class: "sub" }, "Id ", h("code", {}, one.id), " ", copyButton(one.id, "Copy id")),
  ];
}
