"""mixup and cutmix: the partner and its share are a function of the id, the labels follow."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from attar import AttarError, Batch, Outputs
from attar.data import ArrayData, Draws, MappedData, Views, cutmix, mixup, shift, split
from attar.data.mixing import smaller_shares
from attar.losses import Objective, hard, pseudo
from attar.types import UNLABELLED, VIEW

MADE = """
import torch
from attar.data import ArrayData, Views, cutmix, mixup, shift
generator = torch.Generator().manual_seed(0)
images = torch.randint(256, (40, 1, 7, 5), dtype=torch.uint8, generator=generator)
views = Views([shift(1), mixup(0.4), cutmix(1.0, probability=0.5)], 6, seed=3)
data = ArrayData(images, torch.arange(40) % 3, views=views)
batch = data.batch(torch.arange(40), torch.arange(40) % 6)
print(int(batch.inputs.long().sum()), batch.mixture.shares.double().sum(0).tolist())
"""


def images(count: int = 40, *, dtype: torch.dtype = torch.uint8) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (count, 1, 7, 5), generator=generator).to(dtype)


def mixed(*transforms: object, count: int = 6, dtype: torch.dtype = torch.uint8) -> ArrayData:
    views = Views(list(transforms), count, seed=3)  # type: ignore[arg-type]
    return ArrayData(images(dtype=dtype), torch.arange(40) % 3, views=views)


ALL = (shift(1), mixup(0.4), cutmix(1.0, probability=0.5))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_an_id_names_one_input_in_any_batch_and_order(dtype: torch.dtype) -> None:
    data = mixed(*ALL, dtype=dtype)
    views = torch.arange(40) % 6
    whole = data.batch(torch.arange(40), views)
    order = torch.randperm(40, generator=torch.Generator().manual_seed(1))
    shuffled = data.batch(order, views[order])
    assert torch.equal(shuffled.inputs, whole.inputs[order])
    assert whole.mixture is not None
    for row in range(40):
        one = data.batch(torch.tensor([row]), int(views[row]))
        assert torch.equal(one.inputs[0], whole.inputs[row])
        if one.mixture is not None:
            assert torch.equal(one.mixture.shares[0], whole.mixture.shares[row])
            assert torch.equal(one.mixture.labels[0], whole.mixture.labels[row])


def test_another_process_sees_the_same() -> None:
    found = {
        subprocess.run([sys.executable, "-c", MADE], capture_output=True, text=True).stdout
        for _ in range(2)
    }
    batch = mixed(*ALL).batch(torch.arange(40), torch.arange(40) % 6)
    assert batch.mixture is not None
    here = f"{int(batch.inputs.long().sum())} {batch.mixture.shares.double().sum(0).tolist()}\n"
    assert found == {here}


def test_a_view_does_not_depend_on_how_many_there_are() -> None:
    few, many = mixed(*ALL, count=3), mixed(*ALL, count=300)
    for view in range(3):
        ours, theirs = few.batch(torch.arange(40), view), many.batch(torch.arange(40), view)
        assert torch.equal(ours.ids, theirs.ids)
        assert torch.equal(ours.inputs, theirs.inputs)
    assert few.views is not None
    assert many.views is not None
    assert few.views.family == many.views.family


def test_mixup_by_hand() -> None:
    data = mixed(mixup(1.0), dtype=torch.float32)
    batch = data.batch(torch.arange(40), 2)
    assert batch.mixture is not None
    assert bool((batch.mixture.shares[:, 0] >= 0.5).all())
    pixels = data.inputs
    for row in range(40):
        share = float(batch.mixture.shares[row, 1])
        whole = pixels[row] + share * (pixels - pixels[row])  # with every possible partner
        apart = (whole - batch.inputs[row]).abs().amax(dim=(1, 2, 3))
        partner = int(apart.argmin())
        assert float(apart[partner]) < 1e-3
        assert int(batch.mixture.labels[row, 1]) == partner % 3


def test_cutmix_by_hand() -> None:
    # Each image is of one value, its row number: what stands in it tells where it is from.
    rows = torch.arange(40).reshape(-1, 1, 1, 1).expand(-1, 2, 8, 6).to(torch.uint8)
    data = ArrayData(rows, torch.arange(40), views=Views([cutmix(1.0)], 3))
    batch = data.batch(torch.arange(40), 1)
    assert batch.mixture is not None
    for row in range(40):
        foreign = batch.inputs[row, 0] != row
        assert torch.equal(batch.inputs[row, 0], batch.inputs[row, 1])
        share = float(batch.mixture.shares[row, 1])
        partner = int(batch.mixture.labels[row, 1])
        if partner != row:
            assert share == pytest.approx(float(foreign.float().mean()))
        if bool(foreign.any()):
            assert set(batch.inputs[row][:, foreign].flatten().tolist()) == {partner}
            down, across = foreign.any(dim=1), foreign.any(dim=0)
            assert int(down.sum() * across.sum()) == int(foreign.sum())  # one box


def test_shares_have_the_distribution_of_the_paper() -> None:
    for alpha in (0.2, 1.0, 4.0):
        shares = smaller_shares(alpha)
        assert 0 <= float(shares.min()) <= float(shares.max()) <= 0.5
        # The variance of Beta(a, a) around 1/2 is 1 / (4 (2 a + 1)).
        variance = float((shares - 0.5).square().mean())
        assert variance == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.01)


def test_view_0_is_the_row_itself_with_its_label() -> None:
    data = mixed(*ALL)
    batch = data.batch(torch.arange(40), torch.tensor([0, 1] * 20))
    assert batch.labels is not None
    assert batch.mixture is not None
    assert torch.equal(batch.inputs[::2], data.inputs[::2])
    assert torch.equal(batch.labels[::2], data.labels[::2])
    assert batch.mixture.shares[::2, 0].tolist() == [1.0] * 20
    assert data.batch(torch.arange(40)).mixture is None


def test_a_mixed_row_is_judged_by_both_labels() -> None:
    data = mixed(mixup(1.0))
    batch = data.batch(torch.arange(40), 1)
    assert batch.mixture is not None
    assert batch.labels is not None
    assert bool((batch.labels == UNLABELLED).all())
    logits = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    logs, shares = logits.log_softmax(dim=1), batch.mixture.shares
    by_hand = -sum(
        shares[:, k] * logs.gather(1, batch.mixture.labels[:, k : k + 1])[:, 0] for k in (0, 1)
    )
    loss, _ = Objective([hard(1.0)])(Outputs(logits), None, batch)
    torch.testing.assert_close(loss, by_hand.mean())
    same, _ = Objective([pseudo(1.0)])(Outputs(logits), Outputs(-logits), batch)
    torch.testing.assert_close(same, loss)


def test_a_partner_without_a_label_takes_the_row_out_of_the_hard_loss() -> None:
    data = mixed(mixup(1.0))
    labels = data.labels.clone()
    labels[20:] = UNLABELLED
    batch = data.with_labels(labels).batch(torch.arange(20), 1)
    assert batch.mixture is not None
    known = batch.mixture.known
    assert 0 < int(known.sum()) < 20
    logits = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    _, parts = Objective([hard(1.0)])(Outputs(logits), None, batch)
    assert float(parts["hard"].count) == float(known.sum())
    assert math.isfinite(float(parts["hard"].mean))


def test_rows_taken_out_keep_their_partners_and_a_split_has_its_own() -> None:
    data = mixed(mixup(1.0))
    whole = data.batch(torch.arange(40), 1)
    some = torch.tensor([3, 17, 30])
    assert torch.equal(data.take(some).batch(torch.arange(3), 1).inputs, whole.inputs[some])
    train, test = split(data, (0.5, 0.5))
    value = torch.zeros(40, 1, 7, 5, dtype=torch.uint8)
    value[test.rows] = 255  # if a test row were mixed into a training row, it would show
    dark = ArrayData(value, data.labels, views=data.views)
    train, test = split(dark, (0.5, 0.5))
    assert int(train.batch(torch.arange(len(train)), 1).inputs.max()) == 0
    assert train.views.family != dark.views.family  # type: ignore[attr-defined]


def test_data_that_is_read_row_by_row_mixes_alike() -> None:
    data = mixed(*ALL)
    mapped = MappedData(lambda places: data.inputs[places], 40, data.labels, views=data.views)
    ours, theirs = (d.batch(torch.arange(40), 4) for d in (data, mapped))
    assert torch.equal(ours.inputs, theirs.inputs)
    assert ours.mixture is not None
    assert theirs.mixture is not None
    assert torch.equal(ours.mixture.labels, theirs.mixture.labels)
    assert data.fingerprint() == mapped.fingerprint()


def test_a_batch_takes_its_mixture_along() -> None:
    batch = mixed(mixup(1.0)).batch(torch.arange(4), 1)
    assert batch.to("meta").mixture is not None
    assert batch.to("meta").mixture.shares.is_meta  # type: ignore[union-attr]


def paste(inputs: Tensor, draws: Draws) -> Tensor:
    share = torch.full((len(inputs),), 0.25)
    return torch.where(torch.arange(7)[:, None] < 2, draws.partner(share), inputs)


def test_a_transform_of_ones_own_can_mix() -> None:
    with pytest.raises(AttarError, match="needs the attribute mixes = True"):
        mixed(paste).batch(torch.arange(3), 1)
    paste.mixes = True  # type: ignore[attr-defined]
    batch = mixed(paste).batch(torch.arange(3), 1)
    assert batch.mixture is not None
    assert batch.mixture.shares.tolist() == [[0.75, 0.25]] * 3


def test_what_cannot_be_mixed_is_refused() -> None:
    with pytest.raises(AttarError, match=r"floats or uint8\. Got torch\.int64"):
        mixed(mixup(1.0), dtype=torch.int64).batch(torch.arange(3), 1)
    with pytest.raises(AttarError, match="data to take them from"):
        Views([mixup(1.0)], 3)(images(), torch.arange(40) + VIEW)
    with pytest.raises(AttarError, match="'alpha' parameter of mixup"):
        mixup(0.0)
    with pytest.raises(AttarError, match="'probability' parameter of cutmix"):
        cutmix(1.0, probability=1.5)
    flat = ArrayData(torch.zeros(4, 9), views=Views([cutmix(1.0)], 2))
    with pytest.raises(AttarError, match="needs images"):
        flat.batch(torch.arange(2), 1)
    assert isinstance(mixed(mixup(1.0)).batch(torch.arange(1), 1), Batch)
