"""The model card of a bundle: what a person wants to know before using it, as Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

#: How the arms are called, in the order of the table.
_ARMS = {
    "hard": "hard labels",
    "smoothed": "smoothed labels",
    "pseudo": "pseudo-labels",
    "distilled": "distilled",
}

#: The scores that the front matter names, and what the Hub calls them.
_METRICS = {
    **{"accuracy": "accuracy", "nll": "nll", "brier": "brier_score", "ece": "ece"},
    **{"mse": "mse", "mae": "mae", "r2": "r_squared", "pinball": "pinball_loss"},
}
#: The columns of the scores by task: name, head, factor, how a number is written.
_SCORES: dict[str, list[tuple[str, str, float, str]]] = {
    "multiclass": [
        ("accuracy", "accuracy %", 100, ".2f"),
        ("nll", "NLL", 1, ".3f"),
        ("brier", "Brier", 1, ".3f"),
        ("ece", "ECE %", 100, ".1f"),
        ("worst_class_accuracy", "worst class %", 100, ".1f"),
    ],
    "multilabel": [
        ("accuracy", "accuracy a label %", 100, ".2f"),
        ("exact", "all right %", 100, ".2f"),
        ("macro_auc", "macro AUC", 1, ".3f"),
        ("nll", "NLL", 1, ".3f"),
    ],
    "regression": [
        ("r2", "R²", 1, ".3f"),
        ("mse", "MSE", 1, ".4g"),
        ("mae", "MAE", 1, ".4g"),
    ],
    "quantiles": [
        ("pinball", "pinball loss", 1, ".4g"),
        ("coverage_error", "coverage error %", 100, ".1f"),
    ],
}


def model_card(manifest: Mapping[str, Any]) -> str:
    """The card, with the front matter that the Hugging Face Hub reads.

    Args:
        manifest: The content of ``bundle.json``; ``files`` and ``digest`` are not needed.
    """
    parts = [
        _front(manifest),
        f"# {manifest['name']}",
        _what(manifest),
        *_verdict(manifest),
        *_scores(manifest),
        *_origin(manifest),
        _limits(manifest),
        _use(manifest),
    ]
    return "\n\n".join(parts) + "\n"


def _front(manifest: Mapping[str, Any]) -> str:
    """YAML between two rules; a JSON text is a YAML text, whatever is in it."""
    kind = _pipeline(manifest)
    lines = [
        "---",
        "library_name: onnx",
        f"pipeline_tag: {kind}",
        "tags:",
        "- knowledge-distillation",
        "- onnx",
        "- attar",
    ]
    student = (manifest["scores"] or {}).get("student") or {}
    found = [
        (metric, student[name])
        for name, metric in _METRICS.items()
        if student.get(name) is not None
    ]
    if found:
        lines += [
            "metrics:",
            *[f"- {metric}" for metric, _ in found],
            "model-index:",
            f"- name: {json.dumps(manifest['name'])}",
            "  results:",
            "  - task:",
            f"      type: {kind}",
            "    dataset:",
            "      name: held-out test rows",
            "      type: test",
            "    metrics:",
        ]
        for metric, value in found:
            lines += [f"    - type: {metric}", f"      value: {json.dumps(value)}"]
    return "\n".join([*lines, "---"])


def _pipeline(manifest: Mapping[str, Any]) -> str:
    if manifest["task"] == "regression":
        return "tabular-regression"
    picture = len(manifest["input"]["shape"]) == 4
    return "image-classification" if picture else "tabular-classification"


def _what(manifest: Mapping[str, Any]) -> str:
    row, teacher = manifest["input"], manifest["teacher"]
    shape = ", ".join("any" if size is None else str(size) for size in row["shape"][1:])
    taught = "" if teacher is None else f", a student of {_plain(teacher['name'])}"
    columns = ""
    if row["columns"] is not None:
        names = ", ".join(_plain(column["name"]) for column in row["columns"])
        columns = f" They are made from the columns {names}."
    return (
        f"{_kind(manifest)} in ONNX{taught}. It takes rows of [{shape}] {row['dtype']} numbers "
        f"and tells {_outputs(manifest)}.{columns} "
        + (
            "Normalisation is inside the graph: rows go in as they are."
            if row["preprocessing"]["inside"]
            else "Rows go in as they did when it was exported."
        )
    )


def _kind(manifest: Mapping[str, Any]) -> str:
    several = "A classifier of several labels a row"
    return {"regression": "A regression model", "multilabel": several}.get(
        manifest["task"], "A classifier"
    )


def _outputs(manifest: Mapping[str, Any]) -> str:
    """What it tells of a row."""
    classes = manifest["classes"]
    names = ", ".join(_plain(name) for name in classes[:20])
    if len(classes) > 20:
        names += f" and {len(classes) - 20} more"
    if manifest["task"] == "multilabel":
        return f"of each of {len(classes)} labels how likely it applies: {names}"
    if _is_of_quantiles(manifest):
        return f"the value below which a share of the labels lies, for the shares {names}"
    if manifest["task"] == "regression":
        many = "1 value" if len(classes) == 1 else f"{len(classes)} values"
        return f"{many}, in the unit of the training labels: {names}"
    return f"{len(classes)} classes: {names}"


def _is_of_quantiles(manifest: Mapping[str, Any]) -> bool:
    return "pinball" in ((manifest["scores"] or {}).get("student") or {})


def _verdict(manifest: Mapping[str, Any]) -> list[str]:
    verdict = manifest["verdict"]
    if verdict is None:
        return []
    warnings = [f"- Warning: {text}" for text in verdict.get("warnings", ())]
    text = f"**{verdict['verdict']}.** {verdict['sentence']}"
    return ["## Did the teacher help?", text, *(["\n".join(warnings)] if warnings else [])]


def _scores(manifest: Mapping[str, Any]) -> list[str]:
    scores = manifest["scores"]
    if scores is None:
        return []
    wanted = _SCORES["quantiles" if _is_of_quantiles(manifest) else manifest["task"]]
    head = ["on the test rows", *[title for _, title, _, _ in wanted], "seeds"]
    lines = [head, [":---", *["---:"] * (len(wanted) + 1)]]
    if scores["teacher"] is not None:
        lines.append(["teacher", *_cells(wanted, scores["teacher"], {}), ""])
    for name, arm in sorted(scores["arms"].items(), key=lambda item: _place(item[0])):
        spread = arm.get("standard_deviation") or {}
        cells = _cells(wanted, arm["mean"], spread)
        lines.append([f"student: {_ARMS.get(name, name)}", *cells, str(arm["seeds"])])
    if scores["student"] is not None:
        mine = _cells(wanted, scores["student"], {})
        lines.append(["**the student in this bundle**", *mine, ""])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    parts = ["## Scores", table, "Arms: mean ± standard deviation over the seeds."]
    return [*parts, *_calibration(manifest)]


def _cells(
    wanted: Sequence[tuple[str, str, float, str]],
    scores: Mapping[str, Any],
    spread: Mapping[str, Any],
) -> list[str]:
    cells = []
    for name, _, scale, form in wanted:
        value, by = scores.get(name), spread.get(name)
        cell = "" if value is None else f"{scale * value:{form}}"
        cells.append(cell if by is None or not cell else f"{cell} ± {scale * by:{form}}")
    return cells


def _place(arm: str) -> int:
    order: Sequence[str] = list(_ARMS)
    return order.index(arm) if arm in order else len(order)


def _calibration(manifest: Mapping[str, Any]) -> list[str]:
    found = manifest["calibration"]
    if found is None or "test" not in found:
        return []
    if found.get("note"):
        return [f"The temperature stays 1: {found['note']}."]
    inside = manifest["models"][0]["temperature"] not in (None, 1)
    before, after = found["test"]["before"], found["test"]["after"]
    state = (
        "is inside the graph, so probabilities are calibrated; the scores above are from before"
        if inside
        else "is not applied in this file"
    )
    arms = (manifest["scores"] or {}).get("arms", {})
    each = ", ".join(
        f"{_ARMS.get(name, name)} {arm['calibrated']['nll']:.3f}"
        for name, arm in sorted(arms.items(), key=lambda item: _place(item[0]))
        if arm.get("calibrated")
    )
    return [
        f"A temperature of {found['temperature']:.3f}, fitted on validation, {state}. On test it "
        f"changes ECE from {100 * before['ece']:.1f} to {100 * after['ece']:.1f} % and NLL from "
        f"{before['nll']:.3f} to {after['nll']:.3f}; the predicted classes stay the same."
        + (f" NLL of each arm at a temperature of its own: {each}." if each else "")
    ]


def _origin(manifest: Mapping[str, Any]) -> list[str]:
    lines = []
    teacher, data, code = manifest["teacher"], manifest["data"], manifest["code"]
    if teacher is not None:
        size = teacher.get("parameters")
        lines.append(
            f"- Teacher: {_plain(teacher['name'])}"
            + (f", {size:,} parameters" if size else "")
            + f"; fingerprint `{teacher['fingerprint']}`."
        )
    if data is not None:
        rows = ", ".join(f"{count:,} {name}" for name, count in data["rows"].items())
        prints = ", ".join(f"{name} `{value}`" for name, value in data["fingerprints"].items())
        lines.append(f"- Data: {rows} rows; fingerprints: {prints}.")
    made = f"- Made with Attar {code['attar']}"
    lines.append(made + (f", {manifest['created']}." if manifest["created"] else "."))
    for model in manifest["models"]:
        line = f"- `{model['path']}` ({model['role']}): {model['bytes']:,} bytes, "
        line += f"{model['precision']}"
        parity = model["parity"]
        if parity is not None:
            values = manifest["task"] == "regression"
            line += (
                f"; on {parity['rows_checked']:,} real rows its "
                f"{'values' if values else 'probabilities'} differ from the trained model's by at "
                f"most {parity['max_probability_difference']:.1e}"
                f"{' of their standard deviation' if values else ''}"
            )
        lines.append(line + ".")
    return ["## Where it comes from", "\n".join(lines)]


def _limits(manifest: Mapping[str, Any]) -> str:
    sure = "" if manifest["task"] == "regression" else ", with as much confidence"
    lines = [
        "- Scores hold for rows like the test rows. On rows of another kind it still answers"
        f"{sure}.",
        "- It can be no better than what its teacher and labels knew; it inherits their errors.",
    ]
    if manifest["task"] == "multiclass":
        lines.append(
            "- It knows the classes above and no others, and has no answer for `none of these`."
        )
    elif manifest["task"] == "multilabel":
        lines.append("- It knows the labels above and no others; each is judged by itself.")
    else:
        lines.append("- Far beyond the values of the training labels its answers mean little.")
    if manifest["input"]["columns"] is not None:
        lines.append(
            "- A category that was not there in training is refused, a missing number too."
        )
    if manifest["scores"] is None:
        lines.append("- Written without an experiment: nothing is known of its scores.")
    return "## Limits\n\n" + "\n".join(lines)


def _use(manifest: Mapping[str, Any]) -> str:
    columns = manifest["input"]["columns"]
    rows = "rows" if columns is None else "table"
    first = manifest["models"][0]
    outputs = ", ".join(f"`{output['name']}`" for output in first["outputs"])
    call = {
        "regression": f"student.predict({rows})  # values",
        "multilabel": f"student.predict({rows}), student.predict_proba({rows})  # [N, labels]",
    }.get(manifest["task"], f"student.predict({rows}), student.predict_proba({rows})")
    return f"""## How to use it

```python
from attar.export import runtime  # pip install attar: numpy and onnxruntime, nothing that trains

student = runtime.load("the folder or the zip of this bundle")
{call}
```

Any ONNX runtime reads `model.onnx` too: input `{first["inputs"][0]["name"]}`, outputs {outputs}.
`bundle.json` holds the schema of the input, the scores and the SHA-256 of every file."""


def _plain(text: str) -> str:
    """A name inside a line of Markdown: on one line, and without meaning to it."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in " ".join(text.split()))
