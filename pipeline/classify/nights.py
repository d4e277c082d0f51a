"""Light curves as they grow: cut off at a moment, and classified after every night.

Measurements come in time order, so what is known at a moment is the first so many measurements of a light curve: its
prefix. Everything here counts prefixes, for all objects at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.classify.predict import Classifier, Progress
from pipeline.prepare.resample import group_index
from pipeline.schema import LightCurves, probability_columns

__all__ = [
    "DETECTION_SNR",
    "EARLY_OBSERVATIONS",
    "EARLY_SNR",
    "NIGHT_GAP",
    "classify_nights",
    "classify_prefixes",
    "count_until",
    "end_of_night",
    "first_detection",
    "sixth_observation",
]

DETECTION_SNR: Final = 5.0
"""A first detection has an S/N above this, in any band: the convention of difference imaging and alert streams.

Noise alone passes it once in 3.5 million measurements, and the S/N > 4 of the SPCC's early rule once in 32,000: some
fifty false starts among the 1.6 million measurements of the SPCC.
"""

EARLY_SNR: Final = 4.0
EARLY_OBSERVATIONS: Final = 6
"""The early epoch of the SPCC: six observations with S/N > 4 in any bands (Kessler et al. 2010, arXiv:1008.1024)."""

NIGHT_GAP: Final = 0.5
"""Measurements no further apart than this are of one night [d]; as the resampler `nightly` has it."""

MEASUREMENTS_AT_ONCE: Final = 1_000_000
"""Measurements of cut light curves made at a time; bounds the memory."""

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def count_until(light_curves: LightCurves, until_mjd: Floats, whole_night: bool = False) -> Integers:
    """(n_objects,) measurements at or before a moment, of NaN none.

    Args:
        light_curves: n objects.
        until_mjd: (n_objects,) [d].
        whole_night: count the rest of the last night, too.
    """
    owner = light_curves.object_index
    is_known = light_curves.epochs["MJD"].to_numpy() <= np.asarray(until_mjd)[owner]
    lengths = np.bincount(owner[is_known], minlength=len(light_curves)).astype(np.int64)
    return _complete_night(light_curves, lengths) if whole_night else lengths


def first_detection(light_curves: LightCurves, min_snr: float = DETECTION_SNR) -> Floats:
    """(n_objects,) time of the first measurement with an S/N above `min_snr`, in any band [d]; NaN without one.

    It is not the mark of the survey: DETECTION_MJD ends the early epoch, which comes later (`sixth_observation`).
    """
    return _mjd_of_nth(light_curves, min_snr, 1)


def sixth_observation(light_curves: LightCurves) -> Floats:
    """(n_objects,) end of the SPCC's early epoch [d]; NaN for an object that never had six observations.

    DETECTION_MJD where the survey marked it; else the last measurement in the night of the sixth with S/N > 4.
    """
    marked = light_curves.objects["DETECTION_MJD"].to_numpy(dtype=np.float64)
    computed = end_of_night(light_curves, _mjd_of_nth(light_curves, EARLY_SNR, EARLY_OBSERVATIONS))
    return np.where(np.isnan(marked), computed, marked)


def end_of_night(light_curves: LightCurves, mjd: Floats) -> Floats:
    """(n_objects,) last measurement of the night of the last measurement at or before a moment [d]; NaN without one."""
    lengths = count_until(light_curves, mjd, whole_night=True)
    return _last_mjd(light_curves, np.arange(len(light_curves)), lengths)


def classify_nights(
    classifier: Classifier, light_curves: LightCurves, progress: Progress | None = None, max_nights: int | None = None
) -> pd.DataFrame:
    """Classify every object after each of its nights, from what was measured until then.

    Args:
        classifier: a checkpoint at work.
        light_curves: n objects, in bands that the classifier knows.
        progress: called with how many cut light curves are done, and how many there are.
        max_nights: of an object with more nights this many are taken, evenly, the first and the last among them.

    Returns:
        One row per object and night, in their order: SNID, MJD (last measurement of the night [d]), N_EPOCHS
        (measurements that the classifier used), STATUS, and P_<class>, NaN unless classified or abstained.

    Raises:
        ContractError: if the data have bands that the model does not know.
    """
    last = _night_ends(light_curves)
    rows = light_curves.object_index[last]
    if max_nights is not None:
        chosen = _choose_evenly(rows, max_nights)
        last, rows = last[chosen], rows[chosen]
    lengths = last + 1 - light_curves.offsets[rows]
    table = classify_prefixes(classifier, light_curves, rows, lengths, progress)
    table.insert(0, "SNID", light_curves.objects["SNID"].to_numpy()[rows])
    table.insert(1, "MJD", _last_mjd(light_curves, rows, lengths))
    return table


def classify_prefixes(
    classifier: Classifier,
    light_curves: LightCurves,
    rows: Integers,
    lengths: Integers,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Classify objects from their first measurements; the cut copies are made and dropped in chunks.

    Args:
        classifier: a checkpoint at work.
        light_curves: n objects.
        rows: (n_prefixes,) which object; one may come any number of times.
        lengths: (n_prefixes,) how many of its measurements are known.
        progress: called with how many prefixes are done, and how many there are.

    Returns:
        A row per prefix: N_EPOCHS, STATUS, P_<class>.
    """
    columns = ["N_EPOCHS", "STATUS", *probability_columns(classifier.classes)]
    tables, done = [], 0
    for part in _chunks(lengths):
        copies = _take_prefixes(light_curves, rows[part], lengths[part])
        tables.append(classifier.predict(copies).table[columns])
        done += len(copies)
        if progress is not None:
            progress(done, len(rows))
    return pd.concat(tables, ignore_index=True)


