"""Tables of words between commas, tabs, semicolons or spaces, after one line of names.

PLAsTiCC: light curves (object_id, mjd, passband, flux, flux_err) and metadata beside them. SuperNNova: PHOT (SNID, MJD,
FLT, FLUXCAL, FLUXCALERR) and HEAD. Any other table of measurements by a map of its columns. Light curves without a
header file are objects of which nothing else is known. SNIDs are words: leading zeros count.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator
from functools import partial
from typing import BinaryIO, Final

import pyarrow as pa
from pyarrow import csv

from pipeline.ingest.readers.base import Bundle, Part, ReadOptions, ReadResult, Rejection, TableError, TableFile
from pipeline.ingest.readers.column_names import describes_objects, holds_measurements
from pipeline.ingest.readers.long_tables import LongTable, header_of, stream_long
from pipeline.ingest.readers.many_objects import Origin, no_objects

__all__ = ["column_names", "part", "stream"]

_SEPARATORS: Final = (",", "\t", ";", " ")
_BLOCK: Final = 32 << 20
_NULLS: Final = ["", "NULL", "null", "None", "NaN", "nan", "NA", "N/A"]


def part(start: bytes, options: ReadOptions) -> Part | None:
    """Tell a table by the names in its first line."""
    line, separator = _first_line(start)
    if b"\0" in line or separator is None:
        return None
    names = _split(line, separator)
    if holds_measurements(names, options):
        return Part("rows")
    return Part("header") if describes_objects(names, options) else None


def stream(bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects in order of their first measurement; rows that are no rows are left out and listed."""
    damaged: list[Rejection] = []
    table = _long_table(bundle.rows, digest, damaged)
    header = None
    if bundle.header is not None:
        described = _long_table(bundle.header, digest, damaged)
        whole = pa.concat_tables(described.batches(list(described.names)))
        frame = whole.to_pandas()
        header = header_of(frame, bundle.header.name, digest, options, bundle.is_header_shared)
    yield from stream_long(table, header, Origin(bundle.name, digest), options)
    yield no_objects(list(dict.fromkeys(damaged)))


class _Utf8:
    """A file in which bytes that are no UTF-8 are read as question marks, for Arrow cannot report rows with them."""

    closed = False

    def __init__(self, handle: BinaryIO) -> None:
        self._handle = handle
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes, none only at the end."""
        data = self._handle.read(max(size - 4, 1))
        if data.isascii() and not self._decoder.getstate()[0]:
            return data
        return self._decoder.decode(data, final=not data).replace("\ufffd", "?").encode() or (
            self.read(size) if data else b""
        )


def column_names(start: bytes) -> list[str]:
    """Return the names in the first line."""
    line, separator = _first_line(start)
    return _split(line, separator or ",")


def _first_line(start: bytes) -> tuple[bytes, str | None]:
    line = start.lstrip(b"\xef\xbb\xbf").partition(b"\n")[0].rstrip(b"\r")
    return line, next((separator for separator in _SEPARATORS if separator.encode() in line), None)


def _split(line: bytes, separator: str) -> list[str]:
    words = line.decode("utf-8", "replace").split(None if separator == " " else separator)
    return [word.strip().strip('"') for word in words]


def _long_table(file: TableFile, digest: str, damaged: list[Rejection]) -> LongTable:
    with file.open() as handle:
        line, separator = _first_line(handle.read(1 << 16))
    if separator is None:
        raise TableError("damaged: the first line does not name columns")
    names = _split(line, separator)
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise TableError(f"duplicated column: {', '.join(repeated)}")
    return LongTable(names, partial(_batches, file, digest, names, separator, damaged), file.size())


def _batches(
    file: TableFile, digest: str, names: list[str], separator: str, damaged: list[Rejection], columns: list[str]
) -> Iterable[pa.Table]:
    """Yield columns as words, so that one that is no number costs only its row."""

    def note(row: csv.InvalidRow) -> str:
        reason = f"damaged row: expected {row.expected_columns} values, came {row.actual_columns}"
        damaged.append(Rejection(file.name, reason, row.number, None, "epoch", digest))
        return "skip"

    with file.open() as handle:
        reader = csv.open_csv(
            pa.PythonFile(_Utf8(handle), "r"),
            csv.ReadOptions(use_threads=False, block_size=_BLOCK, skip_rows=1, column_names=names),
            csv.ParseOptions(delimiter=separator, invalid_row_handler=note),
            csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(names, pa.string()),
                null_values=_NULLS,
                strings_can_be_null=True,
            ),
        )
        for batch in reader:
            yield pa.Table.from_batches([batch])
