"""What every reader of a format shares: the files it is given, and what it gives back."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO, RawIOBase
from typing import BinaryIO, Final, Literal, NamedTuple, cast

import pyarrow as pa

from pipeline.ingest.packing import MAX_EXPANSION, UNREADABLE, is_packed, open_packed
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
_ALWAYS_ALLOWED: Final = 64 << 20
"""Bytes that may come out of a packed table however small it is."""


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
    """What a reader needs to know of the settings: names of bands, which may occur, names of columns, codes of types.

    Attributes:
        columns: ours to the file's, `{"MJD": "time"}`; formats that name their columns by convention need none.
        type_codes: subclasses by the survey's code, in place of the conventions of SNANA; empty: these conventions.
    """

    band_map: Mapping[str, str] = field(default_factory=dict)
    bands: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    type_codes: Mapping[int, str] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """Return 16 hexadecimal digits for what was chosen, empty if nothing was: files read otherwise differ in it."""
        if self == ReadOptions():
            return ""
        maps = [sorted(names.items()) for names in (self.band_map, self.columns)]
        chosen = f"{maps} {self.bands} {sorted(self.type_codes.items())}"
        return hashlib.sha256(chosen.encode()).hexdigest()[:16]

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


class _Bounded(RawIOBase):
    """A stream of unpacked bytes that ends in TableError when more come out of it than light curves can."""

    def __init__(self, raw: BufferedReader, limit: int) -> None:
        self._raw, self._stream, self._limit = raw, open_packed(raw), limit

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._stream.read(len(buffer))
        if self._stream.tell() > self._limit:
            raise TableError(f"decompression bomb: more than {MAX_EXPANSION} bytes for every packed one")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        self._raw.close()
        super().close()


class TableFile(NamedTuple):
    """One file that holds many objects: on disk (`path`) or in memory (`data`), as it is or packed."""

    name: str
    path: str | None = None
    data: bytes | None = None

    @property
    def is_packed(self) -> bool:
        """Tell a packed file by its first bytes."""
        with self.open_raw() as raw:
            return is_packed(raw.peek(16))

    def open_raw(self) -> BufferedReader:
        """Open the bytes as they are."""
        if self.path is not None:
            return open(self.path, "rb")
        return BufferedReader(cast(RawIOBase, BytesIO(self.data or b"")))

    def open(self) -> BinaryIO:
        """Open the bytes, unpacked."""
        if not self.is_packed:
            return cast(BinaryIO, self.open_raw())
        limit = _ALWAYS_ALLOWED + MAX_EXPANSION * self._raw_size()
        return cast(BinaryIO, BufferedReader(_Bounded(self.open_raw(), limit), 1 << 20))

    def size(self) -> int:
        """Return the size unpacked, as far as gzip tells it (modulo 4 GiB), at most that of xz and bzip2 [bytes]."""
        n_bytes = self._raw_size()
        if not self.is_packed:
            return n_bytes
        with self.open_raw() as raw:
            if not raw.peek(2).startswith(_GZIP):
                return n_bytes * MAX_EXPANSION
            raw.seek(-4, io.SEEK_END)
            return max(n_bytes, int.from_bytes(raw.read(4), "little"))

    def _raw_size(self) -> int:
        with self.open_raw() as raw:
            return raw.seek(0, io.SEEK_END)

    def digest(self) -> bytes:
        """Return the SHA-256 of the bytes as they are."""
        with self.open_raw() as raw:
            return hashlib.file_digest(raw, "sha256").digest()


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

    `stream` raises TableError, or what Arrow, the unpackers and the operating system raise (TABLE_ERRORS), for a table
    that is damaged.
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


TABLE_ERRORS: Final = (TableError, pa.ArrowException, UnicodeDecodeError, *UNREADABLE)
"""What `TableReader.stream` raises for a table that is damaged."""


def one_array(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """Return a column as one array, without copying one that is (as `combine_chunks` would)."""
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def plain_start(data: bytes) -> bytes:
    """Return the start of a file's bytes, unpacked where they are packed; damage ends it early."""
    if not is_packed(data):
        return data[:START_BYTES]
    start = b""
    try:
        stream = open_packed(BufferedReader(cast(RawIOBase, BytesIO(data))))
        while len(start) < START_BYTES and (piece := stream.read1(START_BYTES - len(start))):
            start += piece
    except UNREADABLE:
        pass
    return start
