"""Sources to tables, in chunks of files, on all cores; memory does not grow with the number of files.

Which files are light curves:

- a file that a reader recognises by content is one;
- an empty or binary file with a light curve's name (LIGHT_CURVE_SUFFIXES) was meant to be one, and so was text with
  such a name that opens with a `KEY:` line but ends before its reader recognises it: all are quarantined;
- a file packed by gzip, xz or bzip2 is what it unpacks to, under the name without the suffix;
- an archive inside a folder or archive is opened, if its name says what it is, and quarantined inside that one;
- a file that holds many objects (or describes them) is read together with its partner, after the files of one object
  each that came with it, and from a folder whatever its size;
- everything else (README, filter curves, lists) is a companion: left alone, counted and named in the summary;
- a file given by its own path is never a companion.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from itertools import chain, islice
from typing import Final

import pyarrow as pa

from pipeline.ingest.archives import ARCHIVE_SUFFIXES, Member, is_archive
from pipeline.ingest.bundles import (
    Pairing,
    TableMember,
    is_side_file,
    missing_columns,
    recognise_table,
    table_problem,
)
from pipeline.ingest.chunks import ChunkRead, ChunkReader, Unchanged
from pipeline.ingest.names import base_name
from pipeline.ingest.packing import PackedError, is_packed, plain_name, unpack
from pipeline.ingest.readers import READERS, Reader, ReadOptions, Rejection, SourceFile
from pipeline.ingest.readers.base import START_BYTES, plain_start
from pipeline.ingest.sources import SingleFile, Source
from pipeline.ingest.tables_ahead import Table, TablesAhead
from pipeline.processes import ProcessPoolExecutor, end_with_parent, keep_freed_memory

__all__ = [
    "LIGHT_CURVE_SUFFIXES",
    "ChunkRead",
    "ChunkReader",
    "Unchanged",
    "base_name",
    "content_hash",
    "read_chunk",
    "read_chunks",
]

TABLE_SUFFIXES: Final = (".csv", ".tsv", ".ecsv", ".vot", ".xml", ".parquet", ".arrow", ".feather", ".fits", ".fit")
"""How names of tables of many objects end, in lower case."""
LIGHT_CURVE_SUFFIXES: Final = ("", ".dat", ".txt", ".text", ".snana", ".lc")
"""How names of light-curve files end, in lower case."""

CHUNK_FILES: Final = 256
"""Files read together: enough to amortise the column operations, few enough for their text to stay in cache."""
CHUNK_BYTES: Final = 32 << 20
"""Bytes of files read together, packed or plain, at most (or one file)."""
_CHUNKS_FOR_A_POOL: Final = 6
"""Fewer chunks than this are read sooner than processes start."""

_OPENS_WITH_A_KEY: Final = re.compile(rb"(?:\s|#[^\n]*\n)*[A-Z][\w-]*:")


def read_chunks(source: Source, reader: ChunkReader, workers: int) -> Iterator[ChunkRead]:
    """Read a source, chunk by chunk, in its own order whatever the number of worker processes."""
    keep_freed_memory()
    ahead = TablesAhead(reader, workers)
    try:
        for found in _found(source, reader, workers):
            yield from ahead.add(found)
        yield from ahead.finish()
    finally:
        ahead.stop()


def _found(source: Source, reader: ChunkReader, workers: int) -> Iterator[ChunkRead | Table]:
    """Yield what came of the files of one object each, and the tables of many, unread, as soon as they are complete."""
    pairing = Pairing()
    for chunk in _read_members(source, reader, workers):
        yield replace(chunk, tables=[])
        yield from pairing.add(chunk.tables)
    if pairing.waiting:
        wanted = [member for member in source.siblings(reader.max_bytes) if pairing.is_wanted(member.name)]
        yield from pairing.add(read_chunk(wanted, reader).tables)
    yield from pairing.finish()
    if pairing.waiting:
        yield ChunkRead(rejections=pairing.rest())


def _read_members(source: Source, reader: ChunkReader, workers: int) -> Iterator[ChunkRead]:
    """Read the files of one object each, and recognise those of many."""
    may_ignore = not isinstance(source, SingleFile)
    chunks = _chunks(source.members(reader.max_bytes))
    first = list(islice(chunks, _CHUNKS_FOR_A_POOL))
    if workers == 1 or len(first) < _CHUNKS_FOR_A_POOL:
        return (read_chunk(chunk, reader, may_ignore) for chunk in chain(first, chunks))
    return _read_in_pool(chain(first, chunks), reader, may_ignore, workers)


def read_chunk(members: Sequence[Member], reader: ChunkReader, may_ignore: bool = True) -> ChunkRead:
    """Read the files of one chunk; packed files that fill the memory when unpacked, a few at a time."""
    result = ChunkRead()
    to_read: dict[Reader, list[SourceFile]] = {}
    n_bytes = 0
    for member in members:
        if may_ignore and member.problem is None and is_side_file(member.name):
            result.ignored.append(member.name)
            continue
        file = _load(member, reader, result)
        if file is None:
            continue
        if reader.known.get(file.digest) == base_name(file.name):
            result.unchanged.append(Unchanged(file.name, file.digest))
            continue
        _sort_by_format(file, member, to_read, result, reader.options, may_ignore)
        n_bytes += len(file.data)
        if n_bytes >= CHUNK_BYTES:
            result = _read_files(to_read, result, reader.options)
            to_read, n_bytes = {}, 0
    return _read_files(to_read, result, reader.options)


def _read_files(to_read: Mapping[Reader, Sequence[SourceFile]], result: ChunkRead, options: ReadOptions) -> ChunkRead:
    """Give files to the readers of their formats, and add what comes of them."""
    parts = [single.read(files, options) for single, files in to_read.items()]
    return replace(
        result,
        light_curves=pa.concat_tables([result.light_curves, *(part.light_curves for part in parts)]),
        truth=pa.concat_tables([result.truth, *(part.truth for part in parts)]),
        rejections=result.rejections + [rejection for part in parts for rejection in part.rejections],
    )


def content_hash(data: bytes) -> str:
    """Return the first 32 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:32]


