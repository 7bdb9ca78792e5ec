"""How a teacher is asked: what is measured, what is chosen, what is refused, what is kept."""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import attar
from attar.data import ArrayData
from attar.export.backend import BACKENDS
from attar.store import Store, hunt, label
from attar.store.asking import Asker
from attar.store.hunt import find_pace
from attar.store.pace import Pace, Way
from attar.teachers import EnsembleTeacher, FunctionTeacher, ModelTeacher
from attar.types import Batch, Outputs


class World:
    """A clock, and teachers that take a known time a row and a question."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked: list[tuple[str, int]] = []
        self.noise: Callable[[], float] = lambda: 1.0

    def clock(self) -> float:
        return self.now

    def teacher(
        self, name: str, row: Callable[[int], float], off: float = 0.0
    ) -> Callable[[Batch], Outputs]:
        def answer(batch: Batch) -> Outputs:
            size = len(batch)
            self.now += size * row(size) * self.noise()
            self.asked.append((name, size))
            logits = batch.inputs.clone()
            logits[:, 0] += off
            return Outputs(logits)

        return answer


def a_way(
    world: World, name: str, row: Callable[[int], float], off: float = 0.0, **settings: bool
) -> Way:
    teacher = world.teacher(name, row, off)
    return Way(lambda: teacher, **settings)


def batch(size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.randn(4096, 5, generator=generator)[:size], torch.arange(size))


def found(ways: dict[str, Way], world: World, **settings: Any) -> Pace:
    usual = {"rows": 4096, "total": 1_000_000}
    return find_pace(ways, batch, clock=world.clock, **(usual | settings))


def caches(size: int) -> float:
    """Seconds a row: fastest at 128 rows."""
    return 1e-4 * (1 + 20 / size + max(0, size - 128) / 500)


def test_a_short_pass_is_not_measured() -> None:
    world = World()
    ways = {
        "eager": a_way(world, "eager", lambda _: 1e-5),
        "other": a_way(world, "other", lambda _: 1e-9),
    }
    assert found(ways, world, total=10_000) == Pace(batch_size=64)
    assert {name for name, _ in world.asked} == {"eager"}
    assert sum(size for _, size in world.asked) <= 100


def test_the_best_size_and_the_best_way_are_found() -> None:
    world = World()
    ways = {
        "eager": a_way(world, "eager", lambda size: 2 * caches(size)),
        "other": a_way(world, "other", caches),
    }
    chosen = found(ways, world)
    assert (chosen.way, chosen.batch_size) == ("other", 128)
    assert chosen.tried["other, 128"] == pytest.approx(1 / caches(128))
    assert chosen.kl == 0


def test_the_measuring_takes_a_small_share_of_the_pass() -> None:
    for seconds_a_row in (1e-4, 1e-2):
        world = World()
        ways = {
            name: a_way(world, name, functools.partial(lambda s, _: s, seconds_a_row))
            for name in ("eager", "a", "b", "c")
        }
        found(ways, world, total=1_000_000)
        # One question may be under way when the time is over.
        assert world.now <= 1.3 * min(0.02 * 1_000_000 * seconds_a_row, 30.0)


def test_one_disturbed_moment_does_not_decide() -> None:
    world = World()
    count = iter(range(10**9))
    world.noise = lambda: 30.0 if next(count) % 5 == 3 else 1.0
    ways = {
        "eager": a_way(world, "eager", lambda size: 1.5 * caches(size)),
        "other": a_way(world, "other", caches),
    }
    # What was hit in its first round is not looked at again: another size near it is taken.
    chosen = found(ways, world, total=10_000_000)
    assert chosen.way == "other"
    assert caches(chosen.batch_size) <= 1.2 * caches(128)


def convolutional(row: float, best: int) -> Callable[[int], float]:
    """Seconds a row: little more with smaller batches than the best, much more with larger ones."""

    def cost(size: int) -> float:
        away = math.log2(size / best)
        return float(row * (1.3**away if away > 0 else 1.02**-away))

    return cost


def overhead(row: float, question: float) -> Callable[[int], float]:
    """Seconds a row: the larger the batch the better."""
    return lambda size: row + question / size


@pytest.mark.parametrize(
    ("costs", "total"),
    [
        (
            {
                "eager": convolutional(1 / 260, 64),
                "channels_last": convolutional(1 / 460, 64),
                "onnxruntime": convolutional(1 / 650, 128),
            },
            60_000,
        ),
        ({"eager": overhead(1e-5, 2e-3), "onnxruntime": overhead(3e-5, 1e-4)}, 10_000_000),
        ({"eager": convolutional(1 / 12, 16), "channels_last": convolutional(1 / 18, 32)}, 60_000),
    ],
    ids=["convolutional", "small layers", "large"],
)
def test_on_a_restless_machine_the_choice_is_near_the_best(
    costs: dict[str, Callable[[int], float]], total: int
) -> None:
    found_over_best, shares = [], []
    best = min(cost(2**power) for cost in costs.values() for power in range(4, 13))
    for seed in range(40):
        world, draws = World(), random.Random(seed)
        world.noise = lambda draws=draws: (  # type: ignore[misc]
            math.exp(draws.gauss(0, 0.08)) * (3 if draws.random() < 0.15 else 1)
        )
        ways = {name: a_way(world, name, cost) for name, cost in costs.items()}
        chosen = found(ways, world, total=total)
        row = costs[chosen.way](chosen.batch_size)
        found_over_best.append(best / row)
        shares.append(world.now / (total * row))
    found_over_best.sort()
    assert found_over_best[4] >= 0.9  # in nine cases of ten
    assert statistics.median(shares) <= 0.025


def test_wide_layers_are_asked_about_hundreds_of_rows() -> None:
    # Ten perceptrons 784-1200-1200-10, as measured: microseconds a row of 16, 32, ... rows.
    costs = {"eager": (1450, 950, 680, 500, 470, 440), "other": (900, 700, 575, 440, 395, 388)}
    world = World()
    ways = {
        name: a_way(world, name, lambda size, row=row: 1e-6 * row[min(size.bit_length() - 5, 5)])
        for name, row in costs.items()
    }
    chosen = found(ways, world, total=60_000)
    assert (chosen.way, chosen.batch_size) == ("other", 256)
    assert world.now <= 0.025 * 60_000 * 395e-6


def test_what_is_prepared_slowly_still_has_its_turn() -> None:
    world = World()
    other = world.teacher("other", lambda size: caches(size) / 3)

    def export() -> Any:
        world.now += 60.0  # longer than all of the measuring may take
        return other

    ways = {"eager": a_way(world, "eager", caches), "other": Way(export)}
    assert found(ways, world).way == "other"


def test_what_is_rounded_is_used_only_within_the_bound() -> None:
    for bound, off, way in ((None, 0.0, "eager"), (1e-4, 0.001, "half"), (1e-9, 0.5, "eager")):
        world = World()
        ways = {
            "eager": a_way(world, "eager", caches),
            "half": a_way(world, "half", lambda size: caches(size) / 2, off, exact=False),
        }
        chosen = found(ways, world, max_kl=bound, temperatures=(1.0, 4.0))
        assert chosen.way == way
    assert "nats" in chosen.refused["half"]


def test_a_way_that_answers_something_else_is_refused() -> None:
    world = World()
    ways = {
        "eager": a_way(world, "eager", caches),
        "wrong": a_way(world, "wrong", lambda _: 1e-9, off=1.0),
        "nan": a_way(world, "nan", lambda _: 1e-9, off=float("nan")),
    }
    chosen = found(ways, world)
    assert chosen.way == "eager"
    assert set(chosen.refused) == {"wrong", "nan"}


def test_a_way_that_cannot_be_made_is_named_and_left() -> None:
    def fails() -> Any:
        raise RuntimeError("no compiler\nmore lines")

    world = World()
    ways = {"eager": a_way(world, "eager", caches), "compiled": Way(fails)}
    chosen = found(ways, world)
    assert chosen.way == "eager"
    assert chosen.refused == {"compiled": "RuntimeError: no compiler"}


def test_what_is_slow_to_start_is_tried_on_a_long_pass_alone() -> None:
    for total, tried in ((500_000, False), (50_000_000, True)):
        world = World()
        ways = {
            "eager": a_way(world, "eager", caches),
            "compiled": a_way(world, "compiled", lambda size: caches(size) / 2, slow_start=True),
        }
        assert (found(ways, world, total=total).way == "compiled") == tried


def test_a_size_that_does_not_fit_into_memory_is_left() -> None:
    world = World()

    def row(size: int) -> float:
        if size > 64:
            raise MemoryError("too large")
        return 1e-2 / size

    ways = {"eager": a_way(world, "eager", row)}
    assert found(ways, world).batch_size == 64


def images(count: int = 80) -> ArrayData:
    generator = torch.Generator().manual_seed(0)
    return ArrayData(torch.rand(count, 3, 8, 8, generator=generator), classes=("a", "b", "c"))


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)
    ).eval()


@pytest.mark.parametrize(
    "way", ["channels_last", "bfloat16", "bfloat16, channels_last", "onnxruntime"]
)
@pytest.mark.parametrize("outputs", ["logits", "auto"])
def test_a_network_says_the_same_in_every_way(way: str, outputs: Any) -> None:
    teacher: Any = EnsembleTeacher([ModelTeacher(network(s), outputs=outputs) for s in (0, 1)])
    rows = images().batch(torch.arange(80))
    before = {k: (v.clone(), v.stride()) for k, v in teacher.members[0].module.state_dict().items()}
    said = teacher(rows).logits
    other = teacher.ways(rows, BACKENDS)[way]
    answer = other.make()(rows).logits
    assert other.exact != way.startswith("bfloat16")
    assert answer.dtype == torch.float32
    torch.testing.assert_close(
        answer, said, **({} if other.exact else {"atol": 0.02, "rtol": 0.05})
    )
    for key, (value, strides) in before.items():  # the user's own network is as it was
        now = teacher.members[0].module.state_dict()[key]
        assert torch.equal(now, value)
        assert now.stride() == strides


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pass is long enough to be measured."""
    monkeypatch.setattr(hunt, "SHORT_SECONDS", 0.0)
    monkeypatch.setattr(hunt, "SHARE", 1e9)
    monkeypatch.setattr(hunt, "MOST_SECONDS", 0.5)


