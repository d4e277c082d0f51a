"""The tables that flow between the rooms: columns, units, validation.

Observed and true are different types: `LightCurves` carries what a telescope and a catalogue know, `Truth` what only a
simulation or a spectrum tells. No column of one is a column of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pandas.util import hash_array

__all__ = [
    "LIGHT_CURVE_SCHEMA",
    "QUARANTINE_SCHEMA",
    "STATUSES",
    "TRUTH_SCHEMA",
    "ZP_INTERNAL",
    "Columns",
    "LightCurves",
    "Predictions",
    "Truth",
    "is_optional",
    "light_curve_hashes",
    "photometry_hashes",
    "prediction_columns",
    "probability_columns",
]

ZP_INTERNAL: Final = 27.5
"""Zeropoint of FLUXCAL inside snflow [mag AB]: mag = 27.5 − 2.5 log10(FLUXCAL)."""

STATUSES: Final = ("classified", "abstained", "rejected", "failed")

OBJECT_FIELDS: Final = (
    pa.field("SNID", pa.string(), nullable=False),
    pa.field("RA", pa.float64()),  # deg
    pa.field("DEC", pa.float64()),  # deg
    pa.field("MWEBV", pa.float64()),  # Milky Way E(B−V), mag
    pa.field("PHOTOZ", pa.float64()),  # of the host
    pa.field("PHOTOZ_ERR", pa.float64()),
    pa.field("SPECZ", pa.float64()),
    pa.field("SPECZ_ERR", pa.float64()),
    pa.field("SURVEY", pa.string()),
    pa.field("DETECTION_MJD", pa.float64()),  # d; the last epoch of the survey's own early-epoch mark, NaN without one
    pa.field("SOURCE", pa.string()),  # file inside its folder or archive
    # of the file's bytes; after a + the mark of what overrode its header; of several files, the policy and their hash
    pa.field("SOURCE_HASH", pa.string()),
    pa.field("PHOTOMETRY_HASH", pa.string()),  # of everything a classifier may read
)
EPOCH_FIELDS: Final = (
    pa.field("MJD", pa.list_(pa.float64())),  # d
    pa.field("BAND", pa.list_(pa.string())),
    pa.field("FLUXCAL", pa.list_(pa.float64())),  # at ZP_INTERNAL
    pa.field("FLUXCALERR", pa.list_(pa.float64())),
    pa.field("PHOTFLAG", pa.list_(pa.int32())),
)
LIGHT_CURVE_SCHEMA: Final = pa.schema([*OBJECT_FIELDS, *EPOCH_FIELDS])
"""On disk and in Arrow: one row per object, photometry in list columns."""

TRUTH_SCHEMA: Final = pa.schema(
    [
        pa.field("SNID", pa.string(), nullable=False),
        pa.field("CLASS", pa.string()),  # taxonomy.CLASSES, null when unknown
        pa.field("SUBCLASS", pa.string()),
        pa.field("TEMPLATE", pa.string()),  # the simulation's model name
        pa.field("SPECTYPE", pa.string()),  # subclass from a spectrum, null for an object without one
        pa.field("REDSHIFT", pa.float64()),  # true redshift
        pa.field("PEAKMJD", pa.float64()),  # d
    ]
)
QUARANTINE_SCHEMA: Final = pa.schema(
    [
        pa.field("SOURCE", pa.string(), nullable=False),  # absolute path of the folder, archive or file
        pa.field("FILE", pa.string(), nullable=False),  # file inside it
        pa.field("LINE", pa.int64()),  # 1-based, of a table its row; null where no single line is to blame
        pa.field("SNID", pa.string()),
        # "file": nothing was kept (of a table: nothing after the damage); "object": this one of a table was left out;
        # "epoch": this measurement was left out; "conflict": files tell different things of one object, and the newest
        # was believed (no bad file; SOURCE is empty: the catalogue knows the FILE alone)
        pa.field("SCOPE", pa.string(), nullable=False),
        pa.field("REASON", pa.string(), nullable=False),
        pa.field("SOURCE_HASH", pa.string()),
    ]
)

_HASHED_TOGETHER: Final = 1 << 14
"""Rows whose hashes are computed at a time."""
_NO_WORD: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

OBJECT_COLUMNS: Final = tuple(field.name for field in OBJECT_FIELDS)
EPOCH_COLUMNS: Final = tuple(field.name for field in EPOCH_FIELDS)
Columns = Mapping[str, npt.NDArray[Any] | pa.DictionaryArray] | pd.DataFrame
"""Arrays of one length by name, in a DataFrame or, which costs less to make, not."""


@dataclass(frozen=True)
class LightCurves:
    """Light curves of many objects, ordered by object, then by time.

    Attributes:
        objects: one row per SNID, OBJECT_COLUMNS, unknown numbers NaN.
        epochs: one row per measurement, EPOCH_COLUMNS (MJD [d], BAND categorical, FLUXCAL and FLUXCALERR at ZP 27.5 mag
            AB, PHOTFLAG); the rows of object i are `offsets[i]:offsets[i + 1]`, in time order.
        offsets: (n_objects + 1) int64.

    Raises:
        ValueError: if a column is missing or holds simulated truth, SNIDs repeat, offsets do not cover the epochs,
            an MJD is out of order, or a flux or error is not finite, or an error not positive.
    """

    objects: pd.DataFrame
    epochs: pd.DataFrame
    offsets: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        """Validate once, at the boundary."""
        _check_columns("objects", self.objects, OBJECT_COLUMNS)
        _check_columns("epochs", self.epochs, EPOCH_COLUMNS)
        snids = self.objects["SNID"]
        if snids.duplicated().any():
            raise ValueError(f"SNID {snids[snids.duplicated()].iloc[0]} appears more than once")
        offsets = self.offsets
        if len(offsets) != len(snids) + 1 or offsets[0] != 0 or offsets[-1] != len(self.epochs):
            raise ValueError(f"offsets must run from 0 to {len(self.epochs)} in {len(snids)} steps")
        if (np.diff(offsets) < 0).any():
            raise ValueError("offsets must not decrease")
        flux, error, mjd = (self.epochs[name].to_numpy() for name in ("FLUXCAL", "FLUXCALERR", "MJD"))
        if not (np.isfinite(flux).all() and np.isfinite(error).all() and np.isfinite(mjd).all() and (error > 0).all()):
            raise ValueError("MJD, FLUXCAL and FLUXCALERR must be finite, and FLUXCALERR positive")
        starts = np.zeros(len(mjd), dtype=bool)
        starts[offsets[:-1][offsets[:-1] < len(mjd)]] = True
        if (mjd[1:] < mjd[:-1])[~starts[1:]].any():
            raise ValueError("epochs must be in time order within each object")

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.objects)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands that occur, in order of name."""
        bands = cast("pd.Series[str]", self.epochs["BAND"]).cat
        counts = np.bincount(bands.codes.to_numpy() + 1, minlength=len(bands.categories) + 1)
        return tuple(sorted(str(name) for name in bands.categories[counts[1:] > 0]))

    @property
    def object_index(self) -> npt.NDArray[np.int64]:
        """(n_epochs,) int64, the row in `objects` that each epoch belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))

    def take(self, rows: npt.NDArray[np.integer[Any]]) -> LightCurves:
        """Return the objects at these rows, in this order."""
        lengths = np.diff(self.offsets)[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        epoch_rows = np.arange(offsets[-1]) + np.repeat(self.offsets[:-1][rows] - offsets[:-1], lengths)
        return LightCurves(
            self.objects.iloc[rows].reset_index(drop=True),
            self.epochs.iloc[epoch_rows].reset_index(drop=True),
            offsets,
        )

    def select(self, snids: Iterable[str]) -> LightCurves:
        """Return the objects with these SNIDs, in the given order.

        Raises:
            KeyError: if an SNID is not here.
        """
        wanted = pd.Index(snids)
        rows = pd.Index(self.objects["SNID"]).get_indexer(wanted)
        if (rows < 0).any():
            raise KeyError(f"no object with SNID {wanted[rows < 0][0]}")
        return self.take(rows)

    def to_arrow(self) -> pa.Table:
        """Return LIGHT_CURVE_SCHEMA: one row per object, photometry in list columns."""
        columns = [pa.array(self.objects[field.name], field.type, from_pandas=True) for field in OBJECT_FIELDS]
        offsets = pa.array(self.offsets.astype(np.int32), pa.int32())
        for field in EPOCH_FIELDS:
            values = pa.array(self.epochs[field.name])
            columns.append(pa.ListArray.from_arrays(offsets, values.cast(field.type.value_type)))
        return pa.Table.from_arrays(columns, schema=LIGHT_CURVE_SCHEMA)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> LightCurves:
        """Read LIGHT_CURVE_SCHEMA back; further columns are an error, null numbers become NaN."""
        return cls(*_frames(table))


@dataclass(frozen=True)
class Truth:
    """What only a simulation or a spectrum knows; seen by splitting, the loss and evaluation, never by features.

    Attributes:
        table: one row per SNID, columns of TRUTH_SCHEMA.

    Raises:
        ValueError: if a column is missing or an SNID appears twice.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        """Validate once, at the boundary."""
        missing = set(TRUTH_SCHEMA.names) - set(self.table.columns)
        if missing:
            raise ValueError(f"truth lacks the columns {sorted(missing)}")
        if self.table["SNID"].duplicated().any():
            raise ValueError("an SNID appears twice in the truth")

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.table)

    def select(self, snids: Iterable[str]) -> Truth:
        """Return the rows of these SNIDs, in the given order; a row of nulls where the truth knows nothing."""
        return Truth(self.table.set_index("SNID").reindex(pd.Index(snids, name="SNID")).reset_index())


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of every object it was given: as many rows as inputs, in input order.

    Attributes:
        table: SNID, STATUS (one of STATUSES), REASON ("" when classified), P_<class> (rows sum to 1; NaN unless
            classified or abstained), P_<class>_STD (over the ensemble; NaN for a single network), NOVELTY (from 0, a
            course of flux like those of the training supernovae, to 1, unlike them; NaN where there are no
            probabilities, or the model carries no novelty score), N_EPOCHS (measurements the model used), LAST_MJD [d],
            MODEL, PHOTOMETRY_HASH, CREATED (UTC, ISO 8601). After these, where they were asked for: CALLED ("Ia" or
            "nonIa" by a threshold, "" for objects without a class), and P_<class>_<k> of each member k of the ensemble,
            from 0.
        classes: class names in the order of the probability columns.

    Raises:
        ValueError: if a column is missing, a status is unknown, or probabilities do not sum to 1.
    """

    table: pd.DataFrame
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Validate once, at the boundary."""
        expected = prediction_columns(self.classes)
        further = [name for name in self.table.columns[len(expected) :] if not is_optional(name, self.classes)]
        if list(self.table.columns[: len(expected)]) != expected or further:
            raise ValueError(f"predictions must have the columns {expected}, came {list(self.table.columns)}")
        unknown = set(self.table["STATUS"].unique()) - set(STATUSES)
        if unknown:
            raise ValueError(f"unknown STATUS {sorted(unknown)}; expected one of {STATUSES}")
        sums = self.probabilities.sum(axis=1)
        has_class = self.table["STATUS"].isin(["classified", "abstained"]).to_numpy()
        if not np.isnan(sums[~has_class]).all() or (np.abs(sums[has_class] - 1) > 1e-5).any():
            raise ValueError("probabilities must sum to 1 for classified and abstained objects, and be NaN for others")

    def __len__(self) -> int:
        """Count the objects."""
        return len(self.table)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """(n_objects, n_classes)."""
        return self.table[probability_columns(self.classes)].to_numpy(dtype=np.float64)


