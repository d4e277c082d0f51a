"""Zip archives, also such that lost their table of contents."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from typing import IO, Final

from pipeline.ingest.packing import Found, HostileArchiveError

__all__ = ["is_zip", "zip_files"]

_HEADER: Final = struct.Struct("<4s5H3I2H")
"""A member's own header: mark, version, flags, method, time, date, CRC, sizes packed and plain, name lengths."""
_MARK: Final = b"PK\3\4"
_END, _END_BYTES = b"PK\5\6", 22
_END64: Final = b"PK\6\6"
_MAX_COMMENT: Final = 1 << 16
_MAX_TABLE_BYTES: Final = 32 << 20
"""Size of the table of contents, at most: some 300,000 members, which zipfile holds in memory all at once."""
_ENCRYPTED: Final = 1
_METHODS: Final = {zipfile.ZIP_STORED: "stored", zipfile.ZIP_DEFLATED: "deflated"}
"""Others are not read: zipfile unpacks them without a bound on what it holds."""


def is_zip(start: bytes) -> bool:
    """Tell whether a file starts as zip archives do."""
    return start.startswith((_MARK, _END))


def zip_files(raw: IO[bytes], max_bytes: int) -> Iterator[Found]:
    """Yield the files of a zip archive, in the order of its table of contents.

    Raises:
        HostileArchiveError: if the table of contents would fill the memory.
        zipfile.BadZipFile: if there is no table of contents, after the whole members at its beginning were given.
    """
    if (size := _table_bytes(raw)) > _MAX_TABLE_BYTES:
        raise HostileArchiveError(f"too many members: the table of contents of the zip archive has {size} bytes")
    try:
        archive = zipfile.ZipFile(raw)
    except zipfile.BadZipFile:
        raw.seek(0)
        yield from _files_in_sequence(raw, max_bytes)
        raise
    with archive:
        for info in archive.infolist():
            if not info.is_dir():
                yield Found(info.filename, info.file_size, partial(archive.open, info), True, _problem(info))


def _problem(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & _ENCRYPTED:
        return "encrypted: a member that needs a password is not read"
    mode = info.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "not a plain file: links and devices in archives are not followed"
    if info.compress_type not in _METHODS:
        return f"packing method: {info.compress_type} is not read in zip archives; stored and deflated are"
    return ""


def _table_bytes(raw: IO[bytes]) -> int:
    """Return the size of the table of contents as the end of the archive gives it, 0 where there is no such end."""
    n_bytes = raw.seek(0, os.SEEK_END)
    raw.seek(max(0, n_bytes - _END_BYTES - _MAX_COMMENT - 76))  # 76: the end of a zip64 archive and its locator
    tail = raw.read()
    raw.seek(0)
    sizes = [0]
    for mark, place, layout in ((_END, 12, "<I"), (_END64, 40, "<Q")):
        at = tail.rfind(mark)
        if at >= 0 and at + place + struct.calcsize(layout) <= len(tail):
            sizes.append(struct.unpack_from(layout, tail, at + place)[0])
    return min(max(sizes), n_bytes)


def _files_in_sequence(raw: IO[bytes], max_bytes: int) -> Iterator[Found]:
    """Yield the whole members of a zip archive that lost its table of contents, which stands at its end.

    It stops at the first member that cannot be read without that table: one that is cut short, larger than allowed,
    encrypted, or written by a program that did not know its size.
    """
    while len(header := raw.read(_HEADER.size)) == _HEADER.size:
        mark, _, flags, method, _, _, crc, n_packed, n_plain, n_name, n_extra = _HEADER.unpack(header)
        is_plain = mark == _MARK and not flags & 0b1001 and method in _METHODS
        if not is_plain or max(n_packed, n_plain) > max_bytes:
            return
        name = raw.read(n_name).decode("utf-8", "replace")
        raw.seek(n_extra, os.SEEK_CUR)
        packed = raw.read(n_packed)
        data = packed if method == 0 else zlib.decompressobj(-15).decompress(packed, n_plain + 1)
        if len(packed) < n_packed or len(data) != n_plain or zlib.crc32(data) != crc:
            return
        if not name.endswith("/"):
            yield Found(name, n_plain, partial(BytesIO, data), True)
