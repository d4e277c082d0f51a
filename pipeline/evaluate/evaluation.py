"""What a set of predictions is worth, once the truth is known: counts, metrics, curves and who is mistaken for whom.

Metrics are over the objects that have a probability (classified or abstained) and a known class. Objects without a
probability (rejected or failed) are counted and listed, and enter one number: `completeness_all_inputs`, in which a
true Ia without a probability counts as not called Ia.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.evaluate.curves import bin_reliability, trace_curves
from pipeline.evaluate.findings import (
    Contamination,
    Counts,
    Evaluation,
    MetricBin,
    OperatingPoint,
    WithoutProbability,
)
from pipeline.evaluate.metrics import (
    METRICS,
    RESAMPLES,
    THRESHOLD,
    Estimate,
    Metric,
    Scores,
    bootstrap,
    selection_metrics,
)
from pipeline.schema import Predictions, Truth
from pipeline.taxonomy import CLASS_SETS, ClassSet, target_classes

__all__ = ["evaluate", "find_class_set", "find_targets"]

REDSHIFT_STEP: Final = 0.1
MAX_LISTED: Final = 1000
"""Objects without a probability are all counted, and this many are listed by name."""

UNKNOWN: Final = "unknown"
TRUE_NAMES: Final = ("CLASS", "SUBCLASS")
REDSHIFT_METRICS: Final = ("accuracy", "purity", "completeness", "figure_of_merit")


Resample = Callable[[Scores, Mapping[str, Metric]], dict[str, Estimate]]


def evaluate(
    predictions: Predictions,
    truth: Truth,
    *,
    name: str,
    thresholds: Mapping[str, float] | None = None,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        predictions: of any classifier of the class sets of `taxonomy`.
        truth: of any objects, in any order; predictions that it does not know are counted.
        name: what is evaluated, for a reader.
        thresholds: further thresholds on P(Ia) to judge, by name; 0.5 always is.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.

    Raises:
        ValueError: if the predictions' classes are none of the class sets.
    """
    targets = find_targets(predictions, truth)
    has_probability = np.isfinite(predictions.probabilities).all(axis=1)
    rows = np.flatnonzero(has_probability & (targets >= 0))
    positive = predictions.classes.index("Ia")
    scores = Scores(predictions.probabilities[rows], targets[rows], positive)
    known = truth.select(predictions.table["SNID"]).table.iloc[rows]
    resample = partial(_bootstrap, seed=seed, n_resamples=n_resamples)
    metrics = resample(scores, METRICS)
    metrics["completeness_all_inputs"] = _measure_all_inputs(predictions, targets == positive)
    roc, purity_completeness = trace_curves(scores)
    by_redshift = _bin_by_redshift(scores, known["REDSHIFT"].to_numpy(float), resample)
    return Evaluation(
        name=name,
        classes=predictions.classes,
        counts=_count(predictions, targets, has_probability),
        metrics=metrics,
        confusion=_cross(scores),
        roc=roc,
        purity_completeness=purity_completeness,
        reliability=bin_reliability(scores),
        by_redshift=by_redshift,
        n_without_redshift=len(scores) - sum(row.count for row in by_redshift),
        by_subclass=_attribute_contamination(scores, known["SUBCLASS"].fillna(known["CLASS"]), predictions.classes),
        by_template=_attribute_contamination(scores, known["TEMPLATE"], predictions.classes),
        operating_points=_operate(scores, {"default": THRESHOLD, **(thresholds or {})}, resample),
        without_probability=_list_without_probability(predictions, has_probability),
        seed=seed,
        n_resamples=n_resamples,
    )


def find_class_set(classes: tuple[str, ...]) -> ClassSet:
    """Return the class set with these classes, in any order.

    >>> find_class_set(("II", "Ia", "Ibc"))
    'types'

    Raises:
        ValueError: if there is none.
    """
    for class_set, members in CLASS_SETS.items():
        if set(members) == set(classes):
            return class_set
    expected = " or ".join(str(members) for members in CLASS_SETS.values())
    raise ValueError(f"cannot evaluate the classes {classes}; expected {expected}")


def find_targets(predictions: Predictions, truth: Truth) -> npt.NDArray[np.int64]:
    """Return (n_objects,) the column of each object's true class; −1 where unknown, or none of the classifier's.

    The subclass decides; where it is unknown to the taxonomy or the classifier, the class does.
    """
    class_set = find_class_set(predictions.classes)
    known = truth.select(predictions.table["SNID"]).table
    by_class, by_subclass = (_map_to_columns(known[name], class_set, predictions.classes) for name in TRUE_NAMES)
    return np.asarray(by_subclass.fillna(by_class).fillna(-1), dtype=np.int64)


