"""Packed bytes (gzip, xz, bzip2) and what may come out of them: never more than allowed is held or produced."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable
from io import BufferedIOBase, BufferedReader
from typing import IO, Final, NamedTuple, cast

__all__ = [
    "MAX_EXPANSION",
    "PACKED_SUFFIXES",
    "UNREADABLE",
    "Allowance",
    "Found",
    "HostileArchiveError",
    "PackedError",
    "is_packed",
    "open_packed",
    "plain_name",
    "unpack",
]

PACKED_SUFFIXES: Final = (".gz", ".xz", ".bz2")
"""How the name of one packed file ends, in lower case."""

MAX_EXPANSION: Final = 200
"""Bytes that may come out of an archive for every packed byte; light curves shrink by 4 to 20, a bomb by 1000."""

UNREADABLE: Final = (zlib.error, lzma.LZMAError, EOFError, OSError, MemoryError)
"""What the unpackers of the standard library raise on damaged bytes; MemoryError for an absurd xz dictionary."""

_PACKED: Final = re.compile(rb"\x1f\x8b\x08|\xfd7zXZ\0|BZh[1-9](?:1AY&SY|\x17\x72\x45\x38\x50\x90)")
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"


class HostileArchiveError(ValueError):
    """An archive that is not read on; the message is a reason for the quarantine."""


class PackedError(ValueError):
    """One packed file that cannot be unpacked; the message is a reason for the quarantine."""


class Found(NamedTuple):
    """A file met in an archive.

    Attributes:
        name: as the archive gives it.
        size: as the archive gives it [bytes].
        open: gives its plain bytes.
        stands_alone: whether the others can be read when this one is damaged.
        problem: why it is not to be opened; empty if it may be.
    """

    name: str
    size: int
    open: Callable[[], IO[bytes]]
    stands_alone: bool
    problem: str = ""


class Allowance:
    """How many bytes may still come out of one file, its archives within archives counted together."""

    def __init__(self, n_packed: int, max_bytes: int) -> None:
        """Allow a few files of the largest size, and MAX_EXPANSION for every packed byte."""
        self.left = 4 * max_bytes + MAX_EXPANSION * n_packed

    def spend(self, n_bytes: int) -> None:
        """Take note of unpacked bytes.

        Raises:
            HostileArchiveError: if there were too many.
        """
        self.left -= n_bytes
        if self.left < 0:
            raise HostileArchiveError(f"decompression bomb: more than {MAX_EXPANSION} bytes for every packed one")


def is_packed(data: bytes) -> bool:
    """Tell whether a file starts as gzip, xz or bzip2 do."""
    return _PACKED.match(data) is not None


def plain_name(name: str) -> str:
    """Return the name that a packed file has when unpacked.

    >>> plain_name("night/DES_SN1.DAT.gz")
    'night/DES_SN1.DAT'
    """
    suffix = next((suffix for suffix in PACKED_SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def open_packed(raw: BufferedReader) -> BufferedIOBase:
    """Return the plain bytes of a stream that is packed by gzip, xz or bzip2, or not at all."""
    start = raw.peek(16)
    if start.startswith(_GZIP):
        return gzip.GzipFile(fileobj=raw)
    if start.startswith(_XZ):
        return lzma.LZMAFile(raw)
    return bz2.BZ2File(raw) if is_packed(start) else raw


def unpack(data: bytes, max_bytes: int) -> bytes:
    """Unpack one file, in pieces, so that no more than `max_bytes` and a piece are ever held.

    Raises:
        PackedError: if it is damaged, or larger than that.
    """
    plain = io.BytesIO()
    try:
        stream = open_packed(BufferedReader(cast(io.RawIOBase, io.BytesIO(data))))
        while piece := stream.read(1 << 20):
            plain.write(piece)
            if plain.tell() > max_bytes:
                raise PackedError(f"too large: more than {max_bytes} bytes when unpacked, of {len(data)} packed ones")
    except UNREADABLE as error:
        raise PackedError(f"damaged: the packed file cannot be unpacked ({error})") from None
    return plain.getvalue()
