"""Tables with one row per measurement: cut into whole objects, joined with what a header says of them.

A table whose rows are grouped by object streams in bounded memory; one whose objects are scattered is read whole and
sorted, unless it is small and read whole anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.readers.assembly import Epochs, flags_of, is_zeropoint, stable_order
from pipeline.ingest.readers.base import ReadOptions, ReadResult, Rejection, one_array
from pipeline.ingest.readers.column_names import columns_to_read, find_columns, snid_column, zeropoint_of
from pipeline.ingest.readers.header_columns import Found, observed_columns, told_columns
from pipeline.ingest.readers.many_objects import NAMELESS, Described, Origin, no_objects, read_objects, split_evenly
from pipeline.schema import ZP_INTERNAL

__all__ = [
    "SMALL_BYTES",
    "Header",
    "LongTable",
    "band_names",
    "epochs_of",
    "float_column",
    "header_of",
    "stream_long",
    "text_of",
    "texts_of",
]

SMALL_BYTES: Final = 128 << 20
"""A file of at most this size is read whole [bytes]."""
_ROW: Final = "row in the file"
_PASSBANDS: Final = dict(zip("012345", "ugrizy", strict=True))
_NOTHING: Final = object()
_NUMBERS: Final = ("MJD", "FLUXCAL", "FLUXCALERR", "ZP_FLUXCAL")
_SEPARATOR: Final = -777.0  # MJD of the row that SNANA puts between objects
_DETECTION: Final = 4096  # SNANA's PHOTFLAG bit of a detection

Floats = npt.NDArray[np.float64]
Batches = Callable[[list[str]], Iterable[pa.Table]]


@dataclass(frozen=True)
class Header:
    """A table with one row per object.

    Attributes:
        table: indexed by SNID, each once.
        name: of its file.
        rejections: rows that repeat an SNID.
        is_shared: whether it serves several tables of measurements, so that none has all of its objects.
    """

    table: pd.DataFrame
    name: str
    rejections: list[Rejection]
    is_shared: bool = False


@dataclass(frozen=True)
class LongTable:
    """A table of measurements.

    Attributes:
        names: of its columns.
        batches: opens it, and yields the columns asked for, batch by batch.
        n_bytes: size of its file, unpacked size where that is known.
    """

    names: Sequence[str]
    batches: Batches
    n_bytes: int


def header_of(table: pd.DataFrame, name: str, digest: str, options: ReadOptions, is_shared: bool = False) -> Header:
    """Index a header by SNID; a row that repeats one, or has none, is rejected."""
    snid = snid_column(list(table.columns), options)
    snids = table[snid].astype("str").str.strip().fillna("")
    is_bad = (snids.duplicated() | (snids == "")).to_numpy()
    rejections = []
    for row in np.flatnonzero(is_bad).tolist():
        word = snids[row] or None
        reason = f"duplicate SNID: {word} is already that of an earlier row" if word else NAMELESS
        rejections.append(Rejection(name, reason, row + 1, word, "object", digest))
    return Header(table[~is_bad].set_index(pd.Index(snids[~is_bad])), name, rejections, is_shared)


def stream_long(table: LongTable, header: Header | None, origin: Origin, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects, some thousand at a time.

    Raises:
        TableError: if a wanted column is missing.
    """
    found = find_columns(table.names, options)
    columns = columns_to_read(table.names, found, options)
    met: set[str] = set()
    for part in _parts(table, columns, found["SNID"]):
        result = _read(part, found, header, origin, options)
        met.update(result.light_curves["SNID"].to_pylist(), (item.snid or "" for item in result.rejections))
        yield result
    if header is not None:
        yield no_objects(_without_rows(header, met, origin))


def _without_rows(header: Header, met: set[str], origin: Origin) -> list[Rejection]:
    absent = [] if header.is_shared else np.flatnonzero(~header.table.index.isin(met)).tolist()
    reason = f"no measurements: {origin.name} has no row of it"
    return header.rejections + [
        Rejection(header.name, reason, row + 1, str(header.table.index[row]), "object", origin.digest) for row in absent
    ]