def _map_to_columns(names: pd.Series[str], class_set: ClassSet, classes: tuple[str, ...]) -> pd.Series[float]:
    columns = {
        name: classes.index(target)
        for name in names.dropna().unique()
        if (target := target_classes(name, class_set)) in classes
    }
    return names.map(columns).astype(float)


def _count(predictions: Predictions, targets: Any, has_probability: Any) -> Counts:
    evaluated = has_probability & (targets >= 0)
    classes = predictions.classes
    called = np.bincount(predictions.probabilities[has_probability].argmax(axis=1), minlength=len(classes))
    true = np.bincount(targets[evaluated], minlength=len(classes))
    return Counts(
        n_objects=len(predictions),
        n_by_status=dict(sorted(Counter(predictions.table["STATUS"].tolist()).items())),
        n_without_truth=int((has_probability & (targets < 0)).sum()),
        n_without_probability=int((~has_probability).sum()),
        n_evaluated=int(evaluated.sum()),
        n_by_class=dict(zip(classes, true.tolist(), strict=True)),
        n_by_prediction=dict(zip(classes, called.tolist(), strict=True)),
    )


def _measure_all_inputs(predictions: Predictions, is_ia: Any) -> Estimate:
    """Completeness over every input with a known class; one without a probability is not called Ia."""
    n_ia = int(is_ia.sum())
    if not n_ia:
        return Estimate(math.nan, math.nan)
    p_ia = predictions.table["P_Ia"].to_numpy(float)[is_ia]
    share = float((p_ia > THRESHOLD).mean())
    return Estimate(share, math.sqrt(share * (1 - share) / n_ia))


def _bootstrap(scores: Scores, metrics: Mapping[str, Metric], seed: int, n_resamples: int) -> dict[str, Estimate]:
    """Start from the seed every time, so that one quantity has one error wherever it is shown."""
    return bootstrap(scores, np.random.default_rng(seed), metrics, n_resamples)


def _cross(scores: Scores) -> tuple[tuple[int, ...], ...]:
    n_classes = scores.probabilities.shape[1]
    cells = scores.targets * n_classes + scores.probabilities.argmax(axis=1)
    table = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
    return tuple(tuple(row) for row in table.tolist())


def _take(scores: Scores, rows: Any) -> Scores:
    return Scores(scores.probabilities[rows], scores.targets[rows], scores.positive)


def _bin_by_redshift(scores: Scores, redshift: Any, resample: Resample) -> tuple[MetricBin, ...]:
    # The small shift keeps 0.3 out of the bin below it: 0.3 / 0.1 is 2.9999999999999996.
    index = np.floor(redshift / REDSHIFT_STEP + 1e-9)
    metrics = {name: METRICS[name] for name in REDSHIFT_METRICS}
    rows = []
    for step in np.unique(index[np.isfinite(index)]).tolist():
        inside = _take(scores, np.flatnonzero(index == step))
        edges = (round(step * REDSHIFT_STEP, 6), round((step + 1) * REDSHIFT_STEP, 6))
        rows.append(MetricBin(*edges, len(inside), int(inside.is_ia.sum()), resample(inside, metrics)))
    return tuple(rows)


def _attribute_contamination(
    scores: Scores, names: pd.Series[str], classes: tuple[str, ...]
) -> tuple[Contamination, ...]:
    table = pd.DataFrame(
        {
            "name": names.fillna(UNKNOWN).astype(str).to_numpy(),
            "target": np.asarray(classes, dtype=object)[scores.targets],
            "p_ia": scores.p_ia,
            "called": scores.p_ia > THRESHOLD,
        }
    )
    n_contaminants = int((table["called"] & ~scores.is_ia).sum())
    rows = []
    for (target, name), group in table.groupby(["target", "name"]):
        called = int(group["called"].sum())
        share = called / n_contaminants if target != "Ia" and n_contaminants else math.nan
        rows.append(Contamination(str(name), str(target), len(group), called, float(group["p_ia"].mean()), share))
    return tuple(sorted(rows, key=lambda row: (classes.index(row.target), -row.called_ia, row.name)))


def _operate(scores: Scores, thresholds: Mapping[str, float], resample: Resample) -> tuple[OperatingPoint, ...]:
    return tuple(
        OperatingPoint(
            name,
            threshold,
            int((scores.p_ia > threshold).sum()),
            resample(scores, selection_metrics(threshold)),
        )
        for name, threshold in thresholds.items()
    )


def _list_without_probability(predictions: Predictions, has_probability: Any) -> tuple[WithoutProbability, ...]:
    missing = predictions.table.loc[~has_probability, ["SNID", "STATUS", "REASON"]].head(MAX_LISTED)
    return tuple(WithoutProbability(*map(str, row)) for row in missing.itertuples(index=False))
