// What runs now and what ended a moment ago.

import { copyButton, dialog, empty, fill, h } from "./dom.js";
import { bytes, clock, count, milliseconds } from "./format.js";

const STATE = { running: "Running", done: "Done", failed: "Failed", left: "Client left" };
const SHOWN = 100;

export function nowSection(app) {
  const tiles = h("dl", { class: "tiles" });
  const filter = h("input", { type: "search", placeholder: "Agent, model, account", "aria-label": "Filter requests" });
  const body = h("tbody", {});
  const table = h("table", { class: "rows requests" },
    h("thead", {}, h("tr", {}, ["Time", "Agent", "Model and route", "State", "Tokens", "First", "Speed", "Took"]
      .map((name) => h("th", { scope: "col" }, name)))), body);
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => {
    shown += SHOWN;
    draw();
  } }, "Show more");
  const nothing = h("div", {});
  const element = h("section", {}, h("h1", {}, "Now"), tiles,
    h("div", { class: "bar" }, h("h2", {}, "Requests"), filter),
    nothing, h("div", { class: "scroll" }, table), more);
  const drawn = new Map();
  let shown = SHOWN;
  let open = null;

  function draw() {
    const all = [...app.requests.values()].sort(order);
    drawTiles(all);
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = all.filter((row) => words.every((word) => text(row).includes(word)));
    const rows = found.slice(0, shown);
    more.hidden = found.length <= shown;
    table.hidden = !rows.length;
    if (all.length) fill(nothing, rows.length ? "" : h("p", { class: "note" }, "Nothing matches."));
    else fill(nothing, welcome(app));
    for (const [id, old] of drawn) if (!rows.some((row) => row.id === id)) {
      old.element.remove();
      drawn.delete(id);
    }
    rows.forEach((row, index) => {
      let known = drawn.get(row.id);
      if (!known || known.row !== row) {
        const fresh = { row, element: requestRow(row, () => details(row.id)) };
        if (known) {
          const focused = known.element.contains(document.activeElement);
          known.element.replaceWith(fresh.element);
          if (focused) fresh.element.querySelector("button").focus();
        }
        known = fresh;
        drawn.set(row.id, known);
      }
      if (body.children[index] !== known.element) body.insertBefore(known.element, body.children[index] || null);
    });
    if (open && app.requests.has(open.id)) fill(open.place, facts(app.requests.get(open.id)));
  }

  function drawTiles(rows) {
    const running = rows.filter((row) => row.state === "running");
    const speed = running.reduce((sum, row) => sum + (row.tokens_per_s || 0), 0);
    const failed = rows.filter((row) => row.state === "failed").length;
    fill(tiles,
      tile("Running", count(running.length)),
      tile("Tokens per second", running.length ? speed.toFixed(0) : "–"),
      tile("Lately ended", count(rows.length - running.length)),
      tile("Of these failed", count(failed), failed ? "bad" : ""));
  }

  function details(id) {
    const place = h("div", {});
    open = { id, place };
    fill(place, facts(app.requests.get(id)));
    dialog("Request", place).addEventListener("close", () => { open = null; });
  }

  filter.addEventListener("input", draw);
  app.on("requests", () => { if (element.isConnected) draw(); });
  app.on("status", () => { if (element.isConnected && !app.requests.size) draw(); });
  return { element, show: draw };
}

function order(a, b) {
  const running = (b.state === "running") - (a.state === "running");
  return running || b.at - a.at;
}

function text(row) {
  return `${row.agent} ${row.model} ${row.served} ${row.account} ${row.state} ${row.dialect}`.toLowerCase();
}

function tile(name, value, kind = "") {
  return h("div", { class: `tile ${kind}` }, h("dt", {}, name), h("dd", {}, value));
}

