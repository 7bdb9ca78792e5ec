from __future__ import annotations

import copy
import math
import os
import warnings
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import attar
from attar.checks import AttarError
from attar.columns import describe_columns, encode_columns
from attar.export import runtime, to_onnx
from attar.export.proof import batches as batches_of
from attar.export.proof import prove

NAMES = tuple("abcdefghij")


class Images(nn.Module):
    """Normalisation, convolution, batch norm with statistics of its own, dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 10),
        )
        for layer in self.body:
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.uniform_(-1, 1)
                layer.running_var.uniform_(0.5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body((x.float() - 100) / 50)


class Members(nn.Module):
    """A teacher: members combined by the mean of their probabilities."""

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        said = torch.stack([member(x).log_softmax(dim=1) for member in self.members])
        return said.logsumexp(dim=0) - math.log(len(self.members))


class Linear(nn.Module):
    """Four features, three classes; the variants below each break one expectation."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


class BranchesOnShape(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        assert x.shape[1] == 4  # the tracer cannot follow this, torch.export can
        return self.layer(x)


class BranchesOnValues(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * 2 if x.mean() > 0 else x)


class CountsRows(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + torch.zeros(len(x), 3)


class DropsInEval(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(self.layer(x), 0.5, training=True)


class LooksAtItsBatch(Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x - x.mean(dim=0))


class GivesPairs(Linear):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(x), x


class GivesOutputs(Linear):
    def forward(self, x: torch.Tensor) -> attar.Outputs:
        hidden = self.layer(x)
        return attar.Outputs(logits=hidden, features={"hidden": hidden})


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 4, generator=generator)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (5, 1, 8, 8), generator=generator, dtype=torch.uint8)


def shipped(path, rows: torch.Tensor, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What the file says when asked in batches of ``size``: logits and probabilities."""
    student = runtime.load(path, threads=1)
    parts = [part.numpy() for part in rows.split(size)]
    return (
        np.concatenate([student.logits(part) for part in parts]),
        np.concatenate([student.predict_proba(part) for part in parts]),
    )


@pytest.mark.parametrize("exported_with", [1, 5])
def test_the_file_answers_as_the_model_in_batches_of_any_size(tmp_path, images, exported_with):
    model = Images().eval()
    path = tmp_path / "student.onnx"
    export = to_onnx(model, path, example=images[:exported_with], classes=NAMES)
    many = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
    with torch.no_grad():
        expected = model(many)
    for size in (1, 3, 64):
        logits, probabilities = shipped(path, many, size)
        np.testing.assert_allclose(logits, expected, atol=1e-5)
        np.testing.assert_allclose(probabilities, expected.softmax(dim=1), atol=1e-6)
    assert export.rows_checked == exported_with
    assert export.bytes == path.stat().st_size
    assert export.max_probability_difference < 1e-6
    assert export.argmax_differences == 0


def test_the_file_holds_the_contract(tmp_path, images):
    path = tmp_path / "student.onnx"
    metadata = {"accuracy": np.float64(0.5), "nll": torch.tensor(1.5), "arms": [1, None]}
    export = to_onnx(Images(), path, example=images, classes=NAMES, metadata=metadata)
    proto = onnx.load(path)
    assert [value.name for value in proto.graph.input] == ["inputs"]
    assert [value.name for value in proto.graph.output] == ["logits", "probabilities"]
    assert proto.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    for value in proto.graph.output:
        batch, classes = value.type.tensor_type.shape.dim
        assert (batch.dim_param, classes.dim_value) == ("batch", 10)
    assert [opset.version for opset in proto.opset_import] == [export.opset]
    # With these two the runtime notices that the end of a file is missing.
    assert (proto.producer_name, proto.metadata_props[-1].key) == ("attar", "attar.version")
    student = runtime.load(path)
    assert student.classes == NAMES
    assert student.metadata == {"accuracy": 0.5, "nll": 1.5, "arms": [1, None]}
    assert student.version == attar.__version__


def test_batch_norm_is_folded_into_the_convolutions(tmp_path, images):
    path = tmp_path / "student.onnx"
    to_onnx(Images(), path, example=images, classes=NAMES)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert operators.count("Conv") == 2
    assert "BatchNormalization" not in operators
    assert "Dropout" not in operators


def test_the_model_is_not_touched(tmp_path, images):
    model = Images().train()
    model.body[0].eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    to_onnx(model, tmp_path / "student.onnx", example=images, classes=NAMES)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.requires_grad for parameter in model.parameters())
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_same_model_gives_the_same_bytes(tmp_path, images):
    for name in ("first.onnx", "second.onnx"):
        to_onnx(Images(), tmp_path / name, example=images, classes=NAMES)
    assert (tmp_path / "first.onnx").read_bytes() == (tmp_path / "second.onnx").read_bytes()


def test_an_ensemble_becomes_one_graph(tmp_path, images):
    members = [Images().eval() for _ in range(3)]
    for number, member in enumerate(members):
        torch.manual_seed(number)
        nn.init.normal_(member.body[-1].weight)
    path = tmp_path / "teacher.onnx"
    to_onnx(Members(members), path, example=images, classes=NAMES)
    with torch.no_grad():
        mean = sum(member(images).softmax(dim=1) for member in members) / 3
    _, probabilities = shipped(path, images, 2)
    np.testing.assert_allclose(probabilities, mean, atol=1e-6)


def test_a_model_that_answers_with_features_ships_its_logits(tmp_path, rows):
    for name, model in (("plain", Linear()), ("outputs", GivesOutputs())):
        to_onnx(model, tmp_path / name, example=rows, classes=["x", "y", "z"])
    np.testing.assert_array_equal(
        shipped(tmp_path / "plain", rows, 40), shipped(tmp_path / "outputs", rows, 40)
    )


def test_a_model_that_cannot_be_traced_goes_through_torch_export(tmp_path, rows):
    path = tmp_path / "student.onnx"
    to_onnx(BranchesOnShape(), path, example=rows, classes=["x", "y", "z"])
    with torch.no_grad():
        expected = Linear().eval()(rows)
    for size in (1, 40):
        np.testing.assert_allclose(shipped(path, rows, size)[0], expected, atol=1e-6)
    assert __file__.encode() not in path.read_bytes()  # no source lines of this machine


def test_an_operator_that_the_tracer_does_not_know_and_nothing_is_printed(tmp_path, capfd):
    class Attends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.attention(x).mean(dim=1))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export = to_onnx(
            Attends(), tmp_path / "s.onnx", example=torch.randn(9, 5, 8), classes=list("xyz")
        )
    assert export.rows_checked == 9
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (BranchesOnValues(), "BranchesOnValues cannot be expressed in ONNX.*data-dependent"),
        (CountsRows(), r"takes 3 rows and no other number.*x\.shape\[0\]"),
        (DropsInEval(), "does not answer as the model does.*40 rows.*allowed: 1.00e-04"),
        (LooksAtItsBatch(), "does not answer as the model does.*rows that depend on their batch"),
        (GivesPairs(), "must answer with a tensor.*Got tuple"),
        (nn.Linear(5, 3), r"cannot answer the example of shape \(40, 4\)"),
        (nn.Linear(4, 2), "Got 3 names for 2 classes"),
        (torch.sigmoid, "must be a torch module. Got builtin_function"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_model_that_cannot_be_shipped_leaves_nothing(tmp_path, rows, capfd, model, message):
    with pytest.raises(AttarError, match=f"(?s)to_onnx.*{message}"):
        to_onnx(model, tmp_path / "student.onnx", example=rows, classes=list("xyz"))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"example": torch.zeros(4)}, r"at least one row. Got \(4,\).*example\[None\]"),
        ({"example": torch.zeros(0, 4)}, r"at least one row. Got \(0, 4\)"),
        ({"example": torch.zeros(2, 4).double()}, "float32 or uint8.*Got torch.float64"),
        ({"example": np.zeros((2, 4))}, "Got ndarray"),
        ({"example": torch.tensor([[0, 0, 0, torch.nan]])}, "example must be finite"),
        ({"classes": "xyz"}, "must be names"),
        ({"classes": [0, 1, 2]}, "must be names"),
        ({"classes": ["x", "y", "x"]}, "at least two different names"),
        ({"metadata": {"nll": float("nan")}}, "metadata must fit into JSON"),
        ({"metadata": {"model": nn.Linear(1, 1)}}, "metadata must fit into JSON: got Linear"),
        ({"columns": [{"name": "age", "kind": "number"}]}, "must have the 1 features"),
        ({"tolerance": -1.0}, "'tolerance' parameter of to_onnx"),
        ({"margin": float("nan")}, "'margin' parameter of to_onnx"),
    ],
)
def test_arguments_are_checked_before_anything_is_written(tmp_path, rows, arguments, message):
    whole = {"example": rows, "classes": ["x", "y", "z"], **arguments}
    with pytest.raises(AttarError, match=message):
        to_onnx(Linear(), tmp_path / "student.onnx", **whole)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_file_that_was_there(tmp_path, rows, monkeypatch):
    path = tmp_path / "student.onnx"
    path.write_bytes(b"the old one")
    with pytest.raises(AttarError):
        to_onnx(DropsInEval(), path, example=rows, classes=list("xyz"))
    assert path.read_bytes() == b"the old one"

    def full(_: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        to_onnx(Linear(), path, example=rows, classes=list("xyz"))
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_a_folder_is_no_file(tmp_path, rows):
    export = to_onnx(Linear(), tmp_path / "a" / "b.onnx", example=rows, classes=list("xyz"))
    assert export.path.exists()
    with pytest.raises(AttarError, match="must name a file"):
        to_onnx(Linear(), tmp_path / "a", example=rows, classes=list("xyz"))


def test_named_columns_travel_with_the_student(tmp_path):
    table = {"age": [30, 41, 25], "city": ["Rome", "Oslo", "Rome"]}
    columns = describe_columns(table)
    example = torch.from_numpy(encode_columns(table, columns))
    model = nn.Sequential(nn.Linear(3, 2))
    path = tmp_path / "student.onnx"
    to_onnx(model, path, example=example, classes=["no", "yes"], columns=columns)
    student = runtime.load(path)
    assert student.columns == columns
    np.testing.assert_array_equal(student.logits(table), student.logits(example))


def answering(logits: torch.Tensor) -> SimpleNamespace:
    """A student that gives these logits, whatever it is asked: rows hold their own number."""

    def said(rows: np.ndarray) -> np.ndarray:
        return logits[rows[:, 0].astype(int)].numpy()

    return SimpleNamespace(
        logits=said, predict_proba=lambda rows: torch.from_numpy(said(rows)).softmax(1).numpy()
    )


def two_classes(probabilities: list[float]) -> torch.Tensor:
    first = torch.tensor(probabilities, dtype=torch.float64)
    return torch.stack([first, 1 - first], dim=1).log()


@pytest.mark.parametrize("row", [0, 5, 30])  # in the first, the second and the last batch
def test_the_bounds_of_the_proof_are_where_they_are_said_to_be(row):
    example = torch.arange(40.0)[:, None]
    model = two_classes([0.7] * 40)

    def proved(probability: float, was: float = 0.7, tolerance: float = 1e-4) -> tuple[float, int]:
        says, said = model.clone(), model.clone()
        said[row] = two_classes([was])[0]
        says[row] = two_classes([probability])[0]
        return prove("to_onnx", answering(says), example, said, tolerance=tolerance, margin=2e-4)

    assert proved(0.7 + 0.9e-4)[0] == pytest.approx(0.9e-4, rel=1e-6)
    with pytest.raises(AttarError, match=r"differ by up to 1\.10e-04 \(allowed: 1\.00e-04\)"):
        proved(0.7 + 1.1e-4)
    # Another class where the model's two are 1.8e-4 apart is a tie, at 2.2e-4 it is not.
    assert proved(0.499995, was=0.50009) == (pytest.approx(0.95e-4, rel=1e-6), 1)
    with pytest.raises(AttarError, match="1 rows whose two likeliest classes"):
        proved(0.499995, was=0.50011, tolerance=1.0)


@pytest.mark.parametrize("count", [1, 2, 9, 30, 1100])
def test_every_row_is_proved_in_small_and_large_batches(count):
    batches = list(batches_of(count))
    assert set(torch.cat(batches).tolist()) == set(range(count))
    assert [len(batch) for batch in batches[:2]] == [1, 7]
    assert all(8 < len(batch) <= 512 for batch in batches[2:])
