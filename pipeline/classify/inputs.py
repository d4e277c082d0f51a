"""Light curves as Python users have them: pandas tables long or nested, astropy tables, a table per object."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pipeline.ingest.readers.assembly import Epochs, light_curve_columns
from pipeline.ingest.readers.base import ReadOptions, TableError
from pipeline.ingest.readers.column_names import COLUMNS, WANTED, find_columns, snid_column
from pipeline.ingest.readers.header_columns import HEADER_ALIASES, Found, observed_columns
from pipeline.ingest.readers.long_tables import epochs_of, text_of
from pipeline.schema import ZP_INTERNAL, LightCurves

__all__ = ["InputError", "Photometry", "Taken", "take_input", "to_light_curves"]

logger = logging.getLogger(__name__)

Photometry: TypeAlias = Any
"""What `to_light_curves` takes: LightCurves, a pandas DataFrame, an astropy Table, or tables by SNID or in a list."""

_SOURCE: Final = "given in Python"


class InputError(ValueError):
    """A table that cannot be read as light curves; the message says what was expected, what came, and what to do."""


@dataclass(frozen=True)
class Taken:
    """Light curves made of what was given.

    Attributes:
        light_curves: n objects, in the order of their first rows.
        reasons: by SNID, why an object has no measurement.
        n_dropped: measurements left out, because a time, flux or error is no number, or an error not positive.
    """

    light_curves: LightCurves
    reasons: dict[str, str] = field(default_factory=dict)
    n_dropped: int = 0


@dataclass(frozen=True)
class _Rows:
    """A table of measurements, and which object each belongs to.

    Attributes:
        table: one row per measurement.
        owner: (n_rows,) place of the object of each row.
        snids: (n_objects,) names, in order; objects may have no row.
        described: (n_objects) what is known of each object, in columns of any names.
    """

    table: pd.DataFrame
    owner: npt.NDArray[np.int64]
    snids: list[str]
    described: pd.DataFrame


def to_light_curves(
    given: Photometry,
    columns: Mapping[str, str] | None = None,
    zeropoint: float = ZP_INTERNAL,
    band_map: Mapping[str, str] | None = None,
) -> LightCurves:
    """Make light curves of what is given; ids and their order are kept.

    Args:
        given: LightCurves; a pandas DataFrame with a row per measurement, or with a row per object whose cells hold
            lists, arrays or tables (nested-pandas frames among them); an astropy Table with a row per measurement; a
            mapping from SNID to a table per object, or a list of such tables, each with a column (or `attrs`, `meta`)
            SNID.
        columns: our names of columns to theirs, as in {"MJD": "time", "FLUXCAL": "flux"}; the names of SNANA and of
            PLAsTiCC need none.
        zeropoint: of the fluxes [mag AB]; a column ZP_FLUXCAL comes before it.
        band_map: bands to rename.

    Returns:
        All objects. Measurements whose time, flux or error is no number, or whose error is not positive, are left out
        and counted in the log; an object of only such measurements has none.

    Raises:
        InputError: if a column is missing, named twice or unknown, or an object has no name or the name of another.
    """
    return take_input(given, columns, zeropoint, band_map).light_curves


def take_input(
    given: Photometry,
    columns: Mapping[str, str] | None = None,
    zeropoint: float | None = None,
    band_map: Mapping[str, str] | None = None,
) -> Taken:
    """Do what `to_light_curves` does, and tell what was left out; LightCurves come back as they are."""
    if isinstance(given, LightCurves):
        return Taken(given)
    _check_names(columns or {})
    options = ReadOptions(columns=dict(columns or {}), band_map=dict(band_map or {}))
    rows = _rows(given, options)
    found = _find(rows.table, options)
    epochs = _epochs(rows, found, ZP_INTERNAL if zeropoint is None else zeropoint, options)
    is_good = np.isfinite(epochs.mjd) & np.isfinite(epochs.fluxcal) & np.isfinite(epochs.fluxcal_err)
    is_good &= epochs.fluxcal_err > 0
    n_dropped = int((~is_good).sum())
    if n_dropped:
        logger.warning("%d of %d measurements left out: no finite time or flux, or no positive error",
                       n_dropped, len(is_good))  # fmt: skip
    return Taken(_assemble(rows, epochs.where(is_good), options), _why_empty(rows, is_good), n_dropped)


def _check_names(columns: Mapping[str, str]) -> None:
    wrong = [name for name in columns if name not in COLUMNS]
    if wrong:
        nearest = difflib.get_close_matches(wrong[0].upper(), COLUMNS, 1, 0)[0]
        raise InputError(
            f"columns= names {wrong[0]!r}, which is none of ours ({', '.join(COLUMNS)}); perhaps {nearest}; our name "
            'comes first, as in columns={"MJD": "time"}'
        )


def _rows(given: Photometry, options: ReadOptions) -> _Rows:
    """Tell the kind of what is given, and make one long table of it."""
    if isinstance(given, Mapping):
        return _joined([(text_of(snid), _frame(table)) for snid, table in given.items()], options)
    if isinstance(given, pd.DataFrame) or hasattr(given, "to_pandas"):
        frame = _frame(given)
        nested = [name for name in frame.columns if _is_nested(frame[name])]
        return _nested(frame, nested, options) if nested else _long(frame, options)
    if isinstance(given, Iterable) and not isinstance(given, str | bytes):
        frames = [(_name_of(table), _frame(table)) for table in given]
        return _joined(frames, options)
    raise InputError(
        f"cannot read light curves from {type(given).__name__}; expected LightCurves, a pandas DataFrame, an astropy "
        "Table, or a list or dictionary of tables, one for each object"
    )


def _frame(table: Any) -> pd.DataFrame:
    """Return a table as a DataFrame with columns of plain values."""
    if isinstance(table, pd.DataFrame):
        return table
    if hasattr(table, "to_pandas"):
        frame: pd.DataFrame = table.to_pandas()
        return frame
    try:
        return pd.DataFrame(table)
    except (ValueError, TypeError) as error:
        raise InputError(f"cannot read an object's table from {type(table).__name__}: {error}") from None


def _name_of(table: Any) -> str | None:
    for notes in (getattr(table, "attrs", None), getattr(table, "meta", None)):
        if isinstance(notes, Mapping) and "SNID" in notes:
            return text_of(notes["SNID"])
    return None


def _long(table: pd.DataFrame, options: ReadOptions) -> _Rows:
    names = table[_find(table, options)["SNID"]]
    if names.isna().any():
        raise InputError(f"row {int(names.isna().to_numpy().argmax()) + 1} does not name its object")
    owner, uniques = pd.factorize(names)
    first = np.flatnonzero(~names.duplicated().to_numpy())
    snids = [str(text_of(name)) for name in uniques]
    return _Rows(table, owner.astype(np.int64), snids, table.iloc[first].reset_index(drop=True))


def _joined(named: Sequence[tuple[str | None, pd.DataFrame]], options: ReadOptions) -> _Rows:
    """Put the tables of single objects after each other."""
    snids = [_snid_of(name, table, place, options) for place, (name, table) in enumerate(named)]
    tables = [table for _, table in named]
    owner = np.repeat(np.arange(len(tables), dtype=np.int64), [len(table) for table in tables])
    filled = [table for table in tables if len(table)]
    table = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(WANTED))
    described = pd.DataFrame([one.iloc[0].to_dict() if len(one) else {} for one in tables])
    column = snid_column([str(name) for name in table.columns], options)
    return _Rows(table.assign(**{column or "SNID": np.array(snids, dtype=object)[owner]}), owner, snids, described)


def _snid_of(name: str | None, table: pd.DataFrame, place: int, options: ReadOptions) -> str:
    column = snid_column([str(column) for column in table.columns], options)
    inside = [] if column is None else table[column].dropna().unique().tolist()
    if len(inside) > 1:
        raise InputError(f"table {place + 1} is of several objects ({inside[0]}, {inside[1]}, …); expected one a table")
    found = name if name is not None else (text_of(inside[0]) if inside else None)
    if found is None:
        raise InputError(f"table {place + 1} does not name its object: give a column SNID, or a dictionary by SNID")
    return found


def _is_nested(column: pd.Series) -> bool:
    """Tell cells that hold many values; the first that is not missing decides."""
    if "nested" in str(column.dtype):
        return True
    if column.dtype.kind in "fiubM":
        return False
    first = next((cell for cell in column if cell is not None and not np.isscalar(cell)), None)
    return isinstance(first, list | tuple | np.ndarray | pd.Series | pd.DataFrame)


def _nested(table: pd.DataFrame, nested: Sequence[str], options: ReadOptions) -> _Rows:
    """Take a table with a row per object apart: cells that hold tables, or lists of one length in several columns."""
    described = table.drop(columns=list(nested)).reset_index(drop=True)
    column = snid_column([str(name) for name in described.columns], options)
    names = described[column] if column is not None else pd.Series(table.index)
    if names.isna().any():
        raise InputError(f"row {int(names.isna().to_numpy().argmax()) + 1} does not name its object")
    snids = [str(text_of(name)) for name in names]
    cells = [_cells(row, nested, snid) for row, snid in zip(table[list(nested)].to_dict("records"), snids, strict=True)]
    owner = np.repeat(np.arange(len(cells), dtype=np.int64), [len(cell) for cell in cells])
    filled = [cell for cell in cells if len(cell)]
    rows = pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(WANTED))
    label = str(column) if column is not None else options.columns.get("SNID", _spelling_of_snid(rows))
    return _Rows(rows.assign(**{label: np.array(snids, dtype=object)[owner]}), owner, snids, described)


def _spelling_of_snid(rows: pd.DataFrame) -> str:
    """Name the column of SNIDs so that the others are looked for by PLAsTiCC's names, or by ours."""
    return "object_id" if {"flux", "passband"} <= set(rows.columns) else "SNID"


