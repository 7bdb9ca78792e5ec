// Charts of one panel, drawn by Observable Plot.

const share = { tickFormat: (v) => `${+(100 * v).toFixed(1)} %`, grid: true, label: null };

/** Room around numbers, so that nothing sits on the edge. */
function around(values, pad = 0.08) {
  const [low, high] = d3.extent(values.filter((v) => v !== null && v !== undefined));
  const room = Math.max((high - low) * pad, 0.01 - (high - low) / 2); // two points at least
  return [low - room, Math.min(high + room, high <= 1 ? Math.max(high, 1) : Infinity)];
}

const spread = (points) => points.flatMap((p) => [p.low, p.high, p.mean, ...(p.seeds || [])]);

drawers.gap = (box, data, name) => {
  const points = [...data.points].sort((a, b) => b.mean - a.mean);
  const at = Object.fromEntries(points.map((p) => [p.key, p.mean]));
  const area = pictured(name, h("div"));
  box.append(area);
  responsive(area, (width) => {
    const narrow = width < 480;
    const said = (key) => (narrow || key === "teacher" ? NAMES[key] : `student, ${NAMES[key]}`);
    const shown = points.map((p) => ({ ...p, said: said(p.key) }));
    const gap = at.teacher > at.hard;
    const [marginLeft, domain] = [22 + widest(shown.map((p) => p.said)), around(spread(points))];
    return chart({
      width, height: (gap ? 112 : 74) + 46 * points.length, marginLeft, marginTop: gap ? 54 : 20,
      marginBottom: 34, marginRight: 58,
      x: { ...share, domain, ticks: ticksFor(domain, width - marginLeft - 58) },
      y: { type: "point", label: null, domain: shown.map((p) => p.said), tickSize: 0, tickPadding: 10, padding: 0.6 },
      marks: [
        gap ? Plot.rect([0], { x1: at.hard, x2: Math.min(Math.max(at.distilled, at.hard), at.teacher), fill: colour("distilled"), fillOpacity: 0.1 }) : null,
        gap ? Plot.ruleX([at.hard, at.teacher], { stroke: "var(--soft-ink)", strokeDasharray: "3 4" }) : null,
        gap ? Plot.text([0], { x: at.hard, frameAnchor: "top", dy: -36, dx: 1, textAnchor: "start", text: () => `the gap: ${(100 * (at.teacher - at.hard)).toFixed(1)} points`, fill: "var(--soft-ink)" }) : null,
        gap && at.distilled > at.hard ? Plot.text([0], { x: at.hard, frameAnchor: "top", dy: -17, dx: 1, textAnchor: "start", fontWeight: 650, fill: colour("distilled"), text: () => `${narrow ? "" : "distillation "}closes ${Math.round((100 * (at.distilled - at.hard)) / (at.teacher - at.hard))} % of it` }) : null,
        Plot.ruleY(shown, { y: "said", x1: "low", x2: "high", stroke: (d) => colour(d.key), strokeWidth: 7, strokeOpacity: 0.22, strokeLinecap: "round" }),
        Plot.dot(shown.flatMap((p) => (p.seeds.length > 1 ? p.seeds.map((x) => ({ ...p, x })) : [])), { x: "x", y: "said", r: 3, fill: (d) => colour(d.key), fillOpacity: 0.45, dy: 12 }),
        Plot.dot(shown, { x: "mean", y: "said", r: 7, fill: (d) => colour(d.key), stroke: "var(--card)", strokeWidth: 1.5, title: (d) => `${d.said}: ${percent(d.mean, 2)}` }),
        Plot.text(shown, { y: "said", frameAnchor: "right", dx: 54, textAnchor: "end", text: (d) => percent(d.mean), fontWeight: 650, fill: (d) => colour(d.key), fontSize: 13 }),
      ],
    });
  });
};

