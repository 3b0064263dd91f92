// A form over the settings file: made from its schema, one field per key.

import * as api from "./api.js";
import { field, fill, h, sentence, toast, told } from "./dom.js";

const TITLES = {
  server: "Address", access: "Access", providers: "Services", models: "Models", upstream: "Calls to services",
  websocket: "Relay socket", database: "Database", ledger: "Ledger", quota: "Quota", logging: "Log",
  services: "Helper programs", advanced: "Advanced",
};

export function settingsSection() {
  const place = h("div", {});
  const element = h("section", {}, h("h1", {}, "Settings"), place);
  let data = null;
  let fields = [];

  async function load(at) {
    if (data && edited()) return;
    try {
      data = await api.get("/admin/config");
    } catch (error) {
      if (error.status !== 401) fill(place, h("p", { class: "note bad" }, told(error)));
      return;
    }
    draw();
    const target = at && document.getElementById(`settings-${at}`);
    if (target) target.scrollIntoView();
  }

  function draw(notes = []) {
    fields = [];
    const save = h("button", { class: "primary" }, "Save");
    const form = h("form", { novalidate: true, onsubmit: (event) => {
      event.preventDefault();
      send(save);
    } },
    Object.entries(data.schema.properties).map(([name, schema]) => section(name, schema)),
    h("div", { class: "savebar" }, save, h("button", { type: "button", onclick: () => draw() }, "Undo changes")));
    fill(place,
      h("p", { class: "sub" }, "Written to ", h("code", {}, data.path), "; its comments are kept. A change holds at once."),
      data.problems.length > 0 && h("div", { class: "note bad" }, h("p", {}, "The file has faults, so the settings before it are in force:"),
        h("ul", {}, data.problems.map((problem) => h("li", {}, problem)))),
      data.warnings.length > 0 && h("ul", { class: "note warn" }, data.warnings.map((text) => h("li", {}, sentence(text)))),
      notes.length > 0 && h("ul", { class: "note" }, notes.map((text) => h("li", {}, text))),
      form);
  }

  function section(name, schema) {
    const model = resolve(schema);
    const body = model.properties ? inputs(model, data.values[name], [name]) : services();
    return h("fieldset", { id: `settings-${name}` }, h("legend", {}, h("h2", {}, TITLES[name] || name)),
      h("p", { class: "sub" }, (model.description || schema.description || "").split("\n")[0]), body);
  }

  function inputs(model, values, path) {
    return Object.entries(model.properties).map(([name, schema]) => {
      const inner = resolve(schema);
      const key = [...path, name];
      if (inner.properties && values[name] !== null && typeof values[name] === "object") {
        return h("div", { class: "nested" }, h("h3", {}, name), inputs(inner, values[name], key));
      }
      return input(schema, values[name], key);
    });
  }

  function services() {
    const model = resolve(data.schema.properties.providers.additionalProperties);
    const names = Object.keys(data.values.providers);
    if (!names.length) return h("p", {}, "None is named in the file. Accounts that you sign in to are kept in the vault.");
    return names.map((name) => h("details", { class: "nested", open: names.length < 3 }, h("summary", {}, name),
      Object.entries(model.properties).filter(([key]) => key !== "accounts").map(([key, schema]) =>
        input(schema, data.values.providers[name][key], ["providers", name, key])),
      data.values.providers[name].accounts.map((account, index) => h("div", { class: "nested" },
        h("h3", {}, account.label || `Account ${index + 1}`),
        Object.entries(resolve(model.properties.accounts.items).properties).map(([key, schema]) =>
          input(schema, account[key], ["providers", name, "accounts", String(index), key]))))));
  }

  function input(schema, value, key) {
    const variable = data.overrides[key.join(".").toLowerCase()];
    const editable = isEditable(key) && !variable;
    const made = editable ? control(schema, value) : locked(value);
    const why = variable ? ` Set by ${variable}.` : editable ? "" : " Changed in the file only.";
    const shown = field(key.at(-1), made.element, `${schema.description || ""}${schema.description ? "." : ""}${why}`.trim());
    shown.element.classList.toggle("locked", !editable);
    shown.element.classList.toggle("inline", made.element.type === "checkbox");
    if (editable) {
      const reset = h("button", { type: "button", class: "quiet reset", "aria-label": `Use the default for ${key.join(".")}`,
        hidden: same(value, schema.default), onclick: () => {
          entry.removed = true;
          made.write(schema.default);
          reset.hidden = true;
        } }, "Default");
      const entry = { key, before: JSON.stringify(value), read: made.read, shown, removed: false };
      made.element.addEventListener("input", () => {
        entry.removed = false;
        shown.fail("");
      });
      fields.push(entry);
      if (schema.default !== undefined) shown.element.querySelector("label").after(reset);
    }
    return shown.element;
  }

  function isEditable(key) {
    return data.editable.some((pattern) => key.length >= pattern.length &&
      pattern.every((want, i) => want === "*" || want === key[i]));
  }

  function resolve(schema) {
    if (schema.$ref) return data.schema.$defs[schema.$ref.split("/").at(-1)];
    if (schema.allOf) return resolve(schema.allOf[0]);
    return schema;
  }

  function changes() {
    const found = [];
    for (const entry of fields) {
      if (entry.removed) {
        found.push({ key: entry.key, remove: true });
        continue;
      }
      const value = entry.read();
      if (JSON.stringify(value) !== entry.before) found.push({ key: entry.key, value });
    }
    return found;
  }

  function edited() {
    return fields.some(unreadable) || changes().length > 0;
  }

  async function send(button) {
    fields.forEach((entry) => entry.shown.fail(""));
    let wanted;
    try {
      wanted = changes();
    } catch (error) {
      const entry = fields.find((each) => each.key === error.key) || fields.find((each) => unreadable(each));
      show(entry, error.message);
      return;
    }
    if (!wanted.length) {
      toast("Nothing was changed.");
      return;
    }
    button.disabled = true;
    try {
      const answer = await api.patch("/admin/config", { changes: wanted });
      data = answer;
      draw(answer.notes);
      toast("Saved.");
    } catch (error) {
      const faults = (error.body && error.body.faults) || [];
      const unknown = faults.filter((fault) => !show(nearest(fault.key), fault.message));
      if (!faults.length) toast(told(error), true);
      unknown.forEach((fault) => toast(`${fault.key}: ${fault.message}`, true));
    } finally {
      button.disabled = false;
    }
  }

  function nearest(key) {
    const path = key.replaceAll("[", ".").replaceAll("]", "");
    return fields.filter((entry) => path === entry.key.join(".") || path.startsWith(`${entry.key.join(".")}.`))
      .sort((a, b) => b.key.length - a.key.length)[0];
  }

  return { element, show: load };
}

