"""What all tables of many objects share: which objects and measurements are good, and the tables they become.

One bad object costs itself alone, with its row and reason; a bad measurement costs itself alone, as in every format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pipeline.ingest.readers.assembly import Epochs, light_curve_columns
from pipeline.ingest.readers.base import ReadOptions, ReadResult, Rejection
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA

__all__ = [
    "CHUNK_EPOCHS",
    "CHUNK_OBJECTS",
    "NAMELESS",
    "Described",
    "Origin",
    "no_objects",
    "read_objects",
    "repeated_snids",
    "split_evenly",
]

CHUNK_OBJECTS: Final = 20_000
"""Objects read together, at most."""
CHUNK_EPOCHS: Final = 2_000_000
"""Measurements read together, at most (or those of one object)."""
NAMELESS: Final = "no SNID: the row does not name its object"
"""Why an object without a name is rejected."""

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
WordOf = Callable[[str, int], str | None]


class Origin(NamedTuple):
    """Where objects come from: the file named in SOURCE, the bundle's hash, and the bands that it announces."""

    name: str
    digest: str
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Described:
    """Objects without their measurements.

    Attributes:
        observed: HEADER_NAMES.
        told: TRUTH_SCHEMA.
        detection_mjd: (n,) d, NaN without a mark.
        rows: (n,) int64, 1-based row of each object in its file.
        problems: reasons that are known already, by place; these objects are rejected.
    """

    observed: pd.DataFrame
    told: pd.DataFrame
    detection_mjd: npt.NDArray[np.float64]
    rows: Integers
    problems: dict[int, str]

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.observed)


def _no_word(name: str, place: int) -> None:
    """Return the word that stands for a number where columns hold only numbers."""


def read_objects(
    objects: Described,
    epochs: Epochs,
    row_of: Callable[[int], int],
    origin: Origin,
    options: ReadOptions,
    word_of: WordOf = _no_word,
) -> ReadResult:
    """Build the tables of some objects, leaving out what is bad.

    Args:
        objects: those of one chunk.
        epochs: `owner` is the place among the objects; measurements are grouped by it, in its order.
        row_of: gives the 1-based row of a measurement in its file, by its place.
        origin: of the objects.
        options: of the reader.
        word_of: gives what stands in a column, by our name, for the number of a measurement, None if it is a number.
    """
    epochs = Epochs(
        epochs.owner, epochs.mjd, options.rename(epochs.band), epochs.fluxcal, epochs.fluxcal_err, epochs.flag
    )
    is_good = _are_good(epochs)
    problems = {**_empty(objects, epochs, is_good, word_of), **_unknown_bands(epochs, origin, options)}
    problems |= _nameless(objects) | objects.problems
    is_kept = np.ones(len(objects), dtype=bool)
    is_kept[list(problems)] = False
    rejections = _object_rejections(objects, problems, origin)
    if problems or not is_good.all():
        is_of_kept = is_kept[epochs.owner]
        rejections += _epoch_rejections(objects, epochs, row_of, ~is_good & is_of_kept, origin, word_of)
        is_good &= is_of_kept
    return _tables(objects, epochs, is_good, is_kept, origin)._replace(rejections=rejections)


def no_objects(rejections: list[Rejection]) -> ReadResult:
    """Return empty tables, and what was not read."""
    return ReadResult(LIGHT_CURVE_SCHEMA.empty_table(), TRUTH_SCHEMA.empty_table(), rejections)


def _tables(objects: Described, epochs: Epochs, is_good: Bools, is_kept: Bools, origin: Origin) -> ReadResult:
    observed, told, detection_mjd = objects.observed, objects.told, objects.detection_mjd
    if not is_good.all():
        epochs = epochs.where(is_good)
    if not is_kept.all():
        observed, told = (table[is_kept].reset_index(drop=True) for table in (observed, told))
        detection_mjd = detection_mjd[is_kept]
        place = np.cumsum(is_kept, dtype=np.int64) - 1
        owner = place[epochs.owner]
        epochs = Epochs(owner, epochs.mjd, epochs.band, epochs.fluxcal, epochs.fluxcal_err, epochs.flag)
    n = len(observed)
    further = [
        pa.array(detection_mjd, pa.float64(), from_pandas=True),
        pa.repeat(pa.scalar(origin.name), n),
        pa.repeat(pa.scalar(origin.digest), n),
    ]
    return ReadResult(light_curve_columns(observed, further, epochs), _truth(told), [])


def _truth(told: pd.DataFrame) -> pa.Table:
    arrays = [pa.array(told[field.name], field.type, from_pandas=True) for field in TRUTH_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=TRUTH_SCHEMA)


