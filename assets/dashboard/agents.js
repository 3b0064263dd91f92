// Agents on this machine: how they stand, connecting them after the exact change was shown, trying them.

import * as api from "./api.js";
import { dialog, empty, field, fill, h, newId, sentence, toast, told } from "./dom.js";

const ROLES = { main: "Model", small: "Small model", planning: "Planning model" };
const ACTIONS = { create: "is made", change: "is changed", remove: "is removed", keep: "stays as it is" };
const FILES = {
  overridden: "somebody changed our values", undone: "our values are gone", missing: "the file is gone",
  unreadable: "it cannot be read",
};

export function agentsSection() {
  const notes = h("div", {});
  const cards = h("div", { class: "cards" });
  const others = h("div", {});
  const element = h("section", {}, h("div", { class: "bar" }, h("h1", {}, "Agents"),
    h("button", { type: "button", onclick: () => load() }, "Look again")),
  h("p", { class: "sub" }, "Nothing is written before you have seen the exact change, and disconnecting brings it back."),
  notes, cards, others);
  let known = null;

  async function load() {
    try {
      known = await api.get("/admin/agents");
      draw();
    } catch (error) {
      if (error.status !== 401) fill(notes, h("p", { class: "note bad" }, told(error)));
    }
  }

  function draw() {
    const former = known.agents.filter((agent) => agent.outdated);
    fill(notes, former.length > 0 && h("p", { class: "note warn" },
      `${former.map((agent) => agent.title).join(", ")} still ${former.length > 1 ? "go" : "goes"} to a former address; Dragoman is at ${known.address} now.`));
    const here = known.agents.filter((agent) => agent.installed || agent.connected);
    const away = known.agents.filter((agent) => !here.includes(agent));
    if (here.length) fill(cards, here.map((agent) => card(agent, act)));
    else fill(cards, empty("No agent was found on this machine.", h("p", {}, "Below are those that Dragoman knows.")));
    fill(others, away.length > 0 && h("details", { class: "others", open: !here.length },
      h("summary", {}, `${away.length} more that Dragoman knows`),
      h("div", { class: "cards" }, away.map((agent) => card(agent, act)))));
  }

  async function act(agent, name) {
    if (name === "connect") await connect(agent, agent.models);
    else if (name === "disconnect") await disconnect(agent);
    else if (name === "test") await test(agent);
    else await explain(agent, known.address);
    await load();
  }

  async function show(rest) {
    if (rest) history.replaceState(null, "", "#/agents");
    await load();
    const [name, ...model] = rest.split("/");
    const agent = known && known.agents.find((one) => one.name === name);
    if (!agent) return;
    if (!agent.editable) await explain(agent, known.address);
    else await connect(agent, model.length ? { ...agent.models, main: model.join("/") } : agent.models);
    await load();
  }

  function connect(agent, models) {
    return choose(agent, models, known.offered);
  }

  return { element, show: (rest = "") => { show(rest); } };
}

function card(agent, act) {
  const button = (name, text, kind = "") => h("button", { type: "button", class: kind, "data-key": `${agent.name} ${name}`,
    "aria-label": `${text.replace("…", "")}: ${agent.title}`, onclick: () => act(agent, name) }, text);
  const chosen = Object.entries(agent.models).map(([role, model]) => `${ROLES[role].toLowerCase()} ${model}`).join(", ");
  const drifted = agent.files.filter((file) => FILES[file.state]);
  return h("article", { class: "card", "aria-label": agent.title },
    h("header", {}, h("div", { class: "card-name" }, h("h2", {}, agent.title),
      h("p", { class: "sub" }, agent.version || (agent.installed ? "installed" : "not on this machine"))),
    h("div", { class: "pills" }, h("span", { class: `pill ${mark(agent)[0]}` }, mark(agent)[1]))),
    chosen && h("p", {}, `Uses ${chosen}`),
    agent.connected && agent.outdated && h("p", { class: "note warn" }, `It goes to ${agent.url}.`),
    drifted.map((file) => h("p", { class: "note warn" }, `${file.path}: ${FILES[file.state]}${file.places.length ? ` (${file.places.join(", ")})` : ""}${file.reason ? ` (${file.reason})` : ""}.`)),
    h("div", { class: "actions" },
      agent.editable && (agent.connected
        ? [button("connect", agent.outdated ? "Update…" : drifted.length ? "Set again…" : "Choose model…", agent.outdated ? "primary" : ""),
          button("disconnect", "Disconnect…")]
        : button("connect", "Connect…", agent.installed ? "primary" : "")),
      agent.testable && agent.program && button("test", "Test…"),
      button("explain", agent.editable ? "What will not work" : "How to…", agent.editable ? "quiet" : "")));
}

function mark(agent) {
  if (!agent.connected) {
    if (agent.editable) return ["", "Not connected"];
    return ["", agent.runnable ? "By environment" : "By hand"];
  }
  if (agent.outdated) return ["warn", "Former address"];
  return agent.drifted ? ["warn", "Changed since"] : ["good", "Connected"];
}

/** Return a plan as what people read: each file with its exact change. */
function shownPlan(plan) {
  const changed = plan.files.filter((file) => file.action !== "keep");
  if (!changed.length) return [h("p", { class: "note good" }, "Nothing has to be changed: it is as it should be.")];
  return [
    changed.map((file) => h("figure", { class: "change" },
      h("figcaption", {}, h("code", {}, file.path), ` ${ACTIONS[file.action]}`),
      h("pre", { class: "diff", tabindex: "0", "aria-label": `Change of ${file.path}` }, lines(file.diff)))),
    plan.left.length > 0 && h("p", { class: "note warn" }, `Somebody else changed these, so they stay: ${plan.left.join(", ")}.`),
    Object.entries(plan.copies).map(([path, copy]) => h("p", { class: "note" }, `The original of ${path} is kept as ${copy}.`)),
    plan.limits.length > 0 && h("details", {}, h("summary", {}, "What will not work"), h("ul", {}, plan.limits.map((limit) => h("li", {}, sentence(limit))))),
  ];
}

