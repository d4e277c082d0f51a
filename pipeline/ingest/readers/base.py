"""What every reader of a format shares: the files it is given, and what it gives back."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, Final, Literal, NamedTuple, cast

import pyarrow as pa

from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA

__all__ = [
    "START_BYTES",
    "TABLE_ERRORS",
    "Bundle",
    "Part",
    "ReadOptions",
    "ReadResult",
    "Reader",
    "Rejection",
    "SourceFile",
    "TableError",
    "TableFile",
    "TableReader",
    "one_array",
    "plain_start",
]

START_BYTES: Final = 1 << 18
"""Bytes from the start of a file, unpacked, by which a table is recognised."""
_GZIP: Final = b"\x1f\x8b"


class SourceFile(NamedTuple):
    """One file of a folder or archive, in memory: its name there, its bytes, and the hash of its bytes."""

    name: str
    data: bytes
    digest: str


class Rejection(NamedTuple):
    """Something that was not read: a whole file, one object of a file that holds many, or one measurement.

    The reason starts with its kind, up to the colon, so that reasons can be counted. The line is 1-based, None where
    no single line is to blame; in a table it is the row (of the light curves, or of the header for an object).
    """

    file: str
    reason: str
    line: int | None = None
    snid: str | None = None
    scope: Literal["file", "object", "epoch"] = "file"
    digest: str | None = None


@dataclass(frozen=True)
class ReadOptions:
    """What a reader needs to know of the settings: names of bands, which may occur, and names of columns.

    Attributes:
        columns: ours to the file's, `{"MJD": "time"}`; formats that name their columns by convention need none.
    """

    band_map: Mapping[str, str] = field(default_factory=dict)
    bands: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def known_bands(self, filters: Sequence[str]) -> frozenset[str] | None:
        """Return the bands that may occur in a file that announces these filters, None when any may."""
        if self.bands is not None:
            return frozenset(self.bands)
        return frozenset(self.band_map.get(name, name) for name in filters) or None

    def rename(self, band: pa.DictionaryArray) -> pa.DictionaryArray:
        """Give bands, as files name them, the names of the band map."""
        if not self.band_map:
            return band
        names = [self.band_map.get(name, name) for name in band.dictionary.to_pylist()]
        renamed = pa.DictionaryArray.from_arrays(band.indices, pa.array(names, pa.string()))
        return renamed.cast(pa.string()).dictionary_encode()


class ReadResult(NamedTuple):
    """What came of some files: LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA row by row, and what was not read.

    Rows come in the order of the files; two files with one SNID both appear.
    """

    light_curves: pa.Table
    truth: pa.Table
    rejections: list[Rejection]


@dataclass(frozen=True)
class Reader:
    """A format of one object per file: how to recognise a file of it by content, and how to read many of them."""

    recognises: Callable[[bytes], bool]
    read: Callable[[Sequence[SourceFile], ReadOptions], ReadResult]


class TableError(ValueError):
    """A table that cannot be read; the message is a reason for the quarantine, its kind before the colon."""


class TableFile(NamedTuple):
    """One file that holds many objects: on disk (`path`) or in memory (`data`), as it is or packed by gzip."""

    name: str
    path: str | None = None
    data: bytes | None = None

    @property
    def is_packed(self) -> bool:
        """Tell a gzip file by its first bytes."""
        with self.open_raw() as raw:
            return raw.read(2) == _GZIP

    def open_raw(self) -> BinaryIO:
        """Open the bytes as they are."""
        return open(self.path, "rb") if self.path is not None else io.BytesIO(self.data or b"")

    def open(self) -> BinaryIO:
        """Open the bytes, unpacked."""
        if not self.is_packed:
            return self.open_raw()
        packed = gzip.GzipFile(self.path) if self.path is not None else gzip.GzipFile(fileobj=self.open_raw())
        return cast(BinaryIO, io.BufferedReader(packed, 1 << 20))

    def size(self) -> int:
        """Return the size unpacked, as far as gzip tells it (modulo 4 GiB) [bytes]."""
        with self.open_raw() as raw:
            n_bytes = raw.seek(-4, io.SEEK_END) + 4 if self.is_packed else raw.seek(0, io.SEEK_END)
            return max(n_bytes, int.from_bytes(raw.read(4), "little")) if self.is_packed else n_bytes

    def digest(self) -> bytes:
        """Return the SHA-256 of the bytes as they are."""
        with self.open_raw() as raw:
            return hashlib.file_digest(cast(io.BufferedReader, raw), "sha256").digest()


class Part(NamedTuple):
    """What a file is within its format.

    Attributes:
        role: "table" stands for itself, "rows" has measurements whose objects are described in a "header".
        partner: name of the file of the other role that a header asks for, None where it asks for none.
    """

    role: Literal["table", "rows", "header"]
    partner: str | None = None


class Bundle(NamedTuple):
    """One or two files that are read together.

    Attributes:
        rows: the measurements, or all of a table.
        header: the objects, None where `rows` stands for itself.
        name: of the file that its objects are said to come from.
        is_header_shared: whether `header` describes objects of other tables too.
    """

    rows: TableFile
    header: TableFile | None
    name: str
    is_header_shared: bool = False

    @property
    def files(self) -> tuple[TableFile, ...]:
        """List the files."""
        return (self.rows,) if self.header is None else (self.header, self.rows)

    def digest(self) -> str:
        """Return 32 hexadecimal digits of the SHA-256 over the files' own."""
        return hashlib.sha256(b"".join([b"bundle", *(file.digest() for file in self.files)])).hexdigest()[:32]


@dataclass(frozen=True)
class TableReader:
    """A format whose files hold many objects.

    Attributes:
        part: tells, from the start of a file's unpacked bytes, what it is in this format, None when it is not of it.
        stream: yields what came of a bundle (with its digest), some thousand objects at a time.
        needs_header: whether rows without a header are nothing.

    `stream` raises TableError, or what Arrow, gzip and the operating system raise (TABLE_ERRORS), for a damaged table.
    """

    part: Callable[[bytes, ReadOptions], Part | None]
    stream: Callable[[Bundle, str, ReadOptions], Iterator[ReadResult]]
    needs_header: bool = False

    def recognises(self, data: bytes) -> bool:
        """Tell a file of this format by its content."""
        return self.part(plain_start(data), ReadOptions()) is not None

    def read(self, bundle: Bundle, options: ReadOptions) -> ReadResult:
        """Read a bundle whole; for tables that are small."""
        results = list(self.stream(bundle, bundle.digest(), options))
        return ReadResult(
            pa.concat_tables([LIGHT_CURVE_SCHEMA.empty_table(), *(result.light_curves for result in results)]),
            pa.concat_tables([TRUTH_SCHEMA.empty_table(), *(result.truth for result in results)]),
            [rejection for result in results for rejection in result.rejections],
        )


TABLE_ERRORS: Final = (TableError, pa.ArrowException, UnicodeDecodeError, EOFError, zlib.error, OSError)
"""What `TableReader.stream` raises for a table that is damaged."""


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without copying one that is (as `combine_chunks` would)."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def plain_start(data: bytes) -> bytes:
    """Return the start of a file's bytes, unpacked where they are packed by gzip; damage ends it early."""
    if not data.startswith(_GZIP):
        return data[:START_BYTES]
    try:
        return zlib.decompressobj(wbits=31).decompress(data[:START_BYTES], START_BYTES)
    except zlib.error:
        return b""