drawers.forest = (box, data, name) => {
  const area = pictured(name, h("div"));
  box.append(area);
  responsive(area, (width) => {
    const all = data.points.flatMap((p) => [p.low, p.high, p.mean, 0]);
    const [low, high] = d3.extent(all.filter((v) => v !== null));
    const room = (high - low || 0.01) * 0.08;
    const [marginLeft, domain] = [22 + widest(data.points.map((p) => p.label)), [low - room, high + room]];
    return chart({
      width, height: 78 + 46 * data.points.length, marginLeft, marginBottom: 44, marginTop: 8,
      x: { domain, grid: true, ticks: ticksFor(domain, width - marginLeft - 20), label: width < 480 ? "points; right: better" : `points of ${data.unit}: right of 0, distilled is better`, labelAnchor: "center", labelArrow: "none", tickFormat: (v) => (v > 0 ? "+" : "") + (100 * v).toFixed(1) },
      y: { type: "point", label: null, domain: data.points.map((p) => p.label), tickSize: 0, tickPadding: 10, padding: 0.6 },
      marks: [
        Plot.ruleX([0], { stroke: "var(--ink)" }),
        Plot.ruleY(data.points, { y: "label", x1: "low", x2: "high", stroke: (d) => colour(d.key), strokeWidth: 4, strokeLinecap: "round", strokeOpacity: 0.5 }),
        Plot.dot(data.points, { x: "mean", y: "label", r: 7, fill: (d) => colour(d.key), stroke: "var(--card)" }),
        Plot.text(data.points, { x: "mean", y: "label", dy: -15, text: (d) => (d.mean > 0 ? "+" : "") + (100 * d.mean).toFixed(1), fontWeight: 650, fill: (d) => colour(d.key) }),
      ],
    });
  });
};

/** 1, 2 and 5 times the powers of ten in a range; the powers alone where there is little room. */
function roundTicks(low, high, narrow) {
  const powers = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
  const every = powers.flatMap((p) => [1, 2, 5].map((m) => m * 10 ** p)).filter((v) => v >= low && v <= high);
  if (every.length <= (narrow ? 4 : 7)) return every;
  const tens = powers.map((p) => 10 ** p).filter((v) => v >= low && v <= high);
  return tens.length > 1 ? tens : every.filter((_, i) => i % 2 === 0);
}

drawers.scatter = (box, data, name) => {
  const area = pictured(name, h("div"));
  const keys = KEYS.filter((key) => data.points.some((p) => p.key === key));
  if (!data.named) box.append(legend(keys));
  box.append(area);
  responsive(area, (width) => {
    const students = keys.filter((key) => key !== "teacher" && key !== "member");
    const aside = (key) => (students.length < 2 || data.named ? 0 : (students.indexOf(key) - (students.length - 1) / 2) * 13);
    const xs = data.points.map((p) => p.x);
    const factor = Math.max(1.6, (d3.max(xs) / d3.min(xs)) ** 0.16);
    const marks = keys.flatMap((key) => {
      const own = data.points.filter((p) => p.key === key);
      const dx = students.includes(key) ? aside(key) : 0;
      const common = { x: "x", dx, stroke: colour(key) };
      const seeds = own.flatMap((p) => (p.seeds.length > 1 ? p.seeds.map((y) => ({ x: p.x, y })) : []));
      const faint = key === "member" ? 0.35 : 1;
      return [
        Plot.ruleX(own.filter((p) => p.low !== null), { ...common, y1: "low", y2: "high", strokeWidth: key === "member" ? 1 : 2, strokeOpacity: 0.55 * faint }),
        Plot.dot(seeds, { ...common, y: "y", r: 2.2, fill: colour(key), stroke: "none", fillOpacity: 0.5 }),
        Plot.dot(own, { ...common, y: "mean", r: key === "member" ? 4 : key === "teacher" ? 8 : 6.5, symbol: SYMBOLS[key], fill: colour(key), stroke: "var(--card)", title: (d) => `${d.label}: ${percent(d.mean, 2)}` }),
        key === "teacher" || key === "distilled" || data.named
          ? Plot.text(own, { x: "x", y: "mean", dx: key === "teacher" ? -13 : dx + 12, textAnchor: key === "teacher" ? "end" : "start", text: (d) => (data.named ? cut(d.label, 16) : NAMES[key]), fill: colour(key), fontWeight: 650, stroke: "var(--card)", strokeWidth: 4 })
          : null,
      ];
    });
    return chart({
      width, height: Math.min(380, Math.max(300, width * 0.62)), marginLeft: 56, marginBottom: 44,
      x: { type: "log", domain: [d3.min(xs) / factor, d3.max(xs) * factor], label: data.axis, labelAnchor: "center", labelArrow: "none", ticks: roundTicks(d3.min(xs) / factor, d3.max(xs) * factor, width < 480), tickFormat: (v) => (v >= 1000 ? d3.format("~s")(v) : String(+v.toPrecision(3))), grid: true },
      y: { ...share, domain: around(spread(data.points)) },
      marks,
    });
  });
};

