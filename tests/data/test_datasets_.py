from __future__ import annotations

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from attar.checks import AttarError
from attar.data import ArrayData, Views, as_data, from_dataset, shift, split
from attar.types import VIEW, Data


class Pairs(Dataset):
    """Items one at a time; counts how often it was asked."""

    def __init__(self, items, **attributes):
        self.items, self.asked = items, 0
        self.__dict__.update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        self.asked += 1
        return self.items[index]


def pictures(count: int) -> list[Image.Image]:
    values = np.arange(count * 12, dtype=np.uint8).reshape(count, 4, 3)
    return [Image.fromarray(value) for value in values]


def hugging_face(**features) -> datasets.Dataset:
    columns = {"image": pictures(4), "label": [1, 0, -1, 1]}
    kinds = {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=["dog", "cat"]),
        **features,
    }
    return datasets.Dataset.from_dict(columns, features=datasets.Features(kinds))


def test_pictures_and_class_names_of_a_hugging_face_dataset():
    data = from_dataset(hugging_face())
    assert isinstance(data, Data)
    assert data.classes == ("dog", "cat")
    assert data.labels.tolist() == [1, 0, -100, 1]
    batch = data.batch(torch.tensor([2, 0]))
    assert batch.inputs.dtype == torch.uint8
    assert batch.inputs[:, 0].tolist() == [
        np.array(x).tolist() for x in (pictures(3)[2], pictures(1)[0])
    ]
    assert batch.ids.tolist() == [2, 0]
    assert batch.labels.tolist() == [-100, 1]
    turned = from_dataset(hugging_face(), classes=["cat", "dog"])  # names, not positions
    assert turned.labels.tolist() == [0, 1, -100, 0]


def test_a_shuffled_and_formatted_dataset_is_read_as_it_is():
    source = hugging_face().select([3, 1]).with_format("torch")
    data = from_dataset(source)
    assert data.labels.tolist() == [1, 0]
    assert data.batch(torch.tensor([1])).inputs.flatten().tolist() == list(range(12, 24))


def test_named_columns_of_numbers():
    source = datasets.Dataset.from_dict({"a": [[1, 2], [3, 4]], "what": ["x", None]})
    data = from_dataset(source, inputs="a", labels="what")
    assert data.batch(torch.tensor([1, 0])).inputs.tolist() == [[3, 4], [1, 2]]
    assert (data.labels.tolist(), data.classes) == ([0, -100], ("x",))
    assert from_dataset(source, inputs="a").labels is None
    with pytest.raises(AttarError, match=r"which column holds the inputs.*\['a', 'what'\]"):
        from_dataset(source)
    with pytest.raises(AttarError, match=r"labels='b' must be one of \['a', 'what'\]"):
        from_dataset(source, inputs="a", labels="b")
    with pytest.raises(AttarError, match="must hold numbers"):
        from_dataset(source, inputs="what")


def test_a_transform_that_needs_all_columns_gets_them():
    source = datasets.Dataset.from_dict({"x": [[1.0], [2.0]], "scale": [10, 100], "label": [0, 1]})
    scaled = source.with_transform(
        lambda rows: {"x": [[v[0] * s] for v, s in zip(rows["x"], rows["scale"], strict=True)]}
    )
    assert from_dataset(scaled).batch(torch.tensor([0, 1])).inputs.tolist() == [[10], [200]]


def test_a_pytorch_dataset_of_pairs_of_inputs_alone_and_of_mappings():
    x, y = torch.arange(6.0).reshape(3, 2), torch.tensor([2, 0, 1])
    for source in (
        TensorDataset(x, y),
        Pairs(list(zip(x, y.tolist(), strict=True))),
        Pairs([(a.numpy(), np.int64(b)) for a, b in zip(x, y.tolist(), strict=True)]),
        Pairs([{"pixels": a, "target": b} for a, b in zip(x, y, strict=True)]),
        Subset(TensorDataset(x.flip(0), y.flip(0)), [2, 1, 0]),  # has __getitems__
    ):
        data = from_dataset(source)
        assert data.labels.tolist() == [2, 0, 1]
        assert data.batch(torch.tensor([2, 1])).inputs.tolist() == [[4, 5], [2, 3]]
    assert from_dataset(Pairs(list(x))).labels is None
    assert from_dataset(Pairs(list(x)), first_row=5).rows.tolist() == [5, 6, 7]
    assert from_dataset(Pairs([1.5, 2.5])).batch(torch.tensor([1])).inputs.tolist() == [[2.5]]


