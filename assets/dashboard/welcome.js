// The first four steps: what this is, an account or the demo, a first request, the agents.
// Shown in a window of its own when the program runs for the first time, and from the help later.

import * as api from "./api.js";
import { ask } from "./ask.js";
import { copyButton, field, fill, h, told } from "./dom.js";
import { milliseconds } from "./format.js";
import { signIn } from "./signin.js";

const STEPS = ["What it is", "An account", "First request", "Your agents"];
const DEMO = "demo-chat";
const AGENTS = [["claude", "Claude Code"], ["codex", "Codex"], ["gemini", "Gemini CLI"]];

export function welcomeSection(app) {
  const progress = h("ol", { class: "steps", "aria-label": "Steps" });
  const heading = h("h1", { tabindex: "-1" });
  const place = h("div", { class: "step" });
  const element = h("section", { class: "welcome" }, progress, heading, place);
  let step = 0;
  let abort = null;

  function go(to) {
    if (abort) abort.abort();
    step = to;
    fill(progress, STEPS.map((name, index) =>
      h("li", { "aria-current": index === step ? "step" : null, class: index < step ? "past" : null }, name)));
    [what, account, request, agents][step]();
    heading.focus({ preventScroll: true });
    scrollTo(0, 0);
  }

  function back() {
    return step > 0 && h("button", { type: "button", onclick: () => go(step - 1) }, "Back");
  }

  function address() {
    return (app.status && app.status.address) || location.origin;
  }

  function what() {
    heading.textContent = "One address for all your model accounts";
    fill(place,
      h("ol", { class: "flow", "aria-label": "How a request goes" },
        h("li", {}, h("b", {}, "Your agents"), h("span", { class: "sub" }, "Claude Code, Codex, Gemini CLI, your own programs")),
        h("li", { class: "here" }, h("b", {}, "Dragoman"), h("span", { class: "sub" }, address().replace("http://", ""))),
        h("li", {}, h("b", {}, "Your accounts"), h("span", { class: "sub" }, "subscriptions, API keys, local models"))),
      h("p", {}, "Each agent keeps speaking its own dialect. Dragoman passes every call to one of your accounts, ",
        "translates where the two differ, and takes the next account when one is used up."),
      h("p", {}, "It runs on this machine only. Your sign-ins are sealed here and go nowhere but to their own services."),
      h("div", { class: "actions" }, h("button", { type: "button", class: "primary", onclick: () => go(1) }, "Start"),
        h("a", { class: "button", href: "#/now" }, "Skip")));
  }

  function account() {
    const signedIn = (app.status && app.status.accounts) || [];
    heading.textContent = signedIn.length ? "You have an account" : "Add an account, or try without one";
    const fault = h("p", { class: "note bad", role: "alert", hidden: true });
    const add = async () => {
      try {
        const known = await api.get("/admin/accounts");
        signIn(known, {}, () => { if (element.isConnected) go(2); });
      } catch (error) {
        fill(fault, told(error));
        fault.hidden = error.status === 401;
      }
    };
    fill(place,
      signedIn.length > 0 && h("p", {}, signedIn.slice(0, 3).map((one) => one.identity || one.label).join(", "),
        signedIn.length > 3 ? ` and ${signedIn.length - 3} more.` : "."),
      h("div", { class: "choices two" },
        h("button", { type: "button", class: "choice", onclick: add }, h("b", {}, "Add an account"),
          h("span", { class: "sub" }, "Sign in to a plan you have, or store an API key.")),
        signedIn.length ? h("button", { type: "button", class: "choice", onclick: () => go(2) }, h("b", {}, "Go on"),
          h("span", { class: "sub" }, "Send a first request to it."))
          : h("button", { type: "button", class: "choice", onclick: () => go(2) }, h("b", {}, "Try the demo"),
            h("span", { class: "sub" }, "Answers by itself, offline, without an account."))),
      fault, h("div", { class: "actions" }, back()));
  }

  async function request() {
    heading.textContent = "Send a first request";
    const models = h("select", { "aria-busy": "true" }, h("option", { value: DEMO }, DEMO));
    const choice = field("Model", models);
    const prompt = field("What to ask", h("textarea", { rows: "2" }, "Say hello in one short sentence."));
    const answer = h("div", { class: "answer", role: "log", "aria-live": "polite", tabindex: "0", "aria-label": "Answer" });
    const note = h("p", { class: "sub", role: "status" });
    const send = h("button", { class: "primary" }, "Send");
    const next = h("button", { type: "button", onclick: () => go(3) }, "Go on");
    const demo = h("button", { type: "button", hidden: true, onclick: () => {
      models.value = DEMO;
      form.requestSubmit();
    } }, "Try the demo");

    async function run() {
      const own = abort = new AbortController();
      send.textContent = "Stop";
      fill(answer);
      fill(note);
      answer.classList.remove("fault");
      demo.hidden = true;
      try {
        const found = await ask(models.value, prompt.control.value, own.signal, (piece) => answer.append(piece));
        if (!answer.textContent) answer.append("The answer was empty.");
        fill(note, `${found.first_ms === null ? "" : `First words after ${milliseconds(found.first_ms)}, all after ${milliseconds(found.took_ms)}. `}${found.route}`);
        next.className = "primary";
        send.className = "";
      } catch (error) {
        if (error.name !== "AbortError") {
          answer.classList.add("fault");
          answer.append(...told(error));
          demo.hidden = models.value === DEMO;
        }
      }
      if (abort === own) abort = null;
      send.textContent = "Send";
    }

    const form = h("form", { onsubmit: (event) => {
      event.preventDefault();
      if (abort) abort.abort();
      else run();
    } }, choice.element, prompt.element, answer, note,
    h("div", { class: "actions" }, back(), send, demo, next));
    fill(place, h("p", {}, "It goes the way that the requests of your agents will go."), form);
    try {
      offer(models, (await api.get("/admin/models")).models, app.status && app.status.default_model);
    } catch (error) {
      if (error.status !== 401) choice.fail(told(error));
    }
    models.removeAttribute("aria-busy");
  }

  function agents() {
    heading.textContent = "Point your agents here";
    const line = (text) => h("div", { class: "line" }, h("pre", { tabindex: "0" }, text), copyButton(text));
    fill(place,
      h("p", {}, "On the page of agents, or in a terminal. You see each change before it is made, and ",
        h("code", {}, "dragoman disconnect"), " takes it back:"),
      h("dl", { class: "facts" }, AGENTS.map(([name, title]) =>
        h("div", {}, h("dt", {}, title), h("dd", {}, line(`dragoman connect ${name}`))))),
      h("p", {}, "Any other program: give it this address, and any word as its key."),
      line(`${address()}/v1`),
      h("p", { class: "sub" }, h("code", {}, "dragoman connect"), " lists the other agents that it knows. These steps are in the ",
        h("a", { href: "#/help/desktop" }, "help"), ", too."),
      h("div", { class: "actions" }, back(),
        h("a", { class: "button primary", href: "#/agents" }, "Connect an agent here"),
        h("a", { class: "button", href: "#/now" }, "Open the dashboard")));
  }

  return { element, show: () => go(0) };
}

/** Put the models that can be asked now into a select: the default first, the demo last. */
function offer(select, rows, preset) {
  const ready = rows.filter((row) => !row.reason && row.provider !== "demo").map((row) => row.name);
  const chosen = ready.includes(preset) ? preset : ready[0] || DEMO;
  const names = [...new Set([chosen, ...ready, DEMO])];
  fill(select, names.map((name) => h("option", { value: name }, name)));
  select.value = chosen;
}
