"""Every loss at equal budgets: what it costs, and what a student learns from it on digits.

    python benchmarks/losses/run.py          # both parts
    python benchmarks/losses/run.py cost     # this one

``cost``: forward and backward on one core, in turns with Hinton's formula on logits of 256 rows;
the median over the rounds of the ratio of the two. What is kept for the backward pass is counted in
bytes, in multiples of the student's logits or features. Hints, attention and similarity see maps
[64, 32, 8, 8] of the student and [64, 64, 8, 8] of the teacher, the others embeddings [64, 128] and
[64, 256]; the contrastive loss draws 4,096 of 50,000 rows.

``digits``: a convolutional teacher of scikit-learn's digits and a student of a tenth of its size,
three fifths of the rows for training, all with their label. Every loss has the weights that its
paper uses, T = 4 where it has one, and no tuning; the same steps, batches and starting weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar import losses
from attar.data import ArrayData, Batches, split
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import predict_logits
from attar.losses import Objective, Term, WithFeatures, hard, matched, soft
from attar.students import ReusedClassifier, Standardize, bottleneck, count_parameters
from attar.teachers import ModelTeacher

RESULTS = Path(__file__).with_name("results.json")
ROWS, CLASSES, ROUNDS = 256, (10, 100), 30
MAPS, EMBEDDINGS = ((64, 32, 8, 8), (64, 64, 8, 8)), ((64, 128), (64, 256))
#: The losses that see embeddings; the others see maps.
OF_EMBEDDINGS = ("rkd_distance", "rkd_angle", "contrastive")
TEMPERATURE, SEEDS, STEPS, TEACHER_STEPS, BATCH = 4.0, 5, 600, 1200, 64

#: Between logits, as they are called here.
LOGITS: dict[str, Any] = {
    "kl": losses.kl,
    "reverse_kl": losses.reverse_kl,
    "jsd": losses.jsd,
    "logit_mse": losses.logit_mse,
    "dkd": losses.dkd,
    "dist": losses.dist,
    "standardized_kl": losses.standardized(losses.kl),
    "skewed_kl": losses.skewed_kl,
    "skewed_reverse_kl": losses.skewed_reverse_kl,
    "weighted_kl": losses.weighted_kl,
}
#: Between features, with the weight beside a hard loss of 1 that papers use.
FEATURES: dict[str, tuple[Any, float]] = {
    "hint": (losses.hint, 100.0),
    "attention_transfer": (losses.attention_transfer, 1000.0),
    "rkd_distance": (losses.rkd_distance, 25.0),
    "rkd_angle": (losses.rkd_angle, 50.0),
    "similarity_preserving": (losses.similarity_preserving, 3000.0),
    "contrastive": (None, 0.8),
}


def formula(student: Tensor, teacher: Tensor) -> Tensor:
    """Hinton's loss as it stands in most scripts."""
    soft_student = F.log_softmax(student / TEMPERATURE, dim=1)
    soft_teacher = F.softmax(teacher / TEMPERATURE, dim=1)
    return TEMPERATURE**2 * F.kl_div(soft_student, soft_teacher, reduction="batchmean")


