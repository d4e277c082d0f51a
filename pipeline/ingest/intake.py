"""Bookkeeping of one ingest: which object belongs to which file, what is still to be written, and the final account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.names import base_name
from pipeline.ingest.quarantine import Entry, FileRead, kind_of, quarantine_rows
from pipeline.ingest.readers import Rejection
from pipeline.ingest.reading import ChunkRead, Unchanged
from pipeline.ingest.settings import IngestSummary
from pipeline.ingest.sources import Source
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA

__all__ = ["Batch", "Intake", "StoredFile"]


COMPANIONS_NAMED: Final = 1000
"""Names of companions that the summary holds, at most; all are counted."""


class StoredFile(NamedTuple):
    """Which file an object came from, and the hash of its content."""

    snid: str
    file: str
    digest: str


@dataclass(frozen=True)
class Batch:
    """What one commit writes.

    Attributes:
        light_curves: LIGHT_CURVE_SCHEMA.
        truth: TRUTH_SCHEMA, of the same objects.
        quarantine: rows of QUARANTINE_SCHEMA.
        files: all files read since the last batch.
        stored_snids: objects that the store has already, among those of this batch.
    """

    light_curves: pa.Table
    truth: pa.Table
    quarantine: list[Entry]
    files: list[FileRead]
    stored_snids: set[str]


class Intake:
    """Decides, file by file and in order, what is new, changed, unchanged or a duplicate."""

    def __init__(self, stored: Sequence[StoredFile]) -> None:
        """Start from what the store has."""
        self.known = {item.digest: base_name(item.file) for item in stored}
        self._snid_of = {item.digest: item.snid for item in stored}
        self._owner = {item.snid: item for item in stored}
        self._stored = {item.snid for item in stored}
        self._met: set[str] = set()
        self._reasons: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._ignored: list[str] = []
        self._clear()

    @property
    def n_seen(self) -> int:
        """Count the files seen so far, companions included."""
        return self._counts.total() - self._counts["epochs"] - self._counts["dropped"]

    @property
    def n_pending(self) -> int:
        """Count the objects, and the entries of the quarantine, not yet written."""
        return sum(len(table) for table in self._light_curves) + len(self._quarantine)

    def start(self, source: Source) -> None:
        """Begin a source: an archive that was damaged before may be whole now."""
        self._files.append(FileRead(source.name, base_name(source.name)))

    def add(self, source: Source, chunk: ChunkRead) -> None:
        """Take in what came of one chunk of files."""
        names = ("SNID", "SOURCE", "SOURCE_HASH")
        files = [
            StoredFile(*row) for row in zip(*(chunk.light_curves[name].to_pylist() for name in names), strict=True)
        ]
        rejections = [found for item in chunk.unchanged if (found := self._meet_unchanged(item))]
        is_kept, duplicates = self._meet(files)
        lost = {file.file for file, kept in zip(files, is_kept, strict=True) if not kept}
        rejections += [item for item in chunk.rejections if item.file not in lost] + duplicates
        self._files += [FileRead(source.name, file.file, file.snid) for file in compress(files, is_kept)]
        self._files += [FileRead(source.name, rejection.file) for rejection in rejections]
        self._files += [FileRead(source.name, file) for file in chunk.opened]
        self._light_curves.append(chunk.light_curves.filter(pa.array(is_kept, pa.bool_())))
        self._truth.append(chunk.truth.filter(pa.array(is_kept, pa.bool_())))
        self._quarantine += quarantine_rows(source.name, rejections)
        self._count(chunk, rejections)

    def take_batch(self) -> Batch:
        """Hand over what is to be written, and forget it."""
        light_curves = pa.concat_tables([LIGHT_CURVE_SCHEMA.empty_table(), *self._light_curves])
        truth = pa.concat_tables([TRUTH_SCHEMA.empty_table(), *self._truth])
        snids = set(light_curves["SNID"].to_pylist())
        batch = Batch(light_curves, truth, self._quarantine, self._files, snids & self._stored)
        self._stored |= snids
        self._clear()
        return batch

    def summary(self, sources: Sequence[str], seconds: float, version: int) -> IngestSummary:
        """Account for every file."""
        counts = self._counts
        return IngestSummary(
            sources=tuple(sources),
            n_files=counts["ingested"] + counts["unchanged"] + counts["quarantined"],
            n_ingested=counts["ingested"],
            n_unchanged=counts["unchanged"],
            n_quarantined=counts["quarantined"],
            n_ignored=counts["ignored"],
            n_epochs=counts["epochs"],
            n_epochs_dropped=counts["dropped"],
            reasons=dict(sorted(self._reasons.items())),
            ignored=tuple(self._ignored),
            seconds=seconds,
            version=version,
        )

    def _clear(self) -> None:
        self._light_curves: list[pa.Table] = []
        self._truth: list[pa.Table] = []
        self._quarantine: list[Entry] = []
        self._files: list[FileRead] = []

    def _meet_unchanged(self, item: Unchanged) -> Rejection | None:
        """Note that a stored object was met again; reject the file if another was met under its SNID before."""
        snid = self._snid_of[item.digest]
        self._met.add(snid)
        if self._owner[snid].digest == item.digest:
            return None
        return self._duplicate(StoredFile(snid, item.file, item.digest))

    def _meet(self, files: Sequence[StoredFile]) -> tuple[list[bool], list[Rejection]]:
        """Tell which objects are new or changed, and reject files whose SNID is another file's."""
        is_kept, duplicates = [], []
        for file in files:
            owner = self._owner.get(file.snid)
            is_new = owner is None or (file.snid not in self._met and base_name(owner.file) == base_name(file.file))
            is_kept.append(is_new)
            if is_new:
                self._met.add(file.snid)
                self._owner[file.snid] = file
            elif owner is not None and owner.digest == file.digest and base_name(owner.file) == base_name(file.file):
                self._counts["unchanged"] += 1
            else:
                duplicates.append(self._duplicate(file))
        return is_kept, duplicates

    def _duplicate(self, file: StoredFile) -> Rejection:
        reason = f"duplicate SNID: {file.snid} is already that of {self._owner[file.snid].file}"
        return Rejection(file.file, reason, None, file.snid, digest=file.digest)

    def _count(self, chunk: ChunkRead, rejections: Sequence[Rejection]) -> None:
        files = [rejection for rejection in rejections if rejection.scope == "file"]
        rejected_unchanged = {rejection.file for rejection in files} & {item.file for item in chunk.unchanged}
        kept = self._light_curves[-1]
        self._counts.update(
            ingested=len(kept),
            unchanged=len(chunk.unchanged) - len(rejected_unchanged),
            quarantined=len(files),
            ignored=len(chunk.ignored),
            epochs=pc.sum(pc.list_value_length(kept["MJD"])).as_py() or 0,
            dropped=len(rejections) - len(files),
        )
        self._reasons.update(kind_of(rejection.reason) for rejection in rejections)
        self._ignored += chunk.ignored[: COMPANIONS_NAMED - len(self._ignored)]
