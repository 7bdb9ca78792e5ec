"""How the students learnt, and which settings were tried."""

from __future__ import annotations

from typing import Any

from attar.report.figure import Figure, percent
from attar.report.figures.accuracy import arm_label
from attar.report.parts import Node
from attar.report.run import ARMS, Run, as_run, like_score

#: At most so many curves, and points of all curves together, are drawn.
CURVES, POINTS = 400, 40_000


def training_curves(source: Any) -> Figure | None:
    """Accuracy and NLL on validation, and the training loss, of every arm and seed over steps.

    None where the run keeps no curves.
    """
    run = as_run(source)
    series = _series(run)
    if not series:
        return None
    rows = []
    for arm in run.arms:
        last = [one["points"][-1] for one in series if one["arm"] == arm and one["points"]]
        best = [
            max((p[2] for p in one["points"] if p[2] is not None), default=None)
            for one in series
            if one["arm"] == arm
        ]
        tops = [value for value in best if value is not None]
        if last and tops:
            rows.append(
                [
                    arm_label(arm),
                    f"{max(p[0] for p in last):,}",
                    percent(sum(tops) / len(tops), 2),
                    f"{sum(p[1] for p in last) / len(last):.4f}",
                ]
            )
    said = "; ".join(f"{row[0]} {row[2]}" for row in rows)
    return Figure(
        name="curves",
        kind="curves",
        title="Training curves",
        caption="A thick line is the mean over the seeds, a thin line one seed. Every arm takes "
        "the same number of steps. The weights of the best validation are the ones kept. The "
        "losses of different arms measure different things: compare their shapes alone.",
        alt=f"Best {run.measure.name} on the validation rows, mean over the seeds: {said}.",
        data={"series": series, "unit": run.measure.name},
        head=["", "steps", f"best {run.measure.name} on validation", "last training loss"],
        rows=rows,
    )


def _series(run: Run) -> list[dict[str, Any]]:
    if "curves.json" not in run.parts:
        return []
    found = []
    curves = Node(run.parts["curves.json"], "curves.json", "curves").list()[:CURVES]
    most = max(20, POINTS // max(1, len(curves)))
    for curve in curves:
        arm = curve["arm"].text()
        if arm not in run.arms:
            continue
        records = curve["records"].list()
        # Validations are rare and precious: plain records are thinned out first.
        step = -(-len(records) // most)
        kept = [r for i, r in enumerate(records) if i % step == 0 or r["validation"]]
        kept = kept[:: -(-len(kept) // (2 * most))]
        found.append(
            {
                "arm": arm,
                "seed": curve["seed"].count(),
                "points": [
                    [
                        r["step"].needed(r["step"].count()),
                        r["loss"].needed(r["loss"].number()),
                        like_score(r["validation"]),
                        r["validation"]["nll"].number(),
                    ]
                    for r in kept
                ],
            }
        )
    return found


def trials(source: Any) -> Figure | None:
    """What each setting gave on validation: what the temperature (and the like) did.

    None where no arm had a choice.
    """
    run = as_run(source)
    points = [_trial(node) for node in run.told["trials"].list()[:500]]
    points = [p for p in points if p["arm"] in ARMS and p["accuracy"] is not None]
    if len(points) <= len({p["arm"] for p in points}):
        return None
    best = max(points, key=lambda p: p["accuracy"])
    return Figure(
        name="trials",
        kind="trials",
        title="What was tried, and chosen",
        caption="Each setting was tried on the validation rows under the first seed; the filled "
        f"dot of each arm was chosen, by {_chosen_by(run)}. The test rows were not looked at.",
        alt=f"{len(points)} settings were tried; the best on validation was "
        f"{best['label']} with {percent(best['accuracy'])}.",
        data={"points": points},
        head=["setting", f"{run.measure.name} on validation", "NLL on validation", "chosen"],
        rows=[
            [
                p["label"],
                percent(p["accuracy"], 2),
                "–" if p["nll"] is None else f"{p['nll']:.4f}",
                "yes" if p["chosen"] else "",
            ]
            for p in points
        ],
    )


def _chosen_by(run: Run) -> str:
    of_values = run.task in ("regression", "quantiles")
    return "its error" if of_values else f"{run.measure.name} and then by likelihood (NLL)"


def _trial(node: Node) -> dict[str, Any]:
    setting = node["setting"]
    arm = setting["arm"].text() or ""
    words = [ARMS.get(arm, arm)]
    for key, sign in (("temperature", "T"), ("alpha", "alpha"), ("smoothing", "strength")):
        value = setting[key].number()
        if value is not None:
            words.append(f"{sign} = {value:g}")
    loss = setting["loss"].text()
    if loss:
        words.append(loss)
    rate = setting["learning_rate"].number()
    if rate is not None and arm in ("hard", "pseudo"):
        words.append(f"learning rate {rate:.3g}")
    stopped = node["stopped_at"].number(0, 1)
    if stopped is not None:
        words.append(f"given up after {percent(stopped)} of its steps")
    return {
        "arm": arm,
        "label": ", ".join(words),
        "accuracy": like_score(node["validation"]),
        "nll": node["validation"]["nll"].number(),
        "chosen": node["chosen"].flag() or False,
    }
