"""Light curves to look at, from photometry and predictions alone, for a gallery where the model is not at hand."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.evaluate.evaluation import find_targets
from pipeline.report.gallery import GalleryCurve
from pipeline.schema import LightCurves, Predictions, Truth

__all__ = ["choose_plain_gallery"]

RIGHT: Final = "confident and right"
WRONG: Final = "confident and wrong"
CONFIDENT: Final = "confident"
UNCERTAIN: Final = "uncertain"
NOVEL: Final = "novel"
MAX_EPOCHS: Final = 400


def choose_plain_gallery(
    light_curves: LightCurves, predictions: Predictions, truth: Truth | None, n_each: int = 48
) -> tuple[GalleryCurve, ...]:
    """Choose the most telling light curves, in turn of their kinds: wrong, uncertain, novel, right.

    Without truth the most confident stand for the first and the last. An object is shown once, with all its kinds.

    Args:
        light_curves: where the photometry comes from; predictions of other objects are passed over.
        predictions: what the classifier says.
        truth: the true classes, as far as known.
        n_each: how many of each kind.
    """
    table = _rank(light_curves, predictions, truth)
    kinds: dict[str, list[str]] = {}
    for kind, candidates in _candidates(table, n_each):
        for snid in candidates["SNID"]:
            kinds.setdefault(snid, []).append(kind)
    picked = light_curves.select(kinds)
    rows = table.set_index("SNID").loc[list(kinds)]
    return tuple(
        GalleryCurve(
            snid=str(snid),
            kinds=tuple(kinds[snid]),
            true_class=None if pd.isna(rows["TRUE"].iloc[i]) else str(rows["TRUE"].iloc[i]),
            called=predictions.classes[rows["CALLED"].iloc[i]],
            is_right=bool(rows["CALLED"].iloc[i] == rows["TARGET"].iloc[i]) if rows["TARGET"].iloc[i] >= 0 else None,
            probabilities={name: float(rows[f"P_{name}"].iloc[i]) for name in predictions.classes},
            novelty=float(rows["NOVELTY"].iloc[i]),
            redshift=float("nan"),
            **_photometry(picked.epochs.iloc[picked.offsets[i] : picked.offsets[i + 1]]),
        )
        for i, snid in enumerate(kinds)
    )


def _photometry(epochs: pd.DataFrame) -> dict[str, Any]:
    """Measurements of one object, at most 400 of them, evenly chosen."""
    kept = epochs.iloc[np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), MAX_EPOCHS)).astype(int))]
    columns = {"mjd": "MJD", "flux": "FLUXCAL", "error": "FLUXCALERR"}
    values = {name: tuple(kept[column].astype(float).round(3).tolist()) for name, column in columns.items()}
    band = tuple(kept["BAND"].astype(str))
    empty: dict[str, Any] = {"steps": (), "step_flux": {}, "history_mjd": (), "history": {}}
    return {**values, "band": band, "n_epochs": len(epochs), **empty}


def _rank(light_curves: LightCurves, predictions: Predictions, truth: Truth | None) -> pd.DataFrame:
    """Objects with photometry and a probability, the most confident first; TARGET is −1 where the truth is unknown."""
    table = predictions.table.copy()
    probabilities = predictions.probabilities
    has_probability = pd.Series(np.isfinite(probabilities).all(axis=1), index=table.index)
    table["CONFIDENCE"] = np.where(has_probability, np.nan_to_num(probabilities).max(axis=1), np.nan)
    table["CALLED"] = np.nan_to_num(probabilities).argmax(axis=1)
    table["TARGET"] = -1 if truth is None else find_targets(predictions, truth)
    known = None if truth is None else truth.select(table["SNID"]).table
    table["TRUE"] = None if known is None else known["SUBCLASS"].fillna(known["CLASS"]).to_numpy()
    table["NOVELTY"] = table["NOVELTY"].astype(float) if "NOVELTY" in table else np.nan
    shown = table["SNID"].isin(light_curves.objects["SNID"]) & has_probability
    return table[shown].sort_values(["CONFIDENCE", "SNID"], ascending=[False, True], kind="stable")


def _candidates(table: pd.DataFrame, n_each: int) -> list[tuple[str, pd.DataFrame]]:
    """Each kind with its objects, the most telling first."""
    is_known = table["TARGET"] >= 0
    is_right = table["CALLED"] == table["TARGET"]
    novel = table[table["NOVELTY"].notna()].sort_values("NOVELTY", ascending=False, kind="stable")
    uncertain = (UNCERTAIN, table.iloc[::-1].head(n_each))
    if not is_known.any():
        return [(CONFIDENT, _alternate(table).head(n_each)), uncertain, (NOVEL, novel.head(n_each))]
    return [
        (WRONG, table[is_known & ~is_right].head(n_each)),
        uncertain,
        (NOVEL, novel.head(n_each)),
        (RIGHT, _alternate(table[is_known & is_right]).head(n_each)),
    ]


def _alternate(table: pd.DataFrame) -> pd.DataFrame:
    """Take the called classes in turn, so that the examples are not all of one."""
    turn = table.groupby("CALLED").cumcount()
    return table.iloc[np.lexsort((table["CALLED"].to_numpy(), turn.to_numpy()))]
