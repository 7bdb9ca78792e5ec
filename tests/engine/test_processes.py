"""Training in two real processes that talk over this machine's loopback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from attar import AttarError
from attar.engine.processes import Processes, seed_of

# What one process does and two do, too: the script is run both ways.
SCRIPT = """
import os, sys
from pathlib import Path
import torch
from torch import nn
from safetensors.torch import save_file
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.losses import Objective, hard, kl, soft
from attar.store import Store, label
from attar.teachers import StoredTeacher
from attar.types import Outputs, UNLABELLED

store, folder, process = sys.argv[1], Path(sys.argv[2]), int(os.environ.get("RANK", "0"))
torch.set_num_threads(1)
inputs = torch.randn(70, 5, generator=torch.Generator().manual_seed(0))
labels = (inputs.sum(dim=1) > 0).long()
labels[20:] = UNLABELLED  # so most batches hold other numbers of labels in either process
data = ArrayData(inputs, labels, classes=("no", "yes"))

def say(batch):
    total = batch.inputs.sum(dim=1)
    return Outputs(torch.stack([-total, total], dim=1))

if not Path(store).exists():  # the one process comes first
    label(say, data, store)
teacher = StoredTeacher(Store.open(store))
asked = []  # the ids that this process looks up in the store, step by step

def look_up(batch):
    asked.append(batch.ids)
    return teacher(batch)

objective = Objective([soft(kl, 0.5, temperature=2.0), hard(0.5)])
numbers = dict(steps=40, log_every=5, learning_rate=0.05, evaluate_every=10, max_gradient_norm=0.5)

def judge(model):
    logits = model(inputs[:20])
    return {"accuracy": float((logits.argmax(1) == labels[:20]).float().mean()),
            "nll": float(nn.functional.cross_entropy(logits, labels[:20]))}

def run(model, checkpoint=None, stop=None, validate=judge, teacher=teacher):
    config = TrainConfig(**numbers, checkpoint_every=5)
    records = []
    batches = Batches(data, 15, seed=3)  # 8 rows for the one process, 7 for the other
    for record in train(Distiller(model, objective, teacher), batches, config,
                        validate=validate, checkpoint=checkpoint):
        records.append(record)
        if record.step == stop:
            break
    return records

def save(name, model, records):
    told = [[r.loss, *r.parts.values(), r.gradient_norm, *(r.validation or {}).values()]
            for r in records]
    tensors = {f"record{i}": torch.tensor(x, dtype=torch.float64) for i, x in enumerate(told)}
    save_file({**model.state_dict(), **tensors}, folder / f"{name}-{process}")

torch.manual_seed(0)
plain = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
save("plain", plain, run(plain, teacher=look_up))
save_file({str(step): ids for step, ids in enumerate(asked)}, folder / f"ids-{process}")
if torch.distributed.is_initialized():
    (folder / f"backend-{process}").write_text(torch.distributed.get_backend())

def noisy():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))

whole, stopped = noisy(), noisy()
save("whole", whole, run(whole))
run(stopped, folder / "checkpoint", stop=15)
again = noisy()
save("resumed", again, run(again, folder / "checkpoint"))

def broken(model):
    raise RuntimeError("no validation today")

try:
    run(noisy(), validate=broken)
except Exception as error:
    (folder / f"error-{process}").write_text(f"{type(error).__name__}: {error}")
try:
    list(train(Distiller(plain, objective, teacher), Batches(data, 1), TrainConfig(steps=1)))
except ValueError as error:
    (folder / f"refused-{process}").write_text(str(error))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of what one process and two processes left."""
    store = tmp_path_factory.mktemp("store") / "targets"
    script = store.with_name("script.py")
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    folders = []
    for name, how in (("one", []), ("two", launch)):
        folders.append(tmp_path_factory.mktemp(name))
        done = subprocess.run(
            [sys.executable, *how, script, store, folders[-1]],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=600,  # that of a process that hangs, on a busy machine too
        )
        assert done.returncode == 0, done.stderr
    return folders[0], folders[1]


def test_two_processes_give_the_student_of_one(ran: tuple[Path, Path]) -> None:
    alone = load_file(ran[0] / "plain-0")
    together = load_file(ran[1] / "plain-0")
    assert not (ran[0] / "plain-1").exists()
    assert alone.keys() == together.keys()
    for name, value in alone.items():  # weights and records: loss, parts, gradient norm, scores
        torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-5)


def test_each_process_reads_its_share_of_the_soft_targets_from_the_store(
    ran: tuple[Path, Path],
) -> None:
    alone = load_file(ran[0] / "ids-0")
    shares = [load_file(ran[1] / f"ids-{process}") for process in (0, 1)]
    assert len(alone) == len(shares[0]) == len(shares[1]) == 40  # one look-up a step
    for step, ids in alone.items():
        here = [share[step] for share in shares]
        assert [len(some) for some in here] == [8, 7]
        assert sorted(torch.cat(here).tolist()) == sorted(ids.tolist())
    assert [(ran[1] / f"backend-{process}").read_text() for process in (0, 1)] == ["gloo"] * 2


@pytest.mark.parametrize("run", ["plain", "whole", "resumed"])
def test_both_processes_end_with_the_same_bits(ran: tuple[Path, Path], run: str) -> None:
    first, second = (ran[1] / f"{run}-{process}" for process in (0, 1))
    assert first.read_bytes() == second.read_bytes()


def test_a_stopped_run_goes_on_with_the_same_bits(ran: tuple[Path, Path]) -> None:
    # With dropout and batch normalisation, which differ between the two processes.
    for folder in ran:
        assert (folder / "whole-0").read_bytes() == (folder / "resumed-0").read_bytes()


def test_what_fails_in_the_first_process_fails_in_both(ran: tuple[Path, Path]) -> None:
    assert (ran[1] / "error-0").read_text() == "RuntimeError: no validation today"
    other = (ran[1] / "error-1").read_text()
    assert other.startswith("AttarError: The main process stopped (RuntimeError: no validation")


def test_a_batch_smaller_than_the_processes_is_refused(ran: tuple[Path, Path]) -> None:
    assert not (ran[0] / "refused-0").exists()
    for process in (0, 1):
        text = (ran[1] / f"refused-{process}").read_text()
        assert "a batch of 1 rows cannot be shared by 2 processes" in text


def test_one_process_is_left_in_peace() -> None:
    alone = Processes()
    value = torch.tensor([1.0, 2.0])
    assert alone.sum(value) is value
    assert alone.mean(value) is value
    assert alone.gather(3) == [3]
    with pytest.raises(AttarError, match="as it was"):
        alone.first(lambda: _fail())


def _fail() -> None:
    raise AttarError("as it was")


def test_each_process_has_a_seed_of_its_own() -> None:
    assert [seed_of(7, 0), seed_of(8, 0)] == [7, 8]
    seeds = {seed_of(seed, process) for seed in range(20) for process in range(1, 5)}
    assert len(seeds) == 80
    assert seed_of(7, 3) == seed_of(7, 3)