def prediction_columns(classes: Sequence[str]) -> list[str]:
    """Name the columns of a predictions table, in order."""
    probabilities = probability_columns(classes)
    spreads = [f"{name}_STD" for name in probabilities]
    last = ["NOVELTY", "N_EPOCHS", "LAST_MJD", "MODEL", "PHOTOMETRY_HASH", "CREATED"]
    return ["SNID", "STATUS", "REASON", *probabilities, *spreads, *last]


def probability_columns(classes: Sequence[str]) -> list[str]:
    """Name the probability columns of a classifier's classes.

    >>> probability_columns(["Ia", "nonIa"])
    ['P_Ia', 'P_nonIa']
    """
    return [f"P_{name}" for name in classes]


def is_optional(column: str, classes: Sequence[str]) -> bool:
    """Tell a column that predictions may have beyond `prediction_columns`.

    >>> [is_optional(name, ("Ia", "nonIa")) for name in ("CALLED", "P_Ia_0", "P_II_0")]
    [True, True, False]
    """
    name, _, member = column.rpartition("_")
    return column == "CALLED" or (member.isdigit() and name in probability_columns(classes))


def photometry_hashes(objects: Columns, epochs: Columns, offsets: npt.NDArray[np.int64]) -> list[str]:
    """Hash what a classifier may read of each object, the same whatever the order of its rows.

    Returns:
        16 hexadecimal digits an object, over its SNID, MWEBV and redshifts and the multiset of its epochs.
    """
    sums, is_filled = np.zeros(len(offsets) - 1, np.uint64), np.diff(offsets) > 0
    sums[is_filled] = np.add.reduceat(_row_hashes(epochs, EPOCH_COLUMNS), offsets[:-1][is_filled])
    header_hashes = _row_hashes(objects, ("SNID", "MWEBV", "PHOTOZ", "PHOTOZ_ERR", "SPECZ", "SPECZ_ERR"))
    mixed = sums * np.uint64(0x9E3779B97F4A7C15) ^ header_hashes
    return [f"{value:016x}" for value in mixed.tolist()]