drawers.curves = (box, data, name) => {
  const series = data.series.filter((s) => s.points.length);
  const keys = KEYS.filter((key) => series.some((s) => s.arm === key));
  const kinds = [["2", `${data.unit} on validation`], ["3", "NLL on validation"], ["1", "training loss"]]
    .filter(([place]) => series.some((s) => s.points.some((p) => p[place] !== null)));
  if (!kinds.length) return;
  let kind = kinds[0][0];
  const area = pictured(name, h("div"));
  let again = () => {};
  box.append(choice("What the curves show", kinds, kind, (value) => { kind = value; again(); }), legend(keys), area);
  again = responsive(area, (width) => {
    const lines = series.map((s) => ({ ...s, line: s.points.filter((p) => p[kind] !== null).map((p) => ({ arm: s.arm, seed: s.seed, step: p[0], value: p[kind] })) }));
    const flat = lines.flatMap((s) => s.line);
    const means = keys.flatMap((key) => {
      const own = flat.filter((p) => p.arm === key);
      return Array.from(d3.rollup(own, (g) => d3.mean(g, (p) => p.value), (p) => p.step), ([step, value]) => ({ arm: key, step, value })).sort((a, b) => a.step - b.step);
    });
    const log = kind === "1" && flat.every((p) => p.value > 0);
    const floor = kind === "2" ? d3.quantile(flat.map((p) => p.value).sort(d3.ascending), 0.02) : 0;
    const values = flat.map((p) => p.value);
    const domain = kind === "2" ? [floor < 0 ? floor : Math.max(0, floor - 0.03), Math.min(1, d3.max(values) + 0.01)] : log ? d3.extent(values) : [0, d3.quantile([...values].sort(d3.ascending), 0.99)];
    return chart({
      width, height: Math.min(420, Math.max(280, width * 0.4)), marginLeft: 56, marginBottom: 44, marginRight: 24,
      x: { label: "steps", labelAnchor: "center", labelArrow: "none", ticks: width < 480 ? 4 : 8, tickFormat: (v) => v.toLocaleString("en") },
      y: { ...(kind === "2" ? share : { grid: true, label: null }), type: log ? "log" : "linear", domain, clamp: true, ticks: 6, ...(log ? { tickFormat: "~g" } : {}) },
      marks: [
        Plot.line(flat, { x: "step", y: "value", z: (p) => `${p.arm} ${p.seed}`, stroke: (p) => colour(p.arm), strokeWidth: 1, strokeOpacity: 0.28 }),
        Plot.line(means, { x: "step", y: "value", z: "arm", stroke: (p) => colour(p.arm), strokeWidth: 2.6 }),
      ],
    });
  });
};

