"""The pages of the docs say what the committed results say."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_page_is_what_the_results_say() -> None:
    script = ROOT / "benchmarks" / "pages.py"
    spec = importlib.util.spec_from_file_location("pages", script)
    assert spec is not None
    assert spec.loader is not None
    pages = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pages)
    for path, text in pages.pages().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run `make pages`"
