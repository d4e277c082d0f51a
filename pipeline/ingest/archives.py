"""Archives as streams of their members, archives in them opened once; nothing is written to disk.

What strangers send is not believed: no member larger than allowed is unpacked, no more comes out of an archive than
packed light curves hold, names that point out of it are refused, and so are links, devices and repeated names.
"""

from __future__ import annotations

import os
import struct
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BufferedReader, BytesIO, RawIOBase
from typing import IO, Any, Final, NamedTuple, cast

from pipeline.ingest.names import is_unsafe, printable
from pipeline.ingest.packing import UNREADABLE, Allowance, Found, HostileArchiveError, open_packed
from pipeline.ingest.tars import tar_files
from pipeline.ingest.zips import is_zip, zip_files

__all__ = ["ARCHIVE_SUFFIXES", "MAX_MEMBERS", "Member", "archive_members", "is_archive", "is_archive_name"]

ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tar", ".zip")
"""How an archive's name ends, in lower case."""

MAX_MEMBERS: Final = 1_000_000
"""Members that are read of one archive, at most; their names are remembered, to notice a repeated one."""

_DAMAGED: Final = (
    *UNREADABLE,
    tarfile.TarError,
    zipfile.BadZipFile,
    struct.error,
    ValueError,
    LookupError,
    ArithmeticError,
    RuntimeError,
)
"""What reading a damaged archive raises; tarfile and zipfile let errors of converting numbers and text through."""


class Member(NamedTuple):
    """One file of a source: its name there and where its bytes are: on disk, in memory, or nowhere (`problem`).

    An archive inside the source comes without bytes and without problem when it is opened, before its members.
    """

    name: str
    path: str | None = None
    data: bytes | None = None
    problem: str | None = None


def is_archive_name(name: str) -> bool:
    """Tell whether a file is named as archives are."""
    return name.lower().endswith(ARCHIVE_SUFFIXES)


def is_archive(start: bytes) -> bool:
    """Tell whether an unpacked file, of which these are the first bytes, is a tar or zip archive."""
    return is_zip(start) or start[257:262] == b"ustar"


def archive_members(path: str, max_bytes: int, name: str = "") -> Iterator[Member]:
    """Yield the files of an archive in its own order, each with its bytes or with its problem.

    A damaged archive yields what is readable, and then itself with its problem.

    Args:
        path: of the archive.
        max_bytes: size of a member, at most.
        name: of an archive inside a folder, before the names of its members; no archives in it are opened.
    """
    own_name = name or os.path.basename(path)
    if name:
        yield Member(printable(name))
    try:
        with open(path, "rb") as raw:
            allowance = Allowance(os.fstat(raw.fileno()).st_size, max_bytes)
            yield from _Opened(max_bytes, allowance).members(raw, own_name, name, is_inner=bool(name))
    except OSError as error:
        yield Member(printable(own_name), problem=f"cannot be opened: {error.strerror or error}")


@dataclass
class _Opened:
    """One archive with the archives in it, and what is remembered while they are read."""

    max_bytes: int
    allowance: Allowance
    n_members: int = 0
    names: set[int] = field(default_factory=set)
    repeated: Counter[str] = field(default_factory=Counter)

    def members(self, raw: BufferedReader[Any], own_name: str, prefix: str, is_inner: bool) -> Iterator[Member]:
        """Yield the files of an archive, and at last itself if something is wrong with it."""
        try:
            if own_name.lower().endswith(".zip") or is_zip(raw.peek(4)):
                files = zip_files(cast(IO[bytes], raw), self.max_bytes)
            else:
                files = tar_files(open_packed(raw), self.allowance.spend)
            for found in files:
                yield from self._file(found, f"{prefix}/{found.name}" if prefix else found.name, is_inner)
        except HostileArchiveError as error:
            yield Member(printable(own_name), problem=str(error))
        except _DAMAGED as error:
            yield Member(printable(own_name), problem=printable(f"archive cut short or damaged: {error}"))

    def _file(self, found: Found, name: str, is_inner: bool) -> Iterator[Member]:
        """Yield one file of an archive, or the files of an archive in it."""
        name, problem = self._check(found, printable(name))
        is_archive = is_archive_name(found.name)
        if not problem and is_archive and is_inner:
            problem = "nested too deep: an archive within an archive is opened, but none within that one"
        if problem:
            yield Member(name, problem=problem)
        elif is_archive:
            yield from self._inner_archive(found, name)
        else:
            yield self._plain_file(found, name)

    def _check(self, found: Found, name: str) -> tuple[str, str]:
        """Return the name of a file, numbered if it was met before, and why it is not read.

        Raises:
            HostileArchiveError: if there are too many files.
        """
        self.n_members += 1
        if self.n_members > MAX_MEMBERS:
            raise HostileArchiveError(f"too many members: more than {MAX_MEMBERS}; only so many were read")
        key = hash(name)
        if key in self.names:
            self.repeated[name] += 1
            return f"{name}#{self.repeated[name] + 1}", "repeated name: only the first file of this name was read"
        self.names.add(key)
        if is_unsafe(found.name):
            return name, "unsafe name: it is absolute, or climbs out of the archive by .."
        return name, found.problem

    def _plain_file(self, found: Found, name: str) -> Member:
        if found.size > self.max_bytes:
            return Member(name, problem=self._too_large(found))
        try:
            with found.open() as handle:
                data = handle.read(found.size + 1)
        except _DAMAGED as error:
            if not found.stands_alone:
                raise
            return Member(name, problem=printable(f"damaged in the archive: {error}"))
        if found.stands_alone:  # a stream has told already
            self.allowance.spend(len(data))
        return Member(name, data=data)

    def _inner_archive(self, found: Found, name: str) -> Iterator[Member]:
        """Yield the files of an archive inside this one: as a stream, unless zip, which must be in memory."""
        yield Member(name)
        try:
            handle = BufferedReader(cast(RawIOBase, found.open()))
            is_in_memory = name.lower().endswith(".zip") or is_zip(handle.peek(4))
            if is_in_memory and found.size <= self.max_bytes:
                handle = BufferedReader(cast(RawIOBase, BytesIO(handle.read(found.size + 1))))
        except _DAMAGED as error:
            if not found.stands_alone:
                raise
            yield Member(name, problem=printable(f"damaged in the archive: {error}"))
            return
        if is_in_memory and found.size > self.max_bytes:
            yield Member(name, problem=self._too_large(found))
        else:
            yield from self.members(handle, name, name, is_inner=True)

    def _too_large(self, found: Found) -> str:
        limit = f"at most {self.max_bytes} are read of a file in an archive"
        return f"too large: {found.size} bytes, {limit}; unpack it, for tables in a folder may be larger"