drawers.trials = (box, data, name) => {
  const area = pictured(name, h("div"));
  const keys = KEYS.filter((key) => data.points.some((p) => p.arm === key));
  box.append(legend(keys), area);
  responsive(area, (width) => {
    const narrow = width < 480;
    const points = data.points.map((p, i) => ({ ...p, place: String(i) }));
    const said = (i) => cut(points[i].label, narrow ? 22 : 40);
    const [marginLeft, domain] = [20 + widest(points.map((_, i) => said(i))), around(points.map((p) => p.accuracy), 0.15)];
    return chart({
      width, height: 50 + 26 * points.length, marginLeft, marginRight: 56, marginBottom: 34,
      x: { ...share, domain, ticks: ticksFor(domain, width - marginLeft - 56) },
      y: { label: null, domain: points.map((p) => p.place), tickFormat: said, tickSize: 0 },
      marks: [
        Plot.ruleY(points, { y: "place", stroke: "var(--grid)" }),
        Plot.dot(points, { x: "accuracy", y: "place", r: 6, fill: (d) => (d.chosen ? colour(d.arm) : "var(--card)"), stroke: (d) => colour(d.arm), strokeWidth: 2, title: (d) => d.label }),
        Plot.text(points, { y: "place", frameAnchor: "right", dx: 52, textAnchor: "end", text: (d) => percent(d.accuracy), fontWeight: (d) => (d.chosen ? 650 : 400) }),
      ],
    });
  });
};

drawers.classes = (box, data, name) => {
  const area = pictured(name, h("div"));
  box.append(legend(["teacher", "distilled", "hard"]), area);
  responsive(area, (width) => {
    const narrow = width < 480;
    const points = data.points.map((p, i) => ({ ...p, place: String(i) }));
    const dots = points.flatMap((p) => ["hard", "distilled", "teacher"].map((key) => ({ place: p.place, key, x: p[key], name: p.name })));
    const said = (i) => pinch(points[i].name, narrow ? 11 : 18);
    const [marginLeft, domain] = [20 + widest(points.map((_, i) => said(i))), around(dots.map((p) => p.x))];
    return chart({
      width, height: 50 + 30 * points.length, marginLeft, marginBottom: 34,
      x: { ...share, domain, ticks: ticksFor(domain, width - marginLeft - 20) },
      y: { label: null, domain: points.map((p) => p.place), tickFormat: said, tickSize: 0 },
      marks: [
        Plot.ruleY(points, { y: "place", stroke: "var(--grid)" }),
        Plot.ruleY(points, { y: "place", x1: "distilled", x2: "teacher", stroke: "var(--distilled)", strokeOpacity: 0.35, strokeWidth: 5, strokeLinecap: "round" }),
        Plot.dot(dots, { x: "x", y: "place", r: (d) => ({ hard: 5, distilled: 6.5, teacher: 7 })[d.key], symbol: (d) => d.key, fill: (d) => colour(d.key), stroke: "var(--card)", title: (d) => `${cut(d.name, 60)}, ${NAMES[d.key]}: ${percent(d.x)}` }),
      ],
      symbol: { domain: ["hard", "distilled", "teacher"], range: ["square", "circle", "star"] },
      r: { type: "identity" },
    });
  });
};

drawers.against = (box, data, name) => {
  const area = pictured(name, h("div"));
  box.append(legend(["teacher", "distilled"]), area);
  responsive(area, (width) => {
    const [low, high] = d3.extent(data.points.flatMap((p) => [p.true, p.teacher, p.distilled]));
    const room = (high - low || 1) * 0.04;
    const domain = [low - room, high + room];
    const axis = { domain, grid: true, labelAnchor: "center", labelArrow: "none", tickFormat: (v) => String(+v.toPrecision(4)) };
    const dots = (key) => Plot.dot(data.points, { x: "true", y: key, r: 3, symbol: SYMBOLS[key], fill: colour(key), fillOpacity: key === "teacher" ? 0.35 : 0.65, title: (d) => `true ${d.true}, ${NAMES[key]} ${d[key]}` });
    return chart({
      width, height: Math.min(460, Math.max(300, width * 0.7)), marginLeft: 64, marginBottom: 44,
      x: { ...axis, label: `${cut(data.column, 40)}, as it is`, ticks: ticksFor(domain, width - 84, 64) },
      y: { ...axis, label: "as it was said", ticks: 6 },
      marks: [Plot.line([[domain[0], domain[0]], [domain[1], domain[1]]], { stroke: "var(--soft-ink)", strokeDasharray: "3 4" }), dots("teacher"), dots("distilled")],
    });
  });
};

