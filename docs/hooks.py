"""What MkDocs does not do by itself: files from outside `docs/`, the command line, our docstrings.

Pages are written so that their links work in the repository. On the site, the files that they
name outside `docs/` (examples, results) lie beside the pages, and the links are turned to them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

#: Pages of the site that lie at the top of the repository.
PAGES = {"contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}

#: Files that pages link to, as they are.
FILES = ("examples/*.py", "benchmarks/*/results.json", "benchmarks/*/*.md")


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the files from outside `docs/`."""
    for name, source in PAGES.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text("utf-8")))
    for pattern in FILES:
        for path in sorted(ROOT.glob(pattern)):
            # Markdown would become a page; what the benchmarks wrote is shown as it is.
            name = path.relative_to(ROOT).as_posix().replace(".md", ".txt")
            files.append(File.generated(config, name, content=path.read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of `docs/` to where the site has their files; fill in the command line."""
    source = page.file.src_uri
    here = ROOT / (PAGES.get(source) or f"docs/{source}")

    def turn(match: re.Match[str]) -> str:
        target, _, anchor = match[1].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return match[0]
        path = (here.parent / target).resolve()
        if not path.is_relative_to(ROOT):
            return match[0]
        name = path.relative_to(ROOT).as_posix()
        moved = {there: page for page, there in PAGES.items()}
        name = moved.get(name, name.removeprefix("docs/"))
        if name.startswith("benchmarks/"):
            name = name.replace(".md", ".txt")
        up = "../" * source.count("/")
        return f"]({up}{name}{'#' + anchor if anchor else ''})"

    text = re.sub(r"\]\(([^)\s]+)\)", turn, markdown)
    return text.replace("<!-- commands -->", commands()) if "<!-- commands -->" in text else text


def commands() -> str:
    """Every command under a heading of its own, in the order of ``attar --help``."""
    from attar.cli.app import app

    group: Any = typer.main.get_command(app)
    names = []
    for name, found in group.commands.items():
        inside = getattr(found, "commands", None)  # `attar store` has commands of its own
        names += [name] if inside is None else [f"{name} {word}" for word in inside]
    return "\n\n".join(f"## attar {name}\n\n{command(name)}" for name in names)


def command(name: str) -> str:
    """A command's help as Markdown: what it does, its arguments, its options by panel."""
    from attar.cli.app import app

    found: Any = typer.main.get_command(app)
    for word in name.split():
        found = found.commands[word]
    arguments = [p for p in found.params if p.param_type_name == "argument"]
    usage = " ".join([f"attar {name}", *(p.name.upper() for p in arguments), "[OPTIONS]"])
    lines = [f"```text\n{usage}\n```", "", found.help or "", ""]
    for p in arguments:
        lines += [f"`{p.name.upper()}`", f":   {getattr(p, 'help', '') or ''}", ""]
    panels: dict[str, list[Any]] = {}
    for p in found.params:
        if p.param_type_name == "option" and p.name != "help":
            panels.setdefault(getattr(p, "rich_help_panel", None) or "Options", []).append(p)
    for panel, options in panels.items():
        lines += [f"**{panel}**", "", "| option | | default |", "|:--|:--|:--|"]
        for p in options:
            default = "" if p.default in (None, False, "") or callable(p.default) else p.default
            required = "required" if p.required else f"`{default}`" if default != "" else ""
            text = (p.help or "").replace("|", "\\|")
            lines.append(f"| `{', '.join(p.opts)}` | {text} | {required} |")
        lines.append("")
    return "\n".join(lines)


class Docstrings(griffe.Extension):
    """Our docstrings as Markdown: examples in fences, Sphinx's roles as links."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of everything that is loaded."""
        if obj.docstring is not None:
            obj.docstring.value = _roles(_fenced(obj.docstring.value), obj)


def _fenced(text: str) -> str:
    """Put doctests in fences; else `>>>` would be a quotation in a quotation in one more."""
    lines: list[str] = []
    indent: str | None = None
    for line in text.splitlines():
        start = re.match(r"(\s*)>>> ", line)
        if indent is None and start:
            indent = start[1]
            lines += ["", f"{indent}```pycon"]
        elif indent is not None and not line.strip():
            lines.append(f"{indent}```")
            indent = None
        lines.append(line)
    if indent is not None:
        lines.append(f"{indent}```")
    return "\n".join(lines)


def _roles(text: str, obj: griffe.Object) -> str:
    """``:func:`~attar.losses.kl` `` as a link where its target has a page."""

    def link(match: re.Match[str]) -> str:
        target = match[1].lstrip("~")
        shown = target.rpartition(".")[2] if match[1].startswith("~") else target
        try:
            path = target if target.startswith("attar.") else obj.resolve(target)
        except griffe.NameResolutionError:
            path = f"{obj.module.path}.{target}"
        return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'

    return re.sub(r":(?:func|class|mod|meth|data|attr):`([^`]+)`", link, text)
