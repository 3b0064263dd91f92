// Building the page. Text only ever becomes text nodes: nothing here parses markup.

/** Return an element. Properties: `class`, `on…` listeners, `data` (an object), else attributes;
 * false, null and undefined leave an attribute out. Children: nodes, texts, lists of them. */
export function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else if (name === "checked") element.checked = true;
    else element.setAttribute(name, value === true ? "" : value);
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false || child === "") continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Replace what an element holds; what had the focus gets it back by its `data-key`. */
export function fill(element, ...children) {
  const active = document.activeElement;
  const key = active && element.contains(active) ? active.dataset.key : undefined;
  element.replaceChildren();
  add(element, children);
  if (key) {
    const again = [...element.querySelectorAll("[data-key]")].find((e) => e.dataset.key === key);
    if (again) again.focus();
  }
}

/** Return a sentence of the program as nodes: it begins with a capital (unless a name comes first),
 * ends with a stop, and what stands in backquotes is code. */
export function sentence(text) {
  const begun = /^[^ ]*[.:_]/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
  return inline(/[.!?:)]$/.test(begun) ? begun : `${begun}.`);
}

/** Return a text as nodes; what stands in backquotes is code. */
export function inline(text) {
  return text.split("`").map((piece, index) => (index % 2 ? h("code", {}, piece) : piece));
}

/** Return what went wrong as nodes: the message, and a link to its entry in the help where it has one. */
export function told(error, place) {
  const match = / ?Help: https?:\/\/[^\s/]+\/help\/([a-z0-9_]+)$/.exec(error.message);
  return match ? [error.message.slice(0, match.index), " ", helpLink(match[1], place)] : [error.message];
}

/** Return a link to the entry of an error code: in this page's own help, or in that for any browser. */
export function helpLink(code, place = document.getElementById("nav") ? "#/help/" : "/help/") {
  const outside = !place.startsWith("#");
  return h("a", { href: place + code, target: outside && "_blank", rel: outside && "noopener",
    onclick: (event) => {
      const around = event.currentTarget.closest("dialog");
      if (around && !outside) around.close();
    } }, "Help");
}

let numbers = 0;

/** Return an id that is used nowhere else on the page. */
export function newId(prefix) {
  numbers += 1;
  return `${prefix}-${numbers}`;
}

/** Return a labelled field: label, control, a line of help and a place for its error. */
export function field(label, control, help = "") {
  const id = control.id || newId("field");
  control.id = id;
  const error = h("p", { class: "error", id: `${id}-error`, hidden: true });
  const parts = [`${id}-error`];
  if (help) parts.push(`${id}-help`);
  control.setAttribute("aria-describedby", parts.join(" "));
  const element = h("div", { class: "field" },
    h("label", { for: id }, label), control,
    help && h("p", { class: "help", id: `${id}-help` }, help), error);
  return {
    element,
    control,
    fail(text) {
      fill(error, text);
      error.hidden = !text;
      if (text) control.setAttribute("aria-invalid", "true");
      else control.removeAttribute("aria-invalid");
    },
  };
}

/** Show a short message that goes by itself; faults stay until they are clicked away. */
export function toast(text, isFault = false) {
  const shown = h("div", { class: isFault ? "toast fault" : "toast" }, h("span", {}, text),
    h("button", { type: "button", class: "quiet", "aria-label": "Dismiss message",
      onclick: () => shown.remove() }, "×"));
  const place = document.getElementById("toasts");
  place.append(shown);
  while (place.children.length > 4) place.firstChild.remove();
  if (!isFault) setTimeout(() => shown.remove(), 6000);
}

/** Open a dialog and return it; it removes itself when it is closed. */
export function dialog(title, ...children) {
  const id = newId("dialog");
  const element = h("dialog", { "aria-labelledby": id },
    h("div", { class: "dialog-head" }, h("h2", { id }, title),
      h("button", { type: "button", class: "quiet", "aria-label": "Close",
        onclick: () => element.close() }, "×")),
    h("div", { class: "dialog-body" }, ...children));
  element.addEventListener("close", () => element.remove());
  document.body.append(element);
  element.showModal();
  return element;
}

/** Ask before something that cannot be undone; resolves to whether to go on. */
export function confirmed(title, text, action) {
  return new Promise((resolve) => {
    let answer = false;
    const element = dialog(title, h("p", {}, text),
      h("div", { class: "actions" },
        h("button", { type: "button", onclick: () => element.close() }, "Cancel"),
        h("button", { type: "button", class: "danger", onclick: () => {
          answer = true;
          element.close();
        } }, action)));
    element.addEventListener("close", () => resolve(answer));
  });
}

/** Return a button that copies a text and says so. */
export function copyButton(text, label = "Copy") {
  const button = h("button", { type: "button", onclick: async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      button.textContent = "Copied";
    } catch {
      button.textContent = "Select and copy it by hand";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  } }, label);
  return button;
}

/** Return what is shown where there is nothing to show. */
export function empty(title, ...children) {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), ...children);
}
