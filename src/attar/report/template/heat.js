// The dark knowledge: two heat maps under one temperature, with a dendrogram and a reading of cells.

/** 32 levels up to `top`; the square root lifts what is small: a hundredth is a tenth of the way. */
const level = (p, top) => Math.max(0, Math.min(31, Math.round(31 * Math.sqrt(Math.max(0, p) / top))));
const few = (p) => (p >= 0.0995 ? (100 * p).toFixed(0) : p >= 0.00995 ? (100 * p).toFixed(0) : p >= 0.005 ? "1" : "");

drawers.heat = (box, data, name) => {
  const size = data.order.length;
  const labels = data.order.map((c) => data.names[c]);
  const maps = { teacher: unpack(data.maps.teacher), student: unpack(data.maps.student) };
  let step = data.own;
  const value = (who, row, column) => maps[who].values[(step * size + row) * size + column];
  // Few classes keep one scale at every T, so that the eye sees probability flow. Of a thousand
  // none gets much: there the deepest colour is the largest value at this T.
  const top = () => (data.classes <= size ? 1 : d3.max(["teacher", "student"], (who) => d3.max(maps[who].values.subarray(step * size * size, (step + 1) * size * size))));
  const here = { row: 0, column: Math.min(1, size - 1), on: false };
  const painters = [];

  const readout = h("p", { class: "readout" });
  const grid = h("div", { class: "maps two", tabindex: "0", role: "group", "aria-label": `${document.getElementById(`alt-${name}`).textContent} Arrow keys read the cells.` });
  const live = h("p", { class: "away", "aria-live": "polite" });
  const read = (aloud) => {
    const [row, column] = [labels[here.row], labels[here.column]];
    const numbers = ["teacher", "student"].map((who) => percent(value(who, here.row, here.column), 2));
    readout.replaceChildren(
      "Rows of ", h("b", {}, h("bdi", { title: row, text: cut(row, 40) })),
      ": how probable is ", h("b", {}, h("bdi", { title: column, text: cut(column, 40) })), "? Teacher ",
      h("b", { text: numbers[0] }), ", student ", h("b", { text: numbers[1] }), `, at T = ${data.temperatures[step]}.`,
    );
    if (aloud) live.textContent = readout.textContent;
    for (const painter of painters) painter.point();
  };
  const go = (row, column, aloud) => {
    here.row = Math.max(0, Math.min(size - 1, row));
    here.column = Math.max(0, Math.min(size - 1, column));
    here.on = true;
    read(aloud);
  };
  grid.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (!move || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(here.row + move[0], here.column + move[1], true);
  });

  for (const [who, title] of [["teacher", "Teacher"], ["student", "Student, distilled"]]) {
    const area = h("div");
    grid.append(h("div", {}, h("h4", { text: title }), area));
    const painter = heatMap({ who, size, labels, joins: who === "teacher" ? data.joins : [], value, top, go, here });
    painters.push(painter);
    responsive(area, painter.draw);
  }
  const scale = ramp();
  box.append(grid, live, h("div", { class: "pair" }, readout, scale.box));
  if (data.near) box.append(lookup(data, labels, () => step));
  box.append(numbersOf(data, labels, value));
  read(false);
  temperature.listen((now) => {
    step = Math.max(0, data.temperatures.indexOf(now));
    for (const painter of painters) painter.paint();
    scale.show(top());
    read(false);
    box.dispatchEvent(new CustomEvent("step"));
  });
};

