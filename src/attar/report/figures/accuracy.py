"""How accurate everybody is, and what that costs in parameters and in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attar.report.figure import Figure, percent, span, whole
from attar.report.run import ARMS, Model, Run, Span, as_run


def gap(source: Any) -> Figure:
    """The accuracy of each arm between hard labels and teacher: how much of the gap is closed.

    Args:
        source: What :func:`attar.report.as_run` takes.
    """
    run = as_run(source)
    points: list[dict[str, Any]] = [
        {
            "key": name,
            "label": arm_label(name),
            "mean": arm.score.mean,
            "low": arm.score.low,
            "high": arm.score.high,
            "seeds": [seed.score for seed in arm.seeds],
        }
        for name, arm in run.arms.items()
    ]
    teacher = _model_point(run.teacher, "teacher", "teacher")
    if teacher is not None:
        points.append(teacher)
    points.sort(key=lambda point: point["mean"])
    hard, distilled = run.arms["hard"].score.mean, run.arms["distilled"].score.mean
    if run.task == "multiclass":
        said = f"The student alone is right on {percent(hard)} of the test rows, distilled on "
        said += percent(distilled)
        link = "the teacher on"
    else:
        said = f"{run.measure.name}: the student alone {percent(hard)}, distilled "
        said += percent(distilled)
        link = "the teacher"
    if run.teacher.score is not None:
        said += f", {link} {percent(run.teacher.score.mean)}"
    return Figure(
        name="gap",
        kind="gap",
        title="How far the student came",
        caption=f"{run.measure.heading} on test rows that nothing was chosen on. A large dot is "
        "the mean over the seeds (the same training begun from other random numbers), a small "
        "dot one seed, the bar the 95 % interval.",
        alt=f"{said}.",
        data={"points": points},
        head=["", run.measure.name, "95 % interval", "each seed"],
        rows=[
            [
                point["label"],
                percent(point["mean"], 2),
                span(point["low"], point["high"], 2),
                ", ".join(percent(value, 2) for value in point["seeds"]),
            ]
            for point in points
        ],
    )


def accuracy_over_parameters(source: Any) -> Figure | None:
    """Accuracy over the number of parameters: teacher, members, every arm and seed.

    Of a run without classes it is the run's own measure, here and in every figure. None where
    neither size is known.
    """
    run = as_run(source)
    return _over(
        run,
        "parameters",
        title=f"{run.measure.heading} over size",
        axis="parameters",
        caption="To the left is smaller, up is better. All students have the same size and are "
        "set side by side. Bars are 95 % intervals.",
        x={
            "student": run.student.parameters,
            "teacher": run.teacher.parameters,
            **{f"member {i}": m.parameters for i, m in enumerate(run.members)},
        },
    )


def accuracy_over_latency(source: Any) -> Figure | None:
    """Accuracy over the time of one answer; None where nothing was timed."""
    run = as_run(source)

    def p50(model: Model) -> float | None:
        return None if not model.latency or 1 not in model.latency else model.latency[1][0]

    return _over(
        run,
        "latency",
        title=f"{run.measure.heading} over time",
        axis="milliseconds for one answer, median",
        caption="To the left is faster, up is better. One row at a time, on one thread of this "
        "machine. Members of an ensemble that are of one size are timed once.",
        x={
            "student": p50(run.student),
            "teacher": p50(run.teacher),
            **{f"member {i}": p50(m) for i, m in enumerate(run.members)},
        },
    )


def _over(
    run: Run, name: str, *, title: str, axis: str, caption: str, x: dict[str, float | None]
) -> Figure | None:
    if not x["student"] or not (x["teacher"] or any(v for k, v in x.items() if "member" in k)):
        return None
    points = [dict(point, x=x[place]) for place, point in _everybody(run) if x.get(place)]
    ratio = (x["teacher"] or 0) / x["student"]
    distilled = run.arms["distilled"].score.mean
    alt = f"{run.measure.heading} of the distilled student: {percent(distilled)}"
    if run.task == "multiclass":
        alt = f"The distilled student is right on {percent(distilled)} of the test rows"
    if ratio:
        alt += (
            f" and needs {ratio:.1f} times fewer {name}"
            if name == "parameters"
            else (f" and answers {ratio:.1f} times faster")
        )
        alt += " than the teacher"
    return Figure(
        name=name,
        kind="scatter",
        title=title,
        caption=caption,
        alt=f"{alt}.",
        data={"axis": axis, "points": points},
        head=["", axis, run.measure.name, "95 % interval"],
        rows=[
            [
                point["label"],
                whole(point["x"]) if name == "parameters" else f"{point['x']:.4g}",
                percent(point["mean"], 2),
                span(point["low"], point["high"], 2),
            ]
            for point in points
        ],
    )


def _everybody(run: Run) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, arm in run.arms.items():
        yield (
            "student",
            {
                "key": name,
                "label": arm_label(name),
                "mean": arm.score.mean,
                "low": arm.score.low,
                "high": arm.score.high,
                "seeds": [seed.score for seed in arm.seeds],
            },
        )
    for place, member in enumerate(run.members):
        point = _model_point(member, "member", member.name)
        if point is not None:
            yield f"member {place}", point
    teacher = _model_point(run.teacher, "teacher", "teacher")
    if teacher is not None:
        yield "teacher", teacher


def _model_point(model: Model, key: str, label: str) -> dict[str, Any] | None:
    if model.score is None:
        return None
    told = model.score
    return {
        "key": key,
        "label": label,
        "mean": told.mean,
        "low": told.low,
        "high": told.high,
        "seeds": [told.mean],
    }


def arm_label(name: str) -> str:
    """What an arm is called in a figure."""
    return "student, distilled" if name == "distilled" else f"student, {ARMS[name]}"


def differences(source: Any) -> Figure | None:
    """Distilled minus each other arm, in accuracy, with 95 % intervals over rows and seeds."""
    run = as_run(source)
    told = run.told["comparison"]
    points: list[dict[str, Any]] = []
    for key in ("hard", "smoothed", "pseudo"):
        span_ = Span.read(told[f"against_{key}"])
        if span_ is not None:
            label = f"against {ARMS[key]}"
            points.append(
                {
                    "key": key,
                    "label": label,
                    "mean": span_.mean,
                    "low": span_.low,
                    "high": span_.high,
                }
            )
    if not points:
        return None
    said = "; ".join(f"{p['label']} {_points(p)}" for p in points)
    return Figure(
        name="differences",
        kind="forest",
        title="Is the difference real?",
        caption=f"{run.measure.heading} of the distilled student minus that of the same student "
        "trained in another way. The bar is the 95 % interval over test rows and seeds: where it "
        "does not touch 0, chance alone does not explain the difference.",
        alt=f"Distilled {said}.",
        data={"points": points, "unit": run.measure.name},
        head=["distilled", f"points of {run.measure.name}, 95 % interval"],
        rows=[[p["label"], _points(p)] for p in points],
    )


def _points(point: dict[str, Any]) -> str:
    told = f"{100 * point['mean']:+.2f}"
    if point["low"] is None or point["high"] is None:
        return f"{told} (one seed: no interval)"
    return f"{told} ({100 * point['low']:+.2f} to {100 * point['high']:+.2f})"
