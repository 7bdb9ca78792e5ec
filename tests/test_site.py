"""The documentation site: every page is in it, every link and name leads somewhere, it builds."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import griffe
import pytest
import typer
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

import attar
from attar.cli.app import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS)))


class Loader(yaml.SafeLoader):
    """Reads mkdocs.yml, whose names of Python functions mean nothing here."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda *_: None)


def hooks() -> Any:
    spec = importlib.util.spec_from_file_location("attar_docs_hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def leaves(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for part in nav if isinstance(nav, list) else nav.values() if isinstance(nav, dict) else ():
        yield from leaves(part)


def without_code(markdown: str) -> str:
    return re.sub(r"^\s*```.*?^\s*```", "", markdown, flags=re.DOTALL | re.MULTILINE)


def anchors(markdown: str) -> set[str]:
    """The ids of the headings, as MkDocs makes them."""
    titles = re.findall(r"^#+ (.*)$", without_code(markdown), flags=re.MULTILINE)
    kept = [re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles]
    return {re.sub(r"[\s-]+", "-", title) for title in kept}


def test_the_navigation_has_every_page_once() -> None:
    config = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), Loader)  # noqa: S506  # a safe one
    listed = sorted(leaves(config["nav"]))
    written = [page.relative_to(DOCS).as_posix() for page in PAGES]
    assert listed == sorted([*written, *hooks().PAGES])


def test_every_public_folder_has_its_reference() -> None:
    pages = "\n".join(page.read_text("utf-8") for page in (DOCS / "reference").glob("*.md"))
    shown = set(re.findall(r"^::: attar\.(\w+)", pages, flags=re.MULTILINE))
    assert set(attar._MODULES) - {"demo"} <= shown
    assert "<!-- commands -->" in pages
    made = re.findall(r"^## attar (\w+)", hooks().commands(), flags=re.MULTILINE)
    assert set(made) == set(typer.main.get_command(app).commands)


@every_page
def test_links_to_headings_lead_to_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]*#[^)\s]+)\)", without_code(page.read_text("utf-8"))):
        path, _, anchor = target.partition("#")
        if not re.match(r"[a-z]+:", path):
            other = page.parent / path if path else page
            assert anchor in anchors(other.read_text("utf-8")), target


@every_page
def test_names_of_the_reference_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    names = re.findall(r"\]\[(attar[\w.]*)\]", text) + re.findall(r"^::: (\S+)", text, re.MULTILINE)
    for name in names:
        found = attar
        for part in name.split(".")[1:]:
            if not hasattr(found, part):
                found = importlib.import_module(f"{found.__name__}.{part}")
            else:
                found = getattr(found, part)
        module = getattr(found, "__module__", None)
        assert module is None or module.startswith("attar"), name


def test_doctests_are_fenced_and_roles_are_links() -> None:
    package = griffe.Module("attar")
    text = "Look at :func:`~attar.losses.kl`.\n\nExample:\n    >>> 1 + 1\n    2\n\nEnd."
    made = hooks()._roles(hooks()._fenced(text), package)
    assert '<autoref identifier="attar.losses.kl" optional><code>kl</code></autoref>' in made
    assert "    ```pycon\n    >>> 1 + 1\n    2\n    ```\n\nEnd." in made


def test_a_command_is_shown_with_its_options() -> None:
    text = hooks().command("distill")
    assert text.startswith("```text\nattar distill [OPTIONS]\n```")
    assert re.search(r"^\| `--train` \| .* \| required \|$", text, flags=re.MULTILINE)
    assert re.search(r"^\| `--batch-size` \| .* \| `256` \|$", text, flags=re.MULTILINE)
    assert "DATA" in hooks().command("label")


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_fetches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "path", [*sys.path])
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path / "site"), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    made = sorted((tmp_path / "site").rglob("*.html"))
    assert len(made) > len(PAGES)
    for page in made:
        html = page.read_text("utf-8")
        for tag in re.findall(r"<(?:link|script|img|iframe)\b[^>]*>", html):
            assert not re.search(r'(?:href|src)="(?:https?:)?//', tag), f"{page.name}: {tag}"
        assert ":material-" not in html, page.name
        assert ":func:`" not in html, page.name