def _cells(row: Mapping[Any, Any], nested: Sequence[str], snid: str) -> pd.DataFrame:
    """Return the measurements of one object."""
    inner: dict[str, Any] = {}
    for name in nested:
        cell = row[name]
        if isinstance(cell, pd.DataFrame):
            inner |= {str(column): cell[column].to_numpy() for column in cell.columns}
        elif cell is not None and not np.isscalar(cell):
            inner[str(name)] = cell
    lengths = {len(values) for values in inner.values()}
    if len(lengths) > 1:
        counted = ", ".join(f"{name}: {len(values)}" for name, values in inner.items())
        raise InputError(f"object {snid} has lists of different lengths ({counted})")
    return pd.DataFrame(inner)


def _find(table: pd.DataFrame, options: ReadOptions) -> dict[str, str]:
    names = [str(name) for name in table.columns]
    absent = [theirs for theirs in options.columns.values() if theirs.upper() not in {name.upper() for name in names}]
    known = {alias for ours in HEADER_ALIASES for alias in (options.columns.get(ours),)}
    absent = [theirs for theirs in absent if theirs not in known]
    try:
        found = find_columns(names, options)
    except TableError as error:
        reason = str(error).partition("; name them")[0]
    else:
        if not absent:
            return found
        reason = f"columns= names {', '.join(absent)}, which the table does not have; came {', '.join(names)}"
    raise InputError(
        f"{reason}; expected {', '.join(WANTED)}: say which is which by columns="
        '{"SNID": "id", "MJD": "time", "BAND": "filter", "FLUXCAL": "flux", "FLUXCALERR": "flux_error"}'
    )