def _chunks(members: Iterable[Member]) -> Iterator[list[Member]]:
    chunk: list[Member] = []
    n_bytes = 0
    for member in members:
        chunk.append(member)
        n_bytes += _size(member)
        if len(chunk) == CHUNK_FILES or n_bytes >= CHUNK_BYTES:
            yield chunk
            chunk, n_bytes = [], 0
    if chunk:
        yield chunk


def _size(member: Member) -> int:
    """Return the bytes of a member, 0 where there are none to be read; a table on disk is only looked at."""
    if member.path is None:
        return len(member.data or b"")
    try:
        n_bytes = os.stat(member.path).st_size
    except OSError:
        return 0
    is_table = n_bytes > START_BYTES and plain_name(member.name).lower().endswith(TABLE_SUFFIXES)
    return START_BYTES if is_table else n_bytes


def _load(member: Member, reader: ChunkReader, result: ChunkRead) -> SourceFile | None:
    """Return a file with its plain bytes; None if there are none, or too many, which is noted in `result`."""
    if member.path is None and member.data is None and member.problem is None:
        result.opened.append(member.name)
        return None
    data, problem = _bytes_of(member, reader)
    if data is not None and not is_packed(data):
        return SourceFile(member.name, data, content_hash(data))
    if data is not None:
        try:
            plain = unpack(data, reader.max_bytes)
        except PackedError as error:
            problem = str(error)
        else:
            result.opened.append(member.name)
            return SourceFile(plain_name(member.name), plain, content_hash(plain))
    table = _table_on_disk(member, reader.options)
    if table is None:
        result.rejections.append(Rejection(member.name, problem, digest=content_hash(data) if data else None))
    else:
        result.tables.append(table)
        result.opened.extend({member.name} - {table.file.name})
    return None


def _bytes_of(member: Member, reader: ChunkReader) -> tuple[bytes | None, str]:
    """Return a file's bytes, or why there are none; never waits for a pipe, never reads a device."""
    if member.path is None:
        return member.data, member.problem or ""
    try:
        descriptor = os.open(member.path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        return None, f"cannot be opened: {error.strerror}"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None, f"not a plain file: a {_kind(status.st_mode)} in a folder is not read"
        if status.st_size > reader.max_bytes:
            return None, f"too large: {status.st_size} bytes, at most {reader.max_bytes} are read"
        if status.st_size > START_BYTES and _is_binary_table(os.pread(descriptor, START_BYTES, 0), reader.options):
            return None, "changed: the file was a table, and is none any more"
        return os.read(descriptor, status.st_size + 1), ""  # in one system call
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)


