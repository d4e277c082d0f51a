"""Public data into a folder: downloaded or taken from a copy at hand, verified, and in place whole or not at all.

A file that is on its way has the suffix `.partial`; one that is not what was published is kept aside as `.wrong`.
"""

from __future__ import annotations

import gzip
import os
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import pooch
from filelock import FileLock

from pipeline.ingest.datasets import (
    DATASETS,
    RemoteFile,
    copies_at_hand,
    default_folder,
    find_dataset,
    next_command,
)
from pipeline.ingest.download import DownloadError, NetworkError, Progress, download

__all__ = ["FetchItem", "FetchedFile", "WrongFileError", "fetch", "fetch_file", "plan_fetch", "summarise", "verify"]

_TELLTALES: Final = (
    (b"<", "a web page"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
)
"""What servers send in the place of a file, and how it begins."""


class WrongFileError(ValueError):
    """A file that is not the published one; the message says what was expected and what was found."""


@dataclass(frozen=True)
class FetchItem:
    """A file to fetch: of which dataset, where from (a copy at hand before the URL), and into which folder."""

    dataset: str
    file: RemoteFile
    url: str
    folder: Path
    archive: Path | None = None

    @property
    def path(self) -> Path:
        """Where the file will be."""
        return self.folder / self.file.name

    def beside(self, suffix: str) -> Path:
        """Return the path of the file with one suffix more."""
        return self.path.with_name(self.path.name + suffix)


@dataclass(frozen=True)
class FetchedFile:
    """A file that is in place.

    Attributes:
        path: where.
        size: [bytes].
        source: how it came: it was there, or it was downloaded, resumed or copied.
        n_bytes_received: over the network, this time.
        check: what was verified, in words.
    """

    path: Path
    size: int
    source: Literal["present", "downloaded", "resumed", "copied"]
    n_bytes_received: int
    check: str


def fetch(
    name: str,
    out: Path | None = None,
    archives: Sequence[Path] = (),
    only: str = "*",
    mirror: str | None = None,
    progress: Progress | None = None,
) -> list[FetchedFile]:
    """Fetch a dataset; what is there and verified is not fetched again. See `plan_fetch` and `fetch_file`."""
    return [fetch_file(item, progress) for item in plan_fetch(name, out, archives, only, mirror)]


def plan_fetch(
    name: str, out: Path | None = None, archives: Sequence[Path] = (), only: str = "*", mirror: str | None = None
) -> list[FetchItem]:
    """Decide what to fetch from where; nothing is read or written yet.

    Args:
        name: of the dataset, a key of DATASETS.
        out: the files go into a folder of the dataset's name in it; None for `default_folder()`.
        archives: copies at hand: files, or folders of them.
        only: shell pattern of the files wanted.
        mirror: URL of another folder that holds the files.

    Raises:
        SettingsError: if there is no such dataset, or no such file in it.
        SourceError: if an archive does not exist, or holds nothing that is wanted.
    """
    dataset = find_dataset(name)
    folder = (out or default_folder()) / name
    files = dataset.choose(only)
    at_hand = copies_at_hand(files, archives)
    base_url = (mirror or dataset.base_url).rstrip("/")
    return [FetchItem(name, file, f"{base_url}/{file.name}", folder, at_hand.get(file.name)) for file in files]


def fetch_file(item: FetchItem, progress: Progress | None = None) -> FetchedFile:
    """Bring a file into place, verified.

    Raises:
        NetworkError: if it cannot be downloaded now; what has come is kept, and the same call goes on.
        DownloadError: if the server does not have it.
        WrongFileError: if what came, or the copy at hand, is not the published file.
        OSError: if the folder cannot be written.
    """
    item.folder.mkdir(parents=True, exist_ok=True)
    with FileLock(item.folder.parent / f".fetch-{item.dataset}.lock"):  # a second fetch waits, and finds it present
        return _bring(item, progress)


def verify(path: Path, file: RemoteFile) -> str:
    """Check a file by its checksum, or by size and format where none is known.

    Returns:
        What was checked, in words.

    Raises:
        WrongFileError: if it is not the file.
    """
    size = path.stat().st_size
    if file.size not in (None, size):
        raise WrongFileError(f"it has {size:,} bytes, expected {file.size:,}; {_checksums(path, file)}".rstrip("; "))
    if file.checksum is None:
        if problem := _format_problem(path, file.format):
            raise WrongFileError(problem)
        size_too = "" if file.size is None else f"its size ({size:,} bytes) and "
        return f"no checksum is known: only {size_too}its format ({file.format}) was checked"
    algorithm, expected = file.checksum.split(":")
    if pooch.file_hash(str(path), alg=algorithm) != expected:
        problem = _format_problem(path, file.format)
        raise WrongFileError(_checksums(path, file) + (f"; {problem}" if problem else ""))
    return f"{algorithm} {expected} agrees"


def summarise(name: str, files: Sequence[FetchedFile]) -> dict[str, Any]:
    """Return plain values for JSON: the files, how they were checked, whom to cite and what to type next."""
    dataset = DATASETS[name]
    return {
        "name": name,
        "folder": str(files[0].path.parent),
        "files": [{**asdict(file), "path": str(file.path)} for file in files],
        "n_bytes_received": sum(file.n_bytes_received for file in files),
        "citation": dataset.citation,
        "doi": dataset.doi,
        "licence": dataset.licence or None,
        "next": next_command(dataset, [file.path for file in files]),
    }


def _bring(item: FetchItem, progress: Progress | None) -> FetchedFile:
    note = ""
    if item.path.exists():
        try:
            return _fetched(item, "present", 0, verify(item.path, item.file))
        except WrongFileError as error:
            if item.archive is not None and item.archive.samefile(item.path):
                raise WrongFileError(f"{item.path} is not the published file: {error}") from None
            os.replace(item.path, item.beside(".wrong"))
            note = f"; the file that was here is kept as {item.beside('.wrong').name}: {error}"
    fetched = _obtain(item, progress) if item.archive is None else _copy(item, item.archive)
    return replace(fetched, check=fetched.check + note)


def _fetched(
    item: FetchItem, source: Literal["present", "downloaded", "resumed", "copied"], received: int, check: str
) -> FetchedFile:
    return FetchedFile(item.path, item.path.stat().st_size, source, received, check)


def _copy(item: FetchItem, archive: Path) -> FetchedFile:
    """Copy a file at hand; the copy is what is verified."""
    copy = item.beside(".copying")
    try:
        shutil.copyfile(archive, copy)
        check = verify(copy, item.file)
        os.replace(copy, item.path)
    except WrongFileError as error:
        raise WrongFileError(
            f"{archive} is not {item.file.name} of {item.dataset} as published: {error}. Nothing was taken from it; "
            "a reduced or repacked copy can be given to snflow ingest by its own path"
        ) from None
    finally:
        copy.unlink(missing_ok=True)
    return _fetched(item, "copied", 0, check)


def _obtain(item: FetchItem, progress: Progress | None) -> FetchedFile:
    try:
        return _download(item, progress)
    except NetworkError as error:
        raise NetworkError(_explain(item, error)) from error
    except DownloadError as error:
        raise DownloadError(_explain(item, error)) from error


def _download(item: FetchItem, progress: Progress | None) -> FetchedFile:
    partial = item.beside(".partial")
    resumed = partial.exists() and partial.stat().st_size > 0
    received = download(item.url, partial, item.file.size, progress)
    try:
        check = verify(partial, item.file)
    except WrongFileError as error:
        if resumed:  # its two parts may be of different files
            partial.unlink()
            return _download(item, progress)
        os.replace(partial, item.beside(".wrong"))
        raise WrongFileError(
            f"{item.url} is not {item.file.name} of {item.dataset} as published: {error}. "
            f"It is kept as {item.beside('.wrong')}"
        ) from None
    os.replace(partial, item.path)
    return _fetched(item, "resumed" if resumed else "downloaded", received, check)


def _explain(item: FetchItem, error: Exception) -> str:
    partial = item.beside(".partial")
    kept = f" {partial.stat().st_size:,} bytes are kept in {partial}." if partial.exists() else ""
    again = (
        "Check the network and its proxy (HTTPS_PROXY), and give the same command again; or get"
        if isinstance(error, NetworkError)
        else "Get"
    )
    return (
        f"{item.url} could not be downloaded: {error}.{kept} {again} the file another way, "
        f"see https://doi.org/{DATASETS[item.dataset].doi}, and give: "
        f"snflow fetch {item.dataset} --archive FOLDER/{item.file.name}"
    )


def _checksums(path: Path, file: RemoteFile) -> str:
    if file.checksum is None:
        return ""
    algorithm, expected = file.checksum.split(":")
    return f"its {algorithm} is {pooch.file_hash(str(path), alg=algorithm)}, expected {expected}"


def _format_problem(path: Path, expected: Literal["gzip", "text"]) -> str:
    """Say what is wrong with the format of a file; gzip is read to its end, which has a checksum of its own."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    seems = next((words for mark, words in _TELLTALES if start.startswith(mark)), "")
    if seems or not start:
        return f"it is {seems or 'empty'}"
    try:
        if expected == "gzip":
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
        else:
            path.read_text(encoding="utf-8")
    except (gzip.BadGzipFile, EOFError, zlib.error, UnicodeDecodeError) as error:
        return f"it is not {expected}: {error}"
    return ""
