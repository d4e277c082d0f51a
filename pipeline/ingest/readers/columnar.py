"""Parquet and Arrow: one row per measurement, or one row per object with its measurements in lists.

Lists may stand in columns of their own (as in our store), in one struct of lists (nested-pandas) or in one list of
structs. Where their type is float64, lists that are sound and in time order are handed on without being copied.
Parquet is read row group by row group, Arrow IPC batch by batch from a memory map. Of a HATS catalogue (a folder of
Parquet) each partition is a table; its side files are not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ingest.readers.base import Bundle, Part, ReadOptions, ReadResult, TableError, TableFile, one_array
from pipeline.ingest.readers.column_names import (
    BAND_NAMES,
    columns_to_read,
    find_columns,
    holds_measurements,
    snid_column,
)
from pipeline.ingest.readers.header_columns import Found, observed_columns, told_columns
from pipeline.ingest.readers.long_tables import LongTable, epochs_of, stream_long, texts_of
from pipeline.ingest.readers.many_objects import Described, Origin, read_objects, repeated_snids, split_evenly

__all__ = ["arrow_part", "parquet_part", "stream_arrow", "stream_parquet"]

_PARQUET: Final = b"PAR1"
_ARROW_FILE: Final = b"ARROW1"
_ARROW_STREAM: Final = b"\xff\xff\xff\xff"
_LONG_ROWS: Final = 1_000_000
_LIST_ROWS: Final = 5_000
_FEW_ROWS: Final = 1_000
_WORDS: Final = pa.dictionary(pa.int32(), pa.string())
_IN_LISTS: Final = ("MJD", "BAND", "FLUXCAL", "FLUXCALERR")

Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
Batches = Callable[[list[str] | None, int], Iterator[pa.Table]]
Kinds = dict[str, pa.DataType]


def parquet_part(start: bytes, options: ReadOptions) -> Part | None:
    """Tell Parquet by its mark; what is in it stands at its end."""
    return Part("table") if start.startswith(_PARQUET) else None


def arrow_part(start: bytes, options: ReadOptions) -> Part | None:
    """Tell Arrow IPC, as file (also Feather) or stream, by its mark."""
    return Part("table") if start.startswith((_ARROW_FILE, _ARROW_STREAM)) else None


def stream_parquet(bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects in the order of the rows."""
    with _mapped(bundle.rows) as source, pq.ParquetFile(source) as file:

        def batches(columns: list[str] | None, n_rows: int) -> Iterator[pa.Table]:
            for batch in _record_batches(source, file, columns, n_rows, options):
                batch.validate(full=True)  # names may be no UTF-8
                yield pa.Table.from_batches([batch])

        yield from _stream(file.schema_arrow, batches, bundle, digest, options)


