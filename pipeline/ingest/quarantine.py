"""What was not read, and why: one row per file or measurement, gone when the repaired file is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pipeline.ingest.names import base_name, printable
from pipeline.ingest.readers import Rejection
from pipeline.schema import QUARANTINE_SCHEMA

__all__ = ["FileRead", "kind_of", "quarantine_rows", "update_quarantine"]

Entry = dict[str, Any]


class FileRead(NamedTuple):
    """A file that was read in this run: its entries in the quarantine are now those of this run.

    Attributes:
        source: folder or archive that it came from; None for an object of a table whose file is named already.
        file: its name there.
        snid: the object that it gave, None when it was rejected.
    """

    source: str | None
    file: str
    snid: str | None = None


def kind_of(reason: str) -> str:
    """Return what comes before the colon, the part of a reason that can be counted.

    >>> kind_of("unknown band: y; known are g r i z")
    'unknown band'
    """
    return reason.partition(":")[0]


def quarantine_rows(source: str, rejections: Iterable[Rejection]) -> list[Entry]:
    """Build the rows of QUARANTINE_SCHEMA from what one source's files gave, without anything a terminal would obey."""
    return [
        {
            "SOURCE": source,
            "FILE": item.file,
            "LINE": item.line,
            "SNID": None if item.snid is None else printable(item.snid),
            "SCOPE": item.scope,
            "REASON": printable(item.reason),
            "SOURCE_HASH": item.digest,
        }
        for item in rejections
    ]


def update_quarantine(
    stored: pa.Table,
    new: Sequence[Entry],
    read: Iterable[FileRead],
    unchanged: Iterable[tuple[str, str, str]] = (),
    composed: Collection[str] = (),
) -> pa.Table:
    """Replace the entries of the files just read by the new ones, in a fixed order.

    An entry goes when its file was read again, or when its object came from a file of the same base name in another
    source: a repaired file may come by another way than the damaged one. It also goes when the file has again the
    content that is in the store, and a conflict goes when its object was composed anew.

    Args:
        stored: QUARANTINE_SCHEMA.
        new: of this run.
        read: files read in this run.
        unchanged: source, file and content hash of files that the store has as they are.
        composed: SNIDs of the shared objects just composed.
    """
    read = list(read)
    contents = {(source, file): digest for source, file, digest in unchanged}
    files = {(file.source, file.file) for file in read}
    objects = {(printable(file.snid), base_name(file.file)) for file in read if file.snid is not None}
    kept = [
        entry
        for entry in stored.to_pylist()
        if (entry["SOURCE"], entry["FILE"]) not in files
        and (entry["SNID"], base_name(entry["FILE"])) not in objects
        and contents.get((entry["SOURCE"], entry["FILE"]), entry["SOURCE_HASH"]) == entry["SOURCE_HASH"]
        and not (entry["SCOPE"] == "conflict" and entry["SNID"] in composed)
    ]
    return pa.Table.from_pylist(sorted([*kept, *new], key=_place), schema=QUARANTINE_SCHEMA)


def _place(entry: Entry) -> tuple[Any, ...]:
    return entry["SOURCE"], entry["FILE"], entry["LINE"] or 0, entry["SCOPE"], entry["REASON"]
