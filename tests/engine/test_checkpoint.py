from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn

from attar import AttarError
from attar.data import ArrayData, Batches
from attar.engine import Distiller, NonFiniteLossError, TrainConfig, checkpoint, train
from attar.losses import Objective, hard

# Dropout draws from torch's state, the noise layer from numpy's and Python's: all must resume.
SCRIPT = """
import random, sys, time
import numpy as np, torch
from torch import nn
from safetensors.torch import save_file
from attar.data import ArrayData, Batches
from attar.engine import Distiller, TrainConfig, train
from attar.losses import Objective, hard

class Noise(nn.Module):
    def forward(self, x):
        return x + 0.01 * np.random.rand() + 0.01 * random.random() if self.training else x

torch.set_num_threads(1)
checkpoint, final, pause = sys.argv[1], sys.argv[2], float(sys.argv[3])
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(100, 6, generator=generator)
data = ArrayData(inputs, (inputs[:, 0] > 0).long())
random.seed(0); np.random.seed(0); torch.manual_seed(0)
model = nn.Sequential(Noise(), nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3),
                      nn.Linear(16, 2))
config = TrainConfig(steps=200, log_every=5, evaluate_every=10, checkpoint_every=5, patience=50,
                     learning_rate=0.01)
def validate(m):
    logits, labels = m(inputs[:40]), data.labels[:40]
    return {"accuracy": float((logits.argmax(1) == labels).float().mean()),
            "nll": float(nn.functional.cross_entropy(logits, labels))}
losses = []
for record in train(Distiller(model, Objective([hard(1.0)])), Batches(data, 16, seed=2), config,
                    validate=validate, checkpoint=checkpoint):
    losses.append(record.loss)
    print(record.step, flush=True)
    time.sleep(pause)
save_file({**model.state_dict(), "losses": torch.tensor(losses, dtype=torch.float64)}, final)
"""


def start(folder: Path, name: str, pause: float) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder / f"{name}.checkpoint"), str(folder / name)]
    return subprocess.Popen(
        [*command, str(pause)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )


def test_a_killed_run_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = start(tmp_path, "whole", 0.0)
    assert whole.wait(timeout=120) == 0
    for steps_before_kill in (5, 60, 115):
        process = start(tmp_path, "killed", 0.02)
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= steps_before_kill:
                time.sleep(0.003 * (steps_before_kill % 7))  # anywhere within the next records
                process.send_signal(signal.SIGKILL)
                break
        assert process.wait(timeout=60) == -signal.SIGKILL
        assert not (tmp_path / "killed").exists()
    last = start(tmp_path, "killed", 0.0)
    assert last.wait(timeout=120) == 0
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()
    assert not list(tmp_path.glob(".*tmp"))


def pieces(seed: int = 0, **numbers: object) -> tuple[Distiller, Batches, TrainConfig]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, generator=generator)
    data = ArrayData(inputs, (inputs[:, 0] > 0).long())
    torch.manual_seed(seed)
    config = TrainConfig(**{"steps": 20, "log_every": 5, "checkpoint_every": 5, **numbers})  # type: ignore[arg-type]
    return Distiller(nn.Linear(3, 2), Objective([hard(1.0)])), Batches(data, 8), config


def test_a_finished_run_is_read_back_without_training(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    first = pieces()
    records = list(train(*first, checkpoint=path))
    second = pieces(seed=1)
    again = list(train(*second, checkpoint=path))
    assert again == records
    for a, b in zip(first[0].student.parameters(), second[0].student.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    list(train(*pieces(), checkpoint=path))
    with pytest.raises(AttarError, match=r"belongs to another run .*config"):
        list(train(*pieces(learning_rate=0.5), checkpoint=path))


def test_another_thread_count_is_refused_unless_allowed(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    stopped = train(*pieces(), checkpoint=path)
    next(stopped)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        with pytest.raises(AttarError, match=r"not end with the same bits.*any_threads=True"):
            list(train(*pieces(), checkpoint=path))
        assert list(train(*pieces(any_threads=True), checkpoint=path))[-1].step == 20
    finally:
        torch.set_num_threads(threads)


def test_a_resumed_run_keeps_the_memory_layout_of_the_weights(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 3, 6, 6, generator=generator)
    data = ArrayData(inputs, (inputs[:, 0, 0, 0] > 0).long())
    config = TrainConfig(steps=20, log_every=5, checkpoint_every=5)
    ends = []
    for name, stops in (("whole", False), ("stopped", True)):
        for again in (True, False) if stops else (False,):
            torch.manual_seed(0)
            model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 2, 4), nn.Flatten())
            model = model.to(memory_format=torch.channels_last)
            distiller = Distiller(model, Objective([hard(1.0)]))
            loop = train(distiller, Batches(data, 8), config, checkpoint=tmp_path / name)
            next(loop)
            if not again:
                list(loop)
        ends.append([p.detach() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("length", [0, 7, 500])
def test_a_torn_checkpoint_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "run.checkpoint"
    list(train(*pieces(), checkpoint=path))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(AttarError, match="not a checkpoint that can be read"):
        list(train(*pieces(), checkpoint=path))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.checkpoint"
    checkpoint.write(path, {"a": torch.zeros(1)}, {})
    text = path.read_bytes().replace(b'\\"format\\": 1', b'\\"format\\": 9')
    path.write_bytes(text)
    with pytest.raises(AttarError, match="format 9; this version reads 1"):
        checkpoint.read(path)


def test_the_last_good_checkpoint_survives_broken_weights(tmp_path: Path) -> None:
    path = tmp_path / "run.checkpoint"
    distiller, batches, config = pieces()
    loop = train(distiller, batches, config, checkpoint=path)
    next(loop)
    good = path.read_bytes()
    with torch.no_grad():
        distiller.student.weight[0, 0] = torch.inf
    with pytest.raises(NonFiniteLossError):
        list(loop)
    assert path.read_bytes() == good


def test_random_states_come_back() -> None:
    import random

    import numpy as np

    random.gauss(0, 1)  # leaves a second value cached
    saved = checkpoint.random_tensors()
    drawn = (
        torch.rand(3).tolist(),
        np.random.rand(3).tolist(),  # noqa: NPY002
        random.gauss(0, 1),
        random.random(),
    )
    checkpoint.restore_random(saved)
    again = (
        torch.rand(3).tolist(),
        np.random.rand(3).tolist(),  # noqa: NPY002
        random.gauss(0, 1),
        random.random(),
    )
    assert drawn == again