/** One map; `draw(width)` builds it, `paint()` gives cells their colours, `point()` marks one. */
function heatMap({ who, size, labels, joins, value, top: deepest, go, here }) {
  let cells = [], texts = [];
  const paint = () => {
    const most = deepest();
    cells.forEach((cell, place) => {
      const p = value(who, Math.floor(place / size), place % size);
      cell.setAttribute("class", `cell heat-${level(p, most)}`);
      cell.setAttribute("data-value", p);
      if (texts.length) {
        texts[place].textContent = few(p);
        texts[place].setAttribute("class", level(p, most) > 14 ? "cell-text deep" : "cell-text");
      }
    });
    point();
  };
  const point = () => {
    for (const cell of cells) cell.classList.remove("here");
    if (here.on && cells.length) cells[here.row * size + here.column].classList.add("here");
  };
  const draw = (width) => {
    const narrow = width < 480;
    const letters = Math.min(d3.max(labels, (l) => pinch(l, 30).length), size > 16 ? 12 : narrow ? 9 : 16);
    const side = 12 + widest(labels.map((l) => pinch(l, letters)), 13);
    const tree = joins.length ? (narrow ? 30 : 64) : 0;
    const left = tree + side;
    const unit = Math.max(13, Math.min(size > 6 ? 62 : 96, (width - left - 2) / size)); // below 13 it scrolls
    const all = Math.max(width, Math.ceil(left + unit * size + 2));
    const flat = widest(labels.map((l) => pinch(l, letters)), 13) + 4 <= unit;
    const top = flat ? 22 : side;
    const root = svg("svg", { viewBox: `0 0 ${all} ${top + unit * size + 2}`, width: all, height: top + unit * size + 2, "aria-hidden": "true", class: unit < 14 ? "dense" : "" });
    cells = []; texts = [];
    const written = size <= 12 && unit >= 19;
    for (let row = 0; row < size; row += 1) {
      for (let column = 0; column < size; column += 1) {
        const [x, y] = [left + column * unit, top + row * unit];
        const cell = svg("rect", { x, y, width: unit, height: unit, rx: unit > 20 ? 4 : 0, "data-row": row, "data-column": column });
        cells.push(cell);
        root.append(cell);
        if (!written) continue;
        const text = svg("text", { x: x + unit / 2, y: y + unit / 2, "font-size": Math.min(14, unit * 0.42) });
        texts.push(text);
        root.append(text);
      }
      names(root, labels, row, { left, top, unit, letters, flat });
    }
    if (tree) root.append(dendrogram(joins, size, { tree, top, unit }));
    const over = (event) => {
      const cell = event.target.closest("rect[data-row]");
      if (cell) go(+cell.getAttribute("data-row"), +cell.getAttribute("data-column"), event.type === "click");
    };
    root.addEventListener("pointermove", over);
    root.addEventListener("click", over);
    paint();
    if (all <= width) return root;
    root.style.maxWidth = "none";
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Heat map of the ${who}, wider than the window` }, root);
  };
  return { draw, paint, point };
}

/** The name of a class beside its row and above its column. */
function names(root, labels, place, { left, top, unit, letters, flat }) {
  const size = Math.min(13, Math.max(8, unit * 0.8));
  const middle = place * unit + unit / 2;
  const said = { "font-size": size, fill: "currentColor", "dominant-baseline": "central" };
  const beside = svg("text", { ...said, x: left - 6, y: top + middle, "text-anchor": "end" });
  const above = flat
    ? svg("text", { ...said, x: left + middle, y: top - 10, "text-anchor": "middle" })
    : svg("text", { ...said, "text-anchor": "start", transform: `translate(${left + middle},${top - 6}) rotate(-90)` });
  for (const text of [beside, above]) {
    text.append(pinch(labels[place], letters), svg("title", {}, cut(labels[place], 500)));
    root.append(text);
  }
}

/** Joins from the right (leaves, at the names) to the left (the root). */
function dendrogram(joins, size, { tree, top, unit }) {
  // Heights from near the first join on: what comes before it tells nothing apart.
  const [first, last] = d3.extent(joins, (j) => j[2]);
  const base = Math.max(0, first - 0.35 * (last - first));
  const at = (height) => tree - 4 - ((tree - 8) * (height - base)) / Math.max(1e-9, last - base);
  const nodes = Array.from({ length: size }, (_, i) => ({ x: tree, y: top + (i + 0.5) * unit }));
  const group = svg("g", { class: "branches" });
  for (const [left, right, height] of joins) {
    const [a, b, x] = [nodes[left], nodes[right], at(height)];
    group.append(svg("path", { class: "branch", d: `M${a.x},${a.y}H${x}V${b.y}H${b.x}` }));
    nodes.push({ x, y: (a.y + b.y) / 2 });
  }
  return group;
}

function ramp() {
  const bar = h("div", { class: "ramp" });
  for (let i = 0; i < 32; i += 1) bar.append(h("span", { class: `heat-${i}` }));
  const scale = h("div", { class: "ramp-scale" });
  const box = h("div", { class: "ramp-box", role: "img" }, bar, scale);
  const show = (top) => {
    const written = (p) => `${+(100 * p * top).toPrecision(2)}${p === 1 ? " %" : ""}`;
    scale.replaceChildren(...[0, 0.01, 0.1, 0.25, 0.5, 1].map((p) => {
      const tick = h("span", { text: written(p) });
      tick.style.left = `${100 * Math.sqrt(p)}%`;
      return tick;
    }));
    box.setAttribute("aria-label", `Colours: pale is 0, deep is ${written(1)}, on a square-root scale`);
  };
  show(1);
  return { box, show };
}

/** Any class of many: what it is taken for. */
function lookup(data, labels, step) {
  const near = data.near;
  const wide = near.classes[0].length;
  const maps = { teacher: unpack(near.teacher), distilled: unpack(near.student) };
  const list = h("ul", { class: "bars" });
  const select = h("select", { class: "field", id: "look-class", onchange: () => show() });
  const fill = (wanted) => {
    const some = near.present.map((c, place) => [c, place]).filter(([c]) => data.names[c].toLowerCase().includes(wanted));
    select.replaceChildren(...some.slice(0, 2000).map(([c, place]) => h("option", { value: place, text: cut(data.names[c], 60) })));
  };
  const show = () => {
    if (select.value === "") { list.replaceChildren(); return; }
    const place = +select.value;
    const start = (step() * near.present.length + place) * wide;
    roomFor(list, near.classes[place].map((c) => data.names[c]));
    const pairs = near.classes[place].map((_, i) => ({ teacher: maps.teacher.values[start + i], distilled: maps.distilled.values[start + i] }));
    const longest = d3.max(pairs, (pair) => Math.max(pair.teacher, pair.distilled));
    list.replaceChildren(...near.classes[place].map((c, i) => pairOfBars(data.names[c], c === near.present[place], pairs[i], longest)));
  };
  const search = h("input", { class: "field", type: "search", id: "look-search", oninput: () => { fill(search.value.toLowerCase()); show(); } });
  fill("");
  show();
  temperature.listeners.push(() => setTimeout(show));
  return h("div", { class: "lookup" }, h("h4", { class: "h3", text: `Look up any of the ${near.present.length} classes` }),
    h("div", { class: "lookup-row" }, h("label", { for: "look-search", text: "Search " }), search, h("label", { for: "look-class", text: "class " }), select),
    legend(["teacher", "distilled"]), list);
}

/** The same numbers as a table, made when it is opened. */
function numbersOf(data, labels, value) {
  const place = h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Table: mean soft targets" });
  const fill = () => {
    if (!details.open) return;
    const head = h("tr", {}, h("th", { scope: "col", text: "true class" }), ...labels.map((l) => h("th", { scope: "col" }, h("bdi", { title: cut(l, 500), text: cut(l, 20) }))));
    const rows = ["teacher", "student"].flatMap((who) => labels.map((l, row) => h("tr", {}, h("th", { scope: "row" }, `${who}: `, h("bdi", { title: cut(l, 500), text: cut(l, 20) })), ...labels.map((_, column) => h("td", { text: percent(value(who, row, column), 2) })))));
    place.replaceChildren(h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows)));
  };
  const details = h("details", { ontoggle: fill }, h("summary", { text: "The numbers at this temperature" }), place);
  temperature.listeners.push(() => setTimeout(fill));
  return details;
}
