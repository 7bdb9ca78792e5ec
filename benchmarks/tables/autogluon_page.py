"""The section about AutoGluon on the page of the tables."""

from __future__ import annotations

from collections.abc import Mapping

from record import Figures, Table

#: AutoGluon's names of the kinds of its students.
KINDS = {
    "NeuralNetTorch": "network",
    "LightGBM": "LightGBM",
    "CatBoost": "CatBoost",
    "RandomForestMSE": "forest",
}


def section(figures: Figures, names: Mapping[str, str], table: Table) -> str:
    """Two lines a set, AutoGluon's and ours; nothing where it was not run.

    Args:
        figures: Of the benchmark of tables.
        names: The sets: how they are called in the figures, and on the page.
        table: Makes a table.
    """
    there = [name for name in names if f"autogluon_{name}_teacher_accuracy_mean" in figures]
    if not there:
        return ""
    rows = []
    for name in there:
        rows.append([names[name], *_theirs(figures, f"autogluon_{name}")])
        rows.append(["", *_ours(figures, name)])
    head = ["", "by", "teacher %", "hard %", "distilled %", "gap", "NLL: teacher", "hard"]
    head += ["distilled", "file", "teacher's files", "one row", "rows a second"]
    counts = sorted({round(figures[f"autogluon_{name}_seeds"]) for name in there})
    seeds = " or ".join(f"{count}" for count in counts)
    seconds = [figures[f"autogluon_{name}_teacher_seconds"] for name in there]
    return f"""## Beside AutoGluon

AutoGluon 1.6.3 (`TabularPredictor.distill()`) on the same training and test rows. Its teacher is
its own ensemble, fitted as its documentation of `distill` shows (`auto_stack=True`: bags in layers)
within a limit of {min(seconds):.0f} to {max(seconds):.0f} seconds of one core that it used on these
sets; its students are all four kinds that it distils, {_span(figures, there)} seconds an arm, with
the rows that it draws by itself (`spunge`, five for each training row). The line shows the one that
AutoGluon ranks first on its validation rows. *Hard* is the same kind of model, trained by the same
call on the labels alone (`teacher_preds="onehot"`). {seeds} seeds: the order of the rows, and what
`distill` draws. Ours is the network for tables from above, five seeds.

{table(head, rows)}

How to read it: each teaches from its own teacher, so compare *distilled* and its costs across the
two lines of a set, and *gap* only within a line: it is what the student gained over its own hard
twin, as a share of what its own teacher has over that twin, and says little where that is small.
It is left out where the teacher is not ahead.

What differs:

- The time. AutoGluon was held to a minute or less of a core for the teacher, and as much for each
  arm; our stack took {_minutes(figures, there)}. With more
  time its teachers and students may well be better, most of all with many classes (Letter).
- What is chosen for. AutoGluon ranks and stops its models by accuracy, as it does unless told
  otherwise; `eval_metric="log_loss"` would suit its probabilities, and so its NLL, better.
- The soft targets. Real rows keep their labels there (binary ones as 0.01 and 0.99); only drawn
  rows are labelled by the teacher: `predict_proba(X_aug, model=teacher)` in `distill` of
  `autogluon/tabular/trainer/abstract_trainer.py`, by the models of all folds. Nothing is asked out
  of fold, and the drawn rows stay near rows that the teacher was fitted on: `spunge` exchanges a
  tenth of the columns, rounded down, and adds noise to a tenth of the numbers. With nine columns,
  as in diamonds, none is exchanged, and about half of the drawn rows are training rows as they are
  ({100 * 0.9**7:.0f} %: no noise in any of seven numeric columns).
- `augment_method="munge"`, the kind of rows that we draw, was not to be had: in this version it
  raises a `TypeError` (a comment above it says that it likely does not work anymore).
- The file. Theirs is the folder of the one model: pickles that need AutoGluon installed and the
  predictor's other files beside them; ours is one ONNX file from raw rows to probabilities.
  *Teacher's files* are all models that its answers need, and our pickled stack.
- The clock. AutoGluon's times are `predict_proba` of a frame with the models kept in memory
  (`persist`), counted in processor time, so that others on the machine take nothing away; ours are
  ONNX Runtime's from arrays. Most of AutoGluon's time for one row is what stands around the model:
  frames, types, features."""


def _theirs(figures: Figures, key: str) -> list[str]:
    chosen = [
        words for kind, words in KINDS.items() if figures.get(f"{key}_chosen_{kind}", 0.0) > 0
    ]
    return [
        f"AutoGluon ({', '.join(chosen)})",
        *[_accuracy(figures, f"{key}_{arm}") for arm in ("teacher", "hard", "distilled")],
        _gap(figures, key),
        *[f"{figures[f'{key}_{arm}_nll_mean']:.3f}" for arm in ("teacher", "hard", "distilled")],
        _size(figures[f"{key}_distilled_bytes"]),
        _size(figures[f"{key}_teacher_bytes"]),
        f"{figures[f'{key}_distilled_one_row_ms']:.2g} ms",
        f"{figures[f'{key}_distilled_rows_a_second']:,.0f}",
    ]


def _ours(figures: Figures, name: str) -> list[str]:
    key = f"{name}_table_mlp"
    return [
        "Attar",
        f"{100 * figures[f'{name}_teacher_accuracy']:.2f}",
        *[_accuracy(figures, f"{key}_{arm}") for arm in ("hard", "distilled")],
        _gap(figures, key),
        f"{figures[f'{name}_teacher_nll']:.3f}",
        *[f"{figures[f'{key}_{arm}_nll_mean']:.3f}" for arm in ("hard", "distilled")],
        _size(figures[f"{key}_file_bytes"]),
        _size(figures[f"{name}_teacher_bytes"]),
        f"{figures[f'{key}_p50_us'] / 1000:.2g} ms",
        f"{figures[f'{key}_rows_a_second']:,.0f}",
    ]


def _accuracy(figures: Figures, key: str) -> str:
    mean, spread = (figures.get(f"{key}_accuracy_{end}") for end in ("mean", "sd"))
    assert mean is not None
    return f"{100 * mean:.2f}" + ("" if spread is None else f" ± {100 * spread:.2f}")


def _gap(figures: Figures, key: str) -> str:
    gap = figures.get(f"{key}_gap_recovered")
    return "" if gap is None else f"{100 * gap:.0f} %"


def _size(count: float) -> str:
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def _span(figures: Figures, names: list[str]) -> str:
    """From the shortest to the longest arm of students."""
    seconds = [
        figures[f"autogluon_{name}_{arm}_seconds"]
        for name in names
        for arm in ("hard", "distilled")
    ]
    return f"{min(seconds):.0f} to {max(seconds):.0f}"


def _minutes(figures: Figures, names: list[str]) -> str:
    """How long our stack took to fit and to label out of fold."""
    seconds = [figures[f"{name}_teacher_fit_seconds"] for name in names]
    return f"{min(seconds):.0f} to {max(seconds):.0f} seconds, labels out of fold included"
