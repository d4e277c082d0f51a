"""Folders, archives, patterns and single files as streams of members; nothing is ever written to disk."""

from __future__ import annotations

import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ingest.archives import Member, archive_members, is_archive, is_archive_name
from pipeline.ingest.names import printable
from pipeline.ingest.packing import UNREADABLE, open_packed, plain_name

__all__ = ["Archive", "Chosen", "Folder", "NoLightCurvesError", "SingleFile", "Source", "SourceError", "open_sources"]


class SourceError(ValueError):
    """A source that cannot be ingested at all: nothing there, or nothing in it."""


class NoLightCurvesError(SourceError):
    """Sources in which no file was a light curve; `summary` says what was there."""

    def __init__(self, message: str, summary: object) -> None:
        super().__init__(message)
        self.summary = summary


@dataclass(frozen=True)
class Source(ABC):
    """Where files come from: its absolute path, and how many there are (None where only reading tells)."""

    path: str
    n_members: int | None = None

    @property
    def name(self) -> str:
        """The path as it may be shown and stored."""
        return printable(self.path)

    @abstractmethod
    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files in a fixed order; one larger than `max_bytes` comes with a problem, not with its bytes.

        Archives in a folder or archive are opened, once. A damaged archive yields what is readable, and then itself
        with its problem.
        """

    def siblings(self, max_bytes: int) -> Iterator[Member]:
        """Yield files that are not of this source, but may be the other halves of some that are."""
        return iter(())


def open_sources(paths: Sequence[Path | Source]) -> list[Source]:
    """Look at what is there, before anything is read; patterns such as `night/*.DAT` are expanded, `**` too.

    Raises:
        SourceError: if a path does not exist, a pattern matches nothing, or a folder is empty.
    """
    if not paths:
        raise SourceError("no source given: expected a folder, an archive or a file")
    opened: list[Source] = []
    for path in paths:
        opened += [path] if isinstance(path, Source) else _open_path(Path(path).absolute())
    return opened


def _open_path(path: Path) -> list[Source]:
    if not glob.has_magic(str(path)) or os.path.lexists(path):
        return [_open_source(path)]
    found = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    if not found:
        raise SourceError(f"{path}: nothing matches this pattern")
    apart = [match for match in found if match.is_dir() or is_archive_name(match.name)]
    root = _without_magic(path)
    files = tuple(os.path.relpath(match, root) for match in found if match not in set(apart))
    together: list[Source] = [Folder(str(root), len(files), files)] if files else []
    return together + [_open_source(match) for match in apart]


def _without_magic(pattern: Path) -> Path:
    """Return the folder below which a pattern looks."""
    return next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))


def _open_source(path: Path) -> Source:
    if path.is_dir():
        files = sorted(_walk(path))
        return Folder(str(path), _count(files), tuple(files))
    if not path.is_file():
        what = "neither a plain file nor a folder" if path.exists() else "no such file or folder"
        raise SourceError(f"{path}: {what}")
    if path.name.endswith(".LIST"):
        files = _listed(path)
        return Folder(str(path.parent), len(files), tuple(files))
    return Archive(str(path)) if is_archive_name(path.name) or _holds_archive(path) else SingleFile(str(path), 1)


def _count(files: Sequence[str]) -> int | None:
    return None if any(map(is_archive_name, files)) else len(files)


def _holds_archive(path: Path) -> bool:
    """Tell whether a file of another name is an archive, packed or not."""
    try:
        with open(path, "rb") as raw:
            return is_archive(open_packed(raw).read(512))
    except UNREADABLE:
        return False


def _listed(path: Path) -> list[str]:
    """Return the files that a SNANA `.LIST` names, HEAD files with their PHOT, packed or not.

    Raises:
        SourceError: if it names none.
    """
    words = [line.split()[0] for line in path.read_text(encoding="utf-8", errors="replace").split("\n") if line.split()]
    heads = [_packed_or_not(path.parent, word) for word in words]
    phots = [_packed_or_not(path.parent, word.replace("_HEAD.", "_PHOT.")) for word in words if "_HEAD." in word]
    if not heads:
        raise SourceError(f"{path}: the list is empty")
    return sorted({*heads, *phots})


def _packed_or_not(folder: Path, name: str) -> str:
    is_packed = not (folder / name).exists() and (folder / f"{name}.gz").exists()
    return f"{name}.gz" if is_packed else name


def _walk(folder: Path) -> list[str]:
    """Return all that is below a folder and is no folder, as paths inside it; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: the folder cannot be read ({error.strerror})")

    found = []
    inside = len(os.path.join(folder, ""))
    for root, folders, names in os.walk(folder, onerror=refuse):
        links = [name for name in folders if os.path.islink(os.path.join(root, name))]
        found += [os.path.join(root, name)[inside:] for name in (*names, *links)]
    if not found:
        raise SourceError(f"{folder}: the folder is empty")
    return found


@dataclass(frozen=True)
class Folder(Source):
    """Files of a folder and of the folders in it, in order of name."""

    files: tuple[str, ...] = ()

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files unread: whoever reads them checks their size; archives are opened here."""
        for file in self.files:
            name, path = file.replace(os.sep, "/"), os.path.join(self.path, file)
            if is_archive_name(name) and os.path.isfile(path):
                yield from archive_members(path, max_bytes, name)
            else:
                yield Member(printable(name), path=path)


@dataclass(frozen=True)
class SingleFile(Source):
    """A file given by its own path; never taken for a companion of others."""

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the file."""
        yield Member(printable(os.path.basename(self.path)), path=self.path)

    def siblings(self, max_bytes: int) -> Iterator[Member]:
        """Yield the other files of its folder."""
        folder = os.path.dirname(self.path)
        for entry in sorted(os.listdir(folder)):
            path = os.path.join(folder, entry)
            if path != self.path and os.path.isfile(path):
                yield Member(printable(entry), path=path)


@dataclass(frozen=True)
class Archive(Source):
    """A tar archive, compressed or not, or a zip archive, read once, in its own order."""

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files with their bytes."""
        return archive_members(self.path, max_bytes)


@dataclass(frozen=True)
class Chosen(Source):
    """Some files of another source, by name; and the source itself, should it turn out to be damaged.

    Attributes:
        source: the other.
        files: their names there, without the suffix of what is packed.
        found: those that were there, once `members` was gone through.
    """

    source: Source = field(kw_only=True)
    files: frozenset[str] = field(kw_only=True)
    found: set[str] = field(kw_only=True, default_factory=set)

    @property
    def missing(self) -> list[str]:
        """The chosen files that were not there."""
        return sorted(self.files - self.found)

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the chosen files, in the order of the source; of a chosen archive inside it, all members."""
        own_name = os.path.basename(self.source.name)
        for member in self.source.members(max_bytes):
            chosen = self._names_chosen(member)
            if chosen or (member.name == own_name and member.problem):
                self.found.update(chosen)
                yield member

    def siblings(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files that were not chosen."""
        return (member for member in self.source.members(max_bytes) if not self._names_chosen(member))

    def _names_chosen(self, member: Member) -> frozenset[str]:
        return self.files.intersection(_names_of(member.name))


def _names_of(member: str) -> Iterator[str]:
    """Yield the names under which the quarantine may have a member: its own, its unpacked one, its archive's."""
    yield member
    yield plain_name(member)
    parts = member.split("/")
    yield from ("/".join(parts[:depth]) for depth in range(1, len(parts)))