def stream_arrow(bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects in the order of the rows."""
    with _mapped(bundle.rows) as source:
        schema = _open_arrow(source)[0]
        yield from _stream(schema, partial(_arrow_batches, source), bundle, digest, options)


def _record_batches(
    source: pa.NativeFile, file: pq.ParquetFile, columns: list[str] | None, n_rows: int, options: ReadOptions
) -> Iterator[pa.RecordBatch]:
    """Yield rows, bands as a dictionary where it pays: as they are stored, not as one word for every measurement."""
    groups = range(file.num_row_groups)
    bands = _band_leaves(file, options)
    if not bands or any(file.metadata.row_group(group).num_rows < _FEW_ROWS for group in groups[:-1]):
        yield from file.iter_batches(n_rows, columns=columns, use_threads=False)
        return
    with pq.ParquetFile(source, metadata=file.metadata, read_dictionary=bands) as quick:
        for group in groups:  # Arrow joins no lists of words from the dictionaries of several groups
            yield from quick.iter_batches(n_rows, [group], columns, use_threads=False)


def _band_leaves(file: pq.ParquetFile, options: ReadOptions) -> list[str]:
    """Return the paths of the columns that hold the bands of measurements."""
    names = {name.upper() for name in (*BAND_NAMES, options.columns.get("BAND", ""))}
    leaves = [file.schema.column(place) for place in range(len(file.schema))]
    words = [leaf for leaf in leaves if leaf.physical_type == "BYTE_ARRAY" and leaf.max_repetition_level <= 1]
    return [leaf.path for leaf in words if names & set(leaf.path.upper().split("."))]


@contextmanager
def _mapped(file: TableFile) -> Iterator[pa.NativeFile]:
    """Map a file on disk into memory; unpack one that is packed."""
    if file.is_packed:
        with file.open() as handle:
            yield pa.BufferReader(handle.read())
    else:
        with pa.memory_map(file.path) if file.path is not None else pa.BufferReader(file.data) as source:
            yield source


def _open_arrow(source: pa.NativeFile) -> tuple[pa.Schema, Iterable[pa.RecordBatch]]:
    source.seek(0)
    is_file = source.read(len(_ARROW_FILE)) == _ARROW_FILE
    source.seek(0)
    if not is_file:
        stream = pa.ipc.open_stream(source)
        return stream.schema, stream
    file = pa.ipc.open_file(source)
    return file.schema, (file.get_batch(number) for number in range(file.num_record_batches))


def _arrow_batches(source: pa.NativeFile, columns: list[str] | None, n_rows: int) -> Iterator[pa.Table]:
    for batch in _open_arrow(source)[1]:
        batch.validate(full=True)  # what a damaged file claims is not to be trusted before
        for first in range(0, len(batch), n_rows):
            table = pa.Table.from_batches([batch.slice(first, n_rows)])
            yield table if columns is None else table.select(columns)


def _stream(
    schema: pa.Schema, batches: Batches, bundle: Bundle, digest: str, options: ReadOptions
) -> Iterator[ReadResult]:
    nest = _nest(schema, options)
    inner = _inner_kinds(schema, nest)
    kinds = _outer_kinds(schema, nest) | inner
    found, origin = find_columns(list(kinds), options), Origin(bundle.name, digest)
    has_lists = _has_lists(kinds, found)
    names = [name for name, kind in kinds.items() if name in found.values() or _is_plain(kind)]
    if not has_lists:
        long_rows = partial(_long_batches, batches, found)
        yield from stream_long(LongTable(names, long_rows, bundle.rows.size()), None, origin, options)
        return
    wanted = [name for name in columns_to_read(names, found, options) if name not in inner]
    seen: set[str] = set()
    first = 1
    for batch in batches(wanted if nest is None else [*wanted, nest], _LIST_ROWS):
        table = _plain(batch if nest is None else _unnested(batch, nest), found)
        for begin, end in split_evenly(_lengths(table, found)[0]):
            yield _read(table.slice(begin, end - begin), found, first + begin, seen, origin, options)
        first += len(batch)


def _long_batches(batches: Batches, found: dict[str, str], columns: list[str]) -> Iterator[pa.Table]:
    return (_plain(batch, found) for batch in batches(columns, _LONG_ROWS))


def _nest(schema: pa.Schema, options: ReadOptions) -> str | None:
    """Name the column that holds all measurements of an object in a struct, None without one.

    Raises:
        TableError: if a name stands twice.
    """
    repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if repeated:
        raise TableError(f"duplicated column: {', '.join(repeated)}")
    for field in schema:
        inner = list(_inner_kinds(schema, field.name))
        snid = snid_column([*schema.names, *inner], options)
        if holds_measurements([*inner, snid] if snid else inner, options):
            return str(field.name)
    return None


def _struct_of(kind: pa.DataType) -> pa.StructType | None:
    if pa.types.is_struct(kind) and all(_is_list(field.type) for field in kind):
        return kind
    return kind.value_type if _is_list(kind) and pa.types.is_struct(kind.value_type) else None


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_plain(kind: pa.DataType) -> bool:
    """Tell numbers and words, also encoded ones, from what light curves do not consist of: times, lists, structs."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _is_plain(kind.value_type)
    is_number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    is_word = str(kind) in ("string", "large_string", "string_view") or pa.types.is_binary(kind)
    return bool(is_number or is_word or pa.types.is_boolean(kind) or pa.types.is_null(kind))


def _outer_kinds(schema: pa.Schema, nest: str | None) -> Kinds:
    """Return the types of the columns; beside one that holds all measurements, of those that are no lists."""
    return {field.name: field.type for field in schema if nest is None or _is_plain(field.type)}


def _inner_kinds(schema: pa.Schema, nest: str | None) -> Kinds:
    """Return the types of the lists that the column of all measurements is taken apart into.

    Raises:
        TableError: if a name stands twice.
    """
    struct = None if nest is None else _struct_of(schema.field(nest).type)
    if struct is None:
        return {}
    is_struct = pa.types.is_struct(schema.field(nest).type)
    kinds = {field.name: field.type if is_struct else pa.list_(field.type) for field in struct}
    if len(kinds) < struct.num_fields:
        raise TableError(f"duplicated column: in {nest}")
    return kinds


def _has_lists(kinds: Kinds, found: dict[str, str]) -> bool:
    """Tell whether the measurements stand in lists.

    Raises:
        TableError: if only some do, or if they are neither numbers nor words.
    """
    listed = [key for key, name in found.items() if _is_list(kinds[name])]
    if listed and ("SNID" in listed or not set(listed).issuperset(_IN_LISTS)):
        raise TableError(f"mixed layout: lists in {', '.join(listed)} only")
    for key, name in found.items():
        kind = kinds[name].value_type if key in listed else kinds[name]
        if not _is_plain(kind):
            raise TableError(f"unusable column: {name} is of type {kind}, expected numbers or words")
    return bool(listed)


def _unnested(table: pa.Table, nest: str) -> pa.Table:
    """Put the fields of the struct beside the other columns, as lists."""
    column = one_array(table[nest])
    inner_names = [field.name for field in _struct_of(column.type) or ()]
    plain = table.select([name for name in table.column_names if name not in (nest, *inner_names)])
    if pa.types.is_struct(column.type):
        for field, values in zip(column.type, column.flatten(), strict=True):
            plain = plain.append_column(field.name, values)
        return plain
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    inner = column.flatten()
    for field, values in zip(inner.type, inner.flatten(), strict=True):
        plain = plain.append_column(field.name, pa.ListArray.from_arrays(offsets, values))
    return plain


def _plain(table: pa.Table, found: dict[str, str]) -> pa.Table:
    """Return a table in which columns are plain strings and numbers, or lists of them, without pandas' notes.

    Only bands may stay encoded.
    """
    return pa.table({name: _decoded_unless_band(table[name], name, found) for name in table.column_names})


def _decoded_unless_band(
    column: pa.ChunkedArray | pa.Array, name: str, found: dict[str, str]
) -> pa.ChunkedArray | pa.Array:
    """Decode a column, but not bands as Parquet encodes them; another kind of dictionary cannot always be joined."""
    is_band_alone = name == found["BAND"] and list(found.values()).count(name) == 1
    is_ready = is_band_alone and column.type == _WORDS and not one_array(column).dictionary.null_count
    return column if is_ready else _decoded(column)


def _decoded(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """Return words as strings and numbers as they are, neither encoded."""
    if pa.types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(one_array(column))
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    is_odd_string = str(column.type) in ("large_string", "string_view")
    return column.cast(pa.string()) if is_odd_string or pa.types.is_null(column.type) else column


def _read(
    table: pa.Table, found: dict[str, str], first: int, seen: set[str], origin: Origin, options: ReadOptions
) -> ReadResult:
    lengths, is_uneven = _lengths(table, found)
    objects = _describe(table, found, first, options)
    objects.problems.update(repeated_snids(objects.observed["SNID"], seen))
    reason = "uneven lists: the measurements of the object differ in number from column to column"
    objects.problems.update(dict.fromkeys(np.flatnonzero(is_uneven).tolist(), reason))
    if is_uneven.any():
        table = table.filter(pa.array(~is_uneven))
    owner = np.repeat(np.flatnonzero(~is_uneven), lengths[~is_uneven])
    epochs = epochs_of(_flattened(table, found, lengths[~is_uneven]), found, owner)
    return read_objects(objects, epochs, lambda place: int(objects.rows[owner[place]]), origin, options)


def _describe(table: pa.Table, found: dict[str, str], first: int, options: ReadOptions) -> Described:
    described = table.select([field.name for field in table.schema if not _is_list(field.type)]).to_pandas()
    columns = Found(described, options.columns)
    snids = texts_of(one_array(table[found["SNID"]]))
    rows = np.arange(first, first + len(table), dtype=np.int64)
    observed, told = observed_columns(snids, columns, None), told_columns(snids, columns, options.type_codes)
    return Described(observed, told, columns.numbers("DETECTION_MJD"), rows, {})


def _lengths(table: pa.Table, found: dict[str, str]) -> tuple[Integers, Bools]:
    """Return each object's number of measurements, and whether its lists differ in it."""
    lists = [name for name in found.values() if _is_list(table.schema.field(name).type)]
    counts = [pc.fill_null(pc.list_value_length(table[name]), 0).to_numpy().astype(np.int64) for name in lists]
    return counts[0], np.any([values != counts[0] for values in counts], axis=0)


def _flattened(table: pa.Table, found: dict[str, str], lengths: Integers) -> pa.Table:
    """Return one row per measurement; what is told once per object is repeated."""
    arrays = {name: one_array(table[name]) for key, name in found.items() if key != "SNID"}
    flat = {name: array.flatten() for name, array in arrays.items() if _is_list(array.type)}
    columns = {name: _decoded_unless_band(array, name, found) for name, array in flat.items()}
    if len(columns) < len(arrays):
        places = pa.array(np.repeat(np.arange(len(table)), lengths))
        columns |= {name: array.take(places) for name, array in arrays.items() if name not in columns}
    return pa.table(columns)
