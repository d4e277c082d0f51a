"""What a report is made of; every piece may be missing, and the page then says so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.evaluate.evaluation import find_targets
from pipeline.evaluate.findings import Evaluation
from pipeline.schema import LightCurves, Predictions, Truth

__all__ = ["GALLERY_KINDS", "HISTORY_COLUMNS", "GalleryItem", "ReportInputs", "choose_gallery"]

HISTORY_COLUMNS: Final = (
    "MEMBER",
    "EPOCH",
    "TRAIN_LOSS",
    "VALID_LOSS",
    "VALID_ACCURACY",
    "LEARNING_RATE",
    "SECONDS",
)
GALLERY_KINDS: Final = ("most confident and right", "most confident and wrong", "most confident", "most uncertain")
"""In the order of the page; the third takes the place of the first two where the truth is unknown."""


@dataclass(frozen=True)
class GalleryItem:
    """One light curve to look at, with what the classifier says of it.

    Attributes:
        snid: as the survey names it.
        epochs: MJD [d], BAND, FLUXCAL, FLUXCALERR at ZP 27.5 mag AB, in time order.
        probabilities: by class.
        true_class: subclass, or class; None where unknown.
        kind: why it is shown, one of GALLERY_KINDS.
    """

    snid: str
    epochs: pd.DataFrame
    probabilities: Mapping[str, float]
    true_class: str | None
    kind: str


@dataclass(frozen=True)
class ReportInputs:
    """Everything the page shows.

    Attributes:
        title: of the page.
        is_simulated: whether snflow made up the light curves itself; the page then says so beside every number.
        model: what classified, in a few words.
        data: what was classified, in a few words.
        ingest: sources, n_files, n_ingested, n_unchanged, n_quarantined, n_ignored, n_epochs, n_epochs_dropped,
            reasons (count by reason), seconds.
        cuts: each selection cut, and how many objects it left out.
        split: objects in train, validation and test.
        class_mix: objects by part and class.
        redshifts: true redshift of the objects of each part, for the histogram.
        history: one row per member and epoch of training, HISTORY_COLUMNS.
        evaluations: the headline first, then others to stand beside it (control, charnock17, without redshift).
        uncalibrated: the headline before its temperature was fitted.
        gallery: light curves to look at.
        quarantine: rows of QUARANTINE_SCHEMA.
        configuration: resolved settings.
        provenance: data and split hashes, code and dependency versions, seeds, times.
        command: what reproduces this report.
        protocol: id of a published protocol, "P1".

    Raises:
        ValueError: if two evaluations have the same name, or the history lacks a column.
    """

    title: str
    is_simulated: bool
    model: str = ""
    data: str = ""
    ingest: Mapping[str, Any] = field(default_factory=dict)
    cuts: Sequence[tuple[str, int]] = ()
    split: Mapping[str, int] = field(default_factory=dict)
    class_mix: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    redshifts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(HISTORY_COLUMNS)))
    evaluations: Sequence[Evaluation] = ()
    uncalibrated: Evaluation | None = None
    gallery: Sequence[GalleryItem] = ()
    quarantine: pd.DataFrame = field(default_factory=pd.DataFrame)
    configuration: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    command: str = ""
    protocol: str | None = None

    def __post_init__(self) -> None:
        """Validate once, at the boundary."""
        names = [evaluation.name for evaluation in self.evaluations]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluations in one report need different names, came {names}")
        missing = set(HISTORY_COLUMNS) - set(self.history.columns)
        if missing:
            raise ValueError(f"the training history lacks the columns {sorted(missing)}")

    @property
    def headline(self) -> Evaluation | None:
        """The evaluation that the verdict is about."""
        return self.evaluations[0] if self.evaluations else None

    @property
    def has_performance(self) -> bool:
        """Whether the class of any object is known."""
        return self.headline is not None and self.headline.counts.n_evaluated > 0


def choose_gallery(
    light_curves: LightCurves, predictions: Predictions, truth: Truth | None, n_each: int = 3
) -> list[GalleryItem]:
    """Choose the most telling light curves: confident and right, confident and wrong, most uncertain.

    Without truth the most confident stand for the first two kinds. An object is shown once at most.

    Args:
        light_curves: where the photometry comes from; predictions of other objects are passed over.
        predictions: what the classifier says.
        truth: the true classes, as far as known.
        n_each: how many of each kind.
    """
    table = _rank(light_curves, predictions, truth)
    chosen: dict[str, str] = {}
    for kind, candidates in _candidates(table):
        fresh = candidates[~candidates["SNID"].isin(list(chosen))].head(n_each)
        chosen.update(dict.fromkeys(fresh["SNID"], kind))
    picked = light_curves.select(chosen)
    rows = table.set_index("SNID").loc[list(chosen)]
    return [
        GalleryItem(
            snid=str(snid),
            epochs=picked.epochs.iloc[picked.offsets[i] : picked.offsets[i + 1]].reset_index(drop=True),
            probabilities={name: float(rows[f"P_{name}"].iloc[i]) for name in predictions.classes},
            true_class=None if pd.isna(rows["TRUE"].iloc[i]) else str(rows["TRUE"].iloc[i]),
            kind=kind,
        )
        for i, (snid, kind) in enumerate(chosen.items())
    ]


def _rank(light_curves: LightCurves, predictions: Predictions, truth: Truth | None) -> pd.DataFrame:
    """Objects with photometry and a probability, with confidence and whether they are right (NaN where unknown)."""
    table = predictions.table.copy()
    probabilities = predictions.probabilities
    has_probability = pd.Series(np.isfinite(probabilities).all(axis=1), index=table.index)
    table["CONFIDENCE"] = np.where(has_probability, np.nan_to_num(probabilities).max(axis=1), np.nan)
    table["CALLED"] = np.nan_to_num(probabilities).argmax(axis=1)
    table["TARGET"] = -1 if truth is None else find_targets(predictions, truth)
    known = None if truth is None else truth.select(table["SNID"]).table
    table["TRUE"] = None if known is None else known["SUBCLASS"].fillna(known["CLASS"]).to_numpy()
    shown = table["SNID"].isin(light_curves.objects["SNID"]) & has_probability
    return table[shown].sort_values(["CONFIDENCE", "SNID"], ascending=[False, True], kind="stable")


def _candidates(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each kind with its objects, best first."""
    is_known = table["TARGET"] >= 0
    is_right = table["CALLED"] == table["TARGET"]
    right, wrong, confident, uncertain = GALLERY_KINDS
    if not is_known.any():
        return [(confident, _alternate(table)), (uncertain, table.iloc[::-1])]
    return [
        (right, _alternate(table[is_known & is_right])),
        (wrong, table[is_known & ~is_right]),
        (uncertain, table.iloc[::-1]),
    ]


def _alternate(table: pd.DataFrame) -> pd.DataFrame:
    """Take the called classes in turn, so that the examples are not all of one."""
    turn = table.groupby("CALLED").cumcount()
    return table.iloc[np.lexsort((table["CALLED"].to_numpy(), turn.to_numpy()))]
