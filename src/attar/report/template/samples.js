// Single rows: the picture, the row or the text, beside what teacher and student say of it.

function shown(item, names, large) {
  const kind = names[item.label];
  if (item.picture) return h("img", { src: item.picture, class: item.picture.startsWith("data:image/png") ? "pixels" : "", alt: large ? `test row ${item.row}, a ${cut(kind, 60)}` : "" });
  if (item.text !== undefined) return h("div", { class: "sample-text", dir: "auto", tabindex: "0", role: "region", "aria-label": `text of row ${item.row}`, text: large ? item.text : cut(item.text, 160) });
  if (!item.values) return null;
  const rows = (large ? item.values : item.values.slice(0, 5)).map(([key, value]) => h("tr", {}, h("th", { scope: "row" }, h("bdi", { title: cut(key, 300), text: cut(key, 40) })), h("td", {}, h("bdi", { title: cut(value, 300), text: cut(value, 60) }))));
  const left = large ? item.left : 0;
  return h("div", { class: large ? "scroll tall" : "", tabindex: large ? "0" : null, role: large ? "region" : null, "aria-label": large ? `values of row ${item.row}` : null },
    h("table", {}, h("tbody", {}, ...rows)), left ? h("p", { class: "soft", text: `and ${left} more columns` }) : null);
}

/** Room for the longest of the names beside their bars. */
function roomFor(list, names) {
  const letters = d3.max(names, (name) => pinch(name, 26).length) || 1;
  list.style.setProperty("--names", `${Math.min(list.clientWidth && list.clientWidth < 420 ? 5.5 : 10, 1 + 0.55 * letters)}rem`);
}

/** A class with a bar of the teacher and a bar of the student. */
function pairOfBars(name, isTrue, values, longest = 1) {
  const bars = Object.entries(values).map(([key, p]) => {
    const bar = h("i");
    bar.style.width = `${(100 * p) / longest}%`;
    return h("div", { class: `bar ${key}`, "data-value": p }, h("div", {}, bar), h("span", {}, h("span", { class: "away", text: `${key}: ` }), percent(p, 1)));
  });
  return h("li", {}, h("div", { class: isTrue ? "who true" : "who", title: cut(name, 500) }, h("bdi", { text: pinch(name, 26) }), isTrue ? h("span", { class: "away", text: " (the true class)" }) : null), ...bars);
}

drawers.samples = (box, data) => {
  const says = { teacher: unpack(data.teacher), distilled: unpack(data.student) };
  const classes = says.teacher.shape[1];
  const logits = (who, place) => says[who].values.subarray(place * classes, (place + 1) * classes);
  const orders = {
    doubt: (a, b) => b.doubt - a.doubt, apart: (a, b) => b.apart - a.apart,
    own: (a, b) => b.apart - a.apart, inherited: (a, b) => b.doubt - a.doubt,
  };
  const fits = { doubt: () => true, apart: () => true, own: (i) => i.own, inherited: (i) => i.inherited };
  data.items.forEach((item, place) => { item.place = place; });
  let tag = "doubt", only = "", current = null;

  const tags = h("select", { class: "field", id: "sample-tag", onchange: () => { tag = tags.value; choose(); } },
    ...Object.entries(data.tags).map(([key, text]) => h("option", { value: key, text: `${text} (${data.items.filter(fits[key]).length})` })));
  const present = d3.sort(new Set(data.items.map((i) => i.label)));
  const ofClass = h("select", { class: "field", id: "sample-class", onchange: () => { only = ofClass.value; choose(); } },
    h("option", { value: "", text: "any class" }), ...present.map((c) => h("option", { value: c, text: cut(data.names[c], 60) })));
  const strip = h("div", { class: "thumbs", role: "group", "aria-label": "Test rows to choose from" });
  const left = h("div", { class: "sample-shown" });
  const bars = h("ul", { class: "bars", "aria-label": "Soft targets of teacher and student" });
  box.append(
    h("div", { class: "sample-choice" }, h("label", { for: "sample-tag" }, "Rows where ", tags), h("label", { for: "sample-class" }, "true class ", ofClass)),
    strip, legend(["teacher", "distilled"]), h("div", { class: "sample" }, left, bars));

  function choose() {
    const some = data.items.filter((i) => fits[tag](i) && (only === "" || i.label === +only)).sort(orders[tag]).slice(0, 40);
    strip.replaceChildren(...some.map((item) => {
      const inner = item.picture ? shown(item, data.names, false) : `row ${item.row}`;
      const said = `row ${item.row}, a ${cut(data.names[item.label], 60)}`;
      return h("button", { type: "button", class: item.picture ? "thumb" : "thumb text", "aria-label": said, title: said, "aria-pressed": "false", "data-place": item.place, onclick: () => show(item) }, inner);
    }));
    if (some.length) show(some[0]);
    else { current = null; left.replaceChildren(h("p", { class: "soft", text: "None among the rows that the run keeps." })); bars.replaceChildren(); }
  }
  function show(item) {
    current = item;
    for (const thumb of strip.children) thumb.setAttribute("aria-pressed", String(+thumb.getAttribute("data-place") === item.place));
    const name = data.names[item.label];
    left.replaceChildren(...[shown(item, data.names, true), h("p", {}, `Test row ${item.row}, in truth `, h("b", {}, h("bdi", { title: cut(name, 500), text: cut(name, 60) })), ".")].filter(Boolean));
    paint();
  }
  function paint() {
    if (!current) return;
    const [p, q] = [softmax(logits("teacher", current.place), temperature.value), softmax(logits("distilled", current.place), temperature.value)];
    const order = d3.sort(d3.range(classes), (c) => -p[c]).slice(0, 10);
    if (!order.includes(current.label)) order[order.length - 1] = current.label;
    // Where a thousand classes share, the longest bar is as long as there is room.
    const longest = classes <= 40 ? 1 : d3.max(order, (c) => Math.max(p[c], q[c]));
    roomFor(bars, order.map((c) => data.names[c]));
    bars.replaceChildren(...order.map((c) => pairOfBars(data.names[c], c === current.label, { teacher: p[c], distilled: q[c] }, longest)));
  }
  choose();
  temperature.listen(paint);
};

drawers.cards = (box, data) => {
  const said = (item, who) => {
    const right = item[who].class === item.label;
    const name = data.names[item[who].class];
    return h("dd", { class: right ? "right" : "wrong" }, right ? "✓ " : "✗ ", h("span", { class: "away", text: right ? "right: " : "wrong: " }), h("bdi", { title: cut(name, 500), text: cut(name, 24) }), ` (${percent(item[who].probability, 0)})`);
  };
  box.append(h("ul", { class: "cards" }, ...data.items.map((item) => {
    const inner = shown(item, data.names, false);
    const name = data.names[item.label];
    if (inner && inner.tagName !== "IMG") inner.classList.add("text");
    return h("li", {}, inner, h("div", {}, h("div", { class: "soft" }, `row ${item.row}, in truth `, h("b", {}, h("bdi", { title: cut(name, 500), text: cut(name, 24) }))),
      h("dl", {}, h("dt", { text: "teacher" }), said(item, "teacher"), h("dt", { text: "student" }), said(item, "distilled"))));
  })));
};
