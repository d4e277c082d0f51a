"""Archives as streams of their members; nothing is written to disk, and no member larger than allowed is unpacked."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from io import BufferedIOBase, BufferedReader
from typing import IO, Final, NamedTuple, cast

__all__ = ["ARCHIVE_SUFFIXES", "Member", "archive_members"]

ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tar", ".zip")
"""How an archive's name ends, in lower case."""

_ZIP_HEADER: Final = struct.Struct("<4s5H3I2H")
"""A zip member's own header: mark, version, flags, method, time, date, CRC, sizes packed and plain, name lengths."""
_ZIP_MARK: Final = b"PK\3\4"


class Member(NamedTuple):
    """One file of a source: its name there and where its bytes are: on disk, in memory, or nowhere (`problem`)."""

    name: str
    path: str | None = None
    data: bytes | None = None
    problem: str | None = None


def archive_members(path: str, max_bytes: int) -> Iterator[Member]:
    """Yield the files of an archive in its own order, each with its bytes or with its problem.

    A damaged archive yields what is readable, and then itself with its problem.
    """
    try:
        with open(path, "rb") as raw:
            yield from _zip_members(raw, max_bytes) if path.lower().endswith(".zip") else _tar_members(raw, max_bytes)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        yield Member(os.path.basename(path), problem=f"archive cut short or damaged: {error}")


def _load(name: str, size: int, handle: IO[bytes] | None, max_bytes: int) -> Member:
    if size > max_bytes:
        return Member(name, problem=f"too large: {size} bytes, at most {max_bytes} are read")
    if handle is None:
        return Member(name, problem="not a plain file: links and devices in archives are not followed")
    return Member(name, data=handle.read())


class _LastBytes:
    """A stream that remembers its last 512 bytes: a whole tar archive ends with zeros.

    It reads one piece at a time, so that a stream that is cut short gives all of its bytes before it fails.
    """

    def __init__(self, stream: BufferedIOBase) -> None:
        self.stream = stream
        self.last = b""

    def read(self, size: int) -> bytes:
        data = self.stream.read1(size)
        self.last = (self.last + data)[-512:] if len(data) < 512 else data[-512:]
        return data


def _tar_members(raw: BufferedReader, max_bytes: int) -> Iterator[Member]:
    stream = _LastBytes(_decompressed(raw))
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|", bufsize=1 << 18) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # else it remembers every member
            if info.isdir():
                continue
            handle = archive.extractfile(info) if info.isreg() and info.size <= max_bytes else None
            yield _load(info.name, info.size, handle, max_bytes)
    while stream.read(1 << 20):
        pass
    if stream.last.strip(b"\0"):
        raise EOFError("no end-of-archive mark")


def _decompressed(raw: BufferedReader) -> BufferedIOBase:
    """Return the plain bytes of a file that is packed by gzip, xz or bzip2, or not at all."""
    start = raw.peek(6)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=raw)
    if start.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMAFile(raw)
    return bz2.BZ2File(raw) if start.startswith(b"BZh") else raw


def _zip_members(raw: BufferedReader, max_bytes: int) -> Iterator[Member]:
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile:
        raw.seek(0)
        yield from _zip_members_in_sequence(raw, max_bytes)
        raise
    with archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield _zip_member(archive, info, max_bytes)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> Member:
    if info.file_size > max_bytes:
        return _load(info.filename, info.file_size, None, max_bytes)
    try:
        with archive.open(info) as handle:
            return _load(info.filename, info.file_size, handle, max_bytes)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, RuntimeError, NotImplementedError) as error:
        return Member(info.filename, problem=f"damaged in the archive: {error}")


def _zip_members_in_sequence(raw: BufferedReader, max_bytes: int) -> Iterator[Member]:
    """Yield the whole members of a zip archive that lost its table of contents, which stands at its end.

    It stops at the first member that cannot be read without that table: one that is cut short, larger than allowed,
    encrypted, or written by a program that did not know its size.
    """
    while len(header := raw.read(_ZIP_HEADER.size)) == _ZIP_HEADER.size:
        mark, _, flags, method, _, _, crc, n_packed, n_plain, n_name, n_extra = _ZIP_HEADER.unpack(header)
        is_plain = mark == _ZIP_MARK and not flags & 0b1001 and method in (0, 8)
        if not is_plain or max(n_packed, n_plain) > max_bytes:
            return
        name = raw.read(n_name).decode("utf-8", "replace")
        raw.seek(n_extra, os.SEEK_CUR)
        packed = raw.read(n_packed)
        data = packed if method == 0 else zlib.decompressobj(-15).decompress(packed, n_plain + 1)
        if len(packed) < n_packed or len(data) != n_plain or zlib.crc32(data) != crc:
            return
        if not name.endswith("/"):
            yield Member(name, data=data)
