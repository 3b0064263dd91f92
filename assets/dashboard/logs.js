// The last lines of the log, as they come.

import { copyButton, empty, fill, h } from "./dom.js";
import { clock } from "./format.js";

const LEVELS = ["debug", "info", "warning", "error", "critical"];

export function logsSection(app) {
  const level = h("select", { "aria-label": "Least level" }, ["debug", "info", "warning", "error"].map((name) => h("option", { value: name }, name)));
  const filter = h("input", { type: "search", placeholder: "Text", "aria-label": "Filter lines" });
  const follow = h("input", { type: "checkbox", checked: true });
  const list = h("ol", { class: "log", tabindex: "0", "aria-label": "Log lines" });
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Logs"), level, filter,
    h("label", { class: "check" }, follow, h("span", {}, "Follow")),
    copyButton(() => list.innerText, "Copy")), list);
  let drawn = null;

  function draw() {
    const least = LEVELS.indexOf(level.value);
    const word = filter.value.toLowerCase();
    const found = app.log.filter((line) => LEVELS.indexOf(line.level) >= least &&
      (!word || `${line.name} ${line.text}`.toLowerCase().includes(word)));
    const from = drawn && found.indexOf(drawn);
    if (drawn && from >= 0 && list.lastChild && list.dataset.filter === `${least} ${word}`) {
      list.append(...found.slice(from + 1).map(row));
      while (list.children.length > found.length) list.firstChild.remove();
    } else {
      list.replaceChildren(...found.map(row));
      list.dataset.filter = `${least} ${word}`;
    }
    drawn = found.at(-1) || null;
    if (!found.length) fill(list, h("li", {}, empty(app.log.length ? "Nothing matches." : "Nothing was logged yet.")));
    if (follow.checked) list.scrollTop = list.scrollHeight;
  }

  level.value = "info";
  level.addEventListener("change", draw);
  filter.addEventListener("input", draw);
  follow.addEventListener("change", draw);
  app.on("log", () => { if (element.isConnected && follow.checked) draw(); });
  return { element, show: draw };
}

function row(line) {
  return h("li", { class: line.level },
    h("time", {}, clock(line.at)), h("span", { class: "level" }, line.level),
    h("span", { class: "source" }, line.name.replace("dragoman.", "")), h("span", { class: "text" }, line.text));
}
