"""Folders, archives and single files as streams of members; nothing is ever written to disk."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ingest.archives import ARCHIVE_SUFFIXES, Member, archive_members

__all__ = ["Archive", "Folder", "SingleFile", "Source", "SourceError", "open_sources"]


class SourceError(ValueError):
    """A source that cannot be ingested at all: nothing there, or nothing in it."""


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
    is_archive = path.name.lower().endswith(ARCHIVE_SUFFIXES)
    return Archive(str(path)) if is_archive else SingleFile(str(path), 1)


def _walk(folder: Path) -> list[str]:
    """Return the files below a folder, as paths inside it; dangling links too, but no pipes or devices."""

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: the folder cannot be read ({error.strerror})")

    paths = (os.path.join(root, name) for root, _, names in os.walk(folder, onerror=refuse) for name in names)
    inside = len(os.path.join(folder, ""))
    found = [path[inside:] for path in paths if os.path.isfile(path) or os.path.islink(path)]
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
class Archive(Source):
    """A tar archive, compressed or not, or a zip archive, read once, in its own order."""

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files with their bytes."""
        return archive_members(self.name, max_bytes)
