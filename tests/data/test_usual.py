"""The usual views: of images alone, as many as can be labelled."""

import pytest
import torch

from attar.data import ArrayData, usual_views


@pytest.mark.parametrize(
    ("rows", "shape", "pixels", "count"),
    [(4, (1, 8, 8), 1, 32), (4, (3, 32, 48), 2, 32), (50_000, (1, 8, 8), 1, 10)],
)
def test_images_are_moved(rows: int, shape: tuple[int, ...], pixels: int, count: int) -> None:
    images = torch.zeros(1, dtype=torch.uint8).expand(rows, *shape)
    views = usual_views(ArrayData(images))
    assert views is not None
    assert views.count == count
    assert views.family == f"Views([Shift(pixels={pixels})], seed=0)"


def test_other_rows_have_none() -> None:
    assert usual_views(ArrayData(torch.zeros(3, 5))) is None
    assert usual_views(object()) is None
