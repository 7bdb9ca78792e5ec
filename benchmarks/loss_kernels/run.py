"""What the loss of distillation costs at many classes: time and memory, with its gradient.

Five ways to the same number, forward and backward, on one core, in turns: the formula as one
writes it, ``torch.compile`` of it, the losses of torchdistill and ModelOpt (re-made here from the
lines that compute them, so that nothing of the packages around them is measured), and Attar's
``kl``. All of it twice: with glibc's allocator as it is, where each large tensor is fresh pages
from the operating system, and with a heap that is kept warm.

    python benchmarks/loss_kernels/run.py
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))
import record

from attar.losses import kl

RESULTS = Path(__file__).with_name("results.json")
SHAPES = [(512, 32_000), (256, 128_256), (2048, 1000), (4096, 100), (256, 10)]
TEMPERATURE, SEED = 2.0, 0
#: Seconds for the rounds of a shape; a round runs every way once.
SECONDS = 12.0
LEAST_ROUNDS = 7
#: Calls in a turn, so that a turn of the small shapes takes milliseconds.
CALLS = {(256, 10): 20, (4096, 100): 2}

PEERS = ("formula", "compiled", "torchdistill", "modelopt")

#: glibc keeps what is freed instead of giving it back: the heap stays warm.
WARM = {
    "MALLOC_MMAP_THRESHOLD_": str(2**34),
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**30),
}
ALLOCATORS: dict[str, dict[str, str]] = {"default": {}, "warm": WARM}

#: For the measurement of memory: every large tensor goes back to the system when it is freed.
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": str(2**16)}

Loss = Callable[[Tensor, Tensor], Tensor]


def formula(student: Tensor, teacher: Tensor) -> Tensor:
    """Hinton's loss as it stands in most scripts; the mean over the rows."""
    return (
        F.kl_div(
            F.log_softmax(student / TEMPERATURE, dim=1),
            F.softmax(teacher / TEMPERATURE, dim=1),
            reduction="batchmean",
        )
        * TEMPERATURE**2
    )


class TorchdistillLoss(nn.KLDivLoss):
    """``torchdistill.losses.mid_level.KDLoss`` 1.1.5 without its dictionaries and hard loss."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The soft part; the factor T^2 is applied where that class applies it."""
        soft = super().forward(
            torch.log_softmax(student / TEMPERATURE, dim=1),
            torch.softmax(teacher / TEMPERATURE, dim=1),
        )
        return TEMPERATURE**2 * soft


def modelopt(student: Tensor, teacher: Tensor) -> Tensor:
    """``modelopt.torch.distill.losses.LogitsDistillationLoss`` 0.47.0, reduction "none"."""
    soft_log_probs = F.log_softmax(student / TEMPERATURE, dim=-1)
    soft_targets = F.softmax(teacher / TEMPERATURE, dim=-1)
    loss = F.kl_div(soft_log_probs, soft_targets.detach(), reduction="none").sum(dim=-1)
    loss *= TEMPERATURE**2
    return loss.mean()


def ours(student: Tensor, teacher: Tensor) -> Tensor:
    """Attar's; the mean over the rows."""
    return kl(student, teacher, temperature=TEMPERATURE).mean()


def ways() -> dict[str, Loss]:
    """By name; the compiled one is compiled for the shape that it meets first."""
    torch._dynamo.reset()
    return {
        "formula": formula,
        "compiled": torch.compile(formula, dynamic=False),
        "torchdistill": TorchdistillLoss(reduction="batchmean"),
        "modelopt": modelopt,
        "attar": ours,
    }


