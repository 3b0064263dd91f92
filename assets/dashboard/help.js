// The documentation that is shipped with the program.

import * as api from "./api.js";
import { fill, h } from "./dom.js";
import { render } from "./markdown.js";

export function helpSection() {
  const list = h("nav", { class: "pages", "aria-label": "Help pages" });
  const article = h("article", { class: "prose" });
  const element = h("section", { class: "help-section" }, h("h1", { class: "hidden" }, "Help"), list, article);
  let pages = null;

  async function show(name) {
    try {
      if (!pages) pages = (await api.get("/admin/help")).pages;
      const chosen = pages.some((page) => page.name === name) ? name : pages[0] && pages[0].name;
      fill(list, pages.map((page) => h("a", { href: `#/help/${page.name}`, "data-key": page.name,
        "aria-current": page.name === chosen ? "page" : null }, page.title || page.name)),
      h("a", { href: "#/welcome", "data-key": "welcome" }, "First steps"));
      if (!chosen) {
        fill(article, h("p", { class: "note" }, "No help is shipped with this build."));
        return;
      }
      const text = (await api.get(`/admin/help/${chosen}`)).text;
      article.replaceChildren(render(text, (target) => pageLink(target, pages)));
      scrollTo(0, 0);
    } catch (error) {
      if (error.status !== 401) fill(article, h("p", { class: "note bad" }, error.message));
    }
  }

  return { element, show };
}

/** Return where a link of a help page leads here; empty when it leads nowhere. */
function pageLink(target, pages) {
  if (/^https:\/\//.test(target)) return target;
  const match = /^([a-z0-9_-]+)\.md(?:#.*)?$/.exec(target);
  return match && pages.some((page) => page.name === match[1]) ? `#/help/${match[1]}` : "";
}
