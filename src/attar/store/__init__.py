"""Soft targets on disk: a teacher is asked once, and what it said is kept.

:func:`label` asks and writes, resuming where it was killed; :class:`Store` gives the logits of
any ids back, memory-mapped. Inside are two ``.npy`` arrays and a JSON manifest, nothing that can
run code.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.store.label import answers_fingerprint, label
from attar.store.reader import Store

__all__ = ["Store", "answers_fingerprint", "label"]
