"""AutoGluon beside ours: what is picked of its models, the figures by hand, and the page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ("autogluon_peer", "autogluon_page", "record", "fetch", "packages", "sets")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch):
    """The benchmark's modules; the part that runs AutoGluon is not among them."""
    for folder in ("benchmarks", "benchmarks/mnist", "benchmarks/tables"):
        monkeypatch.syspath_prepend(str(ROOT / folder))
    import autogluon_page
    import autogluon_peer

    yield autogluon_peer, autogluon_page
    for name in MODULES:
        sys.modules.pop(name, None)


def model(arm: str, name: str, place: int, accuracy: float) -> dict[str, Any]:
    facts = {"nll": 1 - accuracy, "bytes": 1000.0 * (place + 1), "one_row_ms": 2.0}
    return (
        {"arm": arm, "model": name, "place": place, "accuracy": accuracy}
        | facts
        | {"rows_a_second": 500.0}
    )


def run(shift: float = 0.0) -> dict[str, Any]:
    rows = [
        model("teacher", "WeightedEnsemble_L3", 9, 0.95 + shift),
        # The best of its list, but its twin was not trained in time.
        model("distilled", "CatBoost_DSTL_DISTILLED", 0, 0.94),
        model("distilled", "LightGBM_DSTL_DISTILLED", 3, 0.93),
        # Better on the test rows, which nothing is chosen on.
        model("distilled", "NeuralNetTorch_DSTL_DISTILLED", 4, 0.99),
        model("hard", "NeuralNetTorch_DSTL_HARD", 1, 0.98),
        model("hard", "LightGBM_DSTL_HARD", 2, 0.90 + shift),
    ]
    return {"rows": rows, "seconds": {"teacher": 60.0, "hard": 30.0, "distilled": 40.0}}


def test_a_student_is_chosen_by_validation_and_compared_with_its_own_kind(bench) -> None:
    peer, _ = bench
    picked = peer.pick(run()["rows"])
    assert {arm: row["model"] for arm, row in picked.items()} == {
        "teacher": "WeightedEnsemble_L3",
        "hard": "LightGBM_DSTL_HARD",
        "distilled": "LightGBM_DSTL_DISTILLED",
    }


def test_the_gap_is_of_the_means_over_the_seeds(bench) -> None:
    peer, _ = bench
    figures = peer.figures_of([run(), run(0.02)])
    assert figures["teacher_accuracy_mean"] == pytest.approx(0.96)
    assert figures["hard_accuracy_mean"] == pytest.approx(0.91)
    assert figures["gap_recovered"] == pytest.approx(0.02 / 0.05)
    assert figures["hard_accuracy_sd"] == pytest.approx(0.02 / 2**0.5)
    assert figures["distilled_accuracy_sd"] == 0
    assert figures["bytes_student_over_teacher"] == pytest.approx(0.4)
    assert figures["chosen_LightGBM"] == 2
    assert figures["distilled_seconds"] == 40


def test_there_is_no_gap_where_the_teacher_is_not_ahead(bench) -> None:
    peer, _ = bench
    found = run()
    found["rows"][0]["accuracy"] = 0.9
    figures = peer.figures_of([found])
    assert "gap_recovered" not in figures
    assert "hard_accuracy_sd" not in figures  # of one seed


def ours() -> dict[str, float]:
    said = {"accuracy_mean": 0.9, "accuracy_sd": 0.01, "nll_mean": 0.3}
    arms = {f"table_mlp_{arm}_{k}": v for arm in ("hard", "distilled") for k, v in said.items()}
    facts = {"file_bytes": 218_000.0, "p50_us": 64.0, "rows_a_second": 1e5}
    teacher = {"teacher_accuracy": 0.97, "teacher_nll": 0.1, "teacher_bytes": 26.5e6}
    return (
        arms
        | teacher
        | {"teacher_fit_seconds": 90.0}
        | {f"table_mlp_{name}": value for name, value in facts.items()}
    )


def test_the_page_has_both_lines_of_each_set_that_was_run(bench) -> None:
    peer, page = bench
    figures = {f"letter_{name}": value for name, value in ours().items()}
    figures |= {f"wine_{name}": value for name, value in ours().items()}
    names = {"letter": "Letter", "wine": "wine"}

    def table(head: list[str], rows: list[list[str]]) -> str:
        assert all(len(row) == len(head) for row in rows)
        return "\n".join(" | ".join(row) for row in [head, *rows])

    assert page.section(figures, names, table) == ""
    theirs = peer.figures_of([run(), run(0.02)])
    figures |= {f"autogluon_letter_{name}": value for name, value in theirs.items()}
    said = page.section(figures, names, table)
    assert (
        "Letter | AutoGluon (LightGBM) | 96.00 ± 1.41 | 91.00 ± 1.41 | 93.00 ± 0.00 | 40 %" in said
    )
    assert (
        " | Attar | 97.00 | 90.00 ± 1.00 | 90.00 ± 1.00 |  | 0.100 | 0.300 | 0.300 | 218 kB" in said
    )
    assert "26.5 MB | 0.064 ms | 100,000" in said
    assert "wine |" not in said


def test_the_table_is_cut_as_the_lesson_cuts_it(bench, tmp_path: Path) -> None:
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    peer, _ = bench
    import numpy as np
    from sets import Table
    from sklearn.model_selection import train_test_split

    labels = np.arange(40) % 2
    rows = pd.DataFrame({"size": np.arange(40.0), "colour": ["red", "blue"] * 20})
    peer.write_table(Table(rows, labels, ["a", "b"]), tmp_path)
    found = {name: pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("train", "test")}
    _, judge = train_test_split(np.arange(40), test_size=0.25, random_state=0, stratify=labels)
    assert found["test"]["size"].tolist() == judge.tolist()
    assert found["test"][peer.LABEL].tolist() == labels[judge].tolist()
    assert sorted([*found["train"]["size"], *found["test"]["size"]]) == list(range(40))


def test_only_what_is_kept_under_the_same_limits_is_read(bench, tmp_path: Path) -> None:
    peer, _ = bench
    folder = tmp_path / "tables" / "autogluon_runs"
    folder.mkdir(parents=True)
    teacher, student = peer.SECONDS["wine"]
    (folder / f"wine-1-{teacher}-{student}.json").write_text('{"rows": []}')
    assert peer.ask("wine", 1, tmp_path) == {"rows": []}
