"""From runs to one HTML file, complete in itself: no request leaves it, whatever it shows.

Words and tables are HTML, escaped by the template; figures are drawn by the page's own script from
a block of JSON. A Content-Security-Policy lets no other script run and nothing be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from attar.checks import need
from attar.files import write_text
from attar.report import figures
from attar.report.figure import Figure
from attar.report.run import Run, as_run
from attar.report.task_words import about_task
from attar.report.words import about

_HERE = Path(__file__).parent
_STYLES = ("colours.css", "page.css", "figures.css")
_SCRIPTS = ("core.js", "charts.js", "panels.js", "heat.js", "samples.js", "start.js")

#: The figures of the page of a run of classes.
FIGURES = (
    figures.gap,
    figures.differences,
    figures.accuracy_over_parameters,
    figures.accuracy_over_latency,
    figures.dark_knowledge,
    figures.samples,
    figures.training_curves,
    figures.temperature_effect,
    figures.trials,
    figures.lost_by_class,
    figures.errors,
    figures.disagreements,
    figures.reliability,
    figures.agreement_over_confidence,
    figures.cascade,
)

#: Those of a run of values, or of several labels a row.
TASK_FIGURES = (
    figures.gap,
    figures.differences,
    figures.accuracy_over_parameters,
    figures.accuracy_over_latency,
    figures.training_curves,
    figures.trials,
    figures.by_column,
    figures.said_and_true,
)


def page(source: Any) -> str:
    """The page of one run.

    Args:
        source: What :func:`attar.report.as_run` takes: a run folder or an experiment.

    Raises:
        AttarError: If the folder is not that of a finished run.
    """
    run = as_run(source)
    if run.task != "multiclass":
        return fill("task.html", _drawn(run), run=run, **about_task(run))
    return fill("run.html", _drawn(run), run=run, **about(run))


def write_page(source: Any, path: str | Path) -> Path:
    """Write :func:`page` to a file, whole or not at all; returns the path."""
    path = Path(path)
    write_text("report", path, page(source))
    return path


def figure_page(figure: Figure) -> str:
    """A page with one figure alone, as a notebook shows it."""
    return fill("figure.html", [figure], figure=figure, title=figure.title)


def _drawn(run: Run) -> list[Figure]:
    made = (make(run) for make in (FIGURES if run.task == "multiclass" else TASK_FIGURES))
    return [figure for figure in made if figure is not None]


def fill(template: str, made: Sequence[Figure], **words: Any) -> str:
    """A template with these figures and words; scripts and styles are let in by their hashes."""
    by_name: dict[str, Figure | None] = defaultdict(lambda: None)
    by_name.update({figure.name.replace("-", "_"): figure for figure in made})
    style = "\n".join(_text(f"template/{name}") for name in _STYLES)
    library, script = _text("vendor/plot.min.js"), _script()
    sources = " ".join(f"'{_hash(one)}'" for one in (library, script))
    policy = (
        f"default-src 'none'; script-src {sources}; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = {"figures": {f.name: {"kind": f.kind, "data": f.data} for f in made}}
    html: str = (
        _environment()
        .get_template(template)
        .render(
            policy=policy,
            style=style,
            library=library,
            script=script,
            licence=_text("vendor/LICENSE"),
            data=json_block(data),
            fig=by_name,
            **words,
        )
    )
    return html


def json_block(value: Mapping[str, Any]) -> str:
    r"""JSON that may stand inside a script element: nothing in it can end the element.

    >>> json_block({"name": "</script><b>&"})
    '{"name":"\\u003c/script\\u003e\\u003cb\\u003e\\u0026"}'
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _text(name: str) -> str:
    return (_HERE / name).read_text("utf-8")


@cache
def _script() -> str:
    inner = "\n".join(_text(f"template/{name}") for name in _SCRIPTS)
    return f'(function () {{\n"use strict";\n{inner}\n}})();'


@cache
def _environment() -> Any:
    jinja2 = need("jinja2", extra="report", purpose="The report")
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "template"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
