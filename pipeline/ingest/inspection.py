"""Looking into the quarantine: counts, one file's entries with the lines to blame, and where to read it again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.files import write_atomically
from pipeline.ingest.archives import Member
from pipeline.ingest.bundles import recognise_table
from pipeline.ingest.packing import PackedError, is_packed, plain_name, unpack
from pipeline.ingest.quarantine import kind_of
from pipeline.ingest.readers import ReadOptions
from pipeline.ingest.readers.base import plain_start
from pipeline.ingest.reading import base_name
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.sources import Chosen, SingleFile, Source, SourceError, open_sources
from pipeline.schema import QUARANTINE_SCHEMA
from pipeline.settings import SettingsError

__all__ = [
    "count_kinds",
    "entries_of",
    "entries_of_kind",
    "lines_around",
    "printable",
    "quarantined_sources",
    "write_quarantine",
]

LINES_AROUND: Final = 2
MAX_WIDTH: Final = 200
"""Characters of a stranger's line that are shown."""


def count_kinds(entries: pd.DataFrame) -> dict[str, int]:
    """Count the entries by kind of reason, the most frequent first."""
    counts = entries["REASON"].map(kind_of).value_counts()
    return dict(sorted(((str(kind), int(count)) for kind, count in counts.items()), key=lambda item: (-item[1], item)))


def entries_of_kind(entries: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the entries of one kind of reason.

    Raises:
        SettingsError: if there is none; the message names those that there are.
    """
    found = entries[entries["REASON"].map(kind_of) == kind]
    if found.empty:
        raise SettingsError(f"no entry of the reason {kind!r}; there are: {', '.join(count_kinds(entries)) or 'none'}")
    return found


def entries_of(entries: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the entries of a file, by its name inside its source or by the last part of it, or of an SNID.

    Raises:
        SettingsError: if there is none.
    """
    is_file = (entries["FILE"] == name) | (entries["FILE"].map(base_name) == name)
    found = entries[is_file | (entries["SNID"] == name)]
    if found.empty:
        raise SettingsError(f"nothing in quarantine has the file name or the SNID {name!r}")
    return found


def lines_around(source: str, file: str, line: int) -> list[tuple[int, str]] | None:
    """Read the lines around one of a file of text, numbered from 1, control characters escaped.

    Returns:
        None if the file cannot be read, or is a table, whose rows are no lines.
    """
    data = _read(source, file)
    is_table = data is not None and recognise_table(file, None, data, plain_start(data), ReadOptions()) is not None
    lines = [] if data is None or is_table else data.split(b"\n")
    if not 1 <= line <= len(lines):
        return None
    first = max(line - LINES_AROUND, 1)
    shown = lines[first - 1 : line + LINES_AROUND]
    return [(number, printable(text.decode("utf-8", "replace"))) for number, text in enumerate(shown, start=first)]


def printable(text: str) -> str:
    r"""Escape what a terminal would obey, and cut what is long.

    >>> printable("OBS:\t1 \x1b[31mg")
    'OBS:\\t1 \\x1b[31mg'
    """
    cut = text if len(text) <= MAX_WIDTH else text[: MAX_WIDTH - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut.removesuffix("\r"))


def quarantined_sources(entries: pd.DataFrame) -> tuple[list[Source], list[str]]:
    """Return where the files of these entries can be read again, only they, and the paths of those that are gone.

    A damaged archive is read whole: what follows the damage was never seen.
    """
    sources: list[Source] = []
    gone: list[str] = []
    for name, files in entries.groupby("SOURCE")["FILE"].unique().items():
        try:
            source = open_sources([Path(str(name))])[0]
        except SourceError:
            gone += [_path(str(name), file) for file in files]
            continue
        is_whole = isinstance(source, SingleFile) or os.path.basename(source.name) in files
        sources.append(source if is_whole else Chosen(source.name, source=source, files=frozenset(files)))
    return sources, gone


def write_quarantine(entries: pd.DataFrame, out: Path) -> None:
    """Write entries to .csv or .parquet, whole or not at all.

    Raises:
        SettingsError: if the name ends otherwise.
    """
    if out.suffix not in (".csv", ".parquet"):
        raise SettingsError(f"cannot write the quarantine to {out}: expected a name that ends in .csv or .parquet")
    out.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(entries, QUARANTINE_SCHEMA, preserve_index=False)
    if out.suffix == ".csv":
        lines = table.to_pandas(integer_object_nulls=True)
        write_atomically(out, lines.to_csv(index=False))
        return
    unfinished = out.with_name(f".{out.name}.partial")
    pq.write_table(table, unfinished)
    os.replace(unfinished, out)


def _path(source: str, file: str) -> str:
    return source if base_name(source) == file else f"{source}/{file}"


def _read(source: str, file: str) -> bytes | None:
    """Read a file of a folder, an archive, or by its own path, unpacked; None if it is not there."""
    try:
        opened = open_sources([Path(source)])[0] if source else None
    except SourceError:
        return None
    max_bytes = IngestSettings().max_file_bytes
    members: Iterable[Member] = opened.members(max_bytes) if opened else ()
    member = next((member for member in members if file in (member.name, plain_name(member.name))), None)
    data = member and _bytes_of(member, max_bytes)
    if not data or not is_packed(data):
        return data
    try:
        return unpack(data, max_bytes)
    except PackedError:
        return None


def _bytes_of(member: Member, max_bytes: int) -> bytes | None:
    if member.path is None or not os.path.isfile(member.path):
        return member.data
    try:
        with open(member.path, "rb") as handle:
            return handle.read(max_bytes)
    except OSError:
        return None