def _take_prefixes(light_curves: LightCurves, rows: Integers, lengths: Integers) -> LightCurves:
    """Copy the first measurements of objects; the k-th copy is named SNID@k, so that no two share a name."""
    offsets = _offsets(lengths)
    epoch_rows = np.arange(offsets[-1]) + np.repeat(light_curves.offsets[:-1][rows] - offsets[:-1], lengths)
    objects = light_curves.objects.iloc[rows].reset_index(drop=True)
    number = pd.Series(np.arange(len(rows)), index=objects.index).astype("str")
    objects["SNID"] = objects["SNID"].astype("str") + "@" + number
    return LightCurves(objects, light_curves.epochs.iloc[epoch_rows].reset_index(drop=True), offsets)


def _chunks(lengths: Integers) -> Iterator[slice]:
    """Yield slices of at most MEASUREMENTS_AT_ONCE measurements, of one prefix at least; an empty one without any."""
    cost = np.cumsum(lengths + 1)
    start = 0
    while True:
        spent = cost[start - 1] if start else 0
        end = max(int(np.searchsorted(cost, spent + MEASUREMENTS_AT_ONCE, side="right")), start + 1)
        yield slice(start, end)
        start = end
        if start >= len(lengths):
            return


def _night_ends(light_curves: LightCurves) -> Integers:
    """(n_nights,) place of the last measurement of every night of every object, in order."""
    first = group_index(light_curves.object_index, light_curves.epochs["MJD"].to_numpy(), NIGHT_GAP)[1]
    return np.append(first, len(light_curves.epochs))[1:] - 1


def _complete_night(light_curves: LightCurves, lengths: Integers) -> Integers:
    """(n_objects,) the same prefixes with the rest of their last night; what is empty stays empty."""
    ends = _night_ends(light_curves)
    has_any = lengths > 0
    last = light_curves.offsets[:-1][has_any] + lengths[has_any] - 1
    completed = lengths.copy()
    completed[has_any] = ends[np.searchsorted(ends, last)] + 1 - light_curves.offsets[:-1][has_any]
    return completed


def _mjd_of_nth(light_curves: LightCurves, min_snr: float, number: int) -> Floats:
    """(n_objects,) time of the n-th measurement with an S/N above a limit [d], NaN with fewer."""
    epochs = light_curves.epochs
    is_hit = (epochs["FLUXCAL"] / epochs["FLUXCALERR"]).to_numpy() > min_snr
    hits_before = np.concatenate([[0], np.cumsum(is_hit)])
    wanted = hits_before[light_curves.offsets[:-1]] + number
    place = np.searchsorted(hits_before, wanted) - 1
    has_it = wanted <= hits_before[light_curves.offsets[1:]]
    mjd = np.full(len(light_curves), np.nan)
    mjd[has_it] = epochs["MJD"].to_numpy()[place[has_it]]
    return mjd


def _last_mjd(light_curves: LightCurves, rows: Integers, lengths: Integers) -> Floats:
    """(n_prefixes,) time of the last measurement of prefixes [d], NaN of empty ones."""
    last = np.full(len(rows), np.nan)
    has_any = lengths > 0
    places = light_curves.offsets[:-1][rows[has_any]] + lengths[has_any] - 1
    last[has_any] = light_curves.epochs["MJD"].to_numpy()[places]
    return last


def _choose_evenly(rows: Integers, n_most: int) -> npt.NDArray[np.bool_]:
    """Of each run of equal rows choose at most `n_most`, evenly, its first and last (of 1 the last) among them."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    counts = np.diff(np.append(starts, len(rows)))
    place = np.arange(len(rows)) - np.repeat(starts, counts)
    n_rows = np.repeat(counts, counts)
    if n_most == 1:
        return np.asarray(place == n_rows - 1)
    # The k-th even place is k (n − 1) // (n_most − 1); a place is even if the first k that reaches it hits it.
    gaps = np.maximum(n_rows - 1, 1)
    nth = -(-place * (n_most - 1) // gaps)
    is_even = nth * gaps // (n_most - 1) == place
    return np.asarray((n_rows <= n_most) | is_even)


def _place_in_object(light_curves: LightCurves) -> Integers:
    """(n_epochs,) place of each measurement among those of its object."""
    starts = np.repeat(light_curves.offsets[:-1], np.diff(light_curves.offsets))
    return np.asarray(np.arange(len(light_curves.epochs)) - starts, dtype=np.int64)


def _offsets(lengths: Integers) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
