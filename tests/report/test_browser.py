"""The page in a real browser: what it shows, what it must never do.

Debian's Chromium, headless, driven by Playwright; `make browser` brings it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from attar.report import figures, soft, write_comparison, write_page

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (375, 768, 1440)

HOSTILE = [
    "<script>window.hacked = 1; alert(1)</script>",
    "\"quoted\" 'name' `${window.hacked = 1}` {{ 7 * 7 }} &amp; <img src=x onerror=alert(1)>",
    "🌹👩‍👩‍👧‍👦 emoji and a \u202eright-to-left override",
    "وردة جورية من دمشق",
    "x" * 10_000,
    "</script><!-- <script>",
    "tab\tnew\nline\u2028separator",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    assert path, "Chromium is missing: `make browser`, or apt-get install chromium"
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=path, headless=True, args=FLAGS)
        yield found
        found.close()


class Seen:
    """A page that was opened, and all that it said and asked for."""

    def __init__(self, browser: Browser, file: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.page: Page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.said.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda e: self.said.append(str(e)))
        self.page.on("dialog", lambda d: (self.said.append(d.message), d.dismiss()))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.goto(file.as_uri())
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def settle(self) -> None:
        """Let what waits for the next frames happen."""
        self.page.evaluate("new Promise((r) => setTimeout(() => requestAnimationFrame(r), 60))")

    def width(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": 900})
        self.settle()


@pytest.fixture(scope="module")
def opened(browser: Browser) -> Iterator[Any]:
    """A function that opens a file, each file of a scheme only once."""
    kept: dict[tuple[Path, str], Seen] = {}

    def see(file: Path, *, width: int = 1440, scheme: str = "light") -> Seen:
        if (file, scheme) not in kept:
            kept[file, scheme] = Seen(browser, file, width, scheme)
        kept[file, scheme].width(width)
        return kept[file, scheme]

    yield see
    for one in kept.values():
        one.context.close()


@pytest.fixture(scope="module")
def files(make_run, real, tmp_path_factory) -> Any:
    """The pages that are looked at, and the folders that they were made from."""
    rng = np.random.default_rng(1)
    hostile = {
        "kind": "text",
        "texts": [f"{HOSTILE[i % 7]} {i}" for i in range(40)],
    }
    table = {
        "kind": "row",
        "names": [HOSTILE[0], "width", HOSTILE[3]],
        "values": [[HOSTILE[4], float(i), HOSTILE[2]] for i in range(40)],
        "left_out": 3,
    }
    many = [f"class number {i}" for i in range(1000)]
    photos = rng.integers(0, 256, (40, 3, 64, 64), dtype=np.uint8)
    folders = {
        "digits": real[1],
        "hostile": make_run(
            "hostile<b>",
            classes=HOSTILE,
            samples=hostile,
            sentence=HOSTILE[0],
            warnings=[HOSTILE[1], HOSTILE[4]],
            teacher_runtime=HOSTILE[2],
            student={"name": HOSTILE[4], "seed": 0},
            command=f"attar distill {HOSTILE[0]}",
        ),
        "two": make_run("two", classes=["no", "yes"], samples=table),
        "many": make_run(
            "many", classes=many, rows=3000, samples={"kind": "picture"}, pictures=photos
        ),
    }
    out = tmp_path_factory.mktemp("pages")
    pages = {name: write_page(folder, out / f"{name}.html") for name, folder in folders.items()}
    return SimpleNamespace(pages=pages, folders=folders)


NAMES = ("digits", "hostile", "two", "many")

PROBES = (Path(__file__).parent / "probes.js").read_text("utf-8")


def probe(page: Page, name: str, *words: Any) -> Any:
    """What one of the functions of ``probes.js`` finds."""
    return page.evaluate(f"(words) => {PROBES}.{name}(...words)", list(words))


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_said_nothing_is_asked_for_and_nothing_overflows(files, opened, name):
    assert files.pages[name].stat().st_size < 6_000_000
    for width in WIDTHS:
        seen = opened(files.pages[name], width=width)
        assert probe(seen.page, "overflow") == [], width
        assert probe(seen.page, "collisions") == [], width
    assert seen.said == []
    assert [url for url in seen.asked if not url.startswith("data:")] == [
        files.pages[name].as_uri()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_drawn_and_has_a_text_alternative(files, opened, name):
    seen = opened(files.pages[name])
    told = probe(seen.page, "figures")
    assert len(told) >= 13
    for figure in told:
        assert figure["drawn"] == "yes", figure
        assert figure["children"] > 0, figure
        assert len(figure["words"]) > 20, figure
        assert figure["title"], figure
        assert figure["bare"] == 0, figure


def of_store(folder: Path, temperature: float, who: str) -> np.ndarray:
    """Mean soft targets [C, C] by numpy, from the files of a run folder, the slow way."""
    labels = np.load(folder / "answers" / "labels.npy")
    if who == "teacher":
        logits = np.load(folder / "answers" / "teacher.npy")
    else:
        result = json.loads((folder / "result.json").read_text("utf-8"))
        seeds = [run["seed"] for run in result["arms"]["distilled"]["runs"]]
        logits = np.load(folder / "answers" / "distilled.npy")[
            seeds.index(result["student"]["seed"])
        ]
    z = logits.astype(np.float64) / temperature
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return np.stack([p[labels == c].mean(axis=0) for c in range(logits.shape[1])])


def paper(page: Page) -> str:
    colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return colour


def slide(page: Page, temperature: int) -> None:
    probe(page, "slide", temperature)


def test_pages_without_classes_are_drawn_and_fit(tasks, opened, tmp_path):
    for name, (_, folder) in tasks.items():
        file = write_page(folder, tmp_path / f"{name}.html")
        for width in WIDTHS:
            seen = opened(file, width=width)
            assert probe(seen.page, "overflow") == [], (name, width)
            assert probe(seen.page, "collisions") == [], (name, width)
        told = probe(seen.page, "figures")
        assert len(told) >= {"values": 5, "labels": 6, "quantiles": 3}[name]
        for figure in told:
            assert figure["drawn"] == "yes", figure
            assert figure["children"] > 0, figure
            assert len(figure["words"]) > 20, figure
        assert seen.said == []
        assert Axe().run(seen.page).response["violations"] == []


@pytest.mark.parametrize("name", NAMES)
def test_the_slider_shows_what_numpy_computes_from_the_store(files, opened, name):
    folder, seen = files.folders[name], opened(files.pages[name])
    order = figures.dark_knowledge(folder).data["order"]
    assert seen.page.evaluate("document.getElementById('t').max") == "19"
    for temperature in (1, 2, 7, 20):
        slide(seen.page, temperature)
        assert seen.page.text_content("#t-now") == f"T = {temperature}"
        shown = probe(seen.page, "maps")
        for who, cells in zip(("teacher", "student"), shown, strict=True):
            expected = of_store(folder, temperature, who)[np.ix_(order, order)]
            found = np.array(cells).reshape(expected.shape)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def test_the_slider_moves_single_rows_too(files, opened):
    folder, seen = files.folders["digits"], opened(files.pages["digits"])
    item = json.loads((folder / "samples.json").read_text("utf-8"))["positions"]
    logits = np.load(folder / "answers" / "teacher.npy")
    labels = np.load(folder / "answers" / "labels.npy")
    page = seen.page
    for temperature in (1, 5):
        slide(page, temperature)
        place = int(page.get_attribute(".thumb[aria-pressed=true]", "data-place"))
        shown = probe(page, "bars", "#figure-samples .bars")
        p = soft.softmax(logits[item[place]][None], temperature)[0]
        found = {int(name): teacher for name, teacher, _ in shown}
        assert found == pytest.approx(dict(enumerate(p)), abs=1e-6)
        assert list(found.values()) == sorted(found.values(), reverse=True)
    assert f"in truth {labels[item[place]]}" in page.text_content("#figure-samples .sample-shown")


def test_of_many_classes_any_can_be_looked_up(files, opened):
    page = opened(files.pages["many"]).page
    assert page.locator("#figure-dark-knowledge .cell").count() == 2 * figures.dark.MOST_CLASSES**2
    slide(page, 3)
    page.fill("#look-search", "number 77")
    assert page.locator("#look-class option").count() == 11
    page.select_option("#look-class", label="class number 777")
    shown = probe(page, "bars", ".lookup")
    assert shown[0][0] == "class number 777"
    for who, place in (("teacher", 1), ("student", 2)):
        means = of_store(files.folders["many"], 3, who)[777]
        for name, *values in shown:
            assert values[place - 1] == pytest.approx(means[int(name.split()[-1])], abs=1e-6)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["digits", "hostile"])
def test_axe_finds_no_fault(files, opened, name, scheme):
    seen = opened(files.pages[name], width=1024, scheme=scheme)
    slide(seen.page, 4)
    # axe is the tester's script, not the page's: the policy would not let it in by a tag.
    seen.page.evaluate(Axe().axe_script)
    found = seen.page.evaluate("axe.run(document)")["violations"]
    assert [(v["id"], v["impact"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found] == []


def test_hostile_texts_are_shown_as_texts(files, opened):
    seen = opened(files.pages["hostile"])
    page = seen.page
    assert page.evaluate("window.hacked") is None
    assert page.locator("script").count() == 3
    assert page.locator("main img").count() == 0
    assert page.text_content(".sentence").startswith(HOSTILE[0])
    assert HOSTILE[1] in page.text_content(".notes")
    assert page.text_content("#command").strip() == f"attar distill {HOSTILE[0]}"
    # A long name is cut, and the whole of it can be reached.
    assert HOSTILE[4] in page.text_content(".plain")
    whole = page.locator("#figure-classes details tbody th").all_text_contents()
    assert sorted(whole) == sorted(HOSTILE)
    page.select_option("#sample-class", "3")
    assert HOSTILE[3] in page.text_content("#figure-samples .sample-text")
    assert page.get_attribute("#figure-samples .sample-text", "dir") == "auto"
    assert seen.said == []


def test_the_policy_lets_no_other_script_run(files, opened):
    page = opened(files.pages["two"], scheme="dark").page
    assert probe(page, "inject") is None


def test_keys_alone_are_enough(files, opened):
    page = opened(files.pages["digits"]).page
    slide(page, 4)
    page.focus("#t")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#t-now") == "T = 5"
    assert page.get_attribute("#t", "aria-valuetext") == "T = 5"
    page.focus("#figure-dark-knowledge .maps")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.locator(".cell.here").count() == 2
    assert "Teacher" in page.text_content("#figure-dark-knowledge [aria-live]")
    second = page.locator(".thumb").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-pressed") == "true"
    page.focus("#theme input")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert paper(page) == "rgb(19, 16, 25)"
    page.keyboard.press("ArrowLeft")
    assert paper(page) == "rgb(251, 249, 247)"


def test_curves_can_be_switched_and_the_table_follows_the_slider(files, opened):
    page = opened(files.pages["digits"]).page
    before = page.inner_html("#figure-curves [role=img]")
    page.check("#figure-curves input[value='1']", force=True)
    assert page.inner_html("#figure-curves [role=img]") != before
    details = page.locator("#figure-dark-knowledge details")
    details.locator("summary").click()
    slide(page, 20)
    opened(files.pages["digits"])
    expected = of_store(files.folders["digits"], 20, "teacher")
    order = figures.dark_knowledge(files.folders["digits"]).data["order"]
    cell = details.locator("tbody tr").first.locator("td").first.text_content()
    assert cell == f"{100 * expected[order[0], order[0]]:.2f} %"


def test_it_prints_in_light_colours_without_buttons(files, opened, tmp_path):
    seen = opened(files.pages["two"], scheme="dark")
    seen.page.emulate_media(media="print")
    assert paper(seen.page) == "rgb(255, 255, 255)"
    for hidden in (".theme", ".top nav", "#t-play", ".button"):
        assert not seen.page.locator(hidden).first.is_visible(), hidden
    seen.page.set_viewport_size({"width": 794, "height": 1123})  # A4
    seen.settle()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 794
    assert seen.page.evaluate(
        "[...document.querySelectorAll('[data-figure]')].every((f) => f.dataset.drawn)"
    )
    printed = seen.page.pdf()
    assert printed.startswith(b"%PDF")
    assert printed.count(b"/Type /Page\n") >= 4
    seen.page.emulate_media(media="screen")


def test_the_code_on_the_page_works_as_it_stands(files, opened):
    page, folder = opened(files.pages["digits"]).page, files.folders["digits"]
    blocks = probe(page, "code")
    assert [language for language, _ in blocks] == ["python", "shell"]
    commands = {
        "python": [sys.executable, "-c", blocks[0][1]],
        "shell": [str(Path(sys.executable).with_name("attar")), *blocks[1][1].split()[1:]],
    }
    for language, command in commands.items():
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, (language, done.stderr)
        assert done.stdout.strip()


def test_the_copy_button_copies(files, opened):
    seen = opened(files.pages["digits"])
    seen.context.grant_permissions(["clipboard-read", "clipboard-write"])
    seen.page.click("[data-copy=code-1]")
    copied = seen.page.evaluate("navigator.clipboard.readText()")
    assert copied == seen.page.text_content("#code-1").strip()
    assert seen.page.text_content("#copied") == "Copied"


def test_runs_side_by_side(files, opened, tmp_path):
    folders = [files.folders[name] for name in ("digits", "hostile", "two")]
    path = write_comparison(folders, tmp_path / "compare.html")
    for width in WIDTHS:
        seen = opened(path, width=width)
        assert probe(seen.page, "overflow") == []
        assert probe(seen.page, "collisions") == []
    assert seen.said == []
    assert "different test rows" in seen.page.text_content(".sentence")
    assert seen.page.locator("tbody").first.locator("th").all_text_contents() == [
        folder.name for folder in folders
    ]


def test_a_figure_of_its_own_is_a_page(files, opened, tmp_path):
    figure = figures.dark_knowledge(files.folders["digits"])
    path = tmp_path / "figure.html"
    path.write_text(figure.html(), "utf-8")
    seen = opened(path)
    assert seen.page.locator(".cell").count() == 200
    slide(seen.page, 2)
    assert seen.page.text_content("#t-now") == "T = 2"
    notebook = tmp_path / "notebook.html"  # a frame, as notebooks show it
    notebook.write_text(f"<meta charset='utf-8'>{figure._repr_html_()}", "utf-8")
    context = seen.context.new_page()
    context.goto(notebook.as_uri())
    frame = context.frame_locator("iframe")
    frame.locator(".cell").first.wait_for()
    assert frame.locator(".cell").count() == 200
    assert seen.said == []
