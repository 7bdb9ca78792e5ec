// Begin: the colours, the temperature, the figures, the buttons that copy.

const kept = { // a page from disk may be denied its storage
  get() { try { return localStorage.getItem("attar-theme"); } catch { return null; } },
  set(value) { try { localStorage.setItem("attar-theme", value); } catch { /* then it is not kept */ } },
};
const theme = document.getElementById("theme");
if (theme) {
  const use = (value) => { if (value) document.documentElement.dataset.theme = value; else delete document.documentElement.dataset.theme; };
  for (const input of theme.querySelectorAll("input")) {
    if (input.value && input.value === kept.get()) { input.checked = true; use(input.value); }
    input.addEventListener("change", () => { use(input.value); kept.set(input.value); });
  }
}

const slider = document.getElementById("t");
const heat = everything.figures["dark-knowledge"];
const { temperatures, own, has_own: hasOwn } = heat ? heat.data : { temperatures: d3.range(1, 21), own: 3, has_own: false };
temperature.value = temperatures[own];
if (slider) {
  slider.max = temperatures.length - 1;
  slider.value = own;
  const say = () => {
    const now = temperatures[slider.value];
    document.getElementById("t-now").textContent = `T = ${now}`;
    slider.setAttribute("aria-valuetext", `T = ${now}`);
    temperature.set(now);
  };
  if (hasOwn) document.getElementById("t-own").textContent = `this run learnt at T = ${temperatures[own]}`;
  slider.addEventListener("input", say);
  const play = document.getElementById("t-play");
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    play.textContent = "Stop";
    if (+slider.value >= +slider.max) slider.value = 0;
    timer = setInterval(() => {
      if (+slider.value >= +slider.max) { stop(); return; }
      slider.value = +slider.value + 1;
      say();
    }, 350);
  });
  slider.addEventListener("pointerdown", stop);
  slider.addEventListener("keydown", stop);
  say();
}

// What is seen first is drawn first; the rest when the browser has time, or is about to print.
const waiting = [];
for (const box of document.querySelectorAll("[data-figure]")) {
  const name = box.dataset.figure;
  const figure = everything.figures[name];
  if (figure && drawers[figure.kind]) waiting.push(() => { drawers[figure.kind](box, figure.data, name); box.dataset.drawn = "yes"; });
}
function some() {
  const began = performance.now();
  while (waiting.length && performance.now() - began < 40) waiting.shift()();
  if (waiting.length) setTimeout(some); else document.documentElement.dataset.ready = "yes";
}
some();
window.addEventListener("beforeprint", () => { while (waiting.length) waiting.shift()(); });

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent.trim());
    } catch { // without a clipboard the text is marked for the keys of the system
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    const said = document.getElementById("copied");
    if (said) said.textContent = "Copied";
    const before = button.firstChild.textContent;
    button.firstChild.textContent = "Copied";
    setTimeout(() => { button.firstChild.textContent = before; }, 1500);
  });
}
