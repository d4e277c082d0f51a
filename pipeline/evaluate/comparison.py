"""Two classifications of the same objects: by how much their metrics differ, and whether that may be chance."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.evaluate.evaluation import find_targets
from pipeline.evaluate.findings import Comparison, Difference
from pipeline.evaluate.metrics import MAX_RESAMPLED, METRICS, draw_counts, measure
from pipeline.evaluate.scores import Floats, Scores, condense
from pipeline.schema import Predictions, Truth

__all__ = ["compare", "compare_scores"]

PAIRED_RESAMPLES: Final = 2000
"""A p-value is a multiple of one over this."""

INTERVAL: Final = (0.025, 0.975)


def compare(
    ours: Predictions,
    theirs: Predictions,
    truth: Truth,
    other: str,
    seed: int = 0,
    n_resamples: int = PAIRED_RESAMPLES,
) -> Comparison:
    """Compare two classifications by the objects that both evaluate.

    Where the classifiers tell different sets of classes apart, both are asked for Ia against the rest, P(Ia) and
    1 − P(Ia), and "the most probable class" means that, too.

    Args:
        ours: predictions.
        theirs: of another classifier, in any order, for any objects.
        truth: the classes.
        other: name of the other run.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.

    Raises:
        ValueError: if the classes of either are none of the class sets, or predictions repeat an SNID.
    """
    our_table, their_table = _evaluated(ours, truth), _evaluated(theirs, truth)
    common = our_table.index.intersection(their_table.index, sort=False)
    is_same = set(ours.classes) == set(theirs.classes)
    columns = ours.classes if is_same else ("Ia",)
    first, second = (_scores(table.loc[common], columns) for table in (our_table, their_table))
    return Comparison(
        other=other,
        n_common=len(common),
        n_only_ours=len(our_table) - len(common),
        n_only_theirs=len(their_table) - len(common),
        n_changed=int((first.called != second.called).sum()),
        n_gained=int((first.is_correct & ~second.is_correct).sum()),
        n_lost=int((~first.is_correct & second.is_correct).sum()),
        differences=compare_scores(first, second, seed, n_resamples),
    )


def compare_scores(ours: Scores, theirs: Scores, seed: int, n_resamples: int) -> tuple[Difference, ...]:
    """Resample the objects, the same for both, and look at the differences of METRICS.

    Of more than MAX_RESAMPLED objects, cells of objects that are alike in both are resampled, as in
    `metrics.bootstrap`, about the exact difference.

    Args:
        ours: scores of n objects.
        theirs: of the same objects, in the same order.
        seed: of the bootstrap.
        n_resamples: of the bootstrap.
    """
    mine, yours = measure(ours), measure(theirs)
    drawn: dict[str, list[Floats]] = {name: [] for name in METRICS}
    cells = condense(ours, theirs) if len(ours) > MAX_RESAMPLED else None
    pair = (ours, theirs) if cells is None else cells.scores
    shift = _blur(pair, mine, yours, cells.counts) if cells is not None else dict.fromkeys(METRICS, 0.0)
    n_drawn = n_resamples if len(ours) > 1 else 0
    for counts in draw_counts(len(ours), n_drawn, np.random.default_rng(seed), cells):
        for name, metric in METRICS.items():
            drawn[name].append(metric(pair[0], counts) - metric(pair[1], counts) + shift[name])
    return tuple(_difference(name, mine[name], yours[name], drawn[name]) for name in METRICS)


def _difference(name: str, ours: float, theirs: float, drawn: list[Floats]) -> Difference:
    values = np.concatenate([*drawn, np.empty(0)])
    defined = values[np.isfinite(values)]
    if len(defined) <= max(1, len(values) / 2):
        return Difference(name, ours, theirs, ours - theirs, np.nan, np.nan, np.nan)
    low, high = np.quantile(defined, INTERVAL)
    # One is added to both counts, the observed sample being one of those possible (Davison & Hinkley 1997, § 4.2).
    smaller = min((defined <= 0).sum(), (defined >= 0).sum())
    p_value = min(1.0, 2.0 * (smaller + 1) / (len(defined) + 1))
    return Difference(name, ours, theirs, ours - theirs, float(low), float(high), float(p_value))


def _blur(
    cells: tuple[Scores, ...], mine: dict[str, float], yours: dict[str, float], counts: npt.NDArray[np.int64]
) -> dict[str, float]:
    """What the differences of all objects have more than those of their cells."""
    once = counts[None].astype(np.float64)
    found = {name: float((metric(cells[0], once) - metric(cells[1], once))[0]) for name, metric in METRICS.items()}
    return {name: mine[name] - yours[name] - found[name] for name in METRICS}


def _evaluated(predictions: Predictions, truth: Truth) -> pd.DataFrame:
    """Objects with a probability and a known class: P_<class> by SNID, and TARGET, the name of the true class."""
    targets = find_targets(predictions, truth)
    probabilities = predictions.probabilities
    rows = np.flatnonzero(np.isfinite(probabilities).all(axis=1) & (targets >= 0))
    snids = predictions.table["SNID"].iloc[rows]
    if snids.duplicated().any():
        raise ValueError(f"SNID {snids[snids.duplicated()].iloc[0]} has several predictions; expected one")
    table = pd.DataFrame(probabilities[rows], columns=list(predictions.classes), index=pd.Index(snids))
    table["TARGET"] = np.asarray(predictions.classes, dtype=object)[targets[rows]]
    return table


def _scores(table: pd.DataFrame, columns: tuple[str, ...]) -> Scores:
    """Scores of some classes; of Ia alone, Ia against the rest."""
    if columns == ("Ia",):
        p_ia = table["Ia"].to_numpy(np.float64)
        targets = (table["TARGET"] != "Ia").to_numpy().astype(np.int64)
        return Scores(np.column_stack([p_ia, 1 - p_ia]), targets)
    places = table["TARGET"].map({name: place for place, name in enumerate(columns)})
    targets = np.asarray(places, dtype=np.int64)
    return Scores(table[list(columns)].to_numpy(np.float64), targets, columns.index("Ia"))
