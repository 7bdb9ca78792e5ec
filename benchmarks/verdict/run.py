"""Is the verdict honest? Coverage, false alarms and power on tables whose truth is known.

    python benchmarks/verdict/run.py

takes about ten minutes on one core, prints what it finds and writes it into results.json.
Parts (any of them alone: ``--parts null power``):

- digits: trains the arms on real digits and measures how alike their errors are; the
  simulation's effects are set to match;
- coverage: how often a 95 % interval holds the true difference, for the interval of
  ``attar.evaluation`` and for its peers: Satterthwaite's alone, and rows x seeds pooled as if
  they were independent (two binomials; paired differences);
- null: arms of equal true accuracy: how often a verdict is a false alarm;
- power: how often BEATS is said where it is true;
- gap: how often the bootstrap interval of the gap recovered holds the true share.

A script with more parts can sit beside this one: ``record.write`` keeps the parts of others.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm
from scipy.stats import t as student_t

sys.path.insert(0, str(Path(__file__).parents[1]))
import record
from simulate import Effects, draw

from attar.evaluation import compare, crossed_interval
from attar.evaluation.intervals import mean_squares

SEED = 0
MEASURED = Effects()
#: Name -> effects: with and without what one arm finds hard, and luck of one seed in one arm.
EFFECTS = {
    "both": MEASURED,
    "rows_only": MEASURED.without(arm_by_row=False, arm_by_seed=True),
    "seeds_only": MEASURED.without(arm_by_row=True, arm_by_seed=False),
    "neither": MEASURED.without(arm_by_row=True, arm_by_seed=True),
}
Ends = tuple[float, float]


# --- the intervals that are compared -------------------------------------------------------


def crossed(better: np.ndarray, worse: np.ndarray) -> Ends:
    """The interval of Attar."""
    interval = crossed_interval((better.astype(float) - worse).T)
    return interval.low, interval.high


def satterthwaite(better: np.ndarray, worse: np.ndarray) -> Ends:
    """The plain formula: no component is kept from being negative, no guard for few seeds."""
    table = (better.astype(float) - worse).T
    rows, seeds = table.shape
    row, seed, rest = mean_squares(table)
    variance = max(row + seed - rest, 1e-12)
    scatter = row**2 / (rows - 1) + seed**2 / (seeds - 1)
    scatter += rest**2 / ((rows - 1) * (seeds - 1))
    degrees = max(variance**2 / max(scatter, 1e-30), 0.1)
    half = student_t.ppf(0.975, degrees) * np.sqrt(variance / table.size)
    return table.mean() - half, table.mean() + half


def pooled_binomial(better: np.ndarray, worse: np.ndarray) -> Ends:
    """Two proportions, each of rows x seeds independent trials."""
    p, q = better.mean(), worse.mean()
    half = norm.ppf(0.975) * np.sqrt((p * (1 - p) + q * (1 - q)) / better.size)
    return p - q - half, p - q + half


def pooled_paired(better: np.ndarray, worse: np.ndarray) -> Ends:
    """Paired differences, rows x seeds of them, as if independent."""
    difference = better.astype(float) - worse
    half = norm.ppf(0.975) * difference.std(ddof=1) / np.sqrt(difference.size)
    return difference.mean() - half, difference.mean() + half


INTERVALS: dict[str, Callable[[np.ndarray, np.ndarray], Ends]] = {
    "crossed": crossed,
    "satterthwaite": satterthwaite,
    "pooled_binomial": pooled_binomial,
    "pooled_paired": pooled_paired,
}


# --- the parts -----------------------------------------------------------------------------


def digits(trials: int) -> record.Part:
    """Correlations and mean squares on real digits, beside those of the simulation."""
    import torch
    from digits import tables

    torch.set_num_threads(1)
    draws, seeds = 2, 5
    rows: list[dict[str, Any]] = []
    real = []
    for number in range(draws):
        correct, teacher = tables(number, seeds=seeds)
        real.append(_alikeness(correct))
        for arm, table in correct.items():
            for seed, row in enumerate(table):
                rows.append({"draw": number, "arm": arm, "seed": seed, "accuracy": row.mean()})
        rows.append({"draw": number, "arm": "teacher", "seed": None, "accuracy": teacher.mean()})
    accuracy = {
        arm: float(np.mean([r["accuracy"] for r in rows if r["arm"] == arm]))
        for arm in ("hard", "smoothed", "distilled")
    }
    random = _random("digits")
    simulated = [
        _alikeness(draw(accuracy, MEASURED, rows=719, seeds=seeds, random=random))
        for _ in range(200)
    ]
    figures = {}
    for name in real[0]:
        figures[f"{name}_measured"] = float(np.mean([one[name] for one in real]))
        figures[f"{name}_simulated"] = float(np.mean([one[name] for one in simulated]))
    for arm in ("hard", "smoothed", "pseudo", "distilled", "teacher"):
        figures[f"accuracy_{arm}"] = float(
            np.mean([r["accuracy"] for r in rows if r["arm"] == arm])
        )
    return rows, figures


def coverage(trials: int) -> record.Part:
    """How often each 95 % interval holds the true difference of 3 points."""
    settings = [
        (name, seeds, rows, 0.92, 0.95)
        for name, seeds, rows in itertools.product(EFFECTS, (2, 3, 5, 10), (200, 700, 10_000))
    ]
    # A small test set on which almost every row is right: few rows tell the arms apart.
    settings += [("sparse", 5, rows, 0.985, 0.99) for rows in (200, 700)]
    table, figures = [], {}
    for name, seeds, rows, worse, better in settings:
        effects = EFFECTS.get(name, MEASURED)
        held = dict.fromkeys(INTERVALS, 0)
        halves: dict[str, list[float]] = {method: [] for method in INTERVALS}
        accuracy = {"hard": worse, "distilled": better}
        for one in _draws(f"{name}{seeds}{rows}", trials, accuracy, effects, rows, seeds):
            for method, interval in INTERVALS.items():
                low, high = interval(one["distilled"], one["hard"])
                held[method] += low <= better - worse <= high
                halves[method].append(100 * (high - low) / 2)
        width = {method: float(np.median(half)) for method, half in halves.items()}
        key = f"{name}_s{seeds}_r{rows}"
        shares = {method: count / trials for method, count in held.items()}
        figures |= {f"{key}_{method}": share for method, share in shares.items()}
        ratio = width["crossed"] / width["satterthwaite"]
        figures[f"{key}_width_crossed_over_satterthwaite"] = ratio
        table.append(
            {"setting": key, "trials": trials}
            | {f"held_{method}": share for method, share in shares.items()}
            | {f"median_half_width_points_{method}": value for method, value in width.items()}
        )
        print("coverage", key, {m: f"{share:.3f}" for m, share in shares.items()}, flush=True)
    for method in INTERVALS:
        for least, label in ((2, "all"), (3, "from_3_seeds"), (5, "from_5_seeds")):
            shares = [
                figures[f"{name}_s{seeds}_r{rows}_{method}"]
                for name, seeds, rows, *_ in settings
                if seeds >= least and name != "sparse"
            ]
            figures[f"worst_{label}_{method}"] = min(shares)
            figures[f"mean_{label}_{method}"] = float(np.mean(shares))
    return table, figures


def null(trials: int) -> record.Part:
    """False alarms: all arms have the same true accuracy."""
    table, figures = [], {}
    for name, seeds in itertools.product(("both", "neither"), (2, 3, 5, 10)):
        accuracy = dict.fromkeys(("hard", "smoothed", "distilled"), 0.92) | {"teacher": 0.96}
        said: Counter[str] = Counter()
        alarms = dict.fromkeys(INTERVALS, 0)
        for one in _draws(f"null{name}{seeds}", trials, accuracy, EFFECTS[name], 700, seeds):
            said[_verdict(one)] += 1
            for method, interval in INTERVALS.items():
                low, high = interval(one["distilled"], one["hard"])
                alarms[method] += low > 0 or high < 0
        key = f"{'own_rows' if name == 'both' else 'same_rows'}_s{seeds}"
        row = {"setting": key, "trials": trials, "rows": 700}
        for verdict in ("BEATS", "WORSE", "NO GAIN", "INCONCLUSIVE"):
            row[f"rate_{_name(verdict)}"] = said[verdict] / trials
        row |= {f"alarms_{method}": count / trials for method, count in alarms.items()}
        figures |= {f"{key}_{k}": v for k, v in row.items() if k.startswith(("rate", "alarms"))}
        table.append(row)
        print("null", key, dict(said), alarms, flush=True)
    for verdict in ("beats", "worse"):
        figures[f"worst_rate_{verdict}"] = max(row[f"rate_{verdict}"] for row in table)
    return table, figures


def power(trials: int) -> record.Part:
    """How often BEATS is said where distilled is truly better than hard and smoothed."""
    settings = [  # points over hard, points over smoothed, seeds, rows
        (3.0, 3.0, 5, 700),
        (3.0, 2.5, 5, 700),
        (3.0, 3.0, 3, 700),
        (3.0, 3.0, 2, 700),
        (2.0, 2.0, 5, 700),
        (1.0, 1.0, 5, 700),
        (1.0, 1.0, 5, 10_000),
        (1.0, 1.0, 3, 10_000),
    ]
    table, figures = [], {}
    for over_hard, over_smoothed, seeds, rows in settings:
        accuracy = {
            "hard": 0.95 - over_hard / 100,
            "smoothed": 0.95 - over_smoothed / 100,
            "distilled": 0.95,
            "teacher": 0.965,
        }
        key = f"{over_hard:g}_and_{over_smoothed:g}_points_s{seeds}_r{rows}".replace(".", "p")
        said = Counter(
            _verdict(one) for one in _draws(key, trials, accuracy, MEASURED, rows, seeds)
        )
        figures[f"{key}_beats"] = said["BEATS"] / trials
        table.append({"setting": key, "trials": trials} | {_name(v): n for v, n in said.items()})
        print("power", key, dict(said), flush=True)
    return table, figures


def gap(trials: int) -> record.Part:
    """How often the interval of the gap recovered holds the true two thirds."""
    accuracy = {"hard": 0.92, "smoothed": 0.92, "distilled": 0.95, "teacher": 0.965}
    truth = (0.95 - 0.92) / (0.965 - 0.92)
    table, figures = [], {}
    for seeds, rows in ((2, 700), (3, 700), (5, 700), (5, 200), (3, 10_000)):
        held, none, few = 0, 0, max(trials // 4, 20)
        for one in _draws(f"gap{seeds}{rows}", few, accuracy, MEASURED, rows, seeds):
            teacher = one.pop("teacher")
            recovered = compare(one, teacher=teacher, bootstrap=500).gap_recovered
            none += recovered is None
            held += recovered is not None and recovered.low <= truth <= recovered.high
        key = f"s{seeds}_r{rows}"
        figures[f"{key}_held_of_given"] = held / max(few - none, 1)
        figures[f"{key}_given"] = 1 - none / few
        table.append({"setting": key, "trials": few, "held": held, "none": none})
        print("gap", key, table[-1], flush=True)
    return table, figures


PARTS: dict[str, Callable[[int], record.Part]] = {
    "digits": digits,
    "coverage": coverage,
    "null": null,
    "power": power,
    "gap": gap,
}


def _draws(
    key: str, trials: int, accuracy: dict[str, float], effects: Effects, rows: int, seeds: int
) -> Iterator[dict[str, np.ndarray]]:
    random = _random(key)
    for _ in range(trials):
        yield draw(accuracy, effects, rows=rows, seeds=seeds, random=random)


def _random(key: str) -> np.random.Generator:
    # Each setting has its own stream, so that one can be repeated without the others.
    return np.random.default_rng([SEED, zlib.crc32(key.encode())])


def _verdict(tables: dict[str, np.ndarray]) -> str:
    arms = {arm: table for arm, table in tables.items() if arm != "teacher"}
    # The bootstrap plays no part in the verdict: as few draws as are allowed.
    return compare(arms, teacher=tables["teacher"], validation_gap=0.04, bootstrap=100).verdict


def _name(verdict: str) -> str:
    return verdict.lower().replace(" ", "_")


def _alikeness(correct: dict[str, np.ndarray]) -> dict[str, float]:
    """Correlation of errors (of two seeds), spread of seeds, mean squares of the difference."""
    seeds = len(correct["hard"])

    def phi(first: str, second: str) -> float:
        pairs = [(i, j) for i in range(seeds) for j in range(seeds) if i != j]
        return float(
            np.mean([np.corrcoef(correct[first][i], correct[second][j])[0, 1] for i, j in pairs])
        )

    row, seed, rest = mean_squares((correct["distilled"].astype(float) - correct["hard"]).T)
    return {
        "phi_hard_hard": phi("hard", "hard"),
        "phi_distilled_distilled": phi("distilled", "distilled"),
        "phi_hard_smoothed": phi("hard", "smoothed"),
        "phi_hard_distilled": phi("hard", "distilled"),
        "seed_sd_hard": float(correct["hard"].mean(1).std(ddof=1)),
        "seed_sd_distilled": float(correct["distilled"].mean(1).std(ddof=1)),
        "mean_square_row": row,
        "mean_square_seed": seed,
        "mean_square_residual": rest,
    }


def main() -> None:
    """Run the parts that were asked for and write their results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--trials", type=int, default=2000, help="simulated tables a setting")
    arguments = parser.parse_args()
    parts = {name: PARTS[name](arguments.trials) for name in arguments.parts}
    for name, (_, figures) in parts.items():
        for figure, value in figures.items():
            print(f"{name}_{figure}: {value:.4g}")
    record.write(
        parts,
        command="python benchmarks/verdict/run.py",
        seeds={"simulation": SEED},
        path=Path(__file__).with_name("results.json"),
    )


if __name__ == "__main__":
    main()
