"""Training from stored soft targets, beside loops that ask the teacher at every step.

    python benchmarks/cached_training/run.py

``wrn``: WRN-40-2 teaches WRN-16-2 on images of 32 x 32 pixels, 100 classes, batch 64; the store is
warm. A block of steps of each loop in turn, in an order that rotates; a ratio is that of the two
blocks of a round. The images are noise: time does not depend on what they show. ``alone`` is the
student without any teacher: what no loop can be faster than.

``mlp``: ten multilayer perceptrons 784-1200-1200-10 teach four students 784-300-10, at T = 2, 4, 8
and 20, ten passes over MNIST each. Attar's clock runs while the teachers fill the store; the online
loop's student at T = 4 is trained in full, and the four together take four times as long, since
nothing in a step depends on T. Same weights at the start, same order of the rows.
"""

from __future__ import annotations

import argparse
import copy
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from online import kd_lib, plain, torchdistill
from torch import Tensor, nn
from wrn import WideResNet

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "mnist"))
import record
from fetch import cache_folder, mnist

import attar
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.evaluation import predict_logits
from attar.losses import Objective, hard, kl, soft
from attar.store import Store
from attar.students import Standardize, count_parameters
from attar.teachers import EnsembleTeacher, ModelTeacher, StoredTeacher

RESULTS = Path(__file__).with_name("results.json")
SEED, ALPHA = 0, 0.9

IMAGES, CLASSES, BATCH, TEMPERATURE = 512, 100, 64, 4.0
ROUNDS, BLOCK = 8, 3

TEACHERS, TEACHER_EPOCHS, HIDDEN = 10, 2, 1200
STUDENT_HIDDEN, EPOCHS, MLP_BATCH = 300, 10, 128
TEMPERATURES = (2.0, 4.0, 8.0, 20.0)
LEARNING_RATE = 1e-3


