// The documentation that is shipped with the program.

import * as api from "./api.js";
import { fill, h, told } from "./dom.js";

export function helpSection() {
  const list = h("nav", { class: "pages", "aria-label": "Help pages" });
  const article = h("article", { class: "prose" });
  const element = h("section", { class: "help-section" }, list, article);
  let groups = null;
  let shown = "";

  /** Show a page, `PAGE#ANCHOR`, or the entry of an error code. */
  async function show(wanted) {
    try {
      if (!groups) groups = (await api.get("/admin/help")).groups;
      const [name, place] = (wanted || "index").split("#");
      const page = await api.get(`/admin/help/${encodeURIComponent(name)}`);
      fill(list, groups.map((group) => [h("h2", {}, group.title), group.pages.map((one) => h("a", {
        href: `#/help/${one.name}`, "data-key": one.name, "aria-current": one.name === page.name ? "page" : null,
      }, one.title))]), h("a", { href: "#/welcome", "data-key": "welcome" }, "First steps"));
      if (shown !== page.name) article.replaceChildren(...nodes(page.html, page.name));
      shown = page.name;
      const current = list.querySelector("[aria-current]");
      if (current) current.scrollIntoView({ block: "nearest" });
      for (const old of article.querySelectorAll(".aimed")) old.classList.remove("aimed");
      const target = article.querySelector(`[id="${CSS.escape(place || page.anchor)}"]`);
      if (target) {
        target.classList.add("aimed");
        target.scrollIntoView();
      } else {
        scrollTo(0, 0);
      }
    } catch (error) {
      shown = "";
      if (error.status !== 401) fill(article, h("p", { class: "note bad" }, told(error)));
    }
  }

  return { element, show };
}

/** Return a page of the program's own as nodes, with its links leading to places of this page. Its
 * markup is what the program made of the shipped text; the policy of this page lets nothing in it run. */
function nodes(html, name) {
  const parsed = new DOMParser().parseFromString(html, "text/html");
  for (const link of parsed.querySelectorAll("a[href]")) {
    const href = link.getAttribute("href");
    if (href.startsWith("#")) link.setAttribute("href", `#/help/${name}${href}`);
    else if (/^\/help\/examples\//.test(href)) link.setAttribute("target", "_blank");
    else if (href === "/help" || href.startsWith("/help/")) link.setAttribute("href", `#${href}`);
  }
  return [...parsed.body.childNodes].map((node) => document.adoptNode(node));
}
