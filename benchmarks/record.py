"""What a benchmark leaves behind: one results.json, part by part."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

#: Makes a Markdown table of a head and rows.
Table = Callable[[list[str], list[list[str]]], str]
#: The numbers of a results.json, by name.
Figures = Mapping[str, float]
VERDICTS = ("BEATS", "NO GAIN", "WORSE", "INCONCLUSIVE")

#: What a part hands over: its rows (every single run) and its figures (name -> number).
Part = tuple[list[dict[str, Any]], dict[str, float]]


def write(
    parts: Mapping[str, Part],
    *,
    command: str,
    seeds: Mapping[str, int],
    path: Path,
    threads: int | None = None,
) -> None:
    """Put these parts into results.json; the parts of other scripts stay as they are.

    A row says in ``"part"`` which part it belongs to; the name of a figure starts with it.

    Args:
        parts: By name their rows and figures; no name may be the beginning of another one.
        command: What a reader types to get them again.
        seeds: By name, the seed or the number of seeds that was used.
        path: The results.json of this benchmark.
        threads: How many threads PyTorch had, where that matters.
    """
    old: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    commands = [line for line in old.get("command", "").split(" && ") if line]
    rows = [row for row in old.get("rows", []) if row["part"] not in parts]
    figures = {
        name: value
        for name, value in old.get("figures", {}).items()
        if not any(name.startswith(f"{part}_") for part in parts)
    }
    for part, (new_rows, new_figures) in parts.items():
        rows += [{"part": part, **row} for row in new_rows]
        figures |= {f"{part}_{name}": value for name, value in new_figures.items()}
    results = {
        "command": " && ".join(dict.fromkeys([*commands, command])),
        "versions": _versions(),
        "machine": _machine(threads),
        "seeds": old.get("seeds", {}) | dict(seeds),
        "figures": {name: _short(value) for name, value in figures.items()},
        "rows": [{name: _short(value) for name, value in row.items()} for row in rows],
    }
    # A row a line: a table that a person can read, and a diff that shows what changed.
    lines = ",\n".join("  " + json.dumps(row) for row in results.pop("rows"))
    text = json.dumps(results, indent=1).removesuffix("\n}")
    path.write_text(f'{text},\n "rows": [\n{lines}\n ]\n}}\n')


def verdict_figures(verdict: str) -> dict[str, float]:
    """A verdict as figures: ``verdict_beats`` and the others, one of them 1."""
    return {f"verdict_{_word(name)}": float(verdict == name) for name in VERDICTS}


def verdict_of(figures: Figures, key: str) -> str:
    """The verdict among the figures whose names begin with ``key``."""
    return next(name for name in VERDICTS if figures[f"{key}_verdict_{_word(name)}"])


def _word(verdict: str) -> str:
    return verdict.lower().replace(" ", "_")


def middle(values: Any, name: str) -> dict[str, float]:
    """Median, 10th and 90th percentile of the rounds of a measurement, as three figures."""
    low, median, high = np.percentile(np.asarray(values, dtype=float), (10, 50, 90)).tolist()
    return {name: median, f"{name}_p10": low, f"{name}_p90": high}


def shown(figures: Mapping[str, float], key: str, form: Callable[[float], str]) -> str:
    """What :func:`middle` gave, in a page: ``2.21 (2.08 to 2.36)``."""
    low, high = (form(figures[f"{key}_{end}"]) for end in ("p10", "p90"))
    return f"{form(figures[key])} ({low} to {high})"


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "scipy", "scikit-learn")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _machine(threads: int | None) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    names = [
        line.split(":", 1)[1].strip()
        for line in (info.read_text().splitlines() if info.exists() else [])
        if line.startswith("model name")
    ]
    processor = names[0] if names else platform.processor()
    machine = {"cores": os.cpu_count(), "processor": processor, "device": "cpu"}
    return machine if threads is None else machine | {"threads": threads}


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value