drawers.errors = (box, data, name) => {
  const area = pictured(name, h("div"));
  box.append(area);
  responsive(area, (width) => {
    const narrow = width < 480;
    const said = (p) => (narrow ? NAMES[p.key] : p.label);
    const rows = data.points.map((p) => ({ ...p, said: said(p), all: p.inherited + p.own }));
    return chart({
      width, height: 74 + 42 * rows.length, marginLeft: 20 + widest(rows.map((r) => r.said)), marginRight: 24, marginBottom: 40, marginTop: 34,
      x: { label: "errors on the test rows", labelAnchor: "center", labelArrow: "none", grid: true, ticks: 5, domain: [0, 1.12 * Math.max(d3.max(rows, (r) => r.all), data.teacher || 0) || 1] },
      y: { label: null, domain: rows.map((r) => r.said), tickSize: 0, padding: 0.35 },
      marks: [
        Plot.barX(rows, { x1: 0, x2: "inherited", y: "said", fill: "var(--teacher)" }),
        Plot.barX(rows, { x1: "inherited", x2: "all", y: "said", fill: (d) => colour(d.key), fillOpacity: 0.8 }),
        Plot.text(rows.filter((r) => r.inherited > 0), { x: "inherited", y: "said", textAnchor: "end", dx: -5, text: (d) => ((d.inherited / d3.max(rows, (r) => r.all)) * (width - 200) > 34 ? d.inherited.toFixed(1) : ""), fill: "var(--card)", fontWeight: 650 }),
        Plot.text(rows, { x: "all", y: "said", textAnchor: "start", dx: 6, text: (d) => d.all.toFixed(1), fontWeight: 650 }),
        data.teacher === null ? null : Plot.ruleX([data.teacher], { stroke: "var(--teacher)", strokeDasharray: "3 4" }),
        data.teacher === null ? null : Plot.text([data.teacher], { x: (d) => d, frameAnchor: "top", dy: -14, text: (d) => `the teacher makes ${d}`, fill: "var(--teacher)" }),
      ],
    });
  });
  box.prepend(h("div", { class: "legend", "aria-hidden": "true" }, mark("teacher", "inherited from the teacher"), mark("distilled", "its own (in the colour of each student)")));
};

function mark(key, text) {
  return h("span", {}, svg("svg", { viewBox: "-7 -7 14 14" }, svg("rect", { x: -6, y: -6, width: 12, height: 12, rx: 2, fill: colour(key) })), text);
}

drawers.runs = (box, data, name) => {
  const area = pictured(name, h("div"));
  const keys = KEYS.filter((key) => data.points.some((p) => p.key === key));
  box.append(legend(keys), area);
  responsive(area, (width) => {
    const said = (run) => pinch(run, width < 480 ? 13 : 28);
    const [marginLeft, domain] = [20 + widest(data.runs.map(said)), around(spread(data.points))];
    return chart({
      width, height: 60 + 44 * data.runs.length, marginLeft, marginBottom: 34,
      x: { ...share, domain, ticks: ticksFor(domain, width - marginLeft - 20) },
      y: { label: null, domain: data.runs, tickSize: 0, tickFormat: said },
      symbol: { domain: KEYS, range: KEYS.map((key) => SYMBOLS[key]) },
      marks: [
        Plot.ruleY(data.runs, { y: (d) => d, stroke: "var(--grid)" }),
        ...keys.flatMap((key, i) => {
          const own = data.points.filter((p) => p.key === key);
          const dy = (i - (keys.length - 1) / 2) * 5;
          return [
            Plot.ruleY(own, { y: "run", x1: "low", x2: "high", dy, stroke: colour(key), strokeWidth: 2, strokeOpacity: 0.4 }),
            Plot.dot(own, { y: "run", x: "mean", dy, r: 5, symbol: "key", fill: colour(key), stroke: "var(--card)", title: (d) => `${cut(d.run, 60)}, ${NAMES[key]}: ${percent(d.mean, 2)}` }),
          ];
        }),
      ],
    });
  });
};
