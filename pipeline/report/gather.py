"""Chooses light curves to look at, and gathers what the page shows of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.classify.nights import classify_nights
from pipeline.classify.predict import Classifier, Progress, with_redshift
from pipeline.evaluate.evaluation import find_targets
from pipeline.prepare.resample import band_columns, group_index
from pipeline.prepare.window import keep_steps
from pipeline.report.gallery import GalleryCurve
from pipeline.schema import LightCurves, Predictions, Truth, probability_columns
from pipeline.train.inference import group_photometry, steps_read

__all__ = [
    "KINDS",
    "MAX_MEASUREMENTS",
    "MAX_NIGHTS",
    "N_CURVES",
    "choose_curves",
    "gather_gallery",
]

N_CURVES: Final = 240
MAX_MEASUREMENTS: Final = 400
"""Measurements, and steps, of one curve that are kept, evenly chosen."""
MAX_NIGHTS: Final = 60
"""Nights of one curve after which it is classified again, evenly chosen."""

WRONG, RIGHT, CONFIDENT = "confident and wrong", "confident and right", "confident"
UNCERTAIN, NOVEL, SAMPLE = "uncertain", "novel", "sample"
KINDS: Final = (WRONG, UNCERTAIN, NOVEL, RIGHT, CONFIDENT, SAMPLE)
"""Why a curve may be shown, the most telling first; CONFIDENT stands for WRONG and RIGHT where no class is known."""

SHARES: Final = {WRONG: 1 / 3, UNCERTAIN: 1 / 4, NOVEL: 1 / 6, RIGHT: 1 / 12, CONFIDENT: 1 / 4}
"""Share of the gallery that each kind may take; a random sample fills the rest."""

DAY_DECIMALS: Final = 3
PROBABILITY_DECIMALS: Final = 4
FLUX_DIGITS: Final = 4
NOTHING: Final[dict[str, Any]] = {
    "redshift": float("nan"),
    "steps": (),
    "step_flux": {},
    "history_mjd": (),
    "history": {},
}
"""What is known of a curve without its classifier."""


@dataclass(frozen=True)
class Steps:
    """The steps of some objects, as the network is given them.

    Attributes:
        offsets: (n_objects + 1) the steps of object i are `offsets[i]:offsets[i + 1]`.
        mjd: (n_steps,) [d].
        flux: (n_steps, n_bands) FLUXCAL, NaN where not observed.
        bands: names of the columns.
    """

    offsets: npt.NDArray[np.int64]
    mjd: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    bands: tuple[str, ...]


def gather_gallery(
    classifier: Classifier | None,
    light_curves: LightCurves,
    predictions: Predictions,
    truth: Truth | None,
    n_total: int = N_CURVES,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[GalleryCurve, ...]:
    """Choose light curves, and gather everything that is shown of them.

    Args:
        classifier: that made the predictions; None where it is gone: then there are no steps and no history.
        light_curves: in bands that the classifier knows; predictions of other objects are passed over.
        predictions: what the classifier says of them.
        truth: the true classes, as far as known.
        n_total: how many curves, if there are as many.
        seed: of the random sample.
        progress: called with how many cut light curves are classified, and how many there are.

    Raises:
        ContractError: if the data have bands that the model does not know.
    """
    has_photometry = predictions.table["SNID"].isin(light_curves.objects["SNID"])
    shown = Predictions(predictions.table[has_photometry].reset_index(drop=True), predictions.classes)
    chosen = choose_curves(shown, truth, n_total, seed)
    picked = light_curves.select(chosen)
    table = _describe(shown, truth).set_index("SNID", drop=False).loc[list(chosen)]
    given = [{}] * len(picked) if classifier is None else _ask(classifier, picked, predictions.classes, progress)
    return tuple(
        GalleryCurve(
            **{**_name(row, chosen[row["SNID"]], predictions.classes), **_photometry(picked, place), **NOTHING, **found}
        )
        for place, (row, found) in enumerate(zip(table.to_dict("records"), given, strict=True))
    )


def choose_curves(
    predictions: Predictions, truth: Truth | None, n_total: int = N_CURVES, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Choose the most telling objects that have a probability.

    Of those wrong, right, uncertain and novel the most extreme, up to their SHARES of the gallery, and a random sample
    to fill it; those right, or confident, by called class in turn.

    Returns:
        SNID to kinds, in the order of KINDS; each object once, with all its kinds.
    """
    table = _describe(predictions, truth)
    table = table[table["CONFIDENCE"].notna()].sort_values(["CONFIDENCE", "SNID"], ascending=[False, True])
    kinds: dict[str, tuple[str, ...]] = {}
    for kind, candidates in _candidates(table):
        for snid in candidates["SNID"].head(round(SHARES[kind] * n_total)).tolist():
            kinds[snid] = (*kinds.get(snid, ()), kind)
    others = np.sort(table.loc[~table["SNID"].isin(list(kinds)), "SNID"].to_numpy(dtype=str))
    n_missing = min(max(n_total - len(kinds), 0), len(others))
    drawn = np.random.default_rng(seed).choice(len(others), n_missing, replace=False)
    return kinds | dict.fromkeys(others[np.sort(drawn)].tolist(), (SAMPLE,))