def cost(rounds: int) -> record.Part:
    """Time over the formula's, and what is kept for the way back."""
    rows: list[dict[str, Any]] = []
    figures: dict[str, float] = {}
    generator = torch.Generator().manual_seed(0)
    for classes in CLASSES:
        student, teacher = (3 * torch.randn(ROWS, classes, generator=generator) for _ in range(2))
        labels = torch.randint(classes, (ROWS,), generator=generator)
        calls = {
            name: partial(_of_logits, loss, labels if _wants(loss, "labels") else None)
            for name, loss in LOGITS.items()
        }
        calls["formula"] = formula
        found = _timed(calls, student, teacher, rounds)
        rows += [{"classes": classes, **row} for row in found]
        for name, call in calls.items():
            figures |= _figures(found, name, f"{name}_{classes}")
            figures[f"{name}_{classes}_kept_over_logits"] = _kept(call, student, teacher)
    logits = 3 * torch.randn(ROWS, 10, generator=generator)
    contrastive = losses.ContrastiveLoss(50_000, 128, 256, negatives=4096)
    places = torch.arange(EMBEDDINGS[0][0])
    for shapes in (MAPS, EMBEDDINGS):
        student, teacher = (torch.randn(*shape, generator=generator).relu() for shape in shapes)
        features: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            name: partial(_of_features, loss)
            for name, (loss, _) in FEATURES.items()
            if (name in OF_EMBEDDINGS) == (shapes is EMBEDDINGS)
        }
        if "hint" in features:  # after a projector, both are as wide
            features["hint"] = lambda s, t: losses.hint(s, t[:, : s.shape[1]]).mean()
        if "contrastive" in features:
            features["contrastive"] = lambda s, t: contrastive(s, t, places).mean()
        features["formula"] = lambda s, t: formula(logits.requires_grad_(), logits.detach() + 1)
        found = _timed(features, student, teacher, rounds)
        rows += [{"features": list(shapes[0]), **row} for row in found]
        for name, call in features.items():
            if name != "formula":
                figures |= _figures(found, name, f"{name}_features")
                figures[f"{name}_features_kept_over_features"] = _kept(call, student, teacher)
    return rows, figures


def _of_logits(loss: Any, labels: Tensor | None, student: Tensor, teacher: Tensor) -> Tensor:
    named: dict[str, Any] = {} if labels is None else {"labels": labels}
    if _wants(loss, "temperature"):
        named["temperature"] = TEMPERATURE
    mean: Tensor = loss(student, teacher, **named).mean()
    return mean


def _of_features(loss: Any, student: Tensor, teacher: Tensor) -> Tensor:
    mean: Tensor = loss(student, teacher).mean()
    return mean


def _wants(loss: Any, name: str) -> bool:
    return losses.objective.has_parameter(loss, name)


def _timed(
    calls: dict[str, Callable[[Tensor, Tensor], Tensor]],
    student: Tensor,
    teacher: Tensor,
    rounds: int,
) -> list[dict[str, Any]]:
    """Microseconds of each, a round after the other."""
    rows = []
    for number in range(rounds + 1):  # the first one warms up
        row: dict[str, Any] = {"round": number}
        for name, call in calls.items():
            own = student.clone().requires_grad_()
            began = time.perf_counter()
            call(own, teacher).backward()
            row[name] = 1e6 * (time.perf_counter() - began)
        rows.append(row)
    return rows[1:]


def _figures(rows: list[dict[str, Any]], name: str, key: str) -> dict[str, float]:
    ratio = [row[name] / row["formula"] for row in rows]
    return record.middle(ratio, f"{key}_time_over_formula")


def _kept(call: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor) -> float:
    """Bytes of all tensors that the backward pass needs, inputs left out, over the student's."""
    own = student.clone().requires_grad_()
    given = {own.data_ptr(), teacher.data_ptr()}
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in given:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        value = call(own, teacher)
    del value
    return sum(seen.values()) / (student.numel() * student.element_size())


