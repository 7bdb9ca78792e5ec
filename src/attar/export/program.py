"""A trained model as a ``.pt2`` file of torch.export, with the same proof as an ONNX file has."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attar.checks import AttarError, check_number
from attar.export.graph import WithProbabilities, quiet
from attar.export.onnx import Export
from attar.export.proof import check_example, check_names, copy_of, prove, reference
from attar.export.runtime import first_line
from attar.files import as_json, write_whole

OWNER = "to_pt2"

#: The file inside the archive that holds classes, temperature and metadata.
ABOUT = "attar.json"


class _Program:
    """A program of torch.export, asked as :class:`attar.export.runtime.Student` is."""

    def __init__(self, program: Any) -> None:
        self._module = program.module()

    def logits(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return self._ask(rows, 0)

    def predict_proba(self, rows: NDArray[Any]) -> NDArray[np.float32]:
        return self._ask(rows, 1)

    def _ask(self, rows: NDArray[Any], place: int) -> NDArray[np.float32]:
        with torch.no_grad():
            answer: NDArray[np.float32] = self._module(torch.from_numpy(rows))[place].numpy()
        return answer


def to_pt2(
    model: nn.Module,
    path: str | Path,
    *,
    example: Tensor,
    classes: Sequence[str],
    metadata: Mapping[str, Any] | None = None,
    temperature: float = 1.0,
    tolerance: float = 1e-4,
    margin: float = 2e-4,
) -> Export:
    """Write a model as a program of ``torch.export``, proven on real rows like an ONNX file.

    ``torch.export.load(path).module()(rows)`` gives ``(logits, probabilities)`` for any number
    of rows, with PyTorch alone and without the code of the model. Classes, temperature and
    metadata lie in the archive as ``attar.json`` (``extra_files=`` of ``torch.export.load``).
    Take such a file only from somebody you trust: PyTorch's reader of it may unpickle.

    Args:
        model: As in :func:`attar.export.to_onnx`, and so is the rest.
        path: Where to write; a file that is there is replaced.
        example: ``[N, ...]`` real rows.
        classes: The name of each class.
        metadata: Anything that JSON can hold.
        temperature: What the logits are divided by.
        tolerance: The largest difference in a probability that is accepted.
        margin: Another class is accepted where the two likeliest differ by no more than this.

    Raises:
        AttarError: If an argument is not as described, torch.export cannot follow the model, or
            the program that was written answers differently from the model.
    """
    check_number(OWNER, "temperature", temperature, low=0.0, low_open=True)
    names = check_names(OWNER, classes)
    about = as_json(
        OWNER,
        "metadata",
        {"classes": names, "temperature": temperature, "metadata": dict(metadata or {})},
    )
    example = check_example(OWNER, example)
    wrapper = WithProbabilities(copy_of(OWNER, model), temperature).eval().requires_grad_(False)
    logits = reference(OWNER, wrapper, example, len(names)) / temperature
    rows = example[:3] if len(example) > 1 else example.repeat(2, *[1] * (example.ndim - 1))
    buffer = io.BytesIO()
    try:
        with quiet(), torch.no_grad():
            batch = {0: torch.export.Dim("batch")}
            program = torch.export.export(wrapper, (rows,), dynamic_shapes=(batch,))
            torch.export.save(program, buffer, extra_files={ABOUT: about})
            buffer.seek(0)
            found = {ABOUT: ""}
            read = _Program(torch.export.load(buffer, extra_files=found))
    except Exception as error:  # torch.export's errors share no base class of their own
        raise AttarError(
            f"{OWNER}: torch.export cannot follow {type(model).__name__} for any number of rows: "
            f"{first_line(error)}"
        ) from error
    assert json.loads(found[ABOUT])["classes"] == names  # what was read back is what was written
    difference, changed = prove(OWNER, read, example, logits, tolerance=tolerance, margin=margin)
    path = Path(path)
    data = buffer.getvalue()
    write_whole(OWNER, path, data)
    return Export(path, len(data), difference, changed, len(example), None, temperature)