def _is_binary_table(start: bytes, options: ReadOptions) -> bool:
    """Tell a table that no reader of text could take, so that it need not be held in memory."""
    plain = plain_start(start)
    return b"\0" in plain and recognise_table("", "", None, plain, options) is not None


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "link to a folder"
    return "pipe" if stat.S_ISFIFO(mode) else "device"


def _table_on_disk(member: Member, options: ReadOptions) -> TableMember | None:
    """Recognise a file that is not to be held in memory as a table of many objects, None when it is none."""
    if member.path is None or not os.path.isfile(member.path):
        return None
    try:
        with open(member.path, "rb") as handle:
            start = plain_start(handle.read(START_BYTES))
    except OSError:
        return None
    return recognise_table(plain_name(member.name), member.path, None, start, options)


def _sort_by_format(
    file: SourceFile,
    member: Member,
    to_read: dict[Reader, list[SourceFile]],
    result: ChunkRead,
    options: ReadOptions,
    may_ignore: bool,
) -> None:
    """Hand a file to the reader that recognises it, note it as a table, else reject or ignore it."""
    is_binary = b"\0" in file.data
    for reader in READERS.values():
        if isinstance(reader, Reader) and not is_binary and reader.recognises(file.data):
            to_read.setdefault(reader, []).append(file)
            return
    table = recognise_table(file.name, member.path, file.data, file.data[:START_BYTES], options)
    if table is not None:
        result.tables.append(table)
        return
    problem = _problem(file, is_binary)
    if may_ignore and problem is None:
        result.ignored.append(file.name)
    else:
        reason = problem or missing_columns(file.name, file.data, options)
        reason = reason or f"unknown format: none of {', '.join(READERS)} recognises its content"
        result.rejections.append(Rejection(file.name, reason, digest=file.digest))


def _problem(file: SourceFile, is_binary: bool) -> str | None:
    """Say what is wrong with a file that was meant to be read, None for a companion."""
    name = base_name(plain_name(file.name)).lower()
    if is_packed(file.data):
        return "packed twice: a packed file inside a packed file is not opened"
    if name.endswith(TABLE_SUFFIXES):
        return table_problem(name, file.data)
    if name.endswith(ARCHIVE_SUFFIXES) or (is_binary and is_archive(file.data) and _has_light_curve_name(name)):
        return "archive: a file whose name does not say so is opened only as a source of its own"
    if not _has_light_curve_name(name):
        return None
    if not file.data.strip():
        return "empty: the file has no content"
    if is_binary:
        return "binary: the file is not text"
    if _OPENS_WITH_A_KEY.match(file.data):
        return "truncated: the header ends before SNID, VARLIST or OBS"
    return None


def _has_light_curve_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1] in LIGHT_CURVE_SUFFIXES


_reader = ChunkReader()


def _start_worker(reader: ChunkReader, parent: int) -> None:
    """Give a worker process its reader, once, and let it end when its parent is killed."""
    global _reader
    _reader = reader
    end_with_parent(parent)
    keep_freed_memory()


def _read_with_set_reader(members: Sequence[Member], may_ignore: bool) -> ChunkRead:
    return read_chunk(members, _reader, may_ignore)


def _read_in_pool(
    chunks: Iterator[list[Member]], reader: ChunkReader, may_ignore: bool, workers: int
) -> Iterator[ChunkRead]:
    """Read chunks in worker processes, at most two for each in hand, and yield them in order."""
    pending: deque[Future[ChunkRead]] = deque()
    with _pool(reader, workers) as pool:
        try:
            for chunk in chunks:
                pending.append(pool.submit(_read_with_set_reader, chunk, may_ignore))
                if len(pending) > 2 * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(wait=True, kill_workers=bool(pending))


def _pool(reader: ChunkReader, workers: int) -> ProcessPoolExecutor:
    """Start worker processes."""
    return ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(reader, os.getpid()))