class Net(nn.Module):
    """Three convolutions and a linear layer, for images of 8 x 8 pixels."""

    def __init__(self, width: int, scaler: Standardize) -> None:
        super().__init__()
        self.body = nn.Sequential(
            scaler,
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.fc = nn.Linear(2 * width, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, 10]`` of images ``[N, 1, 8, 8]``."""
        logits: Tensor = self.fc(self.pool(self.body(images)))
        return logits


WIDE, NARROW = 32, 10


def digits(quick: bool) -> record.Part:
    """Test accuracy and NLL of a student from each loss."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32).reshape(-1, 1, 8, 8)
    data = ArrayData(inputs, torch.tensor(labels), classes=[str(one) for one in range(10)])
    rows, test = split(data, (0.6, 0.4), seed=0)
    assert isinstance(rows, ArrayData)
    assert isinstance(test, ArrayData)
    steps, seeds = (20, 1) if quick else (STEPS, SEEDS)
    scaler = Standardize.fit(rows.inputs)
    torch.manual_seed(100)
    big = Net(WIDE, scaler)
    _train(big, Objective([hard(1.0)]), None, rows, 20 if quick else TEACHER_STEPS, 100)
    big.eval()
    teacher = ModelTeacher(WithFeatures(big, ["body", "fc:input"]), outputs="logits")
    table: list[dict[str, Any]] = [{"arm": "teacher", **_scores(big, test)}]
    for name in ("hard", *LOGITS, *FEATURES, "reused_classifier"):
        for seed in range(seeds):
            student, terms = _arm(name, big, scaler, data, seed)
            began = time.perf_counter()
            _train(student, Objective(terms), teacher, rows, steps, seed)
            network = student.network if isinstance(student, WithFeatures) else student
            seconds = time.perf_counter() - began
            table.append({"arm": name, "seed": seed, "seconds": seconds} | _scores(network, test))
        print(
            name,
            [round(100 * row["accuracy"], 2) for row in table if row["arm"] == name],
            flush=True,
        )
    figures = {
        "parameters_teacher_over_student": count_parameters(big)
        / count_parameters(Net(NARROW, scaler)),
        "teacher_accuracy": table[0]["accuracy"],
        "teacher_nll": table[0]["nll"],
    }
    for name in dict.fromkeys(row["arm"] for row in table[1:]):
        for score in ("accuracy", "nll", "seconds"):
            values = np.array([row[score] for row in table if row["arm"] == name])
            figures[f"{name}_{score}_mean"] = float(values.mean())
            figures[f"{name}_{score}_sd"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return table, figures


def _arm(
    name: str, big: Net, scaler: Standardize, data: ArrayData, seed: int
) -> tuple[nn.Module, list[Term]]:
    """A fresh student and its terms; all students of a seed start from the same weights."""
    torch.manual_seed(seed)
    small = Net(NARROW, scaler)
    if name == "hard":
        return small, [hard(1.0)]
    if name in LOGITS:
        loss = LOGITS[name]
        temperature = TEMPERATURE if _wants(loss, "temperature") else 1.0
        return small, [hard(0.1), soft(loss, 0.9, temperature=temperature)]
    if name == "reused_classifier":
        reused = ReusedClassifier(small.body, bottleneck(2 * NARROW, 2 * WIDE), big.fc)
        return reused, [matched(losses.hint, 1.0, student="projected", teacher="body")]
    loss, weight = FEATURES[name]
    if name == "contrastive":
        loss = losses.ContrastiveLoss(len(data), 2 * NARROW, 2 * WIDE, width=64, negatives=1024)
        student = WithFeatures(small, ["fc:input"], losses=[loss])
        return student, [hard(1.0), matched(loss, weight, student="fc:input")]
    layer = "fc:input" if name.startswith("rkd") else "body"
    projectors = {layer: nn.Conv2d(2 * NARROW, 2 * WIDE, 1)} if name == "hint" else None
    student = WithFeatures(small, [layer], projectors=projectors)
    return student, [hard(1.0), matched(loss, weight, student=layer)]


def _train(
    student: nn.Module, objective: Objective, teacher: Any, rows: ArrayData, steps: int, seed: int
) -> None:
    config = TrainConfig(steps=steps, learning_rate=3e-3, seed=seed, log_every=100)
    for _ in train(Distiller(student, objective, teacher), Batches(rows, BATCH, seed=seed), config):
        pass
    student.eval()


def _scores(model: nn.Module, test: ArrayData) -> dict[str, float]:
    said = predict_logits(model, test).double()
    assert test.labels is not None
    return {
        "accuracy": float((said.argmax(dim=1) == test.labels).double().mean()),
        "nll": float(F.cross_entropy(said, test.labels)),
    }


def main() -> None:
    """Both parts, or those that are named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="cost, digits")
    parser.add_argument("--quick", action="store_true", help="a miniature; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.parts or ("cost", "digits"):
        part = cost(3 if arguments.quick else ROUNDS) if name == "cost" else digits(arguments.quick)
        for key, value in part[1].items():
            if not key.endswith(("_p10", "_p90", "_sd")):
                print(f"{name}_{key}: {value:.4g}", flush=True)
        if not arguments.quick:
            record.write(
                {name: part},
                command="python benchmarks/losses/run.py",
                seeds={name: 0},
                path=RESULTS,
                threads=1,
            )


if __name__ == "__main__":
    main()
