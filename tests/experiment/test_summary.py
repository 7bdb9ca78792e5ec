from __future__ import annotations

import pytest
import torch

from attar.experiment.summary import _has_rare_classes


@pytest.mark.parametrize(
    ("labels", "rare"),
    [
        (torch.tensor([0] * 5 + [1]), True),
        (torch.tensor([0] * 4 + [1]), False),
        (torch.tensor([0] * 5 + [3] + [-100]), True),  # classes without a row have no recall
        (None, False),
    ],
)
def test_macro_recall_is_shown_where_some_classes_are_rare(labels, rare):
    assert _has_rare_classes(labels) is rare