function lines(diff) {
  // The two lines that name the file stand above.
  return diff.split("\n").slice(2).filter((line, index, all) => line || index < all.length - 1).map((line) => {
    const kind = line.startsWith("+") ? "added" : line.startsWith("-") ? "removed" : line.startsWith("@@") ? "place" : "";
    return h("span", { class: kind }, `${line}\n`);
  });
}

/** Show what would be written and write it when that is wanted; resolves when the dialog is closed. */
function change(title, button, agent, { head = [], body, step, done }) {
  return new Promise((resolve) => {
    const place = h("div", { class: "plan", "aria-live": "polite" }, h("p", { class: "sub" }, "Working out the change…"));
    const fault = h("p", { class: "note bad", role: "alert", hidden: true });
    const go = h("button", { type: "button", class: "primary", disabled: true, onclick: write }, button);
    const shown = dialog(title, head, place, fault, h("div", { class: "actions" },
      h("button", { type: "button", onclick: () => shown.close() }, "Cancel"), go));
    shown.classList.add("broad");
    shown.addEventListener("close", () => resolve());
    let plan = null;
    let asked = 0;

    async function work() {
      const number = asked += 1;
      plan = null;
      go.disabled = true;
      try {
        const found = await api.post(`/admin/agents/${agent.name}/plan`, body());
        if (number !== asked) return;
        plan = found;
        fill(place, shownPlan(found));
        go.disabled = step === "connect" && agent.connected && !found.files.some((file) => file.action !== "keep") && !agent.outdated;
        say("");
      } catch (error) {
        if (number !== asked) return;
        fill(place);
        say(told(error));
      }
    }

    function say(text) {
      fill(fault, text);
      fault.hidden = !text;
    }

    async function write() {
      go.disabled = true;
      try {
        const { undo, ...models } = body();
        await api.post(`/admin/agents/${agent.name}/${step}`, { ...models, shown: plan.shown });
        toast(done);
        shown.close();
      } catch (error) {
        await work();
        say([told(error), error.code === "file_changed" && " This is what would be written now."]);
      }
    }

    for (const control of shown.querySelectorAll("input")) control.addEventListener("change", work);
    work();
  });
}

function choose(agent, models, offered) {
  const list = newId("models");
  const fields = Object.entries(agent.roles).map(([role, use]) => {
    const needed = agent.needs.includes(role);
    const input = h("input", { type: "text", list, autocomplete: "off", spellcheck: "false", value: models[role] || "",
      required: needed, placeholder: needed ? "a name is needed" : "its own choice" });
    return [role, field(ROLES[role], input, use)];
  });
  if (!models.main && agent.needs.includes("main") && offered.length) fields[0][1].control.value = offered[0];
  const chosen = () => Object.fromEntries(fields.map(([role, one]) => [role, one.control.value.trim()]).filter(([, model]) => model));
  return change(`${agent.connected ? "Change" : "Connect"} ${agent.title}`, agent.connected ? "Write this" : "Connect", agent, {
    head: [fields.map(([, one]) => one.element), h("datalist", { id: list }, offered.map((name) => h("option", { value: name })))],
    body: () => ({ models: chosen() }),
    step: "connect",
    done: `${agent.title} is connected. Start it anew where it runs already.`,
  });
}

function disconnect(agent) {
  return change(`Disconnect ${agent.title}`, "Disconnect", agent, {
    body: () => ({ undo: true }), step: "disconnect", done: `${agent.title} has its own settings back.`,
  });
}

function test(agent) {
  return new Promise((resolve) => {
    const place = h("div", { "aria-live": "polite" });
    const go = h("button", { type: "button", class: "primary", onclick: run }, "Ask it");
    const shown = dialog(`Test ${agent.title}`,
      h("p", {}, "It is asked for one word in an empty home and an empty folder, connected as Connect does it: first through the demo, then through its model, which may cost a few tokens. Nothing of yours is changed."),
      place, h("div", { class: "actions" }, go));
    shown.addEventListener("close", () => resolve());

    async function run() {
      go.disabled = true;
      fill(place, h("p", { class: "note" }, "Asking. This may take a minute."));
      try {
        const answer = await api.post(`/admin/agents/${agent.name}/test`, agent.connected ? {} : { models: {} });
        fill(place, answer.findings.map((found) => h("div", { class: `note ${found.verdict === "ok" ? "good" : "bad"}` },
          h("p", {}, h("b", {}, found.model || "Its own model"), ` ${found.text}`), found.hint && h("p", {}, sentence(found.hint)))));
        if (!answer.findings.length) fill(place, h("p", { class: "note" }, "The demo is off and no model was chosen, so nothing was asked."));
      } catch (error) {
        fill(place, h("p", { class: "note bad", role: "alert" }, told(error)));
      }
      go.disabled = false;
    }
  });
}

function explain(agent) {
  return new Promise((resolve) => {
    const shown = dialog(agent.title,
      agent.steps.length > 0 && h("ol", {}, agent.steps.map((step) => h("li", {}, sentence(step)))),
      h("h3", {}, "What will not work"), h("ul", {}, agent.limits.map((limit) => h("li", {}, sentence(limit)))),
      h("p", {}, h("a", { href: "#/help/agents", onclick: () => shown.close() }, "Help: agents")));
    shown.addEventListener("close", () => resolve());
  });
}
