"""What a model is worth: metrics, scores, latency, and the verdict of a controlled experiment.

The metrics are pure functions from logits to a number. :func:`evaluate` asks a model and scores
its answers. :func:`compare` takes who was right on which row, over arms and seeds, and says
whether the teacher helped; :func:`crossed_interval` is the interval that it rests on.
"""

from __future__ import annotations

from attar import needs_torch  # noqa: F401
from attar.evaluation.bias import BiasCorrection, correct_bias
from attar.evaluation.bias_shift import bias_shift
from attar.evaluation.calibration import Calibration, calibrate, fit_temperature
from attar.evaluation.compare import Comparison, compare
from attar.evaluation.compare_values import ValueComparison, compare_values
from attar.evaluation.evaluate import (
    count_macs,
    evaluate,
    predict_logits,
)
from attar.evaluation.in_sample import in_sample
from attar.evaluation.intervals import (
    Interval,
    binomial_interval,
    bootstrap_ratio,
    crossed_interval,
)
from attar.evaluation.latency import (
    Latency,
    Timing,
    call_times,
    first_rows,
    interleaved,
    latencies,
    latency,
)
from attar.evaluation.metrics import accuracy, agreement, brier, ece, kl_to_teacher, nll
from attar.evaluation.quantiles import QuantileScores, quantile_scores
from attar.evaluation.scores import Scores, scores_from_logits
from attar.evaluation.threshold import Threshold, choose_threshold
from attar.evaluation.values import LabelScores, ValueScores, label_scores, value_scores

__all__ = [
    "BiasCorrection",
    "Calibration",
    "Comparison",
    "Interval",
    "LabelScores",
    "Latency",
    "QuantileScores",
    "Scores",
    "Threshold",
    "Timing",
    "ValueComparison",
    "ValueScores",
    "accuracy",
    "agreement",
    "bias_shift",
    "binomial_interval",
    "bootstrap_ratio",
    "brier",
    "calibrate",
    "call_times",
    "choose_threshold",
    "compare",
    "compare_values",
    "correct_bias",
    "count_macs",
    "crossed_interval",
    "ece",
    "evaluate",
    "first_rows",
    "fit_temperature",
    "in_sample",
    "interleaved",
    "kl_to_teacher",
    "label_scores",
    "latencies",
    "latency",
    "nll",
    "predict_logits",
    "quantile_scores",
    "scores_from_logits",
    "value_scores",
]
