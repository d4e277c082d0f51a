"""Compressed streams, told by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
from typing import IO, cast

__all__ = ["open_decompressed"]


def open_decompressed(raw: IO[bytes]) -> IO[bytes]:
    """Return the decompressed bytes of a seekable file: gzip, xz or bzip2; itself when it is none of them."""
    start = raw.read(6)
    raw.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return cast(IO[bytes], gzip.GzipFile(fileobj=raw))
    if start.startswith(b"\xfd7zXZ\0"):
        return cast(IO[bytes], lzma.LZMAFile(raw))
    return cast(IO[bytes], bz2.BZ2File(raw)) if start.startswith(b"BZh") else raw
