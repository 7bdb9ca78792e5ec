"""Losses between inner activations: what a teacher computes on its way, not only what it says.

Each takes features of student and teacher, one row a sample, and gives one number a row ``[N]``.
:func:`matched` makes a term of an :class:`~attar.losses.Objective` of one;
:class:`WithFeatures` has a network give the features by the names of its layers. A store keeps
logits alone, so these losses need the teacher itself at every step: ``Distiller(student, objective,
ModelTeacher(WithFeatures(teacher, ["layer"])))`` and :func:`attar.engine.train`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from attar.checks import AttarError, check_number
from attar.losses.objective import Term, has_parameter, name_of
from attar.types import VIEW, Batch, Outputs

#: What a distance of 0 counts as, squared, so that its root has a gradient.
_TINY = 1e-12


def hint(student: Tensor, teacher: Tensor) -> Tensor:
    r"""The mean squared difference of two features of one shape.

    .. math:: \tfrac{1}{D} \lVert s - t \rVert^2

    Where the student's layer is narrower, a projector is trained along with it
    (:class:`WithFeatures`). The paper trains up to the hinted layer first and the whole student
    then; as one term beside the others it is what is mostly used.

    Args:
        student: ``[N, ...]`` features, D numbers a row.
        teacher: Of the same shape.

    Returns:
        ``[N]``, 0 or more.

    Raises:
        AttarError: If the shapes differ.

    Example:
        >>> hint(torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 0.0]]))
        tensor([2.])

    References:
        Romero et al. 2015, *FitNets: Hints for Thin Deep Nets* (ICLR),
        https://arxiv.org/abs/1412.6550
    """
    student, teacher = _raised("hint", student, teacher)
    if student.shape != teacher.shape:
        raise AttarError(
            f"hint: both features must have one shape. Got {tuple(student.shape)} and "
            f"{tuple(teacher.shape)}. WithFeatures(projectors={{layer: module}}) trains a "
            "projector from the one to the other."
        )
    return (student - teacher).square().flatten(1).mean(dim=1)


def attention_transfer(student: Tensor, teacher: Tensor, *, power: int = 2) -> Tensor:
    r"""Look where the teacher looks: the maps of where channels are active, of length 1.

    .. math:: \tfrac{1}{HW} \lVert Q_s - Q_t \rVert^2, \quad
        Q = \frac{\sum_c |A_c|^p}{\lVert \sum_c |A_c|^p \rVert_2}

    The channels may differ in number; the larger map is averaged down to the smaller one.

    Args:
        student: ``[N, C, H, W]`` activations.
        teacher: ``[N, C', H', W']``.
        power: p, even and 2 or more.

    Returns:
        ``[N]``, 0 or more. (The paper's weight of 1,000 beside a hard loss is for this mean.)

    Raises:
        AttarError: If these are no maps, or the power is none.

    Example:
        >>> student = torch.tensor([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 2, 2)
        >>> attention_transfer(student, student.flip(-1)), attention_transfer(student, 3 * student)
        (tensor([0.5000]), tensor([0.]))

    References:
        Zagoruyko, Komodakis 2017, *Paying More Attention to Attention* (ICLR),
        https://arxiv.org/abs/1612.03928
    """
    check_number("attention_transfer", "power", power, low=2, whole=True)
    if power % 2:
        raise AttarError(f"attention_transfer: power must be even. Got {power}.")
    student, teacher = _raised("attention_transfer", student, teacher)
    for name, value in (("student", student), ("teacher", teacher)):
        if value.ndim != 4:
            raise AttarError(
                f"attention_transfer: {name} must be activations [N, C, H, W]. Got shape "
                f"{tuple(value.shape)}."
            )
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    maps = []
    for value in (student, teacher):
        if tuple(value.shape[2:]) != size:
            value = F.adaptive_avg_pool2d(value, size)
        maps.append(F.normalize(value.pow(power).mean(dim=1).flatten(1), dim=1))
    return (maps[0] - maps[1]).square().mean(dim=1)


def rkd_distance(student: Tensor, teacher: Tensor) -> Tensor:
    r"""How far the rows of a batch lie apart, over the mean of that, as the teacher has it.

    .. math:: \tfrac{1}{N} \sum_j h\left( d_{ij} / \bar d, \; d'_{ij} / \bar d' \right)

    with h the Huber loss and d the Euclidean distance of features; the mean runs over the pairs
    that lie apart at all. The features may have any widths.

    A row's number is the mean over its pairs, so that the mean over rows is the paper's. It sees
    the rows of one step in one process.

    Args:
        student: ``[N, ...]`` features, flattened to a row each.
        teacher: ``[N, ...]``.

    Returns:
        ``[N]``, 0 or more; 0 for a batch of one.

    Raises:
        AttarError: If these are no features of as many rows.

    Example:
        >>> student = torch.tensor([[0.0], [1.0], [2.0]])
        >>> rkd_distance(student, 5 * student + 7)  # the same up to scale
        tensor([0., 0., 0.])

    References:
        Park, Kim, Lu, Cho 2019, *Relational Knowledge Distillation* (CVPR),
        https://arxiv.org/abs/1904.05068
    """
    student, teacher = _raised("rkd_distance", student, teacher)
    apart = []
    for value in (student.flatten(1), teacher.flatten(1)):
        squares = value.square().sum(dim=1)
        distance = (squares[:, None] + squares[None] - 2 * value @ value.T).clamp(min=_TINY).sqrt()
        itself = torch.eye(len(value), dtype=torch.bool, device=value.device)
        distance = distance.masked_fill(itself, 0.0)
        some = distance > 0
        apart.append(distance / (distance.sum() / some.sum().clamp(min=1)).clamp(min=_TINY))
    return F.smooth_l1_loss(apart[0], apart[1], reduction="none").mean(dim=1)


def rkd_angle(student: Tensor, teacher: Tensor) -> Tensor:
    r"""The angles of the triangles that the rows of a batch form, as the teacher has them.

    .. math:: \tfrac{1}{N^2} \sum_{jk} h\left( \cos \angle jik, \; \cos \angle' jik \right)

    with h the Huber loss. A row's number is the mean over the angles at it, so that the mean over
    rows is the paper's. It takes N^3 numbers: 64 MB at 256 rows.

    Args:
        student: ``[N, ...]`` features, flattened to a row each.
        teacher: ``[N, ...]``.

    Returns:
        ``[N]``, 0 or more.

    Raises:
        AttarError: If these are no features of as many rows.

    Example:
        >>> student = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> bool((rkd_angle(student, 3 * student + 1) < 1e-6).all())
        True

    References:
        See :func:`rkd_distance`.
    """
    student, teacher = _raised("rkd_angle", student, teacher)
    cosines = []
    for value in (student.flatten(1), teacher.flatten(1)):
        ways = F.normalize(value[None] - value[:, None], dim=2)
        cosines.append(torch.bmm(ways, ways.transpose(1, 2)))
    return F.smooth_l1_loss(cosines[0], cosines[1], reduction="none").flatten(1).mean(dim=1)


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    r"""What activates the teacher alike is to activate the student alike.

    .. math:: \tfrac{1}{N} \lVert \tilde G_i - \tilde G'_i \rVert^2, \quad
        \tilde G_i = \frac{G_i}{\lVert G_i \rVert_2}, \quad G = F F^T

    A row's number belongs to its row of G, so that the mean over rows is the paper's. It sees the
    rows of one step in one process.

    Args:
        student: ``[N, ...]`` features, flattened to a row each.
        teacher: ``[N, ...]``.

    Returns:
        ``[N]``, from 0 to 4 / N. (The paper's weight beside a hard loss is 3,000 for this mean.)

    Raises:
        AttarError: If these are no features of as many rows.

    Example:
        >>> student = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> similarity_preserving(student, torch.tensor([[2.0], [2.0]]))
        tensor([0.2929, 0.2929])

    References:
        Tung, Mori 2019, *Similarity-Preserving Knowledge Distillation* (ICCV),
        https://arxiv.org/abs/1907.09682
    """
    student, teacher = _raised("similarity_preserving", student, teacher)
    alike = []
    for value in (student.flatten(1), teacher.flatten(1)):
        alike.append(F.normalize(value @ value.T, dim=1))
    return (alike[0] - alike[1]).square().sum(dim=1) / len(student)


def matched(
    loss: Callable[..., Tensor],
    weight: float,
    *,
    student: str,
    teacher: str | None = None,
) -> Term:
    """A loss between a feature of the student and one of the teacher, as a term of an objective.

    Args:
        loss: ``(student, teacher) -> [N]`` on features: :func:`hint`, one of its siblings, or your
            own; one with a parameter ``rows``, such as
            :class:`~attar.losses.ContrastiveLoss`, is given the row numbers.
        weight: Of this term, 0 or more. The scales of these losses differ by orders of magnitude:
            see their docstrings.
        student: The name of the student's feature.
        teacher: That of the teacher's; the same name where nothing is said.

    Raises:
        AttarError: If the weight is out of range; when used, if a feature is missing.

    Example:
        >>> from attar.losses import Objective
        >>> objective = Objective([matched(hint, 1.0, student="mid")])
        >>> logits, mid = torch.zeros(2, 3), torch.ones(2, 4)
        >>> batch = Batch(torch.zeros(2, 1), torch.arange(2))
        >>> loss, parts = objective(
        ...     Outputs(logits, {"mid": mid}), Outputs(logits, {"mid": 3 * mid}), batch
        ... )
        >>> loss
        tensor(4.)
    """
    name = name_of(loss)
    theirs = student if teacher is None else teacher
    call = getattr(loss, "forward", loss)
    takes_rows = has_parameter(call, "rows")

    def function(
        ours: Outputs, answer: Outputs | None, batch: Batch
    ) -> tuple[Tensor, Tensor | None]:
        assert answer is not None  # the objective has seen to it
        own = _found(name, "student", ours, student)
        other = _found(name, "teacher", answer, theirs)
        if takes_rows:
            return loss(own, other, rows=batch.ids % VIEW), None
        return loss(own, other), None

    return Term(name, weight, function, needs_teacher=True)


def _found(loss: str, whose: str, outputs: Outputs, name: str) -> Tensor:
    feature = outputs.features.get(name)
    if feature is None:
        there = ", ".join(sorted(outputs.features)) or "none"
        raise AttarError(
            f"matched({loss}): the {whose} gives no feature {name!r}; it gives {there}. Wrap the "
            f"network: WithFeatures(network, [{name!r}]). A store keeps no features: such a loss "
            "needs the teacher itself, ModelTeacher(WithFeatures(...))."
        )
    return feature


def _raised(owner: str, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both in at least float32, checked; no gradient goes into the teacher."""
    for name, value in (("student", student), ("teacher", teacher)):
        if not isinstance(value, Tensor) or value.ndim < 2 or not value.is_floating_point():
            raise AttarError(
                f"{owner}: {name} must be floating-point features [N, ...]. Got "
                f"{tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__}."
            )
    if len(student) != len(teacher):
        raise AttarError(
            f"{owner}: student and teacher must have as many rows. Got {len(student)} and "
            f"{len(teacher)}."
        )
    kind = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
    return student.to(kind), teacher.detach().to(kind)
