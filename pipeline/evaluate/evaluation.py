"""What a set of predictions is worth, once the truth is known: counts, metrics, curves and who is mistaken for whom.

Metrics are over the objects that have a probability (classified or abstained) and a known class. Objects without a
probability (rejected or failed) are counted and listed, and enter one number: `completeness_all_inputs`, in which a
true Ia without a probability counts as not called Ia.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.evaluate.calibration_parts import compare_promises, take_brier_apart
from pipeline.evaluate.curves import bin_reliability, trace_curves
from pipeline.evaluate.findings import (
    Contamination,
    Counts,
    Evaluation,
    OperatingPoint,
    WithoutProbability,
)
from pipeline.evaluate.metrics import RESAMPLES, Bootstrap, Estimate, selection_metrics
from pipeline.evaluate.mixes import measure_mixes
from pipeline.evaluate.operating import choose_thresholds, count_selections, judge_thresholds, trace_abstention
from pipeline.evaluate.scores import THRESHOLD, Scores
from pipeline.evaluate.slices import slice_by_redshift, slice_by_scale
from pipeline.schema import Predictions, Truth
from pipeline.taxonomy import CLASS_SETS, ClassSet, target_classes

__all__ = ["evaluate", "find_class_set", "find_targets"]

MAX_LISTED: Final = 1000
"""Objects without a probability are all counted, and this many are listed by name."""

UNKNOWN: Final = "unknown"
TRUE_NAMES: Final = ("CLASS", "SUBCLASS")


def evaluate(
    predictions: Predictions,
    truth: Truth,
    *,
    name: str,
    thresholds: Mapping[str, float] | None = None,
    best_snr: pd.Series[float] | None = None,
    prior: Mapping[str, float] | None = None,
    seed: int = 0,
    n_resamples: int = RESAMPLES,
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        predictions: of any classifier of the class sets of `taxonomy`.
        truth: of any objects, in any order; predictions that it does not know are counted.
        name: what is evaluated, for a reader.
        thresholds: further thresholds on P(Ia) to judge, by name; 0.5 always is.
        best_snr: largest S/N of any measurement, by SNID, of any objects; `prepare.selection.best_snr` finds it.
        prior: share of some classes, or of all, under which the metrics are also given; see `mixes.complete_prior`.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.

    Raises:
        ValueError: if the predictions' classes are none of the class sets, or the prior is not one of these classes.
    """
    known = truth.select(predictions.table["SNID"]).table
    targets = _find_columns(known, predictions.classes)
    has_probability = np.isfinite(predictions.probabilities).all(axis=1)
    rows = np.flatnonzero(has_probability & (targets >= 0))
    positive = predictions.classes.index("Ia")
    scores = Scores(predictions.probabilities[rows], targets[rows], positive)
    known, table = known.iloc[rows], predictions.table.iloc[rows]
    bootstrap = Bootstrap(seed, n_resamples)
    metrics = bootstrap.estimate(scores)
    roc, purity_completeness = trace_curves(scores)
    by_redshift = slice_by_redshift(scores, known["REDSHIFT"].to_numpy(np.float64), bootstrap)
    snr = None if best_snr is None else np.asarray(best_snr.reindex(table["SNID"]), dtype=np.float64)
    return Evaluation(
        name=name,
        classes=predictions.classes,
        counts=_count(predictions, targets, has_probability),
        metrics=metrics | {"completeness_all_inputs": _measure_all_inputs(predictions, targets == positive)},
        confusion=_cross(scores),
        roc=roc,
        purity_completeness=purity_completeness,
        reliability=bin_reliability(scores),
        by_redshift=by_redshift,
        n_without_redshift=len(scores) - sum(row.count for row in by_redshift),
        by_subclass=_attribute_contamination(scores, known["SUBCLASS"].fillna(known["CLASS"]), predictions.classes),
        by_template=_attribute_contamination(scores, known["TEMPLATE"], predictions.classes),
        operating_points=_operate(scores, metrics, thresholds or {}, bootstrap),
        without_probability=_list_without_probability(predictions, has_probability),
        seed=seed,
        n_resamples=n_resamples,
        by_snr=() if snr is None else slice_by_scale(scores, snr, bootstrap),
        by_n_epochs=slice_by_scale(scores, table["N_EPOCHS"].to_numpy(np.float64), bootstrap),
        mixes=measure_mixes(scores, predictions.classes, metrics, bootstrap, prior),
        selection=count_selections(scores),
        brier_parts=take_brier_apart(scores),
        expected=compare_promises(scores),
        abstention=trace_abstention(scores),
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
    return _find_columns(truth.select(predictions.table["SNID"]).table, predictions.classes)


def _find_columns(known: pd.DataFrame, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    class_set = find_class_set(classes)
    by_class, by_subclass = (_map_to_columns(known[name], class_set, classes) for name in TRUE_NAMES)
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
    statuses = predictions.table["STATUS"].value_counts().sort_index()
    called = np.bincount(predictions.probabilities[has_probability].argmax(axis=1), minlength=len(classes))
    true = np.bincount(targets[evaluated], minlength=len(classes))
    return Counts(
        n_objects=len(predictions),
        n_by_status={str(status): int(n) for status, n in statuses.items()},
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


def _cross(scores: Scores) -> tuple[tuple[int, ...], ...]:
    n_classes = scores.probabilities.shape[1]
    cells = scores.targets * n_classes + scores.called
    table = np.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)
    return tuple(tuple(row) for row in table.tolist())


def _attribute_contamination(
    scores: Scores, names: pd.Series[str], classes: tuple[str, ...]
) -> tuple[Contamination, ...]:
    table = pd.DataFrame(
        {
            "name": names.fillna(UNKNOWN).astype(str).astype("category").to_numpy(),
            "target": scores.targets,
            "p_ia": scores.p_ia,
            "called": scores.p_ia > THRESHOLD,
        }
    )
    groups = table.groupby(["target", "name"], observed=True)
    found = groups.agg(count=("p_ia", "size"), called=("called", "sum"), mean=("p_ia", "mean"))
    n_contaminants = int((table["called"] & ~scores.is_ia).sum())
    rows = []
    for (target, name), count, called, mean in zip(found.index, *(found[column] for column in found), strict=True):
        share = called / n_contaminants if target != scores.positive and n_contaminants else math.nan
        rows.append(Contamination(str(name), classes[target], int(count), int(called), float(mean), float(share)))
    return tuple(sorted(rows, key=lambda row: (classes.index(row.target), -row.called_ia, row.name)))


def _operate(
    scores: Scores, metrics: Mapping[str, Estimate], thresholds: Mapping[str, float], bootstrap: Bootstrap
) -> tuple[OperatingPoint, ...]:
    """Judge the default threshold, by the metrics as they are, then those handed in, then those chosen here."""
    default = {name: metrics[name] for name in selection_metrics(THRESHOLD)}
    return (
        OperatingPoint("default", THRESHOLD, int((scores.p_ia > THRESHOLD).sum()), default),
        *judge_thresholds(scores, thresholds, bootstrap),
        *judge_thresholds(scores, choose_thresholds(scores), bootstrap, is_optimistic=True),
    )


def _list_without_probability(predictions: Predictions, has_probability: Any) -> tuple[WithoutProbability, ...]:
    missing = predictions.table.loc[~has_probability, ["SNID", "STATUS", "REASON"]].head(MAX_LISTED)
    return tuple(WithoutProbability(*map(str, row)) for row in missing.itertuples(index=False))
