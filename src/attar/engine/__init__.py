"""Training: one step (`Distiller`) and a loop that the caller's `for` drives (`train`)."""

from attar import needs_torch  # noqa: F401
from attar.engine.distiller import Distiller
from attar.engine.loop import train
from attar.engine.records import NonFiniteLossError, Record, TrainConfig

__all__ = ["Distiller", "NonFiniteLossError", "Record", "TrainConfig", "train"]
