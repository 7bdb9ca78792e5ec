// What every figure uses: elements made without markup, colours, the frame of a chart.
// Names and texts from a run reach the page as text nodes and attributes alone.

const everything = JSON.parse(document.getElementById("data").textContent);

/** An element; `on...` are listeners, `class`, `text` and attributes the rest. */
function h(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null && child !== undefined) element.append(child);
  return element;
}

function svg(tag, properties, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties || {})) element.setAttribute(name, value);
  for (const child of children) element.append(child);
  return element;
}

const NAMES = {
  teacher: "teacher", member: "one member", hard: "hard labels", smoothed: "smoothed labels",
  pseudo: "pseudo-labels", distilled: "distilled",
};
const SYMBOLS = {
  teacher: "star", member: "triangle", hard: "square", smoothed: "diamond", pseudo: "wye",
  distilled: "circle",
};
const KEYS = Object.keys(NAMES);
const colour = (key) => `var(--${KEYS.includes(key) ? key : "ink"})`;
const symbolOf = (key) => d3[`symbol${(SYMBOLS[key] || "circle").replace(/^./, (c) => c.toUpperCase())}`];
const percent = (value, digits = 1) => `${(100 * value).toFixed(digits)} %`;

/** A name cut to a length; whoever shows it keeps the whole one in a title. */
function cut(name, length) {
  const flat = name.replace(/\s+/g, " ");
  const signs = Array.from(flat.slice(0, 4 * length + 4));
  return signs.length <= length && flat.length <= 4 * length ? flat : `${signs.slice(0, length - 1).join("")}…`;
}

/** A name cut in its middle: what tells names apart often stands at their end. */
function pinch(name, length) {
  const flat = name.replace(/\s+/g, " ");
  const signs = Array.from(flat.length > 4000 ? `${flat.slice(0, 200)}${flat.slice(-200)}` : flat);
  if (signs.length <= length) return flat;
  const head = Math.ceil((length - 1) * 0.6);
  return `${signs.slice(0, head).join("")}…${signs.slice(signs.length - (length - 1 - head)).join("")}`;
}

/** How wide the widest of some texts is in a chart, in pixels. */
function widest(texts, size = 12) {
  const pen = (widest.pen ||= document.createElement("canvas").getContext("2d"));
  pen.font = `${size}px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif`;
  return Math.ceil(d3.max(texts, (text) => pen.measureText(text).width) || 0);
}

/** Round values of a range that have room beside one another, `each` pixels wide. */
function ticksFor([low, high], room, each = 50) {
  for (let count = 8; count > 1; count -= 1) {
    const ticks = d3.ticks(low, high, count);
    if (ticks.length * each <= room) return ticks;
  }
  return d3.ticks(low, high, 1);
}

/** A small legend: one sign for each key. */
function legend(keys) {
  const row = h("div", { class: "legend", "aria-hidden": "true" });
  for (const key of keys) {
    const sign = svg("svg", { viewBox: "-7 -7 14 14" },
      svg("path", { d: d3.symbol(symbolOf(key), 80)(), fill: colour(key) }));
    row.append(h("span", {}, sign, NAMES[key]));
  }
  return row;
}

/** A chart of Observable Plot as an element; its styles are the page's own. */
function chart(options) {
  const drawn = Plot.plot({ className: "chart", marginTop: 24, marginRight: 20, ...options });
  for (const style of drawn.querySelectorAll("style")) style.remove();
  drawn.setAttribute("aria-hidden", "true"); // the words stand beside it
  return drawn;
}

/** A radio group; `change` is called with the chosen value. */
function choice(name, options, chosen, change) {
  const group = h("fieldset", { class: "choice" }, h("legend", { class: "away", text: name }));
  const id = `choice-${(choice.count = (choice.count || 0) + 1)}`;
  for (const [value, label] of options) {
    const input = h("input", { type: "radio", name: id, value, onchange: () => change(value) });
    input.checked = value === chosen;
    group.append(h("label", {}, input, label));
  }
  return group;
}

/** Draw again when the width changes; `draw(width)` gives an element or several. */
function responsive(box, draw) {
  let last = 0;
  const again = () => {
    const width = Math.floor(box.clientWidth);
    if (!width || width === last) return;
    last = width;
    box.replaceChildren(...[draw(width)].flat());
  };
  again();
  let waiting = 0;
  new ResizeObserver(() => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(again);
  }).observe(box);
  return () => { last = 0; again(); };
}

/** A picture of the wrapper for who cannot see it: the words of the figure. */
function pictured(name, box) {
  const words = document.getElementById(`alt-${name}`);
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", words ? words.textContent : name);
  return box;
}

/** float32 numbers from base64, with their shape. */
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.base64), (c) => c.charCodeAt(0));
  return { shape: packed.shape, values: new Float32Array(bytes.buffer) };
}

function softmax(logits, temperature) {
  let top = -Infinity;
  for (const value of logits) top = Math.max(top, value);
  const raised = Array.from(logits, (value) => Math.exp((value - top) / temperature));
  const sum = raised.reduce((a, b) => a + b, 0);
  return raised.map((value) => value / sum);
}

/** The temperature that all of the page shares; listeners are told of a change. */
const temperature = {
  value: 4, listeners: [],
  listen(listener) { this.listeners.push(listener); listener(this.value); },
  set(value) { this.value = value; for (const listener of this.listeners) listener(value); },
};

const drawers = {};