def logits(shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Student's and teacher's, float32."""
    generator = torch.Generator().manual_seed(SEED)
    student, teacher = (3 * torch.randn(shape, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher


def step(loss: Loss, student: Tensor, teacher: Tensor) -> Tensor:
    """Forward and backward; the gradient."""
    student.grad = None
    loss(student, teacher).backward()
    assert student.grad is not None
    return student.grad


def timed(shape: tuple[int, int], seconds: float) -> list[dict[str, Any]]:
    """Milliseconds of each way, round by round, each round beginning with another one."""
    student, teacher = logits(shape)
    calls, losses, table = CALLS.get(shape, 1), ways(), []
    for loss in losses.values():
        step(loss, student, teacher)
    names, end = list(losses), time.perf_counter() + seconds
    while time.perf_counter() < end or len(table) < LEAST_ROUNDS:
        turn = len(table) % len(names)
        times = {}
        for name in names[turn:] + names[:turn]:
            began = time.perf_counter()
            for _ in range(calls):
                step(losses[name], student, teacher)
            times[name] = 1e3 * (time.perf_counter() - began) / calls
        table.append({"rows": shape[0], "classes": shape[1], **{n: times[n] for n in names}})
    return table


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no {field} in /proc/self/status")


def memory(shape: tuple[int, int]) -> dict[str, float]:
    """The largest memory of each way beyond what is there before, in tensors of the logits' size.

    The gradient that comes out is one of them. Measured by Linux: the peak of the resident set.
    """
    student, teacher = logits(shape)
    peaks = {}
    for name, loss in ways().items():
        step(loss, student, teacher)
        student.grad = None
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = _resident("VmRSS")
        step(loss, student, teacher)
        peaks[name] = (_resident("VmHWM") - before) / (student.nbytes)
    return peaks


def errors(shape: tuple[int, int]) -> dict[str, float]:
    """Of our values and gradient against float64, relative."""
    student, teacher = logits(shape)
    exact = student.detach().double().requires_grad_()
    log_p = (teacher.double() / TEMPERATURE).log_softmax(dim=1)
    log_q = (exact / TEMPERATURE).log_softmax(dim=1)
    expected = TEMPERATURE**2 * (log_p.exp() * (log_p - log_q)).sum(dim=1)
    expected.mean().backward()
    expected = expected.detach()
    values = kl(student, teacher, temperature=TEMPERATURE).detach().double()
    gradient = step(ours, student, teacher).double()
    assert exact.grad is not None
    return {
        "value_error": float(((values - expected) / expected).abs().max()),
        "gradient_error": float((gradient - exact.grad).abs().max() / exact.grad.abs().max()),
    }


def checks() -> list[dict[str, Any]]:
    """Memory and errors of the large shapes."""
    found = []
    for rows, classes in SHAPES[:4]:
        peaks = {f"{name}_peak": peak for name, peak in memory((rows, classes)).items()}
        exact = errors((min(rows, 64), classes))
        found.append({"rows": rows, "classes": classes, **peaks, **exact})
    return found


def child(allocator: str, seconds: float) -> None:
    """All shapes under this process's allocator, as JSON on the standard output."""
    torch.set_num_threads(1)
    if allocator == "checks":
        print(json.dumps(checks()))
        return
    table: list[dict[str, Any]] = []
    for shape in SHAPES:
        print(f"{allocator}: {shape}", file=sys.stderr, flush=True)
        table += [{"allocator": allocator, **row} for row in timed(shape, seconds)]
    print(json.dumps(table))


def figures_of(table: list[dict[str, Any]], checked: list[dict[str, Any]]) -> dict[str, float]:
    """Ratios with their spread, memory and errors."""
    figures: dict[str, float] = {}
    for rows, classes in SHAPES:
        shape = f"{rows}x{classes}"
        for allocator in ALLOCATORS:
            mine = [
                row
                for row in table
                if (row["rows"], row["classes"], row["allocator"]) == (rows, classes, allocator)
            ]
            own = np.array([row["attar"] for row in mine])
            for name in PEERS:
                ratio = np.array([row[name] for row in mine]) / own
                figures |= record.middle(ratio, f"{shape}_{allocator}_{name}_over_attar")
            figures[f"{shape}_{allocator}_attar_milliseconds"] = float(np.median(own))
    for row in checked:
        shape = f"{row['rows']}x{row['classes']}"
        for name, value in row.items():
            if name.endswith("_peak"):
                figures[f"{shape}_{name}_in_logits"] = value
            elif name.endswith("_error"):
                figures[f"{shape}_{name}"] = value
    return {name: float(value) for name, value in figures.items()}


def show(figures: dict[str, float]) -> None:
    """As lines of text."""
    for rows, classes in SHAPES:
        shape = f"{rows}x{classes}"
        for allocator in ALLOCATORS:
            print(
                f"{shape}, {allocator} allocator: attar "
                f"{figures[f'{shape}_{allocator}_attar_milliseconds']:.3g} ms; others over it:"
            )
            for name in PEERS:
                key = f"{shape}_{allocator}_{name}_over_attar"
                spread = f"{figures[key + '_p10']:.2f} to {figures[key + '_p90']:.2f}"
                print(f"  {name:13} {figures[key]:.2f} ({spread})")
        peaks = [
            f"{name} {figures[key]:.2f}"
            for name in (*PEERS, "attar")
            if (key := f"{shape}_{name}_peak_in_logits") in figures
        ]
        if peaks:
            print(f"  memory, in tensors of the logits' size: {', '.join(peaks)}")
            print(
                f"  errors against float64: values {figures[f'{shape}_value_error']:.1e}, "
                f"gradient {figures[f'{shape}_gradient_error']:.1e}"
            )


def ask_child(name: str, settings: dict[str, str], seconds: float) -> list[dict[str, Any]]:
    """What a process with these settings of the allocator finds."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", name, "--seconds", str(seconds)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **settings},
        stdout=subprocess.PIPE,
        check=True,
    )
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def main() -> None:
    """Run both children and write results.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for each shape")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--child", choices=[*ALLOCATORS, "checks"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.seconds)
        return
    table: list[dict[str, Any]] = []
    for allocator, settings in ALLOCATORS.items():
        table += ask_child(allocator, settings, arguments.seconds)
    checked = ask_child("checks", GIVEN_BACK, arguments.seconds)
    figures = figures_of(table, checked)
    show(figures)
    if not arguments.no_write:
        rows = table + checked
        RESULTS.unlink(missing_ok=True)  # one run, whole: ratios of two runs do not compare
        record.write(
            {"kernel": (rows, figures)},
            command=" ".join(["python benchmarks/loss_kernels/run.py", *sys.argv[1:]]),
            seeds={"logits": SEED},
            path=RESULTS,
            threads=1,
        )


if __name__ == "__main__":
    main()
