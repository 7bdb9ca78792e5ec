"""Soft targets on disk: a teacher is asked once, and what it said is kept.

:func:`label` asks and writes, resuming where it was killed; :class:`Store` gives the logits of
any ids back, memory-mapped. Inside are records with checksums and JSON, nothing that can run
code; :mod:`attar.store.layout` says what lies where.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.store.asking import answers_fingerprint
from attar.store.contents import Content, contents
from attar.store.label import label, label_shard
from attar.store.layer import Damage
from attar.store.merge import merge, prune
from attar.store.reader import Store
from attar.store.repair import Repaired, damage, repair

__all__ = [
    "Content",
    "Damage",
    "Repaired",
    "Store",
    "answers_fingerprint",
    "contents",
    "damage",
    "label",
    "label_shard",
    "merge",
    "prune",
    "repair",
]
