// How a route was chosen: rules in their order, accounts in theirs, and who was left out.

import { h, sentence } from "./dom.js";

export function traceView(trace) {
  return h("div", { class: "trace" },
    trace.error && h("p", { class: "note bad" }, sentence(trace.error)),
    trace.notes.length > 0 && h("ul", { class: "plain" }, trace.notes.map((note) => h("li", {}, sentence(note)))),
    trace.rules.length > 0 && h("ol", { class: "plain" }, trace.rules.map((rule) => h("li", {},
      h("b", {}, rule.name), rule.matched ? " matched" : ` ${rule.why}`))),
    trace.candidates.length > 0 && h("div", {}, h("h4", {}, "Accounts, in the order of asking"),
      h("ol", { class: "plain" }, trace.candidates.map((one) => h("li", {}, h("b", {}, one.account), ` ${one.model} `,
        h("span", { class: "sub" }, `${one.why} (${one.dialect})`))))),
    trace.left_out.length > 0 && h("div", {}, h("h4", {}, "Left out"),
      h("ul", { class: "plain" }, trace.left_out.map((one) => h("li", {}, h("b", {}, one.account), ` ${one.why}`)))));
}
