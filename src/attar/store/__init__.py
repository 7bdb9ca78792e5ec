"""Soft targets on disk: a teacher is asked once, and what it said is kept.

:func:`label` asks and writes, resuming where it was killed; :class:`Store` gives the logits of
any ids back, memory-mapped. Inside are records with checksums and JSON, nothing that can run
code; :mod:`attar.store.layout` says what lies where.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.store.asking import answers_fingerprint
from attar.store.label import label, label_shard
from attar.store.reader import Store, is_store

__all__ = ["Store", "answers_fingerprint", "is_store", "label", "label_shard"]
