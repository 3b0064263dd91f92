// What was used: sums of the ledger over time, and by model, account, agent, key or service.

import * as api from "./api.js";
import { barChart } from "./chart.js";
import { empty, fill, h, toast, told } from "./dom.js";
import { count, day, milliseconds, money } from "./format.js";

const RANGES = [["24h", "24 hours"], ["7d", "7 days"], ["30d", "30 days"], ["90d", "90 days"], ["365d", "A year"]];
const GROUPS = [["model", "model"], ["account", "account"], ["agent", "agent"], ["key", "key"], ["provider", "service"], ["day", "day"]];
const MOST_BARS = 8;
const UNNAMED = { agent: "unknown program", key: "without a key", model: "none asked", account: "no account", provider: "no service" };
const MEASURES = {
  tokens: {
    title: "Tokens", show: count,
    parts: [["From cache", "cool", (row) => row.cache_read], ["New input", "main", (row) => row.input + row.cache_write],
      ["Output", "warm", (row) => row.output]],
  },
  cost: {
    title: "Cost", show: money,
    parts: [["Paid", "main", (row) => row.cost_usd], ["Worth of plans", "cool", (row) => row.worth_usd]],
  },
  requests: {
    title: "Requests", show: count,
    parts: [["Answered", "main", (row) => row.requests - row.failed], ["Failed", "bad", (row) => row.failed]],
  },
  first: {
    title: "Time to first word, median", show: milliseconds,
    parts: [["Median", "main", (row) => (row.first_ms ? row.first_ms.p50 : 0)]],
  },
  slow: {
    title: "Time to first word, slowest in 20", show: milliseconds,
    parts: [["One in 20 took longer", "main", (row) => (row.first_ms ? row.first_ms.p95 : 0)]],
  },
  hits: {
    title: "Input from cache", show: (value) => `${Math.round(value)} %`,
    parts: [["From cache", "cool", (row) => (row.cache_hit_rate || 0) * 100]],
  },
};

