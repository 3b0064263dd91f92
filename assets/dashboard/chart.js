// Bars over time, drawn as SVG: colours come from the style sheet, numbers stand in the table beside.

const SPACE = "http://www.w3.org/2000/svg";
const LEFT = 56;
const BOTTOM = 24;
const TOP = 10;

function s(tag, properties, ...children) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(properties)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Return a round number at or above a value, so that the axis has plain numbers. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

/** Return as much of a name as there is room for. */
function fitting(name, room) {
  const letters = Math.max(2, Math.floor((room - 4) / 7));
  return name.length <= letters ? name : `${name.slice(0, letters - 1)}…`;
}

/** Return a chart that fits itself to its place.
 * `names`: one per bar; `inOrder`: what stands between two names can be guessed, such as days;
 * `parts`: [{ name, kind, values }], stacked from below; `show`: number to text;
 * `title`: what it shows, for those who do not see it. */
export function barChart({ names, inOrder, parts, show, title }) {
  const place = document.createElement("div");
  place.className = "chart";
  let drawn = 0;

  function draw(width) {
    if (width < 40 || width === drawn) return;
    drawn = width;
    const height = width < 480 ? 180 : 240;
    const sums = names.map((_, index) => parts.reduce((sum, part) => sum + (part.values[index] || 0), 0));
    const top = ceiling(Math.max(...sums, 0));
    const wide = (width - LEFT - 6) / Math.max(1, names.length);
    const high = height - TOP - BOTTOM;
    const y = (value) => TOP + high * (1 - value / top);
    const picture = s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
    for (const step of [0, 0.5, 1]) {
      picture.append(
        s("line", { class: "grid", x1: LEFT, x2: width, y1: y(top * step), y2: y(top * step) }),
        s("text", { class: "tick", x: LEFT - 8, y: y(top * step) + 4, "text-anchor": "end" }, show(top * step)));
    }
    const longest = Math.max(...names.map((name) => name.length), 1) * 7 + 14;
    const each = !inOrder ? 1 : Math.max(1, Math.ceil((names.length * Math.max(76, longest)) / Math.max(1, width - LEFT)));
    names.forEach((name, index) => {
      const x = LEFT + index * wide;
      const bar = s("g", { class: "bar-of" }, s("title", {}, told(name, index)),
        s("rect", { class: "hit", x, y: TOP, width: wide, height: high }));
      let below = 0;
      for (const part of parts) {
        const value = part.values[index] || 0;
        if (value <= 0) continue;
        bar.append(s("rect", { class: `part ${part.kind}`, x: x + wide * 0.12, width: Math.max(1, wide * 0.76),
          y: y(below + value), height: Math.max(1, y(below) - y(below + value)) }));
        below += value;
      }
      if (index % each === 0) {
        bar.append(s("text", { class: "tick", x: x + wide / 2, y: height - 6, "text-anchor": "middle" },
          inOrder ? name : fitting(name, wide)));
      }
      picture.append(bar);
    });
    place.replaceChildren(picture, ...(parts.length > 1 ? [legend()] : []));
  }

  function told(name, index) {
    const found = parts.filter((part) => part.values[index]).map((part) =>
      `${parts.length > 1 ? `${part.name}: ` : ""}${show(part.values[index])}`);
    return `${name}\n${found.join("\n") || show(0)}`;
  }

  function legend() {
    const list = document.createElement("ul");
    list.className = "legend";
    for (const part of parts) {
      const row = document.createElement("li");
      const mark = document.createElement("span");
      mark.className = `mark ${part.kind}`;
      row.append(mark, part.name);
      list.append(row);
    }
    return list;
  }

  new ResizeObserver((seen) => draw(Math.floor(seen[0].contentRect.width))).observe(place);
  return place;
}