def _epochs(rows: _Rows, found: dict[str, str], zeropoint: float, options: ReadOptions) -> Epochs:
    """Return the measurements in the order of their objects, at our zeropoint, NaN where they cannot be read."""
    order = np.argsort(rows.owner, kind="stable")
    table = rows.table.iloc[order]
    arrow = pa.table({name: _array(table[name]) for key, name in found.items() if key != "SNID"})
    epochs = epochs_of(arrow, found, rows.owner[order])
    scale = 1.0 if "ZP_FLUXCAL" in found else 10 ** (0.4 * (ZP_INTERNAL - zeropoint))
    names = options.rename(epochs.band)
    return Epochs(epochs.owner, epochs.mjd, names, epochs.fluxcal * scale, epochs.fluxcal_err * scale, epochs.flag)


def _array(column: pd.Series) -> pa.Array:
    """Return numbers as numbers, anything else as text."""
    values = np.asarray(column)
    if values.dtype.kind in "fiub":
        return pa.array(values.astype(values.dtype.newbyteorder("=")), from_pandas=True)
    words = [None if pd.isna(value) else text_of(value) for value in values.astype(object)]
    return pa.array(words, pa.string())


def _assemble(rows: _Rows, epochs: Epochs, options: ReadOptions) -> LightCurves:
    snids = np.array(rows.snids, dtype=object)
    repeated = pd.Series(snids)[pd.Series(snids).duplicated()]
    if len(repeated):
        raise InputError(f"SNID {repeated.iloc[0]} names more than one object")
    found = Found(rows.described, options.columns)
    n_objects = len(snids)
    further = [
        pa.array(found.numbers("DETECTION_MJD"), pa.float64(), from_pandas=True),
        pa.repeat(pa.scalar(_SOURCE), n_objects),
        pa.repeat(pa.scalar(""), n_objects),
    ]
    return LightCurves.from_arrow(light_curve_columns(observed_columns(snids, found, None), further, epochs))


def _why_empty(rows: _Rows, is_good: npt.NDArray[np.bool_]) -> dict[str, str]:
    owner = np.sort(rows.owner)
    counts = np.bincount(owner, minlength=len(rows.snids))
    left = np.bincount(owner[is_good], minlength=len(rows.snids))
    return {
        rows.snids[place]: f"no usable measurement: of all {counts[place]} the time, flux or error is no number"
        if counts[place]
        else "no measurement"
        for place in np.flatnonzero(left == 0).tolist()
    }