def _are_good(epochs: Epochs) -> Bools:
    """Tell which measurements are finite, with a positive error."""
    columns = (epochs.mjd, epochs.fluxcal, epochs.fluxcal_err)
    with np.errstate(over="ignore", invalid="ignore"):
        are_finite = all(np.isfinite(values.sum()) for values in columns)  # a sum is not, if one of them is not
    is_good: Bools = epochs.fluxcal_err > 0
    for values in () if are_finite else columns:
        is_good &= np.isfinite(values)
    return is_good


def _empty(objects: Described, epochs: Epochs, is_good: Bools, word_of: WordOf) -> dict[int, str]:
    starts = np.searchsorted(epochs.owner, np.arange(len(objects) + 1))
    counts = np.diff(starts)
    good = counts if is_good.all() else np.bincount(epochs.owner[is_good], minlength=len(objects))
    problems = {}
    for place in np.flatnonzero(good == 0).tolist():
        if counts[place] == 0:
            problems[place] = "no measurements: the object has no row"
        else:
            fault = _fault(epochs, int(starts[place]), word_of)
            problems[place] = f"no usable measurement: all {counts[place]} rows are bad, first: {fault}"
    return problems


def _unknown_bands(epochs: Epochs, origin: Origin, options: ReadOptions) -> dict[int, str]:
    """Find objects with a band that may not occur; a file that announces `g` may call it `DES-g`."""
    known = options.known_bands(origin.filters)
    if known is None:
        return {}
    names = epochs.band.dictionary.to_pylist()
    is_lenient = options.bands is None
    is_known = np.array([name in known or (is_lenient and name[-1:] in known) for name in names], dtype=bool)
    indices = epochs.band.indices.to_numpy(zero_copy_only=False)
    bad = np.flatnonzero(~is_known[indices]) if len(names) else np.zeros(0, np.int64)
    places, firsts = np.unique(epochs.owner[bad], return_index=True)
    listed = " ".join(sorted(known))
    return {
        int(place): f"unknown band: {names[indices[bad[first]]]}; known are {listed}"
        for place, first in zip(places, firsts, strict=True)
    }


def _nameless(objects: Described) -> dict[int, str]:
    snids = objects.observed["SNID"].tolist()
    return {place: NAMELESS for place, snid in enumerate(snids) if not (snid and isinstance(snid, str))}


def _object_rejections(objects: Described, problems: dict[int, str], origin: Origin) -> list[Rejection]:
    snids = objects.observed["SNID"]
    return [
        Rejection(origin.name, problems[place], int(objects.rows[place]), _text(snids[place]), "object", origin.digest)
        for place in sorted(problems)
    ]


def _epoch_rejections(
    objects: Described,
    epochs: Epochs,
    row_of: Callable[[int], int],
    is_bad: Bools,
    origin: Origin,
    word_of: WordOf,
) -> list[Rejection]:
    snids = objects.observed["SNID"]
    return [
        Rejection(
            origin.name,
            _fault(epochs, row, word_of),
            row_of(row),
            _text(snids[int(epochs.owner[row])]),
            "epoch",
            origin.digest,
        )
        for row in np.flatnonzero(is_bad).tolist()
    ]


def _fault(epochs: Epochs, row: int, word_of: WordOf) -> str:
    """Say why a measurement cannot be used."""
    named = (("MJD", epochs.mjd), ("FLUXCAL", epochs.fluxcal), ("FLUXCALERR", epochs.fluxcal_err))
    for name, values in named:
        if not np.isfinite(values[row]):
            word = word_of(name, row)
            if word is not None:
                return f"not a number: {name} is {word[:60]!r}"
            return f"{name} is not finite: {values[row]}"
    return f"FLUXCALERR is not positive: {epochs.fluxcal_err[row]}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def repeated_snids(snids: pd.Series, seen: set[str]) -> dict[int, str]:
    """Find the objects whose SNID an earlier row has, and note the others."""
    problems: dict[int, str] = {}
    new = set(snids.tolist())
    if len(new) == len(snids) and seen.isdisjoint(new):
        seen |= new
        return problems
    for place, snid in enumerate(snids.tolist()):
        if snid in seen:
            problems[place] = f"duplicate SNID: {snid} is already that of an earlier row"
        seen.add(snid)
    return problems


def split_evenly(counts: Sequence[int] | Integers) -> list[tuple[int, int]]:
    """Cut objects with these numbers of measurements into chunks: pairs of first and one past the last.

    >>> split_evenly([1_500_000, 400_000, 600_000])
    [(0, 2), (2, 3)]
    """
    ends = np.cumsum(np.asarray(counts, dtype=np.int64))
    chunks, first = [], 0
    while first < len(ends):
        before = ends[first - 1] if first else 0
        last = int(np.searchsorted(ends, before + CHUNK_EPOCHS, side="right"))
        last = min(max(last, first + 1), first + CHUNK_OBJECTS)
        chunks.append((first, last))
        first = last
    return chunks
