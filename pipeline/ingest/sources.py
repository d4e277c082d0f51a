"""Folders, archives and single files as streams of members; nothing is ever written to disk."""

from __future__ import annotations

import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from pipeline.ingest.decompress import open_decompressed

__all__ = ["ARCHIVE_SUFFIXES", "Member", "Source", "SourceError", "open_sources"]

ARCHIVE_SUFFIXES: Final = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tar", ".zip")
"""How an archive's name ends, in lower case."""


class SourceError(ValueError):
    """A source that cannot be ingested at all: nothing there, or nothing in it."""


class Member(NamedTuple):
    """One file of a source: its name there and where its bytes are: on disk, in memory, or nowhere (`problem`)."""

    name: str
    path: str | None = None
    data: bytes | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Source(ABC):
    """Where files come from; `name` is its absolute path, `n_members` None where only reading tells."""

    name: str
    n_members: int | None = None

    @abstractmethod
    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files in a fixed order; one larger than `max_bytes` comes with a problem, not with its bytes.

        A damaged archive yields what is readable, and then itself with its problem.
        """


def open_sources(paths: Sequence[Path]) -> list[Source]:
    """Look at what is there, before anything is read.

    Raises:
        SourceError: if a path does not exist, or a folder is empty.
    """
    if not paths:
        raise SourceError("no source given: expected a folder, an archive or a file")
    return [_open_source(Path(path)) for path in paths]


def _open_source(path: Path) -> Source:
    path = path.absolute()
    if path.is_dir():
        files = sorted(_walk(path))
        return Folder(str(path), len(files), tuple(files))
    if not path.is_file():
        raise SourceError(f"{path}: no such file or folder")
    name = path.name.lower()
    if name.endswith(".zip"):
        return ZipArchive(str(path))
    if name.endswith(ARCHIVE_SUFFIXES):
        return TarArchive(str(path))
    return SingleFile(str(path), 1)


def _walk(folder: Path) -> list[str]:
    """Return the files below a folder, as paths inside it."""
    found = [
        os.path.relpath(os.path.join(root, name), folder)
        for root, _, names in os.walk(folder)
        for name in names
        if os.path.isfile(os.path.join(root, name))
    ]
    if not found:
        raise SourceError(f"{folder}: the folder is empty")
    return found


@dataclass(frozen=True)
class Folder(Source):
    """Files of a folder and of the folders in it, in order of name."""

    files: tuple[str, ...] = ()

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files unread: whoever reads them checks their size."""
        for file in self.files:
            yield Member(file.replace(os.sep, "/"), path=os.path.join(self.name, file))


@dataclass(frozen=True)
class SingleFile(Source):
    """A file given by its own path; never taken for a companion of others."""

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the file."""
        yield Member(os.path.basename(self.name), path=self.name)


@dataclass(frozen=True)
class TarArchive(Source):
    """A tar archive, compressed or not, read once from front to back, in its own order."""

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files as they come by."""
        try:
            with open(self.name, "rb") as raw, open_decompressed(raw) as stream:
                yield from _tar_members(stream, max_bytes)
        except (tarfile.TarError, EOFError, zlib.error, LZMAError, OSError) as error:
            yield _damaged(self.name, error)


def _damaged(archive: str, error: Exception) -> Member:
    return Member(os.path.basename(archive), problem=f"archive cut short or damaged: {error}")


class _LastBytes:
    """A stream that remembers its last 512 bytes: a whole tar archive ends with zeros."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream
        self.last = b""

    def read(self, size: int) -> bytes:
        data = self.stream.read(size)
        self.last = (self.last + data)[-512:] if len(data) < 512 else data[-512:]
        return data


def _tar_members(stream: IO[bytes], max_bytes: int) -> Iterator[Member]:
    watched = _LastBytes(stream)
    with tarfile.open(fileobj=cast(IO[bytes], watched), mode="r|", bufsize=1 << 18) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # else it remembers every member
            if info.isdir():
                continue
            handle = archive.extractfile(info) if info.isreg() and info.size <= max_bytes else None
            yield _member(info.name, info.size, handle, max_bytes)
    while watched.read(1 << 20):
        pass
    if watched.last.strip(b"\0"):
        raise EOFError("no end-of-archive mark")


def _member(name: str, size: int, handle: IO[bytes] | None, max_bytes: int) -> Member:
    if size > max_bytes:
        return Member(name, problem=f"too large: {size} bytes, at most {max_bytes} are read")
    if handle is None:
        return Member(name, problem="not a plain file: links and devices in archives are not followed")
    data = handle.read(max_bytes + 1)
    if len(data) > max_bytes:
        return Member(name, problem=f"too large: more than its announced {size} bytes, at most {max_bytes} are read")
    return Member(name, data=data)


@dataclass(frozen=True)
class ZipArchive(Source):
    """A zip archive, in its own order; its table of contents stands at its end, and without it nothing is readable."""

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files; a damaged one comes with its problem, and the others are read."""
        try:
            with zipfile.ZipFile(self.name) as archive:
                for info in archive.infolist():
                    if not info.is_dir():
                        yield _zip_member(archive, info, max_bytes)
        except (zipfile.BadZipFile, OSError) as error:
            yield _damaged(self.name, error)


def _zip_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> Member:
    if info.file_size > max_bytes:
        return _member(info.filename, info.file_size, None, max_bytes)
    try:
        with archive.open(info) as handle:
            return _member(info.filename, info.file_size, handle, max_bytes)
    except (zipfile.BadZipFile, EOFError, zlib.error, LZMAError, RuntimeError, NotImplementedError) as error:
        return Member(info.filename, problem=f"damaged in the archive: {error}")
