"""The pictures of the README: two parts of the demo's page, as Chromium draws them.

``python docs/images/take.py runs/demo`` after ``attar demo``.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from attar.report import write_page

#: File -> (part of the page that it begins with, height in pixels, colours).
PICTURES = {
    "report-verdict.png": ("body", 1170, "light"),
    "report-dark-knowledge.png": ("#temperature", 910, "dark"),
}


def main(run: str) -> None:
    """Draw the page of a run folder and keep the pictures beside this file."""
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as play:
        page_file = write_page(run, Path(scratch) / "report.html")
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for name, (part, height, colours) in PICTURES.items():
            page = browser.new_page(
                viewport={"width": 1180, "height": height}, color_scheme=colours
            )
            page.goto(page_file.as_uri())
            page.wait_for_selector("html[data-ready]", state="attached")
            page.evaluate(
                """(part) => {
                  const slider = document.getElementById("t");
                  slider.value = 3;
                  slider.dispatchEvent(new Event("input"));
                  const top = document.querySelector(part).getBoundingClientRect().top;
                  scrollTo({ top: Math.max(0, top - 16), behavior: "instant" });
                }""",
                part,
            )
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.save(Path(__file__).with_name(name), optimize=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
