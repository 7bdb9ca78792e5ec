"""What `attar distill` leaves to choose where nothing was said, and where that is nothing."""

from __future__ import annotations

from dataclasses import dataclass

from attar.checks import AttarError

#: T and alpha of a plain run; the recipe looks for both.
TEMPERATURE, ALPHA = "4", "0.9"
#: What is chosen, by the option that settles it.
CHOICES = {
    "temperature": "T",
    "alpha": "alpha",
    "pseudo_labels": "pseudo-labels",
    "shift": "views of images",
    "transfer": "rows between the rows of a table",
}
#: Students that are built in one go: no search can stop one of them early.
GROWN = ("boosted", "tree")


@dataclass(frozen=True)
class Choices:
    """Whether the recipe is followed, and why not.

    Attributes:
        recipe: Whether what is in :data:`CHOICES` is looked for on validation.
        why: Where nobody asked for a plain run and it is one: the reason, for the user.
    """

    recipe: bool
    why: str | None = None

    @classmethod
    def of(cls, wanted: bool | None, *, task: str, student: str | None) -> Choices:
        """From ``--recipe`` (True), ``--plain`` (False), or neither.

        Raises:
            AttarError: If the recipe is wanted where there is none.
        """
        if wanted and task != "multiclass":
            raise AttarError(f"attar distill: --recipe is there for classes. Got --task {task}.")
        if wanted is not None:
            return cls(wanted)
        if task != "multiclass":
            return cls(False, f"the recipe is there for classes, and this is --task {task}")
        if student in GROWN:
            return cls(
                False,
                f"a {student} student is built in one go, so --recipe builds one for every setting",
            )
        return cls(True)

    def told(self, **named: object) -> str | None:
        """What the user is told before anything is asked or trained; None where it is nothing.

        Args:
            named: What the options said that each settle one choice; None where not given.
        """
        if self.why is not None:
            return f"A plain run: {self.why}"
        left = [called for name, called in CHOICES.items() if named.get(name, name) is None]
        if not self.recipe or not left:
            return None
        return f"Chosen on validation: {', '.join(left)} (--plain: nothing is)"

    def numbers(self, temperature: str | None, alpha: str | None) -> dict[str, str]:
        """T and alpha in words: what the user said, else what is usual."""
        usual = ("auto", "auto") if self.recipe else (TEMPERATURE, ALPHA)
        return {
            "temperature": usual[0] if temperature is None else temperature,
            "alpha": usual[1] if alpha is None else alpha,
        }

    def guesses(self, pseudo_labels: bool | None) -> bool | str:
        """Whether rows without a label have the teacher's guess: what the user said, else usual."""
        if pseudo_labels is not None:
            return pseudo_labels
        return "auto" if self.recipe else False

    def rows(self, *, transfer: str | None, shift: int | None) -> dict[str, str]:
        """What the experiment is to add to the rows, where the user has not named it.

        Args:
            transfer: The word of ``--transfer``.
            shift: That of ``--shift``.
        """
        named = {"transfer": transfer, "views": shift}
        return {name: "auto" for name, word in named.items() if self.recipe and word is None}