def _parts(table: LongTable, columns: list[str], snid: str) -> Iterator[pa.Table]:
    """Yield whole objects, the rows of each following each other, each row with its place in the file."""
    is_small = table.n_bytes <= SMALL_BYTES
    if not is_small and _is_grouped(column[snid] for column in table.batches([snid])):
        yield from _whole_objects(_numbered(table.batches(columns)), snid)
        return
    batches = list(_numbered(table.batches(columns)))
    if not batches:
        return
    whole = pa.concat_tables(batches).combine_chunks()
    if not _is_grouped([whole[snid]]):
        codes = one_array(whole[snid]).dictionary_encode(null_encoding="encode").indices.to_numpy()
        whole = whole.take(pa.array(stable_order(codes)))
    yield from _cut(whole, _run_starts(one_array(whole[snid])))


def _numbered(batches: Iterable[pa.Table]) -> Iterator[pa.Table]:
    first = 1
    for batch in batches:
        yield batch.append_column(_ROW, pa.array(np.arange(first, first + len(batch), dtype=np.int64)))
        first += len(batch)


def _is_grouped(columns: Iterable[pa.ChunkedArray]) -> bool:
    """Tell whether each value stands in one run of rows."""
    seen: set[Any] = set()
    last: Any = _NOTHING
    for column in columns:
        values = one_array(column)
        runs = values.take(pa.array(_run_starts(values)))
        names = runs.unique()
        if len(names) < len(runs):
            return False
        words = names.to_pylist()
        if not seen.isdisjoint(words[1:] if words[:1] == [last] else words):
            return False
        seen.update(words)
        last = words[-1] if words else last
    return True


def _run_starts(values: pa.Array) -> npt.NDArray[np.int64]:
    """Return the rows at which another value begins."""
    if not len(values):
        return np.zeros(0, np.int64)
    if values.null_count or not (pa.types.is_integer(values.type) or pa.types.is_string(values.type)):
        values = values.dictionary_encode(null_encoding="encode").indices
    is_other = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return np.concatenate([[0], 1 + np.flatnonzero(is_other)]).astype(np.int64)


def _whole_objects(batches: Iterable[pa.Table], snid: str) -> Iterator[pa.Table]:
    """Cut batches so that no object is in two parts, and no part has more than some thousand objects."""
    carried: list[pa.Table] = []
    for batch in batches:
        joined = pa.concat_tables([*carried, batch]).combine_chunks() if carried else batch
        starts = _run_starts(one_array(joined[snid]))
        last = int(starts[-1]) if len(starts) else 0
        yield from _cut(joined.slice(0, last), starts[:-1])
        carried = [joined.slice(last)]
    if carried and len(carried[0]):
        yield carried[0]


def _cut(table: pa.Table, starts: npt.NDArray[np.int64]) -> Iterator[pa.Table]:
    bounds = np.append(starts, len(table))
    for begin, end in split_evenly(np.diff(bounds)) if len(starts) else []:
        yield table.slice(int(bounds[begin]), int(bounds[end] - bounds[begin]))


def _read(
    table: pa.Table, found: dict[str, str], header: Header | None, origin: Origin, options: ReadOptions
) -> ReadResult:
    names = one_array(table[found["SNID"]])
    starts = _run_starts(names)
    snids = texts_of(names.take(pa.array(starts)))
    counts = np.diff(np.append(starts, len(table)))
    described = table.take(pa.array(starts)).to_pandas()
    if header is not None:
        described = header.table.reindex(pd.Index(snids)).reset_index(drop=True)
    columns = Found(described, options.columns)
    rows = table[_ROW].to_numpy()
    objects = Described(
        observed_columns(snids, columns, None), told_columns(snids, columns, options.type_codes),
        columns.numbers("DETECTION_MJD"), rows[starts], {},
    )  # fmt: skip
    owner = np.repeat(np.arange(len(starts), dtype=np.int64), counts)
    epochs = epochs_of(table, found, owner)
    is_row, places = epochs.mjd != _SEPARATOR, None
    if not is_row.all():
        epochs, rows, places = epochs.where(is_row), rows[is_row], np.flatnonzero(is_row)

    def word_of(name: str, place: int) -> str | None:
        return _word(table[found[name]][place if places is None else int(places[place])].as_py())

    return read_objects(objects, epochs, lambda place: int(rows[place]), origin, options, word_of)