def _row_hashes(table: Columns, names: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hash rows to what pandas 3's `hash_pandas_object` makes of them, in blocks that stay in the processor's cache."""
    columns = [_values_and_words(table[name]) for name in names]
    n = len(columns[0][0])
    hashes = np.full(n, 0x345678, np.uint64)
    bits, spare = np.empty((2, min(n, _HASHED_TOGETHER)), np.uint64)
    for first in range(0, n, _HASHED_TOGETHER):
        mixed = hashes[first : first + _HASHED_TOGETHER]
        own = bits[: len(mixed)]
        factor = 1_000_003  # as for the tuples of CPython 3.7
        for n_left, (values, of_words) in zip(range(len(names), 0, -1), columns, strict=True):
            block = values[first : first + _HASHED_TOGETHER]
            if of_words is None:
                _hash_numbers(block, own, spare[: len(mixed)])
            else:
                np.take(of_words, block, out=own, mode="wrap")
            mixed ^= own
            mixed *= np.uint64(factor)
            factor += 82_520 + 2 * n_left
    hashes += np.uint64(97_531)
    return hashes


def _values_and_words(
    column: pd.Series | npt.NDArray[Any] | pa.DictionaryArray,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.uint64] | None]:
    """Return numbers, or places among the hashes of words: the last where there is none."""
    if isinstance(column, pa.DictionaryArray):
        words, places = column.dictionary.to_numpy(zero_copy_only=False), np.asarray(column.indices.fill_null(-1))
    elif isinstance(column.dtype, pd.CategoricalDtype):
        words, places = column.dtype.categories.to_numpy(dtype=object), column.cat.codes.to_numpy()
    elif column.dtype == np.float64 or column.dtype.kind in "iu":
        return np.asarray(column), None
    else:
        words, places = np.asarray(column), np.arange(len(column))
    return places, np.append(hash_array(words, categorize=False), _NO_WORD)


def _hash_numbers(values: npt.NDArray[Any], bits: npt.NDArray[np.uint64], spare: npt.NDArray[np.uint64]) -> None:
    """Write the hash of each number to `bits` (the finaliser of splitmix64); `spare` has the same shape.

    Zeros of either sign are one, and so are all NaN.
    """
    if values.dtype.kind == "f":
        floats = bits.view(np.float64)
        np.add(values, 0.0, out=floats)  # −0.0 becomes 0.0
        floats[np.isnan(floats)] = np.nan
    else:
        bits[:] = values.view(f"u{values.dtype.itemsize}")
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        np.right_shift(bits, np.uint64(shift), out=spare)
        bits ^= spare
        bits *= np.uint64(factor)
    np.right_shift(bits, np.uint64(31), out=spare)
    bits ^= spare


def light_curve_hashes(table: pa.Table) -> list[str]:
    """Hash the rows of LIGHT_CURVE_SCHEMA as `photometry_hashes` does; SNIDs may repeat."""
    return photometry_hashes(*_frames(table))


def _frames(table: pa.Table) -> tuple[pd.DataFrame, pd.DataFrame, npt.NDArray[np.int64]]:
    """Take LIGHT_CURVE_SCHEMA apart into objects, epochs and offsets."""
    objects = table.select(list(OBJECT_COLUMNS)).to_pandas()
    lists = {name: table[name].combine_chunks() for name in EPOCH_COLUMNS}
    lengths = lists["MJD"].value_lengths().to_numpy(zero_copy_only=False)
    epochs = {name: values.flatten() for name, values in lists.items()}
    bands = epochs.pop("BAND").dictionary_encode()
    frame = pd.DataFrame({name: values.to_numpy(zero_copy_only=False) for name, values in epochs.items()})
    frame["BAND"] = bands.to_pandas() if len(bands) else pd.Categorical([])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return objects, frame[list(EPOCH_COLUMNS)], offsets


def _check_columns(name: str, table: pd.DataFrame, expected: Sequence[str]) -> None:
    leaked = [column for column in table.columns if str(column).startswith("SIM_")]
    if leaked:
        raise ValueError(f"simulated truth {leaked} must not enter light curves; it belongs to Truth")
    if list(table.columns) != list(expected):
        raise ValueError(f"{name} must have the columns {list(expected)}, came {list(table.columns)}")
