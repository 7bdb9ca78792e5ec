// What the tests ask a page, as one object of functions.
({
  /** Texts that reach out of the window, or of their card, without a way to scroll to them. */
  overflow() {
    const found = [];
    const clipped = (e) => {
      const style = getComputedStyle(e);
      const page = e === document.documentElement || e === document.body || e.tagName === "svg";
      return style.clipPath !== "none" || (!page && style.overflowX !== "visible");
    };
    const silent = ["SCRIPT", "STYLE", "TITLE", "title"];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement;
      if (!node.textContent.trim() || silent.includes(parent.tagName)) continue;
      let out = false;
      for (let e = parent; e && !out; e = e.parentElement) out = clipped(e);
      if (out) continue;
      const range = document.createRange();
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      const card = parent.closest(".card");
      const frame = card ? card.getBoundingClientRect() : { left: 0, right: innerWidth };
      if (box.width && (box.right > frame.right + 1 || box.left < frame.left - 1)) {
        const ends = [box.left, box.right, frame.left, frame.right].map(Math.round);
        found.push(`${node.textContent.slice(0, 60)}: ${ends}`);
      }
    }
    const wide = document.documentElement.scrollWidth;
    return wide > innerWidth ? [...found, `the page is ${wide} wide`] : found;
  },

  /** Texts of one chart that lie over each other. */
  collisions() {
    const found = [];
    for (const svg of document.querySelectorAll(".plot svg")) {
      const figure = svg.closest("[data-figure]").dataset.figure;
      const boxes = [...svg.querySelectorAll("text")]
        .filter((text) => text.textContent.trim())
        .map((text) => [text.textContent.slice(0, 30), text.getBoundingClientRect()]);
      boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        const high = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
        if (wide > 2 && high > 4) found.push(`${figure}: ${a} over ${b}`);
      }));
    }
    return found;
  },

  /** Each figure: whether it is drawn, and what stands for it in words. */
  figures() {
    const said = "[role=img][aria-label], [aria-hidden=true], [role=group][aria-label]";
    return [...document.querySelectorAll("figure")].map((figure) => ({
      name: figure.id,
      drawn: figure.querySelector("[data-figure]").dataset.drawn,
      children: figure.querySelector("[data-figure]").childElementCount,
      title: document.getElementById(figure.getAttribute("aria-labelledby")).textContent,
      words: figure.querySelector("p.away").textContent,
      bare: [...figure.querySelectorAll("svg")].filter((svg) => !svg.closest(said)).length,
    }));
  },

  slide(temperature) {
    const slider = document.getElementById("t");
    slider.value = temperature - 1;
    slider.dispatchEvent(new Event("input"));
  },

  /** The values of the cells of each heat map. */
  maps() {
    return [...document.querySelectorAll("#figure-dark-knowledge svg")]
      .filter((svg) => svg.querySelector(".cell"))
      .map((svg) => [...svg.querySelectorAll(".cell")].map((cell) => +cell.dataset.value));
  },

  /** Name, teacher, student of each class in a list of bars. */
  bars(list) {
    return [...document.querySelectorAll(`${list} li`)].map((li) => [
      li.querySelector("bdi").textContent,
      +li.querySelector(".bar.teacher").dataset.value,
      +li.querySelector(".bar.distilled").dataset.value,
    ]);
  },

  code() {
    const blocks = document.querySelectorAll("pre[data-language]");
    return [...blocks].map((block) => [block.dataset.language, block.textContent]);
  },

  inject() {
    const script = document.createElement("script");
    script.textContent = "window.hacked = 1";
    document.body.append(script);
    return window.hacked || null;
  },
})
