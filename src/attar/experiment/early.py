"""What can be foreseen before a long run: words of warning from what is known by then.

Each function looks at one thing that makes a distillation fail and says it in a sentence or two;
None where nothing looks wrong, or fewer than 30 rows would have to tell. No label of test is seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from attar.checks import AttarError, need
from attar.evaluation.in_sample import FEWEST, apart, percent
from attar.students import Standardize
from attar.types import UNLABELLED, Batch, Data, Teacher, dense_logits

#: From how many points of accuracy on another order of classes, or of the inputs, is spoken of.
BETTER = 0.1
#: From how many points below the teacher a student does not even fit its own rows.
BELOW = 0.05
#: From which share on rows that stand in two parts are spoken of; a few chance twins are not.
COPIES = 0.01
#: A class with so many labelled rows is predicted now and then by a teacher that knows it.
SOME = 10
#: A confusion table of more classes than these is not looked at.
MOST_CLASSES = 2000
#: A sentence names so many classes.
NAMED = 5
#: Rows about which a teacher is asked in other units.
ASKED = 256

#: The colours' means and standard deviations that most networks for photographs were trained with.
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def no_better_than_one_class(logits: Tensor, labels: Tensor, classes: Sequence[str]) -> str | None:
    """Say so where a teacher is no better than naming the most frequent class each time.

    Args:
        logits: ``[N, C]``, the teacher's, of rows that it has not been fitted on.
        labels: ``[N]`` int64; :data:`attar.UNLABELLED` where not known.
        classes: Their names.

    Example:
        >>> labels = torch.arange(40) % 4 // 3  # three of four are of the first class
        >>> flipped = torch.nn.functional.one_hot(1 - labels, 2).float()
        >>> no_better_than_one_class(flipped, labels, ["no", "yes"])[:64]
        "the teacher is right on 0.0 % of validation, and always saying '"
    """
    logits, labels = _known(logits, labels)
    if len(labels) < FEWEST:
        return None
    right = _right(logits, labels)
    often = int(labels.bincount(minlength=logits.shape[1]).argmax())
    share = (labels == often).double()
    if float(right.mean()) > float(share.mean()):
        return None
    return (
        f"the teacher is right on {percent(right)} of validation, and always saying "
        f"{classes[often]!r} would be on {percent(share)}: there is nothing to learn from it. Look "
        "at its inputs, its classes and their order."
    )


def seen_before(copies: int, rows: int, name: str) -> str | None:
    """Say so where rows that a student is judged on are rows that it learns from.

    Args:
        copies: How many rows of a part have the inputs of a row that is learnt from.
        rows: How many it has.
        name: Of the part, ``"test"`` or ``"validation"``. Of the test set inputs are compared,
            nothing else.

    Example:
        >>> seen_before(30, 100, "test")[:63]
        '30 of 100 rows of test have the very inputs of rows that the st'
    """
    if not copies or copies < COPIES * rows:
        return None
    return (
        f"{copies:,} of {rows:,} rows of {name} have the very inputs of rows that the students "
        "learn from: who learnt them by heart is right there, and every score is too good. Take "
        "them out of one of the two."
    )


def never_predicted(predictions: Tensor, labels: Tensor, classes: Sequence[str]) -> str | None:
    """Name the classes that labels speak of and the teacher never predicts.

    Args:
        predictions: ``[N]`` int64, the teacher's, of all rows, unlabelled ones among them.
        labels: ``[M]`` int64; :data:`attar.UNLABELLED` where not known. A class needs 10 rows.
        classes: Their names.

    Example:
        >>> labels = torch.arange(60) % 3
        >>> never_predicted(labels.clamp(max=1), labels, ["cat", "dog", "owl"])[:70]
        "the teacher never predicts 1 of 3 classes ('owl'), though 20 labelled "
    """
    said = predictions.bincount(minlength=len(classes))
    known = labels[labels != UNLABELLED].bincount(minlength=len(classes))
    missing = ((said == 0) & (known >= SOME)).nonzero()[:, 0].tolist()
    if not missing:
        return None
    rows = int(known[missing].sum())
    return (
        f"the teacher never predicts {len(missing)} of {len(classes)} classes "
        f"({_listed([repr(classes[i]) for i in missing])}), though {rows:,} labelled rows are of "
        "them: a student learns them from the labels alone, against the soft targets. Give a "
        "teacher that knows them, or a smaller alpha."
    )


def another_order(
    logits: Tensor,
    labels: Tensor,
    held_out: Tensor,
    held_out_labels: Tensor,
    classes: Sequence[str],
) -> str | None:
    """Say so where the teacher's classes stand in another order than the data's.

    The order that suits the teacher best is found on one set of rows (the assignment of its
    answers to the labels with the most hits) and judged on another.

    Args:
        logits: ``[N, C]``, the teacher's, of the rows on which an order is looked for.
        labels: ``[N]`` int64; :data:`attar.UNLABELLED` where not known.
        held_out: ``[M, C]``, of other rows.
        held_out_labels: ``[M]``.
        classes: Their names, in the order of the labels.

    Example:
        >>> labels = torch.arange(90) % 3
        >>> turned = torch.nn.functional.one_hot((labels + 1) % 3, 3).float()
        >>> text = another_order(turned, labels, turned, labels, ["cat", "dog", "owl"])
        >>> text[text.index("where"):].partition(":")[0]
        "where it says 'cat' the label is 'owl', 'dog' 'cat', 'owl' 'dog'"

    References:
        Kuhn 1955, *The Hungarian Method for the Assignment Problem*.
    """
    logits, labels = _known(logits, labels)
    held_out, there = _known(held_out, held_out_labels)
    if min(len(labels), len(there)) < FEWEST or len(classes) > MOST_CLASSES:
        return None
    meant = _best_order(logits.argmax(dim=1), labels, len(classes))
    said = held_out.argmax(dim=1)
    as_is, otherwise = (said == there).double(), (meant[said] == there).double()
    if not apart(otherwise, as_is, by=BETTER):
        return None
    often = said.bincount(minlength=len(classes))
    moved = [i for i in range(len(classes)) if int(meant[i]) != i and int(often[i]) > 0]
    pairs = [
        f"{classes[i]!r} {'the label is ' * (i == moved[0])}{classes[int(meant[i])]!r}"
        for i in moved
    ]
    return (
        f"the teacher's classes seem to be in another order than the labels': it is right on "
        f"{percent(as_is)} of validation, and would be on {percent(otherwise)} in another order, "
        f"where it says {_listed(pairs)}: put its outputs, or the labels (classes=[...]), into one "
        "order."
    )


def otherwise_normalised(
    teacher: Teacher, data: Data, *, like: Tensor, count: int = ASKED
) -> str | None:
    """Say so where a teacher is better on the same inputs in other units.

    Teacher and student are given the same inputs. A student of a family brings its own
    normalisation, a teacher may need to be given it: it is asked about some rows as they are,
    and about the same ones standardised, divided by 255, and the like.

    Args:
        teacher: Called at most seven times, with ``count`` rows.
        data: Labelled rows that it has not been fitted on.
        like: ``[N, ...]``, inputs to take mean and standard deviation from.
        count: How many rows it is asked about.

    Example:
        >>> import attar
        >>> x = torch.rand(80, 1, generator=torch.Generator().manual_seed(0))
        >>> rows = attar.data.ArrayData(255 * x, (x[:, 0] > 0.5).long())
        >>> def teacher(batch):  # was trained on values from 0 to 1
        ...     return attar.Outputs(torch.cat([0.5 - batch.inputs, batch.inputs - 0.5], dim=1))
        >>> otherwise_normalised(teacher, rows, like=rows.batch(torch.arange(80)).inputs)[-78:]
        "'divided by 255': give the teacher what it was trained on (a layer before it)."
    """
    assert data.labels is not None
    rows = evenly(len(data), count)
    batch = data.batch(rows)
    if len(rows) < FEWEST or not isinstance(batch.inputs, Tensor):
        return None
    labels = data.labels[rows]
    as_is = _hits(teacher, batch, labels)
    if as_is is None or float(as_is.mean()) > 1 - BETTER:
        return None
    best, found = as_is, ""
    for name, change in _other_units(like).items():
        hits = _hits(teacher, replace(batch, inputs=change(batch.inputs.float())), labels)
        if hits is not None and float(hits.mean()) > float(best.mean()):
            best, found = hits, name
    if not found or not apart(best, as_is, by=BETTER):
        return None
    return (
        f"the teacher is right on {percent(as_is)} of {len(rows)} rows of validation as they are, "
        f"and on {percent(best)} of the same rows {found!r}: give the teacher what it was trained "
        "on (a layer before it)."
    )


def no_better_than_hard(teacher_right: Tensor, student_right: Tensor) -> str | None:
    """Advise against distillation where the teacher is no better than a student without it.

    Args:
        teacher_right: ``[N]``, on which rows of validation it is right.
        student_right: ``[N]``, the same of a student that learnt from hard labels alone.

    Example:
        >>> right = torch.arange(100) < 90
        >>> no_better_than_hard(right, right)[:71]
        'the teacher is right on 90.0 % of validation, and a student that learnt'
        >>> no_better_than_hard(right, torch.arange(100) < 80) is None
        True
    """
    teacher, student = teacher_right.double(), student_right.double()
    if len(teacher) < FEWEST or float(teacher.mean()) > float(student.mean()):
        return None
    return (
        f"the teacher is right on {percent(teacher)} of validation, and a student that learnt "
        f"without it, from hard labels, on {percent(student)}: there is no gap to recover, and "
        "distilling from this teacher is not advised. Take the student on hard labels, or a "
        "better teacher."
    )


def too_small(own_right: Tensor, teacher_right: Tensor, *, views: int = 1) -> str | None:
    """Say so where a student does not fit even the rows that it learns from.

    Args:
        own_right: ``[N]``, on which of the rows that it learnt from a student is right, each in
            one of its views.
        teacher_right: ``[M]``, on which rows of validation the teacher is right.
        views: How many views each row has.

    Example:
        >>> too_small(torch.arange(400) < 240, torch.arange(400) < 380)[:77]
        'a student is right on 60.0 % of the rows that it learnt from and the teacher '
        >>> too_small(torch.arange(400) < 390, torch.arange(400) < 380) is None
        True
    """
    own, teacher = own_right.double(), teacher_right.double()
    if min(len(own), len(teacher)) < FEWEST or not apart(teacher, own, by=BELOW):
        return None
    shown, what = (
        ("", "the task") if views == 1 else (f", in {views} views,", f"{views} views a row")
    )
    return (
        f"a student is right on {percent(own)} of the rows that it learnt from{shown} and the "
        f"teacher on {percent(teacher)} of rows of validation: it is too small for {what}, or "
        "takes too few steps. Give it more of either."
    )


def evenly(rows: int, count: int) -> Tensor:
    """At most ``count`` of so many positions, evenly spread.

    >>> evenly(10, 4).tolist(), evenly(3, 4).tolist()
    ([0, 2, 5, 7], [0, 1, 2])
    """
    count = min(rows, count)
    return torch.arange(count) * rows // count


def _known(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    known = labels != UNLABELLED
    return logits[known], labels[known]


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    return (logits.argmax(dim=1) == labels).double()


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - NAMED} more" if len(words) > NAMED else ""
    return ", ".join(words[:NAMED]) + more


def _best_order(said: Tensor, labels: Tensor, classes: int) -> Tensor:
    """``[C]``: the label that each answer most likely stands for, one for one."""
    assign = need("scipy.optimize", extra="train", purpose="Looking at the order of classes")
    hits = (said * classes + labels).bincount(minlength=classes**2).reshape(classes, classes)
    # Among orders with as many hits, the one that leaves most classes where they are.
    worth = hits.double() + 0.5 / classes * torch.eye(classes, dtype=torch.float64)
    return torch.from_numpy(assign.linear_sum_assignment(worth.numpy(), maximize=True)[1])


def _other_units(like: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ways in which inputs are commonly prepared, other than these are."""
    like = like.float()
    low, high = float(like.min()), float(like.max())
    top = 255.0 if high > 2 else 1.0
    ways: dict[str, Callable[[Tensor], Tensor]] = {}
    with contextlib.suppress(AttarError):  # of another shape, or not finite
        ways["standardised"] = Standardize.fit(like)
    if low < 0 or high > 255:
        return ways
    if top == 255:
        ways["divided by 255"] = lambda x: x / 255
    else:
        ways["times 255"] = lambda x: x * 255
    ways["from -1 to 1"] = lambda x: 2 * x / top - 1
    if like.ndim == 4 and like.shape[1] == 3:
        mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in _IMAGENET)
        ways["standardised as for ImageNet"] = lambda x: (x / top - mean) / std
    return ways


def _hits(teacher: Teacher, batch: Batch, labels: Tensor) -> Tensor | None:
    """``[N]``, where the teacher is right; None where it does not take these inputs."""
    try:
        with torch.no_grad():
            answer: Any = dense_logits("distill", teacher(batch))
    except Exception:  # units of our own choosing: a teacher may refuse them in any way
        return None
    return _right(answer.cpu(), labels)
