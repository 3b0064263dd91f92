// A small Markdown reader for our own help pages. It builds nodes and never markup, so that no text
// can become more than text; links go through `link`, which returns an address or nothing.

import { h } from "./dom.js";

/** Return a fragment for a text: headings, paragraphs, lists, tables, fenced code, quotes. */
export function render(text, link) {
  const lines = text.replaceAll("\r\n", "\n").split("\n");
  const out = document.createDocumentFragment();
  let at = 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at, link);
    if (node) out.append(node);
    at = next;
  }
  return out;
}

function block(lines, at, link) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = /^\s*```/.exec(line);
  if (fence) return code(lines, at);
  const heading = /^(#{1,4}) (.+)$/.exec(line);
  if (heading) return [h(`h${Math.min(4, heading[1].length + 1)}`, {}, inline(heading[2], link)), at + 1];
  if (line.startsWith("|") && /^\|[\s:|-]+\|\s*$/.test(lines[at + 1] || "")) return table(lines, at, link);
  if (/^\s*([-*]|\d+\.) /.test(line)) return list(lines, at, link);
  if (line.startsWith(">")) return quote(lines, at, link);
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !/^(#{1,4} |\s*```|\||>|\s*([-*]|\d+\.) )/.test(lines[end])) end += 1;
  return [h("p", {}, inline(lines.slice(at, end).join(" "), link)), end];
}

function code(lines, at) {
  let end = at + 1;
  while (end < lines.length && !/^\s*```\s*$/.test(lines[end])) end += 1;
  return [h("pre", { tabindex: "0" }, h("code", {}, lines.slice(at + 1, end).join("\n"))), end + 1];
}

function table(lines, at, link) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  let end = at + 2;
  while (end < lines.length && lines[end].startsWith("|")) end += 1;
  return [h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Table" }, h("table", {},
    h("thead", {}, h("tr", {}, cells(lines[at]).map((cell) => h("th", { scope: "col" }, inline(cell, link))))),
    h("tbody", {}, lines.slice(at + 2, end).map((line) => h("tr", {}, cells(line).map((cell) => h("td", {}, inline(cell, link)))))))), end];
}

function list(lines, at, link) {
  const first = /^(\s*)([-*]|\d+\.) /.exec(lines[at]);
  const depth = first[1].length;
  const element = h(/\d/.test(first[2]) ? "ol" : "ul", {});
  let end = at;
  while (end < lines.length) {
    const item = /^(\s*)([-*]|\d+\.) (.*)$/.exec(lines[end]);
    if (!item || item[1].length < depth) break;
    if (item[1].length > depth && element.lastChild) {
      const [inner, next] = list(lines, end, link);
      element.lastChild.append(inner);
      end = next;
      continue;
    }
    const words = [item[3]];
    end += 1;
    while (end < lines.length && lines[end].trim() && /^\s/.test(lines[end]) && !/^\s*([-*]|\d+\.) /.test(lines[end])) {
      words.push(lines[end].trim());
      end += 1;
    }
    element.append(h("li", {}, inline(words.join(" "), link)));
  }
  return [element, end];
}

function quote(lines, at, link) {
  let end = at;
  while (end < lines.length && lines[end].startsWith(">")) end += 1;
  return [h("blockquote", {}, inline(lines.slice(at, end).map((line) => line.slice(1).trim()).join(" "), link)), end];
}

const SPAN = /(`+)(.+?)\1|!?\[([^\]]*)\]\(([^)\s]+)\)|\*\*(.+?)\*\*|(?<![\w*])\*([^*\s][^*]*)\*(?!\w)/;

function inline(text, link) {
  const out = [];
  let rest = text;
  while (rest) {
    const match = SPAN.exec(rest);
    if (!match) break;
    if (match.index) out.push(rest.slice(0, match.index));
    out.push(piece(match, link));
    rest = rest.slice(match.index + match[0].length);
  }
  if (rest) out.push(rest);
  return out;
}

function piece(match, link) {
  const [whole, , codeText, label, target, strong, slanted] = match;
  if (codeText !== undefined) return h("code", {}, codeText.trim());
  if (strong !== undefined) return h("strong", {}, inline(strong, link));
  if (slanted !== undefined) return h("em", {}, inline(slanted, link));
  if (whole.startsWith("!")) return label;
  const href = link(target);
  if (!href) return h("span", {}, inline(label, link));
  return href.startsWith("#") ? h("a", { href }, inline(label, link))
    : h("a", { href, target: "_blank", rel: "noopener noreferrer" }, inline(label, link));
}
