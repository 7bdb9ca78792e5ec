"""The views that suit most images, where nobody has named any."""

from __future__ import annotations

from typing import Any

from attar.data.views import Views, shift

#: Images are moved by up to this share of their shorter side.
_SHARE = 1 / 14
#: How many views a row has, and the most forms of all rows together: each is labelled once.
_VIEWS, _LABELLED = 32, 500_000


def usual_views(data: Any) -> Views | None:
    """Moved images, of as many views as can be labelled in a reasonable time; None of other rows.

    Args:
        data: Rows; of images if their inputs are ``[N, C, H, W]``.

    Returns:
        Views that move an image by up to a 14th of its shorter side: by 2 pixels of 28, as
        Hinton, Vinyals and Dean 2015 had it. 32 of them, fewer where the rows are many.

    Example:
        >>> import torch
        >>> from attar.data import ArrayData
        >>> usual_views(ArrayData(torch.zeros(10, 1, 28, 28)))
        Views(transforms=(Shift(pixels=2),), count=32, seed=0)
        >>> usual_views(ArrayData(torch.zeros(10, 4))) is None
        True
    """
    shape = tuple(getattr(getattr(data, "inputs", None), "shape", ()))
    if len(shape) != 4:
        return None
    count = max(2, min(_VIEWS, _LABELLED // max(1, shape[0])))
    return Views([shift(max(1, round(_SHARE * min(shape[2:]))))], count)
