"""From measurements as they stand in files to light-curve tables: time order, one zeropoint, hashes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.schema import (
    EPOCH_FIELDS,
    LIGHT_CURVE_SCHEMA,
    OBJECT_FIELDS,
    TRUTH_SCHEMA,
    Columns,
    photometry_hashes,
)

__all__ = [
    "HEADER_NAMES",
    "Epochs",
    "ObjectRow",
    "flags_of",
    "is_zeropoint",
    "light_curve_columns",
    "light_curve_table",
    "stable_order",
    "truth_table",
]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

HEADER_NAMES: Final = tuple(field.name for field in OBJECT_FIELDS[:9])
_NUMPY: Final = {name: object if name in ("SNID", "SURVEY") else np.float64 for name in HEADER_NAMES}


class ObjectRow(NamedTuple):
    """One object: its header values in the order of LIGHT_CURVE_SCHEMA, its file, and its early-epoch mark."""

    observed: tuple[Any, ...]
    detection_mjd: float  # d, NaN without a mark
    source: str
    digest: str


@dataclass(frozen=True)
class Epochs:
    """Measurements of several objects, in any order.

    Attributes:
        owner: (n,) int64, the row of the object that each measurement belongs to.
        mjd: (n,) days.
        band: (n,) Arrow dictionary of strings.
        fluxcal: (n,) at ZP 27.5.
        fluxcal_err: (n,) at ZP 27.5.
        flag: (n,) int32.
    """

    owner: Integers
    mjd: Floats
    band: pa.DictionaryArray
    fluxcal: Floats
    fluxcal_err: Floats
    flag: npt.NDArray[np.int32]

    @classmethod
    def join(cls, parts: Sequence[Epochs]) -> Epochs:
        """Put several sets of measurements after each other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.owner for part in parts]),
            np.concatenate([part.mjd for part in parts]),
            pa.chunked_array([part.band for part in parts]).unify_dictionaries().combine_chunks(),
            np.concatenate([part.fluxcal for part in parts]),
            np.concatenate([part.fluxcal_err for part in parts]),
            np.concatenate([part.flag for part in parts]),
        )

    def where(self, is_kept: npt.NDArray[np.bool_]) -> Epochs:
        """Return the measurements for which the mask is true."""
        return self._picked(is_kept, self.band.filter(pa.array(is_kept)))

    def take(self, order: Integers) -> Epochs:
        """Return the measurements at these places."""
        return self._picked(order, self.band.take(pa.array(order)))

    def _picked(self, which: npt.NDArray[Any], band: pa.DictionaryArray) -> Epochs:
        return Epochs(
            self.owner[which], self.mjd[which], band, self.fluxcal[which], self.fluxcal_err[which], self.flag[which]
        )


def is_zeropoint(value: Floats | float) -> Any:
    """Tell what can be the zeropoint of fluxes [mag] from what says that there is none, and from damage."""
    return (np.asarray(value) > 0) & (np.asarray(value) < 50)


def flags_of(values: Floats) -> npt.NDArray[np.int32]:
    """Return numbers as flags of 32 bits, 0 for what is none."""
    if not (values.min(initial=0) >= -(2**31) and values.max(initial=0) < 2**31):
        values = np.where((values >= -(2**31)) & (values < 2**31), values, 0)
    return values.astype(np.int32)


def light_curve_table(objects: Sequence[ObjectRow], parts: Sequence[Epochs]) -> pa.Table:
    """Build LIGHT_CURVE_SCHEMA, one row per object in the given order, measurements in time order.

    Measurements of one MJD are ordered by band, then flux, error and flag: the table does not depend on the order of
    rows in a file.
    """
    if not objects:
        return LIGHT_CURVE_SCHEMA.empty_table()
    values = zip(*(row.observed for row in objects), strict=True)
    header = {name: np.array(value, _NUMPY[name]) for name, value in zip(HEADER_NAMES, values, strict=True)}
    columns = [
        pa.array([row.detection_mjd for row in objects], pa.float64(), from_pandas=True),
        pa.array([row.source for row in objects], pa.string()),
        pa.array([row.digest for row in objects], pa.string()),
    ]
    return light_curve_columns(header, columns, Epochs.join(parts))


