// Rules, chains and aliases as the text of the settings, checked while it is written.

import * as api from "./api.js";
import { field, fill, h, sentence, toast, told } from "./dom.js";
import { traceView } from "./trace.js";

const WAIT_MS = 400;
const EXAMPLE = `# Names of your own for models, chains of models, and rules. Help › Routing explains all of it.
aliases: {fast: gpt-5-mini}
chains:
  careful: [claude-opus-4-5, gpt-5(high)]
rules:
  - name: long prompts
    when: {tokens: 60000}
    then: {chain: careful}
`;

export function routesSection(app) {
  const text = h("textarea", { class: "mono editor", rows: "18", spellcheck: "false", autocapitalize: "off", wrap: "off",
    "aria-label": "Routing part of the settings", "aria-describedby": "routes-verdict" });
  const verdict = h("div", { id: "routes-verdict", role: "status", "aria-live": "polite" });
  const save = h("button", { type: "button", class: "primary", onclick: write }, "Save");
  const undo = h("button", { type: "button", onclick: () => {
    text.value = saved;
    check();
  } }, "Undo changes");
  const example = h("button", { type: "button", onclick: () => {
    text.value = EXAMPLE;
    check();
  } }, "Begin with an example");
  const where = h("p", { class: "sub" });
  const model = field("Model", h("input", { placeholder: "claude-opus-4-5", list: "routes-models" }));
  const tokens = field("Length of the prompt in tokens", h("input", { type: "number", min: "0" }));
  const client = field("Agent", h("input", { placeholder: "claude" }));
  const thinking = field("Thinking", h("select", {}, [["", "as it is"], ["none", "off"], ["low", "low"], ["high", "high"]]
    .map(([id, name]) => h("option", { value: id }, name))));
  const tool = field("A tool", h("input", { placeholder: "web_search" }));
  const images = h("input", { type: "checkbox" });
  const known = h("datalist", { id: "routes-models" });
  const answer = h("div", { role: "status", "aria-live": "polite" });
  const asking = h("form", { class: "questions", oninput: () => later(), onsubmit: (event) => event.preventDefault() },
    model.element, tokens.element, client.element, thinking.element, tool.element,
    h("label", { class: "check" }, images, h("span", {}, "With an image")), known);
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Routes"), h("a", { class: "button", href: "#/help/routing" }, "How it works")),
    where, h("div", { class: "routes" }, h("div", {}, text, verdict, h("div", { class: "actions" }, save, undo, example)),
      h("div", {}, h("h2", {}, "Where would it go?"), asking, answer)));
  let saved = "";
  let loaded = false;
  let asked = 0;
  let timer = 0;

  async function load() {
    fill(known, ((app.status && app.status.models) || []).map((one) => h("option", { value: one.name })));
    if (loaded && text.value !== saved) return;  // what is being written stays
    try {
      const found = await api.get("/admin/routes");
      saved = found.text;
      text.value = saved;
      loaded = true;
      fill(where, "Part of ", h("code", {}, found.path), "; comments are kept. Saving puts it in force at once.");
      check();
    } catch (error) {
      if (error.status !== 401) fill(verdict, h("p", { class: "note bad" }, told(error)));
    }
  }

  function question() {
    const found = {};
    if (model.control.value) found.model = model.control.value;
    if (tokens.control.value) found.tokens = Math.max(0, Math.round(Number(tokens.control.value)));
    if (client.control.value) found.client = client.control.value;
    if (thinking.control.value) found.thinking = thinking.control.value;
    if (tool.control.value) found.tools = [tool.control.value];
    if (images.checked) found.images = true;
    return Object.keys(found).length ? found : null;
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(check, WAIT_MS);
  }

  async function check() {
    clearTimeout(timer);
    asked += 1;
    const mine = asked;
    undo.hidden = text.value === saved;
    example.hidden = text.value.trim() !== "";
    try {
      const found = await api.post("/admin/routes/check", { text: text.value, question: question() });
      if (mine !== asked) return;
      show(found);
      fill(answer, found.error && h("p", { class: "note bad" }, sentence(found.error)),
        found.trace ? traceView(found.trace) : !found.faults.length && !found.error &&
          h("p", { class: "sub" }, "Name a model to see which rule matches and which accounts would be asked."));
    } catch (error) {
      if (mine === asked && error.status !== 401) fill(verdict, h("p", { class: "note bad" }, told(error)));
    }
  }

  function show(found) {
    const bad = found.faults.length > 0;
    save.disabled = bad || text.value === saved;
    if (bad) text.setAttribute("aria-invalid", "true");
    else text.removeAttribute("aria-invalid");
    fill(verdict, bad ? h("ul", { class: "note bad" }, found.faults.map((fault) => h("li", {},
      fault.line ? h("button", { type: "button", class: "link", onclick: () => go(fault.line) }, `Line ${fault.line}`) : "",
      fault.line ? ": " : "", fault.key && h("code", {}, fault.key), fault.key ? " " : "", fault.message)))
      : h("p", { class: "sub" }, text.value === saved ? "This is in force." : "No faults. Save puts it in force."),
    found.doubts.length > 0 && h("ul", { class: "note warn" }, found.doubts.map((doubt) => h("li", {}, doubt))));
  }

  function go(line) {
    const before = text.value.split("\n").slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    const end = text.value.indexOf("\n", before);
    text.focus();
    text.setSelectionRange(before, end < 0 ? text.value.length : end);
  }

  async function write() {
    const wanted = text.value;
    save.disabled = true;
    try {
      await api.send("PUT", "/admin/routes", { text: wanted });
      saved = wanted;
      toast("The new routes are in force.");
    } catch (error) {
      toast(error.body && error.body.faults ? "The text has faults, so nothing was saved." : told(error), true);
    }
    check();
  }

  text.addEventListener("input", later);
  text.addEventListener("keydown", (event) => {
    // Tab would leave the field, which keyboard users need; two spaces are typed by hand in YAML.
    if (event.key === "s" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!save.disabled) write();
    }
  });
  return { element, show: load };
}
