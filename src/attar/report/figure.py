"""A figure: its numbers, its words, and the table that says the same."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Figure:
    """One figure of the page; in a notebook it shows itself.

    Attributes:
        name: Of the figure on a page, a word.
        kind: How it is drawn; a function of that name in ``template/``.
        title: A heading that says what is to be seen.
        caption: How to read it, for someone who sees such a figure for the first time.
        alt: The figure in words, for who cannot see it.
        data: What is drawn, JSON-ready.
        head: Of the table with the same numbers.
        rows: Its cells.
    """

    name: str
    kind: str
    title: str
    caption: str
    alt: str
    data: Mapping[str, Any]
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default_factory=list)

    def html(self) -> str:
        """A page with this figure alone, complete in itself."""
        from attar.report.page import figure_page

        return figure_page(self)

    def _repr_html_(self) -> str:
        """For notebooks: the page in a frame of its own, so that styles do not mix."""
        from html import escape

        source = escape(self.html(), quote=True)
        return (
            f'<iframe srcdoc="{source}" title="{escape(self.title, quote=True)}" '
            'style="width:100%;height:640px;border:0" loading="lazy"></iframe>'
        )


def packed(values: NDArray[Any]) -> dict[str, Any]:
    """An array for the page: float32 in base64, with its shape."""
    plain = np.ascontiguousarray(values, dtype="<f4")
    return {"shape": list(plain.shape), "base64": base64.b64encode(plain.tobytes()).decode()}


def picture(pixels: NDArray[np.uint8]) -> str:
    """``[C, H, W]`` bytes as a data URL: PNG where it is small, else JPEG."""
    from attar.checks import need

    image_of = need("PIL.Image", extra="report", purpose="The report").fromarray
    image = image_of(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1))
    kind = "PNG" if max(pixels.shape[1:]) <= 32 else "JPEG"
    file = io.BytesIO()
    image.save(file, kind, quality=85, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as text; a dash where there is none."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def whole(value: float | None) -> str:
    """A count with thin groups; a dash where there is none."""
    return "–" if value is None else f"{value:,.0f}"


def span(low: float | None, high: float | None, digits: int = 1) -> str:
    """``90.1 to 92.3 %``; a dash where an end is missing."""
    if low is None or high is None:
        return "–"
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f} %"
