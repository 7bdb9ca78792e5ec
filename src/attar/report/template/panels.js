// Charts of several panels, and curves over temperature, confidence and questions.

drawers.temperature = (box, data, name) => {
  const area = pictured(name, h("div", { class: "panels" }));
  box.append(area);
  const panel = (title, value, format, domain) => {
    const inner = h("div");
    area.append(h("div", {}, h("h4", {}, title), inner));
    return responsive(inner, (width) => chart({
      width, height: Math.min(240, Math.max(180, width * 0.7)), marginLeft: 44, marginBottom: 40, marginRight: 12, marginTop: 32,
      x: { label: "T", labelAnchor: "center", labelArrow: "none", ticks: [1, 5, 10, 15, 20] },
      y: { grid: true, label: null, domain, ticks: 5, tickFormat: format },
      marks: [
        data.own === null ? null : Plot.ruleX([data.own], { stroke: "var(--distilled)", strokeDasharray: "3 4" }),
        data.own === null ? null : Plot.text([data.own], { x: (d) => d, frameAnchor: "top", dy: -18, textAnchor: "start", dx: -4, text: (d) => `T = ${d}`, fill: "var(--distilled)", fontWeight: 650 }),
        Plot.line(data.points, { x: "t", y: value, stroke: "var(--teacher)", strokeWidth: 2.6, curve: "monotone-x" }),
      ],
    }));
  };
  panel("probability of the likeliest class", "top", (v) => `${Math.round(100 * v)} %`, [0, 1]);
  panel(`classes in play, of ${data.classes}`, "classes", "~s", [1, Math.max(2, d3.max(data.points, (p) => p.classes) * 1.05)]);
};

drawers.reliability = (box, data, name) => {
  const area = pictured(name, h("div", { class: "panels" }));
  box.append(area);
  for (const panel of data.panels) {
    const inner = h("div");
    area.append(h("div", {}, h("h4", {}, h("span", { text: NAMES[panel.key] }), h("span", { class: "soft ece", text: `ECE ${percent(panel.ece)}` })), inner));
    responsive(inner, (width) => chart({
      width, height: width, marginLeft: 40, marginBottom: 38, marginRight: 10, marginTop: 12,
      x: { domain: [0, 1], label: "sure", labelAnchor: "center", labelArrow: "none", ticks: 3, tickFormat: (v) => `${Math.round(100 * v)} %` },
      y: { domain: [0, 1], label: null, ticks: 3, grid: true, tickFormat: (v) => `${Math.round(100 * v)} %` },
      r: { domain: [0, panel.rows], range: [2.5, 13] },
      marks: [
        Plot.link([0], { x1: 0, y1: 0, x2: 1, y2: 1, stroke: "var(--soft-ink)", strokeDasharray: "3 4" }),
        Plot.ruleX(panel.bins, { x: "confidence", y1: "confidence", y2: "accuracy", stroke: colour(panel.key), strokeOpacity: 0.35, strokeWidth: 2 }),
        Plot.dot(panel.bins, { x: "confidence", y: "accuracy", r: "rows", fill: colour(panel.key), fillOpacity: 0.75, stroke: "var(--card)", title: (d) => `sure ${percent(d.confidence)}, right ${percent(d.accuracy)}, ${d.rows} rows` }),
      ],
    }));
  }
};

drawers.agreement = (box, data, name) => {
  const kinds = [["agrees", "says what the teacher says", "var(--ink)", null], ["right", "student is right", "var(--distilled)", "1 5"], ["teacher", "teacher is right", "var(--teacher)", "6 4"]];
  const row = h("div", { class: "legend", "aria-hidden": "true" });
  for (const [, text, stroke, dash] of kinds) {
    const line = svg("line", { x1: -12, x2: 12, y1: 0, y2: 0, "stroke-width": 3, "stroke-linecap": "round", stroke });
    if (dash) line.setAttribute("stroke-dasharray", dash);
    const sign = svg("svg", { viewBox: "-14 -7 28 14" }, line);
    row.append(h("span", {}, sign, text));
  }
  const area = pictured(name, h("div"));
  box.append(row, area);
  responsive(area, (width) => {
    const points = data.points.map((p, i) => ({ ...p, place: i + 1 }));
    const low = d3.min(points, (p) => Math.min(p.agrees, p.right, p.teacher));
    return chart({
      width, height: Math.min(320, Math.max(250, width * 0.6)), marginLeft: 52, marginBottom: 44,
      x: { label: "tenths of the test rows: least sure to most sure", labelAnchor: "center", labelArrow: "none", ticks: points.length, tickFormat: "d" },
      y: { ...share, domain: [Math.max(0, low - 0.05), 1] },
      marks: kinds.flatMap(([key, , stroke, dash]) => [
        Plot.line(points, { x: "place", y: key, stroke, strokeWidth: 2.6, strokeLinecap: "round", ...(dash ? { strokeDasharray: dash } : {}) }),
        key === "agrees" ? Plot.dot(points, { x: "place", y: key, r: 4.5, fill: stroke, stroke: "var(--card)", title: (d) => `student sure ${percent(d.low)} to ${percent(d.high)}: agrees ${percent(d.agrees)}` }) : null,
      ]),
    });
  });
};

drawers.cascade = (box, data, name) => {
  const area = pictured(name, h("div"));
  box.append(area);
  responsive(area, (width) => {
    const all = [...data.points.map((p) => p.accuracy), data.teacher, data.chosen && data.chosen.accuracy].filter((v) => typeof v === "number");
    const low = d3.min(all), high = d3.max(all), room = (high - low || 0.02) * 0.2;
    return chart({
      width, height: Math.min(320, Math.max(250, width * 0.6)), marginLeft: 56, marginBottom: 44,
      x: { label: "rows that the teacher answers", labelAnchor: "center", labelArrow: "none", ticks: 5, tickFormat: (v) => `${Math.round(100 * v)} %`, domain: [0, Math.max(0.01, d3.max(data.points, (p) => p.share))] },
      y: { ...share, domain: [low - room, Math.min(1, high + room)] },
      marks: [
        data.teacher === null ? null : Plot.ruleY([data.teacher], { stroke: "var(--teacher)", strokeDasharray: "3 4" }),
        data.teacher === null ? null : Plot.text([data.teacher], { y: (d) => d, frameAnchor: "right", dy: -9, textAnchor: "end", text: () => "the teacher alone", fill: "var(--teacher)" }),
        Plot.line(data.points, { x: "share", y: "accuracy", stroke: "var(--distilled)", strokeWidth: 2.8 }),
        data.chosen ? Plot.dot([data.chosen], { x: "share", y: "accuracy", r: 7, fill: "var(--distilled)", stroke: "var(--card)", strokeWidth: 2 }) : null,
        data.chosen ? Plot.text([data.chosen], { x: "share", y: "accuracy", dy: 20, dx: 4, textAnchor: data.chosen.share > 0.6 ? "end" : "start", text: (d) => (width < 480 ? `chosen: ${percent(d.accuracy)}` : `chosen: ${percent(d.share)} asked, ${percent(d.accuracy)} right`), fontWeight: 650, fill: "var(--distilled)", stroke: "var(--card)", strokeWidth: 4 }) : null,
      ],
    });
  });
};