function show(entry, message) {
  if (!entry) return false;
  entry.shown.fail(message);
  const details = entry.shown.element.closest("details");
  if (details) details.open = true;
  entry.shown.control.focus();
  return true;
}

function unreadable(entry) {
  try {
    entry.read();
    return false;
  } catch {
    return true;
  }
}

function same(a, b) {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** Return the control of a key: its element, `read` and `write`. */
function control(schema, value) {
  const kinds = schema.anyOf ? schema.anyOf.filter((each) => each.type !== "null") : [schema];
  const optional = Boolean(schema.anyOf && schema.anyOf.some((each) => each.type === "null"));
  const one = kinds.length === 1 ? kinds[0] : {};
  if (one.enum) return choice(one.enum, optional, value);
  if (one.type === "boolean" && optional) return choice([true, false], true, value);
  if (one.type === "boolean") {
    const element = h("input", { type: "checkbox", checked: value });
    return { element, read: () => element.checked, write: (v) => { element.checked = v; } };
  }
  if (one.type === "integer" || one.type === "number") return number(one, optional, value);
  if (one.type === "string") {
    const element = h("input", { type: "text", value: value ?? "", autocomplete: "off", spellcheck: "false" });
    return { element, read: () => (element.value === "" && optional ? null : element.value), write: (v) => { element.value = v ?? ""; } };
  }
  if (one.type === "array" && one.items && one.items.type === "string") return list(value);
  if (one.type === "object" && one.additionalProperties && one.additionalProperties.type === "string") return pairs(value);
  return json(value);
}

function choice(options, optional, value) {
  const words = [...(optional ? [null] : []), ...options];
  const element = h("select", {}, words.map((word, index) => h("option", { value: String(index) }, word === null ? "not set" : String(word))));
  const write = (v) => { element.value = String(words.findIndex((word) => word === v)); };
  write(value);
  return { element, read: () => words[Number(element.value)], write };
}

function number(schema, optional, value) {
  const element = h("input", { type: "number", step: schema.type === "integer" ? "1" : "any", value: value ?? "",
    min: schema.minimum ?? schema.exclusiveMinimum, max: schema.maximum });
  const read = () => {
    if (element.value === "") {
      if (optional && !element.validity.badInput) return null;
      throw new Error("A number is needed.");
    }
    return Number(element.value);
  };
  return { element, read, write: (v) => { element.value = v ?? ""; } };
}

function area(text) {
  return h("textarea", { rows: String(Math.min(12, Math.max(2, text.split("\n").length))), spellcheck: "false" }, text);
}

function list(value) {
  const element = area(value.join("\n"));
  element.placeholder = "One per line";
  return { element, read: () => element.value.split("\n").map((line) => line.trim()).filter(Boolean), write: (v) => { element.value = v.join("\n"); } };
}

function pairs(value) {
  const render = (map) => Object.entries(map).map(([name, target]) => `${name} = ${target}`).join("\n");
  const element = area(render(value));
  element.placeholder = "name = what it stands for";
  const read = () => Object.fromEntries(element.value.split("\n").filter((line) => line.trim()).map((line) => {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`Write "name = what it stands for", not "${line.trim()}".`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  }));
  return { element, read, write: (v) => { element.value = render(v); } };
}

function json(value) {
  const render = (v) => (v === null || v === undefined ? "" : JSON.stringify(v, null, 2));
  const element = area(render(value));
  element.className = "mono";
  const read = () => {
    if (!element.value.trim()) return null;
    try {
      return JSON.parse(element.value);
    } catch (error) {
      throw new Error(`This is no JSON: ${error.message}`, { cause: error });
    }
  };
  return { element, read, write: (v) => { element.value = render(v); } };
}

function locked(value) {
  const text = value === null || value === undefined ? "not set" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return { element: h("input", { type: "text", readonly: true, value: text }) };
}