def main() -> None:
    """Both parts, or the one that is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help="wrn, mlp")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a miniature; writes nothing")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    known = {"wrn": wrn, "mlp": mlp}
    for name in arguments.parts or known:
        if name not in known:
            parser.error(f"no part {name!r}; there are {', '.join(known)}")
        with tempfile.TemporaryDirectory() as scratch:
            rows, figures = known[name](Path(scratch), arguments.quick)
        for key, value in figures.items():
            print(f"{name}_{key}: {value:.4g}", flush=True)
        if not arguments.quick:
            record.write(
                {name: (rows, figures)},
                command="python benchmarks/cached_training/run.py",
                seeds={name: SEED},
                path=RESULTS,
                threads=arguments.threads,
            )


def wrn(scratch: Path, quick: bool) -> record.Part:
    """A student that reads the store, beside students that wait for the teacher."""
    generator = torch.Generator().manual_seed(SEED)
    count = BATCH if quick else IMAGES
    images = torch.randn(count, 3, 32, 32, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    data = ArrayData(images, labels, classes=[str(one) for one in range(CLASSES)])
    batches = Batches(data, BATCH, seed=SEED)
    big = _seeded(lambda: WideResNet(40, 2, CLASSES)).eval()
    store = attar.label(ModelTeacher(big, outputs="logits"), data, scratch / "store")
    rounds = 2 if quick else ROUNDS
    config = _config((rounds + 1) * BLOCK, BLOCK)

    def student(*, channels_last: bool = False) -> nn.Module:
        made = _seeded(lambda: WideResNet(16, 2, CLASSES))
        return made.to(memory_format=torch.channels_last) if channels_last else made

    def online(loop: Any, network: nn.Module, teacher: nn.Module | None) -> Iterator[None]:
        settings = {"temperature": TEMPERATURE, "alpha": ALPHA}
        schedule = config.learning_rate_at
        return _blocks(loop(network, teacher, batches, schedule=schedule, **settings), BLOCK)

    big_last = copy.deepcopy(big).to(memory_format=torch.channels_last)
    loops: dict[str, Iterator[Any]] = {
        "attar": _cached(student(), store, batches, config),
        "attar_channels_last": _cached(student(channels_last=True), store, batches, config),
        "alone": online(plain, student(), None),
        "plain": online(plain, student(), big),
        "plain_channels_last": online(plain, student(channels_last=True), big_last),
        "torchdistill": online(torchdistill, student(), big),
        "kd_lib": online(kd_lib, student(), big),
    }
    for loop in loops.values():
        next(loop)  # memory, the optimizer's state: what is paid once
    rows = []
    names = list(loops)
    for number in range(rounds):
        turn = number % len(names)
        seconds = {}
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            next(loops[name])
            seconds[name] = (time.perf_counter() - began) / BLOCK
        rows.append({"round": number} | {f"{name}_step_seconds": seconds[name] for name in names})
        print(f"wrn: round {number + 1} of {rounds}", flush=True)
    figures = {
        "parameters_teacher_over_student": count_parameters(big) / count_parameters(student())
    }
    times = {name: np.array([row[f"{name}_step_seconds"] for row in rows]) for name in names}
    for name, some in times.items():
        figures[f"{name}_step_seconds"] = float(np.median(some))
        for ours in ("attar", "attar_channels_last"):
            if not name.startswith("attar"):
                figures |= record.middle(some / times[ours], f"{name}_over_{ours}")
    figures |= record.middle(
        times["attar"] / times["attar_channels_last"], "attar_over_attar_channels_last"
    )
    return rows, figures | {"goal_online_over_attar": 2.0, "ideal_online_over_attar": 2.08}


def mlp(scratch: Path, quick: bool) -> record.Part:
    """Ten teachers and four students, filling included."""
    rows, test = mnist(cache_folder())
    if quick:
        rows, test = rows.take(torch.arange(3000)), test.take(torch.arange(1000))
    scaler = Standardize.fit(rows.inputs)
    teachers = _teachers(rows, scaler, 2 if quick else TEACHERS)
    ensemble = EnsembleTeacher(
        [ModelTeacher(one, outputs="logits", name=f"mlp {n}") for n, one in enumerate(teachers)]
    )
    batches = Batches(rows, MLP_BATCH, seed=SEED)
    epochs = 1 if quick else EPOCHS
    epoch = batches.steps_per_epoch
    config = _config(epochs * epoch, epoch)
    table: list[dict[str, Any]] = []

    def row(arm: str, temperature: float | None, seconds: float, model: Any = None) -> None:
        one: dict[str, Any] = {"arm": arm, "seconds": seconds}
        if temperature is not None:
            one |= {"temperature": temperature}
        if model is not None:
            one |= {"accuracy": _accuracy(model, test)}
        table.append(one)
        print("mlp:", one, flush=True)

    # Online, in full, at T = 4: an epoch at a time, so that the spread is seen.
    student = _seeded(lambda: _perceptron(scaler, STUDENT_HIDDEN, layers=1))
    loop = _blocks(
        plain(
            student,
            lambda inputs: _mean_probability(teachers, inputs),
            batches,
            temperature=4.0,
            alpha=ALPHA,
            schedule=config.learning_rate_at,
        ),
        epoch,
    )
    online = []
    for number in range(epochs):
        began = time.perf_counter()
        next(loop)
        online.append(time.perf_counter() - began)
        row("online", 4.0, online[-1], student.eval() if number == epochs - 1 else None)
    online_accuracy = table[-1]["accuracy"]

    began = time.perf_counter()
    store = attar.label(ensemble, rows, scratch / "store")
    fill = time.perf_counter() - began
    row("fill", None, fill)
    ours = fill
    accuracies = {}
    for temperature in TEMPERATURES:
        student = _seeded(lambda: _perceptron(scaler, STUDENT_HIDDEN, layers=1))
        began = time.perf_counter()
        for _ in _cached(student, store, batches, config, temperature):
            pass
        seconds = time.perf_counter() - began
        ours += seconds
        row("attar", temperature, seconds, student.eval())
        accuracies[temperature] = table[-1]["accuracy"]
    asked = store.manifest["pass"]
    table.append({"arm": "pass", "way": asked["way"], "batch_size": asked["batch_size"]})
    # The spread of the ratio is that of the online loop's epochs.
    per_epoch = np.array(online) * len(TEMPERATURES) * epochs
    figures = record.middle(per_epoch / ours, "online_over_attar")
    figures |= {
        "online_seconds": float(per_epoch.mean()),
        "attar_seconds": ours,
        "fill_seconds": fill,
        "online_accuracy": online_accuracy,
        "attar_accuracy": accuracies[4.0],
        "attar_minus_online_accuracy_points": 100 * (accuracies[4.0] - online_accuracy),
        "teacher_accuracy": _accuracy(ensemble, test),
        "goal_online_over_attar": 15.0,
        "ideal_online_over_attar": 18.8,
    }
    return table, figures


def _config(steps: int, every: int) -> TrainConfig:
    # The loops beside it scale no gradients either.
    return TrainConfig(
        steps=steps, learning_rate=LEARNING_RATE, log_every=every, max_gradient_norm=None
    )


def _cached(
    student: nn.Module,
    store: Store,
    batches: Batches,
    config: TrainConfig,
    temperature: float = TEMPERATURE,
) -> Iterator[Any]:
    """Attar's loop as a user writes it."""
    objective = Objective([soft(kl, ALPHA, temperature=temperature), hard(1 - ALPHA)])
    return train(Distiller(student, objective, StoredTeacher(store)), batches, config)


def _blocks(loop: Iterator[None], steps: int) -> Iterator[None]:
    while True:
        for _ in range(steps):
            next(loop)
        yield


def _teachers(rows: ArrayData, scaler: Standardize, count: int) -> list[nn.Module]:
    """Trained for a few epochs, before any clock starts."""
    found = []
    for number in range(count):
        model = _seeded(lambda: _perceptron(scaler, HIDDEN, layers=2), SEED + 1 + number)
        batches = Batches(rows, 512, seed=number)
        config = TrainConfig(steps=TEACHER_EPOCHS * batches.steps_per_epoch, learning_rate=1e-3)
        for _ in train(Distiller(model, Objective([hard(1.0)])), batches, config):
            pass
        found.append(model.eval())
        print(f"mlp: teacher {number + 1} of {count}", flush=True)
    return found


def _perceptron(scaler: Standardize, hidden: int, *, layers: int) -> nn.Module:
    parts: list[nn.Module] = [scaler, nn.Flatten(), nn.Linear(784, hidden), nn.ReLU()]
    for _ in range(layers - 1):
        parts += [nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*parts, nn.Linear(hidden, 10))


def _mean_probability(teachers: list[nn.Module], inputs: Tensor) -> Tensor:
    said = torch.stack([teacher(inputs).log_softmax(dim=1) for teacher in teachers])
    return said.logsumexp(dim=0)  # the softmax of it is the mean of the probabilities


def _accuracy(model: Any, test: ArrayData) -> float:
    assert test.labels is not None
    return float((predict_logits(model, test).argmax(dim=1) == test.labels).double().mean())


def _seeded(make: Any, seed: int = SEED) -> nn.Module:
    torch.manual_seed(seed)
    made: nn.Module = make()
    return made


if __name__ == "__main__":
    main()
