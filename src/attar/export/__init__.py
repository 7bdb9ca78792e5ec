"""A trained model becomes a file: ONNX with proof of parity, a bundle, and what reads them.

Making a file needs torch; using one in production does not. So nothing is imported here before
it is used: ``attar.export.runtime`` and bundles need numpy and onnxruntime alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from attar.checks import need

if TYPE_CHECKING:
    from attar.export.aware import quantize_aware
    from attar.export.benching import Bench, bench
    from attar.export.bundle import Bundle, ModelFile, read_bundle, write_bundle
    from attar.export.onnx import Export, to_onnx
    from attar.export.program import to_pt2
    from attar.export.quantization import Quantized, quantize
    from attar.export.rebuild import load_student
    from attar.export.serving import to_kserve, to_triton
    from attar.export.weights import load_weights, save_weights

#: Public name -> the module that defines it; all of these need torch.
_LAZY = {
    "Bench": "attar.export.benching",
    "Cost": "attar.export.cost",
    "Export": "attar.export.onnx",
    "Quantized": "attar.export.quantization",
    "load_student": "attar.export.rebuild",
    "bench": "attar.export.benching",
    "load_weights": "attar.export.weights",
    "quantize": "attar.export.quantization",
    "quantize_aware": "attar.export.aware",
    "save_weights": "attar.export.weights",
    "to_onnx": "attar.export.onnx",
    "to_pt2": "attar.export.program",
}

#: Public name -> the module that defines it; production has these too.
_PLAIN = {
    "Bundle": "attar.export.bundle",
    "ModelFile": "attar.export.bundle",
    "read_bundle": "attar.export.bundle",
    "to_kserve": "attar.export.serving",
    "to_triton": "attar.export.serving",
    "write_bundle": "attar.export.bundle",
}

__all__ = [
    "Bench",
    "Bundle",
    "Cost",
    "Export",
    "ModelFile",
    "Quantized",
    "bench",
    "load_student",
    "load_weights",
    "quantize",
    "quantize_aware",
    "read_bundle",
    "save_weights",
    "to_kserve",
    "to_onnx",
    "to_pt2",
    "to_triton",
    "write_bundle",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        need("torch", extra="train", purpose=f"attar.export.{name}")
        return getattr(importlib.import_module(_LAZY[name]), name)
    if name in _PLAIN:
        return getattr(importlib.import_module(_PLAIN[name]), name)
    if name == "runtime":
        return importlib.import_module("attar.export.runtime")
    raise AttributeError(f"module 'attar.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "runtime"})