export function usageSection(app) {
  const choice = (label, rows, value) => {
    const select = h("select", { "aria-label": label, onchange: () => load() },
      rows.map(([id, name]) => h("option", { value: id }, name)));
    select.value = value;
    return select;
  };
  const range = choice("Time", RANGES, "30d");
  const group = choice("Group by", GROUPS.map(([id, name]) => [id, `by ${name}`]), "model");
  const measure = choice("Show", Object.entries(MEASURES).map(([id, one]) => [id, one.title]), "tokens");
  const tiles = h("dl", { class: "tiles" });
  const picture = h("div", {});
  const place = h("div", {});
  const budgets = h("div", {});
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Usage"), range, group, measure,
    h("button", { type: "button", onclick: save }, "Export CSV")), budgets, tiles, picture, place);
  let asked = 0;
  let timer = 0;

  async function load() {
    asked += 1;
    const mine = asked;
    const unit = range.value === "24h" ? "hour" : "day";
    try {
      const [time, groups, standing] = await Promise.all([
        api.get(`/admin/usage?by=${unit}&since=${range.value}`),
        api.get(`/admin/usage?by=${group.value}&since=${range.value}`),
        api.get("/admin/budgets"),
      ]);
      if (mine === asked) draw(time, groups, standing.budgets, unit);
    } catch (error) {
      if (mine === asked && error.status !== 401) {
        fill(place, h("p", { class: "note bad" }, told(error)));
        fill(picture);
        fill(tiles);
      }
    }
  }

  function draw(time, groups, standing, unit) {
    const total = time.total;
    fill(budgets, standing.map(budget), time.trouble && h("p", { class: "note warn" }, time.trouble));
    if (!total.requests) {
      fill(tiles);
      fill(picture);
      fill(place, empty("Nothing was used in this time.",
        h("p", {}, "Every answered request is counted here: tokens, cost and times, but never what was said.")));
      return;
    }
    fill(tiles, tile("Requests", count(total.requests)), tile("Tokens", count(total.tokens)),
      tile("Paid", money(total.cost_usd)), tile("Worth of plans", money(total.worth_usd)),
      tile("Input from cache", total.cache_hit_rate === null ? "–" : `${Math.round(total.cache_hit_rate * 100)} %`),
      tile("Failed", count(total.failed), total.failed ? "bad" : ""));
    const by = GROUPS.find(([id]) => id === group.value)[1];
    fill(picture, figure(time.rows, unit, (row) => short(row.name, unit)),
      group.value !== "day" && groups.rows.length > 1 &&
        figure(groups.rows.slice(0, MOST_BARS), by, (row) => cut(named(row, group.value))));
    fill(place, table(groups));
  }

  function figure(rows, by, name) {
    const one = MEASURES[measure.value];
    return h("figure", { class: "figure" }, h("figcaption", {}, `${one.title} by ${by}`),
      barChart({
        names: rows.map(name),
        inOrder: by === "hour" || by === "day",
        parts: one.parts.map(([part, kind, of]) => ({ name: part, kind, values: rows.map(of) })),
        show: one.show,
        title: `${one.title} by ${by}; the table below has the numbers`,
      }));
  }

  function table(report) {
    const by = report.by;
    const heads = [GROUPS.find(([id]) => id === by)[1], "Requests", "Failed", "Input", "From cache", "Output", "Paid", "Worth", "First word", "Took"];
    const rows = by === "day" ? [...report.rows].reverse().filter((row) => row.requests) : report.rows;
    return [h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Sums" },
      h("table", { class: "rows" }, h("thead", {}, h("tr", {}, heads.map((name, index) =>
        h("th", { scope: "col", class: index ? "num" : "" }, name.charAt(0).toUpperCase() + name.slice(1))))),
      h("tbody", {}, rows.map((row) => line(row, by)))),
    ), report.total.unpriced > 0 && h("p", { class: "sub" },
      `Of ${count(report.total.unpriced)} requests no price is known; models.prices in the settings can say it.`)];
  }

  function line(row, by) {
    const cell = (name, ...children) => h("td", { "data-name": name, class: "num" }, ...children);
    const name = named(row, by);
    const filter = { model: "model", account: "account", agent: "agent", key: "key", provider: "provider" }[by];
    return h("tr", {},
      h("td", { "data-name": "Name", class: "wide" }, filter && row.name
        ? h("a", { href: `#/history/${filter}/${encodeURIComponent(row.name)}` }, name) : name),
      cell("Requests", count(row.requests)), cell("Failed", row.failed ? h("span", { class: "fault" }, count(row.failed)) : "–"),
      cell("Input", count(row.input + row.cache_write)), cell("From cache", count(row.cache_read)), cell("Output", count(row.output)),
      cell("Paid", row.cost_usd ? money(row.cost_usd) : "–"), cell("Worth", row.worth_usd ? money(row.worth_usd) : "–"),
      cell("First word", row.first_ms ? milliseconds(row.first_ms.p50) : "–"),
      cell("Took", row.duration_ms ? milliseconds(row.duration_ms.p50) : "–"));
  }

  async function save() {
    try {
      const answer = await api.send("GET", `/admin/usage?by=${group.value}&since=${range.value}&format=csv`);
      const link = h("a", { href: URL.createObjectURL(await answer.blob()), download: `dragoman-usage-by-${group.value}.csv` });
      link.click();
      URL.revokeObjectURL(link.href);
    } catch (error) {
      toast(told(error), true);
    }
  }

  // Sums change with every request; once in a while is often enough for looking.
  app.on("requests", () => {
    if (!element.isConnected || timer) return;
    timer = setTimeout(() => {
      timer = 0;
      if (element.isConnected) load();
    }, 3000);
  });
  return { element, show: load };
}

function budget(one) {
  const kind = one.level === "stop" ? "bad" : one.level === "warn" ? "warn" : "";
  return h("div", { class: `window ${kind}` },
    h("div", { class: "window-head" }, h("span", {}, one.name), h("span", {}, one.text)),
    h("meter", { min: "0", max: "100", value: String(Math.min(100, one.used_percent)), "aria-label": one.name }));
}

function tile(name, value, kind = "") {
  return h("div", { class: `tile ${kind}` }, h("dt", {}, name), h("dd", {}, value));
}

function named(row, by) {
  return row.label || (by === "day" ? long(row.name) : row.name) || UNNAMED[by] || "none";
}

function cut(name) {
  return name.length > 22 ? `${name.slice(0, 21)}…` : name;
}

function moment(name) {
  return Date.parse(name.length > 10 ? name : `${name}T12:00`) / 1000;
}

function long(name) {
  return name.length > 10 ? name : day(moment(name));
}

function short(name, unit) {
  const at = new Date(moment(name) * 1000);
  if (unit === "hour") return at.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return at.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
}
