"""Bookkeeping of one ingest: which object belongs to which file, what is still to be written, and the final account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.duplicates import Part as StoredFile
from pipeline.ingest.duplicates import Shared, SharedChange, as_parts
from pipeline.ingest.names import base_name
from pipeline.ingest.override import Override, file_digest
from pipeline.ingest.quarantine import Entry, FileRead, kind_of, quarantine_rows
from pipeline.ingest.readers import Rejection
from pipeline.ingest.reading import ChunkRead, Unchanged
from pipeline.ingest.settings import IngestSummary
from pipeline.ingest.sources import Source
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA

__all__ = ["Batch", "Intake", "StoredFile"]


COMPANIONS_NAMED: Final = 1000
"""Names of companions that the summary holds, at most; all are counted."""

Verdict = Literal["object", "part", "unchanged", "duplicate"]


@dataclass(frozen=True)
class Batch:
    """What one commit writes.

    Attributes:
        light_curves: LIGHT_CURVE_SCHEMA.
        truth: TRUTH_SCHEMA, of the same objects.
        quarantine: rows of QUARANTINE_SCHEMA.
        files: all files read since the last batch.
        stored_snids: objects that the store has already, among those of this batch.
        shared: objects of several files that change.
        override: what replaces values of these objects.
        unchanged: source, file and content hash of the files whose content the store has.
    """

    light_curves: pa.Table
    truth: pa.Table
    quarantine: list[Entry]
    files: list[FileRead]
    stored_snids: set[str]
    shared: SharedChange = field(default_factory=SharedChange)
    override: Override = field(default_factory=Override)
    unchanged: Sequence[tuple[str, str, str]] = ()


class Intake:
    """Decides, file by file and in order, what is new, changed, unchanged or a duplicate."""

    def __init__(
        self, stored: Sequence[StoredFile], shared: Shared | None = None, override: Override | None = None
    ) -> None:
        """Start from what the store has: objects of one file, and those of several."""
        self._shared, self._override = shared or Shared(), override or Override()
        files = [
            item
            for item in [*stored, *self._shared.settled_parts()]
            if self._override.is_current(item.snid, item.digest)
        ]
        self.known = {file_digest(item.digest): base_name(item.file) for item in files}
        self._snid_of = {file_digest(item.digest): item.snid for item in files}
        self._owner = {item.snid: item for item in stored}
        self._stored = {item.snid for item in stored}
        self._met: set[str] = set()
        self._reasons: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._ignored: list[str] = []
        self._conflicts: dict[str, int] = {}
        self._clear()

    @property
    def n_seen(self) -> int:
        """Count the files seen so far, companions included."""
        return self._counts.total() - self._counts["epochs"] - self._counts["dropped"]

    @property
    def n_pending(self) -> int:
        """Count the objects, and the entries of the quarantine, not yet written."""
        objects = sum(len(table) for table in self._light_curves)
        return objects + self._shared.n_pending + len(self._quarantine)

    def start(self, source: Source) -> None:
        """Begin a source: an archive that was damaged before may be whole now."""
        self._files.append(FileRead(source.name, base_name(source.name)))

    def add(self, source: Source, chunk: ChunkRead) -> None:
        """Take in what came of one chunk of files."""
        chunk = self._override.apply(chunk)
        names = ("SNID", "SOURCE", "SOURCE_HASH")
        files = [
            StoredFile(*row) for row in zip(*(chunk.light_curves[name].to_pylist() for name in names), strict=True)
        ]
        rejections = [found for item in chunk.unchanged if (found := self._meet_unchanged(item))]
        verdicts, duplicates = self._meet(files)
        is_kept = [verdict in ("object", "part") for verdict in verdicts]
        lost = {file.file for file, kept in zip(files, is_kept, strict=True) if not kept}
        rejections += [item for item in chunk.rejections if item.file not in lost] + duplicates
        self._files += [FileRead(source.name, file.file, file.snid) for file in compress(files, is_kept)]
        self._files += [FileRead(source.name, rejection.file) for rejection in rejections]
        self._files += [FileRead(source.name, file) for file in [*chunk.opened, *chunk.ignored]]
        self._settled += [(source.name, item.file, item.digest) for item in chunk.unchanged]
        self._light_curves.append(chunk.light_curves.filter(_are(verdicts, "object")))
        self._truth.append(chunk.truth.filter(_are(verdicts, "object")))
        is_part = _are(verdicts, "part")
        if "part" in verdicts:
            self._shared.add_rows(as_parts(chunk.light_curves.filter(is_part), chunk.truth.filter(is_part)))
        self._quarantine += quarantine_rows(source.name, rejections)
        self._count(chunk, chunk.light_curves.filter(pa.array(is_kept, pa.bool_())), rejections)

    def take_batch(self) -> Batch:
        """Hand over what is to be written, and forget it."""
        light_curves = pa.concat_tables([LIGHT_CURVE_SCHEMA.empty_table(), *self._light_curves])
        truth = pa.concat_tables([TRUTH_SCHEMA.empty_table(), *self._truth])
        shared = self._shared.take_change()
        snids = {*light_curves["SNID"].to_pylist(), *shared.members}
        stored_snids = snids & self._stored
        batch = Batch(
            light_curves, truth, self._quarantine, self._files, stored_snids, shared, self._override, self._settled
        )
        self._stored |= snids
        self._clear()
        return batch

    def note_conflicts(self, batch: Batch, snids: Sequence[str]) -> None:
        """Remember how often the files of the shared objects just written contradicted each other."""
        self._conflicts |= dict.fromkeys(batch.shared.members, 0) | Counter(snids)

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
            n_conflicts=sum(self._conflicts.values()),
            override=self._override.summary(self._met),
            ignored=tuple(self._ignored),
            seconds=seconds,
            version=version,
        )

    def _clear(self) -> None:
        self._light_curves: list[pa.Table] = []
        self._truth: list[pa.Table] = []
        self._quarantine: list[Entry] = []
        self._files: list[FileRead] = []
        self._settled: list[tuple[str, str, str]] = []

    def _meet_unchanged(self, item: Unchanged) -> Rejection | None:
        """Note that a stored object was met again; reject the file if another was met under its SNID before."""
        snid = self._snid_of[item.digest]
        self._met.add(snid)
        self._shared.meet(snid, item.file, item.digest)
        if snid in self._shared or file_digest(self._owner[snid].digest) == item.digest:
            return None
        return self._duplicate(StoredFile(snid, item.file, item.digest))

    def _meet(self, files: Sequence[StoredFile]) -> tuple[list[Verdict], list[Rejection]]:
        """Tell what becomes of each object just read, and reject files whose SNID is another file's."""
        verdicts = [self._judge(file) for file in files]
        self._counts["unchanged"] += verdicts.count("unchanged")
        pairs = zip(files, verdicts, strict=True)
        return verdicts, [self._duplicate(file) for file, verdict in pairs if verdict == "duplicate"]

    def _judge(self, file: StoredFile) -> Verdict:
        owner, is_shared = self._owner.get(file.snid), file.snid in self._shared
        same_name = owner is not None and base_name(owner.file) == base_name(file.file)
        if not is_shared and (owner is None or (same_name and file.snid not in self._met)):
            self._met.add(file.snid)
            self._owner[file.snid] = file
            return "object"
        if not is_shared and owner is not None and same_name and owner.digest == file.digest:
            return "unchanged"
        if not self._shared.takes(file):
            return "duplicate"
        changes = self._shared.join(file, owner, file.snid in self._met)
        self._met.add(file.snid)
        return "part" if changes else "unchanged"

    def _duplicate(self, file: StoredFile) -> Rejection:
        reason = f"duplicate SNID: {file.snid} is already that of {self._owner[file.snid].file}"
        return Rejection(file.file, reason, None, file.snid, digest=file_digest(file.digest))

    def _count(self, chunk: ChunkRead, kept: pa.Table, rejections: Sequence[Rejection]) -> None:
        files = [rejection for rejection in rejections if rejection.scope == "file"]
        rejected_unchanged = {rejection.file for rejection in files} & {item.file for item in chunk.unchanged}
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


def _are(verdicts: Sequence[Verdict], wanted: Verdict) -> pa.Array:
    return pa.array([verdict == wanted for verdict in verdicts], pa.bool_())