@pytest.mark.usefixtures("measured")
def test_the_choice_stands_in_the_manifest_and_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = ModelTeacher(network(), outputs="logits")
    store = attar.label(teacher, images(), tmp_path / "soft")
    said = store.manifest["pass"]
    assert said["way"] in ("eager", "channels_last", "onnxruntime")
    assert f"{said['way']}, {said['batch_size']}" in said["rows_per_second"]
    assert not any("bfloat16" in name for name in said["rows_per_second"])
    expected = teacher(images().batch(torch.arange(80))).logits
    torch.testing.assert_close(store.logits(torch.arange(80)), expected)

    def never(*_: Any, **__: Any) -> Pace:
        raise AssertionError("it was measured again")

    monkeypatch.setattr("attar.store.asking.find_pace", never)
    views = images().with_views(attar.data.Views((attar.data.flip(),), 2))
    grown = attar.label(teacher, views, tmp_path / "soft")
    assert grown.manifest["pass"] == said


@pytest.mark.usefixtures("measured")
def test_a_pass_goes_on_at_its_pace_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = ModelTeacher(network(), outputs="logits")
    chosen = Pace("channels_last", 16)
    monkeypatch.setattr("attar.store.asking.find_pace", lambda *_, **__: chosen)
    whole = label(teacher, images(), tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 32:
            raise StopError

    with pytest.raises(StopError):
        label(teacher, images(), tmp_path / "halves", progress=stop)
    monkeypatch.setattr("attar.store.asking.find_pace", lambda *_, **__: Pace("eager", 7))
    halves = label(teacher, images(), tmp_path / "halves")
    assert halves.manifest == whole.manifest
    for path in whole.path.rglob("*"):
        if path.is_file():
            assert (halves.path / path.relative_to(whole.path)).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("measured")
def test_a_way_is_made_only_where_something_is_left_to_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("attar.store.asking.find_pace", lambda *_, **__: Pace("onnxruntime", 16))
    made: list[nn.Module] = []

    def backend(module: nn.Module, inputs: Any) -> Any:
        made.append(module)
        return module

    teacher, backends = ModelTeacher(network(), outputs="logits"), {"onnxruntime": backend}
    label(teacher, images(), tmp_path / "s", backends=backends)
    assert len(made) == 1
    label(teacher, images(), tmp_path / "s", backends=backends)  # it is there already
    assert len(made) == 1


def test_it_is_measured_on_rows_from_all_over_the_data_and_for_one_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    def look(ways: Any, batch: Callable[[int], Batch], **settings: Any) -> Pace:
        seen.update(settings, ids=batch(8).ids.tolist())
        return Pace()

    monkeypatch.setattr("attar.store.asking.find_pace", look)
    teacher = ModelTeacher(network(), outputs="logits")
    asker = Asker(teacher, images(80), batch_size="auto", shares=4)
    asker.find_pace(None, (1.0,))
    assert seen["ids"] == [0, 10, 20, 30, 40, 50, 60, 70]
    assert (seen["rows"], seen["total"]) == (80, 20)


@pytest.mark.usefixtures("measured")
def test_bfloat16_is_measured_where_top_k_is_chosen_by_a_bound(tmp_path: Path) -> None:
    teacher = ModelTeacher(network(), outputs="logits")
    store = label(teacher, images(), tmp_path, top_k="auto", max_kl=10.0)
    assert any("bfloat16" in name for name in store.manifest["pass"]["rows_per_second"])


@pytest.mark.usefixtures("measured")
def test_a_function_is_asked_no_question_more(tmp_path: Path) -> None:
    asked = 0

    def service(inputs: Any) -> Any:
        nonlocal asked
        asked += len(inputs)
        return torch.softmax(torch.as_tensor(inputs).flatten(1)[:, :3], dim=1).numpy()

    teacher = FunctionTeacher(service, name="service", outputs="probabilities")
    label(teacher, images(600), tmp_path / "alone")
    alone = asked
    asked = 0
    both = EnsembleTeacher([teacher, ModelTeacher(network(), outputs="logits")])
    label(both, images(600), tmp_path / "both")
    assert alone == asked <= 600 + 8  # eight rows tell who it is


def test_a_number_is_taken_at_its_word(tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counts(nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            sizes.append(len(rows))
            return rows.flatten(1)[:, :3]

    store = label(ModelTeacher(Counts(), outputs="logits"), images(), tmp_path, batch_size=30)
    assert sizes == [30, 30, 20]
    assert store.manifest["pass"]["batch_size"] == 30
    assert Store.open(tmp_path).manifest["pass"]["way"] == "eager"


@pytest.mark.parametrize("size", [0, -1, 2.5, "fast", None])
def test_another_batch_size_is_refused(tmp_path: Path, size: Any) -> None:
    with pytest.raises(attar.AttarError, match="batch_size"):
        label(ModelTeacher(network()), images(), tmp_path / "s", batch_size=size)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("said", [{}, {"way": 3, "batch_size": 4}, {"way": "x", "batch_size": 0}])
def test_a_manifest_that_says_nothing_of_use_gives_the_usual_pace(said: Any) -> None:
    assert Pace.from_json(said) is None