def _describe(predictions: Predictions, truth: Truth | None) -> pd.DataFrame:
    """Every object with CONFIDENCE (NaN without a probability), CALLED, TARGET (column, −1 unknown), and TRUE name."""
    table = predictions.table.copy()
    has_probability = np.asarray(np.isfinite(predictions.probabilities).all(axis=1))
    probabilities = np.where(has_probability[:, None], predictions.probabilities, 0.0)
    table["CONFIDENCE"] = np.where(has_probability, probabilities.max(axis=1, initial=0.0), np.nan)
    table["CALLED"] = probabilities.argmax(axis=1)
    table["TARGET"] = -1 if truth is None else find_targets(predictions, truth)
    known = None if truth is None else truth.select(table["SNID"]).table
    table["TRUE"] = None if known is None else known["SUBCLASS"].fillna(known["CLASS"]).to_numpy()
    return table


def _candidates(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each kind with its objects, best first, of a table that is ordered by falling confidence."""
    is_known = table["TARGET"] >= 0
    is_right = table["CALLED"] == table["TARGET"]
    if is_known.any():
        yield WRONG, table[is_known & ~is_right]
    yield UNCERTAIN, table[::-1]
    yield NOVEL, table[table["NOVELTY"].notna()].sort_values(["NOVELTY", "SNID"], ascending=[False, True])
    if is_known.any():
        yield RIGHT, _alternate(table[is_known & is_right])
    else:
        yield CONFIDENT, _alternate(table)


def _alternate(table: pd.DataFrame) -> pd.DataFrame:
    """Take the called classes in turn, so that the examples are not all of one."""
    turn = table.groupby("CALLED").cumcount().to_numpy()
    return table.iloc[np.lexsort((table["CALLED"].to_numpy(), turn))]


def _redshift(classifier: Classifier, light_curves: LightCurves) -> npt.NDArray[np.float64]:
    """(n_objects,) what the network is given for redshift; NaN where it is given none."""
    if not classifier.checkpoint.experiment.normaliser.use_redshift:
        return np.full(len(light_curves), np.nan)
    return with_redshift(light_curves, classifier.settings.redshift).objects["PHOTOZ"].to_numpy(dtype=float)


def _resample(classifier: Classifier, light_curves: LightCurves) -> Steps:
    """Group the measurements as the classifier does, with the time of each step that it reads."""
    experiment = classifier.checkpoint.experiment
    grouped = group_photometry(light_curves, experiment)
    is_read = steps_read(grouped, experiment)
    resampled = keep_steps(grouped, is_read)
    is_used = band_columns(light_curves, experiment.bands) >= 0
    mjd = light_curves.epochs["MJD"].to_numpy()[is_used]
    step, first = group_index(light_curves.object_index[is_used], mjd, experiment.resampler.gap_days)
    mean_mjd = np.bincount(step, mjd, len(first)) / np.bincount(step, minlength=len(first))
    flux = np.where(resampled.observed, resampled.flux.astype(float), np.nan)
    return Steps(resampled.offsets, mean_mjd[is_read], flux, experiment.bands)


def _ask(
    classifier: Classifier, picked: LightCurves, classes: tuple[str, ...], progress: Progress | None
) -> list[dict[str, Any]]:
    """What the classifier was given of each light curve, and what it says of it after each night."""
    redshifts, steps = _redshift(classifier, picked), _resample(classifier, picked)
    histories = _split(classify_nights(classifier, picked, progress, MAX_NIGHTS), picked.objects["SNID"])
    return [
        {
            "redshift": round(float(redshift), PROBABILITY_DECIMALS),
            **_list_steps(steps, place),
            **_list_nights(history, classes),
        }
        for place, (redshift, history) in enumerate(zip(redshifts, histories, strict=True))
    ]


def _split(nights: pd.DataFrame, snids: pd.Series[str]) -> list[pd.DataFrame]:
    """Take the nights of each object, which come in the order of the objects; some may have none."""
    counts = nights["SNID"].value_counts().reindex(snids, fill_value=0).to_numpy()
    ends = np.cumsum(counts)
    return [nights.iloc[end - count : end] for count, end in zip(counts.tolist(), ends.tolist(), strict=True)]


def _name(row: Mapping[Any, Any], kinds: tuple[str, ...], classes: tuple[str, ...]) -> dict[str, Any]:
    is_known = row["TARGET"] >= 0
    return {
        "snid": str(row["SNID"]),
        "kinds": kinds,
        "true_class": None if pd.isna(row["TRUE"]) else str(row["TRUE"]),
        "called": classes[row["CALLED"]],
        "is_right": bool(row["CALLED"] == row["TARGET"]) if is_known else None,
        "probabilities": {name: round(float(row[f"P_{name}"]), PROBABILITY_DECIMALS) for name in classes},
        "novelty": _significant([float(row["NOVELTY"])])[0],
    }


def _photometry(light_curves: LightCurves, place: int) -> dict[str, Any]:
    start, end = light_curves.offsets[place : place + 2]
    epochs = light_curves.epochs.iloc[start + _evenly(end - start, MAX_MEASUREMENTS)]
    return {
        "mjd": _rounded(epochs["MJD"], DAY_DECIMALS),
        "band": tuple(epochs["BAND"].astype("str")),
        "flux": _significant(epochs["FLUXCAL"]),
        "error": _significant(epochs["FLUXCALERR"]),
        "n_epochs": int(end - start),
    }


def _list_steps(steps: Steps, place: int) -> dict[str, Any]:
    start, end = steps.offsets[place : place + 2]
    rows = start + _evenly(end - start, MAX_MEASUREMENTS)
    flux = steps.flux[rows]
    return {
        "steps": _rounded(steps.mjd[rows], DAY_DECIMALS),
        "step_flux": {band: _significant(flux[:, column]) for column, band in enumerate(steps.bands)},
    }


def _list_nights(nights: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    columns = zip(classes, probability_columns(classes), strict=True)
    return {
        "history_mjd": _rounded(nights["MJD"], DAY_DECIMALS),
        "history": {name: _rounded(nights[column], PROBABILITY_DECIMALS) for name, column in columns},
    }


def _evenly(n_rows: int, n_most: int) -> npt.NDArray[np.int64]:
    """Places of at most `n_most` of some rows, the first and the last among them."""
    return np.linspace(0, n_rows - 1, min(n_rows, n_most)).round().astype(np.int64)


def _rounded(values: Any, decimals: int) -> tuple[float, ...]:
    return tuple(np.round(np.asarray(values, dtype=float), decimals).tolist())


def _significant(values: Iterable[float]) -> tuple[float, ...]:
    """Round to as many digits as a figure shows; undefined numbers become NaN."""
    return tuple(float(f"{value:.{FLUX_DIGITS}g}") if np.isfinite(value) else float("nan") for value in values)