function requestRow(row, onclick) {
  const cell = (name, kind, ...children) => h("td", { "data-name": name, class: kind }, ...children);
  const renamed = row.served && row.served !== row.model;
  return h("tr", { class: row.state },
    cell("Time", "num", h("time", {}, clock(row.at))),
    cell("Agent", "clip", row.agent || "unknown"),
    cell("Model and route", "wide",
      h("button", { type: "button", class: "link", onclick }, row.model || "no model"),
      h("span", { class: "sub" }, renamed ? `${row.served} · ` : "", row.account || (row.state === "running" ? "no account yet" : "no account"),
        row.grade ? ` · ${row.grade}` : "", row.attempts > 1 ? ` · ${row.attempts} attempts` : "",
        row.losses.length ? ` · ${row.losses.length} not carried over` : "")),
    cell("State", "", h("span", { class: `pill ${row.state}` }, STATE[row.state]),
      row.error && h("span", { class: "sub fault clip2" }, row.error)),
    cell("Tokens", "num", tokens(row)),
    cell("First", "num", milliseconds(row.first_ms)),
    cell("Speed", "num", row.tokens_per_s ? `${row.tokens_per_s.toFixed(0)}/s` : "–"),
    cell("Took", "num", row.duration_ms === null ? "…" : milliseconds(row.duration_ms)));
}

function tokens(row) {
  const used = row.tokens;
  if (!used) return row.sent_bytes ? bytes(row.sent_bytes) : "–";
  if (used.estimated) return `≈ ${count(used.output)}`;
  return `${count(used.input + used.cache_read + used.cache_write)} → ${count(used.output)}`;
}

function facts(row) {
  const used = row.tokens;
  const pairs = [
    ["Agent", row.agent || "unknown"], ["Asked for", `${row.model || "no model"} (${row.dialect})`],
    ["Answered by", row.served ? `${row.served}, ${row.account}` : row.state === "running" ? "nobody yet" : "nobody"],
    ["Why there", row.reason], ["Way", row.grade && `${row.grade} (${row.upstream})`],
    ["State", `${STATE[row.state]}${row.status ? `, status ${row.status}` : ""}`], ["Error", row.error],
    ["Tokens in", used && !used.estimated &&
      `${count(used.input)} new, ${count(used.cache_read)} from cache, ${count(used.cache_write)} into cache`],
    ["Tokens out", used && `${used.estimated ? "≈ " : ""}${count(used.output)}${
      used.reasoning ? `, of these ${count(used.reasoning)} thought` : ""}`],
    ["First content", row.first_ms !== null && `after ${milliseconds(row.first_ms)}`],
    ["Took", row.duration_ms === null ? "still running" : milliseconds(row.duration_ms)],
    ["Speed", row.tokens_per_s && `${row.tokens_per_s} tokens per second`],
    ["Sent", row.sent_bytes && bytes(row.sent_bytes)],
  ];
  return [
    h("dl", { class: "facts" }, pairs.filter((pair) => pair[1]).map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    row.failures.length > 0 && h("div", {}, h("h3", {}, "Attempts that failed"),
      h("ol", { class: "plain" }, row.failures.map((failure) => h("li", {},
        h("b", {}, failure.account), ` ${failure.status} ${failure.code}: ${failure.message}`)))),
    row.losses.length > 0 && h("div", {}, h("h3", {}, "Not carried over"),
      h("ul", { class: "plain" }, row.losses.map(([path, reason]) =>
        h("li", {}, h("code", {}, path), ` ${reason}`)))),
    h("p", { class: "sub" }, "Id ", h("code", {}, row.id), " ", copyButton(row.id, "Copy id")),
  ];
}

function welcome(app) {
  const address = (app.status && app.status.address) || location.origin;
  const line = `curl ${address}/v1/chat/completions \\\n  -d '{"model": "demo-chat", "messages": [{"role": "user", "content": "Hello"}]}'`;
  const demo = app.status && app.status.demo;
  return empty("No request has come yet.",
    h("p", {}, "Requests appear here while they are answered. Point an agent at ", h("code", {}, address),
      demo ? ", or try the demo:" : "."),
    demo && h("pre", { tabindex: "0" }, line),
    h("p", { class: "actions" }, demo && copyButton(line, "Copy the command"),
      h("a", { class: "button", href: "#/models" }, "Try a model here"),
      demo && h("a", { class: "button", href: "#/accounts" }, "Add an account")));
}
