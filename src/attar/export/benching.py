"""Several ONNX files side by side: time, memory, time to load, bytes, in one run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attar.checks import AttarError, check_number
from attar.evaluation import Latency, first_rows, latencies
from attar.export import runtime

OWNER = "bench"

#: One answer at a time, a handful, and a modest batch.
BATCHES = (1, 8, 64)

#: Runs in a process of its own for each file: what is loaded already would hide what it takes.
_ALONE = """
import json, pathlib, resource, sys, time
import numpy as np
from attar.export import runtime
import onnxruntime


def peak():
    status = pathlib.Path("/proc/self/status")
    if status.exists():  # what getrusage tells on Linux includes the parent's peak
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return 1024 * int(lines["VmHWM"].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
        1 if sys.platform == "darwin" else 1024
    )


rows = np.load(sys.argv[2], allow_pickle=False)
before, began = peak(), time.perf_counter()
student = runtime.load(sys.argv[1], threads=int(sys.argv[3]))
loaded = time.perf_counter() - began
student.predict(rows)
print(json.dumps({"load_ms": 1e3 * loaded, "memory_bytes": peak() - before}))
"""


@dataclass(frozen=True)
class Model:
    """What one file takes.

    Attributes:
        path: The file.
        bytes: Its size.
        load_ms: Time until it is ready to answer, milliseconds, in a fresh process.
        memory_bytes: What the peak of a fresh process's memory grew by, loading it and answering
            the largest batch; None where the system does not tell.
        latency: Time of `predict` by the number of rows a call.
    """

    path: str
    bytes: int
    load_ms: float | None
    memory_bytes: int | None
    latency: Latency

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "path": self.path,
            "bytes": self.bytes,
            "load_ms": self.load_ms,
            "memory_bytes": self.memory_bytes,
            "latency": self.latency.to_dict(),
        }


@dataclass(frozen=True)
class Bench:
    """Files that were timed in turn.

    Attributes:
        models: By name, in the order in which they were given.
        machine: Processor, cores, system.
        versions: Of Python, numpy and onnxruntime.
        threads: Of each call.
        real_rows: Whether the rows were given; else they were drawn.
    """

    models: Mapping[str, Model]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    threads: int
    real_rows: bool

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "models": {name: model.to_dict() for name, model in self.models.items()},
            "machine": dict(self.machine),
            "versions": dict(self.versions),
            "threads": self.threads,
            "real_rows": self.real_rows,
        }

    def ratio(self, name: str, over: str, *, rows: int = 1) -> float:
        """How many times the median of one is that of another."""
        one, two = (self.models[each].latency.batches[rows].p50_ms for each in (name, over))
        return one / two


def bench(
    models: Mapping[str, str | Path],
    *,
    inputs: Any = None,
    batches: Sequence[int] = BATCHES,
    threads: int = 1,
    seconds: float = 0.5,
    alone: bool = True,
) -> Bench:
    """Time ONNX files on the same rows, in turn, warm: what `predict` of each takes.

    Args:
        models: Name to the file; all take rows of one shape.
        inputs: Real rows ``[N, ...]``; drawn at random where not given. Dense networks take the
            same time on both.
        batches: Rows a call.
        threads: Threads of each call.
        seconds: How long each is timed at each batch size.
        alone: Whether each is also loaded in a process of its own, for the time to load and
            the memory.

    Raises:
        AttarError: If a file cannot be read, the shapes differ, or a length may vary and no
            rows are given.
    """
    check_number(OWNER, "threads", threads, low=1, whole=True)
    check_number(OWNER, "seconds", seconds, low=0.0)
    if not models:
        raise AttarError(f"{OWNER}: name at least one ONNX file.")
    if not batches:
        raise AttarError(f"{OWNER}: batches must hold at least one number of rows.")
    students = {name: runtime.load(path, threads=threads) for name, path in models.items()}
    rows = _rows(students) if inputs is None else np.asarray(inputs)
    by_batch = first_rows(rows, tuple(batches))
    for student in students.values():  # a shape that does not fit is told before time is spent
        student.predict(by_batch[min(batches)])
    timed = latencies(
        {name: student.predict for name, student in students.items()}, by_batch, seconds=seconds
    )
    found = {}
    for name, path in models.items():
        told = _alone(Path(path), by_batch[max(batches)], threads) if alone else {}
        found[name] = Model(
            path=str(path),
            bytes=Path(path).stat().st_size,
            load_ms=told.get("load_ms"),
            memory_bytes=told.get("memory_bytes"),
            latency=timed[name],
        )
    return Bench(found, _machine(), _versions(), threads, inputs is not None)


def _rows(students: Mapping[str, runtime.Student]) -> NDArray[Any]:
    """Random rows in the shape that the files take, which must be one."""
    shapes = {student.input_shape for student in students.values()}
    if len(shapes) > 1 or None in (shape := next(iter(shapes))):
        listed = ", ".join(f"{name}: {student.input_shape}" for name, student in students.items())
        raise AttarError(
            f"{OWNER}: the files must take rows of one shape without free lengths, or rows must "
            f"be given. Got {listed}."
        )
    # Whole numbers from 0 to 255 fit every type that a file may take.
    drawn = np.random.default_rng(0).integers(0, 256, (64, *shape))  # type: ignore[arg-type]
    return drawn.astype(np.uint8)


def _alone(path: Path, rows: NDArray[Any], threads: int) -> dict[str, Any]:
    """Time to load and memory, from a fresh process; empty where the system does not tell."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder, "rows.npy")
        np.save(kept, rows, allow_pickle=False)
        done = subprocess.run(
            [sys.executable, "-c", _ALONE, str(path), str(kept), str(threads)],
            capture_output=True,
            text=True,
            check=False,
        )
    told: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return told


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "system": platform.system(),
    }


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("numpy", "onnxruntime")}
    return {"python": platform.python_version(), **packages}
