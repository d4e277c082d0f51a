"""What a set of predictions is worth, once the truth is known: counts, metrics, curves and who is mistaken for whom.

Metrics are over the objects that have a probability (classified or abstained) and a known class. Objects without a
probability (rejected or failed) are counted and listed, and enter one number: `completeness_all_inputs`, in which a
true Ia without a probability counts as not called Ia.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import TypeAdapter

from pipeline.evaluate.curves import (
    Number,
    PurityCompletenessCurve,
    ReliabilityBin,
    RocCurve,
    bin_reliability,
    trace_curves,
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

__all__ = [
    "Contamination",
    "Counts",
    "Evaluation",
    "OperatingPoint",
    "RedshiftBin",
    "WithoutProbability",
    "evaluate",
    "find_class_set",
    "find_targets",
]

REDSHIFT_STEP: Final = 0.1
MAX_LISTED: Final = 1000
"""Objects without a probability are all counted, and this many are listed by name."""

UNKNOWN: Final = "unknown"
TRUE_NAMES: Final = ("CLASS", "SUBCLASS")
REDSHIFT_METRICS: Final = ("accuracy", "purity", "completeness", "figure_of_merit")


@dataclass(frozen=True)
class Counts:
    """Where every input went: n_objects = n_evaluated + n_without_truth + n_without_probability.

    Attributes:
        n_objects: rows of the predictions.
        n_by_status: rows by STATUS.
        n_without_truth: rows with a probability whose class is unknown, or is none of the classifier's.
        n_without_probability: rows rejected or failed, whatever is known of their class.
        n_evaluated: rows behind the metrics.
        n_by_class: evaluated rows by true class.
        n_by_prediction: rows with a probability by most probable class, truth known or not.
    """

    n_objects: int
    n_by_status: dict[str, int]
    n_without_truth: int
    n_without_probability: int
    n_evaluated: int
    n_by_class: dict[str, int]
    n_by_prediction: dict[str, int]


@dataclass(frozen=True)
class WithoutProbability:
    """One input that got no probability, and why."""

    snid: str
    status: str
    reason: str


@dataclass(frozen=True)
class RedshiftBin:
    """Metrics of the evaluated objects with a true redshift from `low` up to, not including, `high`."""

    low: float
    high: float
    count: int
    count_ia: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Contamination:
    """How the objects of one true subclass, or of one simulated template, are called.

    Attributes:
        name: subclass or template, "unknown" where the truth does not say.
        target: true class, among the classifier's classes.
        count: evaluated objects.
        called_ia: those with P(Ia) > 0.5: right for Ia, contaminants for the rest.
        mean_p_ia: their mean P(Ia).
        contaminant_share: called_ia over all contaminants; NaN for Ia, and without contaminants.
    """

    name: str
    target: str
    count: int
    called_ia: int
    mean_p_ia: Number
    contaminant_share: Number


@dataclass(frozen=True)
class OperatingPoint:
    """The sample that a threshold on P(Ia) selects."""

    name: str
    threshold: float
    called_ia: int
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """One classifier on one sample; `to_dict` is the content of metrics.json.

    Attributes:
        name: what was evaluated, for a reader.
        classes: the classifier's classes, in the order of its columns.
        counts: where every input went.
        metrics: METRICS by name, and completeness_all_inputs; NaN where undefined.
        confusion: objects of a true class (row) by most probable class (column), in the order of `classes`.
        roc: ROC curve of P(Ia).
        purity_completeness: what purity is to be had at what completeness.
        reliability: share of Ia in bins of P(Ia).
        by_redshift: metrics in bins of true redshift of width 0.1, empty bins left out.
        n_without_redshift: evaluated objects in none of these bins.
        by_subclass: who is called Ia, by true subclass.
        by_template: the same by simulated template.
        operating_points: threshold 0.5, and those handed in.
        without_probability: inputs without a probability, at most 1000 of them.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.
    """

    name: str
    classes: tuple[str, ...]
    counts: Counts
    metrics: dict[str, Estimate]
    confusion: tuple[tuple[int, ...], ...]
    roc: RocCurve
    purity_completeness: PurityCompletenessCurve
    reliability: tuple[ReliabilityBin, ...]
    by_redshift: tuple[RedshiftBin, ...]
    n_without_redshift: int
    by_subclass: tuple[Contamination, ...]
    by_template: tuple[Contamination, ...]
    operating_points: tuple[OperatingPoint, ...]
    without_probability: tuple[WithoutProbability, ...]
    seed: int
    n_resamples: int

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, undefined numbers as null."""
        return cast("dict[str, Any]", _to_json(asdict(self)))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Evaluation:
        """Read `to_dict` back, null as NaN.

        Raises:
            pydantic.ValidationError: if the values are not those of an evaluation; it says which, and why.
        """
        return EVALUATION_ADAPTER.validate_python(dict(values))


Resample = Callable[[Scores, Mapping[str, Metric]], dict[str, Estimate]]
EVALUATION_ADAPTER: Final = TypeAdapter(Evaluation)


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


def _bin_by_redshift(scores: Scores, redshift: Any, resample: Resample) -> tuple[RedshiftBin, ...]:
    # The small shift keeps 0.3 out of the bin below it: 0.3 / 0.1 is 2.9999999999999996.
    index = np.floor(redshift / REDSHIFT_STEP + 1e-9)
    metrics = {name: METRICS[name] for name in REDSHIFT_METRICS}
    rows = []
    for step in np.unique(index[np.isfinite(index)]).tolist():
        inside = _take(scores, np.flatnonzero(index == step))
        edges = (round(step * REDSHIFT_STEP, 6), round((step + 1) * REDSHIFT_STEP, 6))
        rows.append(RedshiftBin(*edges, len(inside), int(inside.is_ia.sum()), resample(inside, metrics)))
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


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
