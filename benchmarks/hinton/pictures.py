"""Pictures of the results as SVG: plain text, the same to the letter for the same numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

_FONT = 'font-family="system-ui, sans-serif" font-size="13"'
#: Told apart also without colours, by their order and their names.
_COLOURS = ("#4477aa", "#cc6677", "#228833", "#aa8800")


@dataclass(frozen=True)
class Dot:
    """One line of a chart of dots.

    Attributes:
        name: What stands to the left.
        value: Where the dot is.
        spread: Half the length of the whisker; 0 for none.
        kind: What decides the colour.
    """

    name: str
    value: float
    spread: float
    kind: str


def dots(title: str, unit: str, lines: Sequence[Dot], marks: Mapping[str, float]) -> str:
    """Values one below the other, with whiskers, and lines to compare them with.

    Args:
        title: For those who do not see the picture.
        unit: Below the axis.
        lines: From top to bottom.
        marks: Vertical lines by their name: a goal, what a paper reports.
    """
    left, right, top, step = 240, 700, 40, 26
    bottom = top + step * len(lines)
    highest = max([dot.value + dot.spread for dot in lines] + list(marks.values()))
    ticks = _ticks(highest)
    scale = (right - left) / ticks[-1]
    kinds = list(dict.fromkeys(dot.kind for dot in lines))
    parts = []
    for tick in ticks:
        x = left + tick * scale
        parts.append(_line(x, top - 8, x, bottom, "#e4e4e4"))
        parts.append(_text(x, bottom + 18, f"{tick:g}", "middle"))
    for number, (name, value) in enumerate(marks.items()):
        x = left + value * scale
        parts.append(_line(x, top - 8, x, bottom, "#777777", dashes=True))
        parts.append(_text(x, top - 12 - 13 * (number % 2), name, "middle", "#555555"))
    for place, dot in enumerate(lines):
        y = top + step * place + step / 2
        colour = _COLOURS[kinds.index(dot.kind) % len(_COLOURS)]
        parts.append(_text(left - 12, y + 4, dot.name, "end"))
        low, high = (left + (dot.value + s * dot.spread) * scale for s in (-1, 1))
        if dot.spread:
            parts.append(_line(low, y, high, y, colour, width=2))
        parts.append(_circle(left + dot.value * scale, y, colour))
        parts.append(_text(high + 9, y + 4, f"{dot.value:.1f}", "start", "#555555"))
    parts.append(_text((left + right) / 2, bottom + 38, unit, "middle"))
    return _svg(title, right + 60, bottom + 50, parts)


def curves(
    title: str, across: str, up: str, lines: Mapping[str, Sequence[tuple[float, float, float]]]
) -> str:
    """Curves over a logarithmic axis, each point ``(x, y, spread)`` with its whisker."""
    left, right, top, bottom = 70, 560, 30, 330
    points = [point for line in lines.values() for point in line]
    ticks = _ticks(max(y + spread for _, y, spread in points))
    places = sorted({x for x, _, _ in points})
    first, last = math.log(places[0]), math.log(places[-1])

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log(x) - first) / (last - first)
        return left + (right - left) * share, bottom - (bottom - top) * y / ticks[-1]

    parts = []
    for tick in ticks:
        y = at(places[0], tick)[1]
        parts.append(_line(left, y, right, y, "#e4e4e4"))
        parts.append(_text(left - 8, y + 4, f"{tick:g}", "end"))
    for place in places:
        parts.append(_text(at(place, 0)[0], bottom + 18, f"{place:g}", "middle"))
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        for (x, y, _), (x2, y2, _) in pairwise(line):
            parts.append(_line(*at(x, y), *at(x2, y2), colour, width=2))
        for x, y, spread in line:
            parts.append(_line(*at(x, y - spread), *at(x, y + spread), colour))
            parts.append(_circle(*at(x, y), colour))
        end = at(*line[-1][:2])
        parts.append(_text(end[0] + 12, end[1] + 4, name, "start", colour))
    parts.append(_text((left + right) / 2, bottom + 38, across, "middle"))
    parts.append(_text(left - 50, top - 12, up, "start"))
    return _svg(title, right + 150, bottom + 50, parts)


def _ticks(highest: float) -> list[float]:
    """From 0 to beyond the highest value, four to eight of them."""
    power = 10 ** math.floor(math.log10(highest))
    step = next(power * part for part in (0.2, 0.25, 0.5, 1, 2) if highest <= 7 * power * part)
    return [step * number for number in range(math.ceil(highest / step) + 1)]


def _line(
    x: float, y: float, x2: float, y2: float, colour: str, *, width: int = 1, dashes: bool = False
) -> str:
    more = ' stroke-dasharray="5 4"' if dashes else ""
    return (
        f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
        f'stroke-width="{width}"{more}/>'
    )


def _circle(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222222") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">'
        f"{escape(text)}</text>"
    )


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" height="{height:.0f}" role="img" {_FONT}>'
    )
    return "\n".join(
        [
            head,
            f"<title>{escape(title)}</title>",
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )
