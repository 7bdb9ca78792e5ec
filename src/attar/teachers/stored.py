"""A store as a teacher: what was said once is said again."""

from __future__ import annotations

from attar.store import Store
from attar.types import Batch, Outputs


class StoredTeacher:
    """Answers from a store, by the ids of the batch; the inputs are not looked at.

    Its name, parameters and bytes are those of the teacher that was asked, as the manifest
    remembers them.

    Args:
        store: An open store.
    """

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def name(self) -> str:
        """The name of the teacher that was asked."""
        return str(self.store.manifest["teacher"]["name"])

    @property
    def outputs(self) -> str:
        """What the teacher gave; the store holds logits in either case."""
        return self.store.manifest["teacher"]["outputs"] or "logits"

    @property
    def verified(self) -> bool:
        """True: the fingerprint covers everything that is said, whoever said it."""
        return True

    @property
    def parameters(self) -> int | None:
        """Those of the teacher that was asked; None if unknown."""
        count: int | None = self.store.manifest["teacher"]["parameters"]
        return count

    @property
    def bytes(self) -> int | None:
        """The size of the teacher that was asked; None if unknown."""
        size: int | None = self.store.manifest["teacher"]["bytes"]
        return size

    def __call__(self, batch: Batch) -> Outputs:
        """Logits ``[N, C]`` float32, or sparse targets, on the device of ``batch.ids``.

        Raises:
            AttarError: If an id is not in the store.
        """
        return Outputs(self.store.targets(batch.ids))

    def fingerprint(self) -> str:
        """The hash of what the store holds."""
        return self.store.fingerprint