def light_curve_columns(header: Columns, further: Sequence[pa.Array], epochs: Epochs) -> pa.Table:
    """Build LIGHT_CURVE_SCHEMA from columns.

    Args:
        header: HEADER_NAMES, one row per object.
        further: DETECTION_MJD, SOURCE and SOURCE_HASH of the same objects.
        epochs: their measurements, in any order.
    """
    order = _time_order(epochs)
    epochs = epochs if order is None else epochs.take(order)
    offsets = np.searchsorted(epochs.owner, np.arange(len(header["SNID"]) + 1)).astype(np.int64)
    values: dict[str, Any] = {
        "MJD": epochs.mjd,
        "BAND": epochs.band,
        "FLUXCAL": epochs.fluxcal,
        "FLUXCALERR": epochs.fluxcal_err,
        "PHOTFLAG": epochs.flag,
    }
    hashes = photometry_hashes(header, values, offsets)
    columns = [pa.array(header[field.name], field.type, from_pandas=True) for field in OBJECT_FIELDS[:9]]
    columns += [*further, pa.array(hashes, pa.string())]
    values["BAND"] = epochs.band.cast(pa.string())
    return pa.Table.from_arrays([*columns, *_lists(values, offsets)], schema=LIGHT_CURVE_SCHEMA)


def truth_table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    """Build TRUTH_SCHEMA from rows in its order; unknown numbers become null."""
    columns = list(zip(*rows, strict=True)) or [()] * len(TRUTH_SCHEMA)
    arrays = [
        pa.array(column, field.type, from_pandas=True) for column, field in zip(columns, TRUTH_SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=TRUTH_SCHEMA)


def _time_order(epochs: Epochs) -> Integers | None:
    """Return the order in which measurements are stored, None for the one that they have."""
    owner, mjd = epochs.owner, epochs.mjd
    if _is_increasing(owner, mjd):
        return None
    order = np.argsort(mjd)
    order = order[stable_order(owner[order])]
    if _is_increasing(owner[order], mjd[order]):
        return order
    names = epochs.band.dictionary.to_pylist()
    rank = np.argsort(np.argsort(np.array(names, dtype=object)))
    codes = rank[epochs.band.indices.to_numpy(zero_copy_only=False)]
    return np.lexsort((epochs.flag, epochs.fluxcal_err, epochs.fluxcal, codes, mjd, owner))


def stable_order(numbers: npt.NDArray[np.integer[Any]]) -> Integers:
    """Return the order of integers that are not negative, equal ones in the order in which they stand.

    >>> stable_order(np.array([70_000, 1, 70_000, 0])).tolist()
    [3, 1, 0, 2]
    """
    order = np.argsort(numbers.astype(np.uint16), kind="stable")  # numpy counts 16 bits, and compares longer numbers
    for shift in range(16, int(numbers.max(initial=0)).bit_length(), 16):
        order = order[np.argsort((numbers >> shift).astype(np.uint16)[order], kind="stable")]
    return order


def _is_increasing(owner: Integers, mjd: Floats) -> bool:
    other = 1 + np.flatnonzero(~(mjd[1:] > mjd[:-1]))
    return bool((owner[1:] >= owner[:-1]).all() and (owner[other] > owner[other - 1]).all())


def _lists(values: Mapping[str, Any], offsets: Integers) -> list[pa.Array]:
    starts = pa.array(offsets.astype(np.int32))
    arrays = [pa.array(values[field.name], field.type.value_type) for field in EPOCH_FIELDS]
    return [pa.ListArray.from_arrays(starts, array) for array in arrays]