def _word(cell: Any) -> str | None:
    """Return what stands where a number should, None for a number and for nothing."""
    if not isinstance(cell, str) or not cell.strip():
        return None
    try:
        float(cell)
    except ValueError:
        return cell
    return None


def texts_of(names: pa.Array) -> npt.NDArray[np.object_]:
    """Return names as text, None for null."""
    if pa.types.is_integer(names.type):
        names = names.cast(pa.string())
    if pa.types.is_string(names.type):
        words: npt.NDArray[np.object_] = pc.utf8_trim_whitespace(names).to_numpy(zero_copy_only=False)
        return words
    return np.array([text_of(name) for name in names.to_pylist()], dtype=object)


def text_of(value: Any) -> str | None:
    """Return a name as text, None for null."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return None if value is None else str(value).strip()


def epochs_of(table: pa.Table, found: dict[str, str], owner: npt.NDArray[np.int64]) -> Epochs:
    """Return measurements from the columns of `find_columns`, (n,) each, at our zeropoint."""
    values = {key: float_column(table[found[key]]) for key in _NUMBERS if key in found}
    flux, error = values["FLUXCAL"], values["FLUXCALERR"]
    zeropoint = values.get("ZP_FLUXCAL", zeropoint_of(found["FLUXCAL"]))
    if np.any(zeropoint != ZP_INTERNAL):
        scale = 10 ** (0.4 * (ZP_INTERNAL - np.where(is_zeropoint(zeropoint), zeropoint, np.nan)))
        with np.errstate(over="ignore"):  # a flux that is not finite is told as such
            flux, error = flux * scale, error * scale
    bands = band_names(table[found["BAND"]], found["BAND"])
    return Epochs(owner, values["MJD"], bands, flux, error, _flags(table, found))


def _flags(table: pa.Table, found: dict[str, str]) -> npt.NDArray[np.int32]:
    """Return PHOTFLAG, 0 where it is missing or no number."""
    if "DETECTED" in found:
        is_detected = float_column(table[found["DETECTED"]]) == 1
        return np.where(is_detected, np.int32(_DETECTION), np.int32(0))
    if "PHOTFLAG" not in found:
        return np.zeros(len(table), np.int32)
    column = one_array(table[found["PHOTFLAG"]])
    if pa.types.is_int32(column.type) and not column.null_count:
        flags: npt.NDArray[np.int32] = column.to_numpy()
        return flags
    return flags_of(float_column(column))


def float_column(column: pa.ChunkedArray | pa.Array) -> Floats:
    """Return numbers, or words that should be numbers, as float64; NaN for null and for what is no number."""
    values = one_array(column)
    try:
        numbers = pc.cast(pc.utf8_trim_whitespace(values) if pa.types.is_string(values.type) else values, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pd.to_numeric(pd.Series(values.to_pylist(), dtype=object), errors="coerce").to_numpy(np.float64)
    found: Floats = numbers.to_numpy(zero_copy_only=False)
    return found


def band_names(column: pa.ChunkedArray | pa.Array, name: str) -> pa.DictionaryArray:
    """Return bands by name, those of PLAsTiCC's `passband` as ugrizy; a missing name becomes "?"."""
    values = one_array(column)
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    encoded = encoded.cast(pa.dictionary(pa.int32(), encoded.type.value_type))
    words = [text_of(value) or "?" for value in encoded.dictionary.to_pylist()]
    if name == "passband":
        words = [_PASSBANDS.get(word, word) for word in words]
    indices = encoded.indices
    if indices.null_count:
        indices, words = pc.fill_null(indices, len(words)), [*words, "?"]
    named = pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))
    return named if len(set(words)) == len(words) else named.cast(pa.string()).dictionary_encode()