def test_targets_that_lie_ready_spare_reading_every_item_unless_they_differ():
    items = [(torch.zeros(1), i % 3) for i in range(50)]
    ready = Pairs(items, targets=[i % 3 for i in range(50)], classes=["a", "b", "c"])
    data = from_dataset(ready)
    assert data.classes == ("a", "b", "c")
    assert ready.asked < 20
    for other in (
        {"targets": [0] * 50},
        {"target_transform": abs, "targets": [i % 3 for i in range(50)]},
    ):
        source = Pairs(items, **other)
        assert from_dataset(source).labels.tolist() == [i % 3 for i in range(50)]
        assert source.asked > 50


def test_it_behaves_as_the_same_rows_in_memory():
    x = torch.randint(0, 256, (20, 1, 5, 5), dtype=torch.uint8)
    y = torch.arange(20) % 2
    views = Views([shift(1)], 4, seed=3)
    mapped = from_dataset(TensorDataset(x, y)).with_views(views)
    memory = ArrayData(x, y, views=views)
    indices, view = torch.tensor([7, 3, 19]), torch.tensor([2, 0, 3])
    one, two = mapped.batch(indices, view), memory.batch(indices, view)
    assert torch.equal(one.inputs, two.inputs)
    assert torch.equal(one.ids, two.ids)
    assert one.ids.tolist() == [2 * VIEW + 7, 3, 3 * VIEW + 19]
    assert mapped.fingerprint() == memory.fingerprint()
    for a, b in zip(split(mapped, (0.5, 0.5)), split(memory, (0.5, 0.5)), strict=True):
        assert torch.equal(a.rows, b.rows)
        assert torch.equal(a.labels, b.labels)
        assert torch.equal(a.batch(torch.tensor([4])).inputs, b.batch(torch.tensor([4])).inputs)
        assert a.fingerprint() == b.fingerprint() != mapped.fingerprint()
    assert mapped.take(memory.labels == 1).rows.tolist() == list(range(1, 20, 2))
    assert mapped.with_labels(None).labels is None
    assert as_data(mapped) is mapped


class Jittery(Pairs):
    def __getitem__(self, index):
        return super().__getitem__(index) + torch.rand(2)


class Stream:
    def __iter__(self):
        return iter([1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Jittery([torch.zeros(2)] * 3), "not the same when it was read again.*with_views"),
        (Stream, "a length and items by index. Got Stream"),
        (lambda: Pairs([]), "has no rows"),
        (lambda: Pairs([(1, 2, 3)]), r"\(x, y\), x or a mapping. Got 3"),
        (lambda: Pairs([{"a": 1}]), r"which key holds the inputs.*\['a'\]"),
        (lambda: Pairs(["text"]), "must hold numbers"),
    ],
)
def test_what_cannot_be_read_is_refused(make, message):
    with pytest.raises(AttarError, match=message):
        from_dataset(make())


def test_names_of_columns_without_columns_are_refused():
    with pytest.raises(AttarError, match="inputs and labels name columns"):
        from_dataset(Pairs([(torch.zeros(1), 0)]), inputs="image")


def test_a_bad_row_is_named_when_it_is_read():
    sizes = from_dataset(Pairs([torch.zeros(2), torch.zeros(3)]))
    with pytest.raises(AttarError, match=r"shape of the first, \(2,\). Row 1 has \(3,\)"):
        sizes.batch(torch.tensor([0, 1]))
    nan = from_dataset(Pairs([torch.zeros(1), torch.tensor([float("nan")])]))
    with pytest.raises(AttarError, match=r"finite.*id 1"):
        nan.batch(torch.tensor([0, 1]))
    mixed = from_dataset(Pairs([pictures(1)[0], torch.zeros(2)]))
    with pytest.raises(AttarError, match=r"row 1 holds .* not a picture"):
        mixed.batch(torch.tensor([1]))


def test_positions_and_views_are_checked():
    data = from_dataset(Pairs([torch.zeros(1)] * 3))
    with pytest.raises(AttarError, match="position -1"):
        data.batch(torch.tensor([-1]))
    with pytest.raises(AttarError, match="view must lie"):
        data.batch(torch.tensor([0]), 1)
    with pytest.raises(AttarError, match="given twice"):
        data.take(torch.tensor([0, 0]))
