"""Bookkeeping of one ingest: which object belongs to which file, what is still to be written, and the final account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Final, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.bundles import FinishedTable, TableRead
from pipeline.ingest.contents import Content, content_hashes
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

DUPLICATE: Final = "duplicate SNID"
"""Kind of reason of what is quarantined because another file has the object."""

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
        finished: tables of many objects that are in the store whole once this batch is, by name.
    """

    light_curves: pa.Table
    truth: pa.Table
    quarantine: list[Entry]
    files: list[FileRead]
    stored_snids: set[str]
    shared: SharedChange = field(default_factory=SharedChange)
    override: Override = field(default_factory=Override)
    unchanged: Sequence[tuple[str, str, str]] = ()
    finished: Mapping[str, FinishedTable] = field(default_factory=dict)


class Intake:
    """Decides, file by file and in order, what is new, changed, unchanged or a duplicate."""

    def __init__(
        self,
        stored: Sequence[StoredFile],
        shared: Shared | None = None,
        override: Override | None = None,
        contents: Callable[[], Mapping[str, Content]] = dict[str, Content],
    ) -> None:
        """Start from what the store has: objects of one file, and those of several.

        Args:
            stored: files of the objects.
            shared: objects of several files.
            override: what replaces values of the files.
            contents: gives `content_hashes` of the stored objects, when asked.
        """
        self._shared, self._override = shared or Shared(), override or Override()
        self._contents_of_store = contents
        alone = [item for item in stored if item.snid not in self._shared]
        settled = [item for item in [*alone, *self._shared.settled_parts()] if self._is_current(item)]
        self.known = {file_digest(item.digest): base_name(item.file) for item in settled}
        self._snid_of = {file_digest(item.digest): item.snid for item in settled}
        unsettled = {item.key for item in [*alone, *self._shared.parts()]} - {item.key for item in settled}
        self._to_read_again = {base for _, base, _ in unsettled}
        self._owner = {item.snid: item for item in stored}
        self._stored = {item.snid for item in stored}
        self._met: set[str] = set()
        self._tables_met: set[tuple[str, str]] = set()
        self._reasons: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()
        self._of_table: Counter[str] = Counter()
        self._table_reasons: Counter[str] = Counter()
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

    def still_finished(self, tables: Mapping[str, FinishedTable]) -> dict[str, FinishedTable]:
        """Return the tables that need not be read again: overrides and the policy of duplicates change nothing."""
        return {
            name: table
            for name, table in tables.items()
            if base_name(name) not in self._to_read_again
            and not (self._shared.takes_any and DUPLICATE in table.reasons)
        }

    def start(self, source: Source) -> None:
        """Begin a source: an archive that was damaged before may be whole now."""
        self._files.append(FileRead(source.name, base_name(source.name)))

    def add(self, source: Source, chunk: ChunkRead) -> None:
        """Take in what came of one chunk of files, or of one of objects from a table."""
        chunk = self._override.apply(chunk)
        if chunk.table is not None:
            self._add_objects(source, chunk, chunk.table)
            return
        files = _files(chunk)
        rejections = [found for item in chunk.unchanged if (found := self._meet_unchanged(item))]
        verdicts, duplicates = self._meet(files)
        is_kept = [verdict in ("object", "part") for verdict in verdicts]
        lost = {file.file for file, kept in zip(files, is_kept, strict=True) if not kept}
        rejections += [item for item in chunk.rejections if item.file not in lost] + duplicates
        self._files += [FileRead(source.name, file.file, file.snid) for file in compress(files, is_kept)]
        self._files += [FileRead(source.name, rejection.file) for rejection in rejections]
        self._files += [FileRead(source.name, file) for file in [*chunk.opened, *chunk.ignored]]
        self._settled += [(source.name, item.file, item.digest) for item in chunk.unchanged]
        self._keep(chunk, verdicts)
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
            light_curves,
            truth,
            self._quarantine,
            self._files,
            stored_snids,
            shared,
            self._override,
            self._settled,
            self._finished,
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
            n_objects=self._objects.total(),
            n_objects_ingested=self._objects["ingested"],
            n_objects_unchanged=self._objects["unchanged"],
            n_objects_quarantined=self._objects["quarantined"],
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
        self._finished: dict[str, FinishedTable] = {}

    def _is_current(self, item: StoredFile) -> bool:
        return self._override.is_current(item.snid, item.digest)

    def _keep(self, chunk: ChunkRead, verdicts: Sequence[Verdict]) -> None:
        """Keep the objects of a chunk, and those that are parts of shared ones, until they are written."""
        is_object, is_part = _are(verdicts, "object"), _are(verdicts, "part")
        self._light_curves.append(chunk.light_curves.filter(is_object))
        self._truth.append(chunk.truth.filter(is_object))
        if "part" in verdicts:
            self._shared.add_rows(as_parts(chunk.light_curves.filter(is_part), chunk.truth.filter(is_part)))

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
        self._objects["unchanged"] += verdicts.count("unchanged")
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
        reason = f"{DUPLICATE}: {file.snid} is already that of {self._owner[file.snid].file}"
        return Rejection(file.file, reason, None, file.snid, digest=file_digest(file.digest))

    def _add_objects(self, source: Source, chunk: ChunkRead, table: TableRead) -> None:
        """Take in some objects of a table; those that are stored as they are stay as they are."""
        if table.finished is not None:
            self._skip(table, table.finished)
            return
        if not self._of_table["chunks"]:
            self._files += [FileRead(source.name, name) for name in {*table.files, table.name}]
        verdicts, duplicates = self._meet_objects(chunk, table)
        kept = chunk.light_curves.filter(pa.array([verdict in ("object", "part") for verdict in verdicts], pa.bool_()))
        lost = {item.snid for item in duplicates}
        rejections = [item for item in chunk.rejections if item.scope != "epoch" or item.snid not in lost] + duplicates
        self._files += [FileRead(None, table.name, snid) for snid in kept["SNID"].to_pylist()]
        self._keep(chunk, verdicts)
        self._quarantine += quarantine_rows(source.name, rejections)
        self._count_objects(kept, verdicts.count("unchanged"), rejections)
        if table.is_last:
            self._finish(table)

    def _meet_objects(self, chunk: ChunkRead, table: TableRead) -> tuple[list[Verdict], list[Rejection]]:
        """Tell what becomes of each object of a table, and reject those whose SNID is another file's."""
        files, contents = _files(chunk), content_hashes(chunk.light_curves, chunk.truth)
        is_again = (base_name(table.name), table.digest) in self._tables_met
        verdicts: list[Verdict] = [
            "unchanged" if self._is_stored(file, contents[file.snid], is_again) else self._judge(file) for file in files
        ]
        self._met.update(file.snid for file, verdict in zip(files, verdicts, strict=True) if verdict == "unchanged")
        pairs = zip(files, verdicts, strict=True)
        return verdicts, [
            self._duplicate(file)._replace(scope="object") for file, verdict in pairs if verdict == "duplicate"
        ]

    def _is_stored(self, file: StoredFile, content: Content, is_again: bool) -> bool:
        """Tell whether an object of a table is in the store as this table has it, whatever else changed there."""
        owner = self._owner.get(file.snid)
        if owner is None or file.snid in self._shared or base_name(owner.file) != base_name(file.file):
            return False
        if file.snid in self._met:
            return is_again
        return self._is_current(owner) and self._stored_contents.get(file.snid) == content

    @cached_property
    def _stored_contents(self) -> Mapping[str, Content]:
        return self._contents_of_store()

    def _skip(self, table: TableRead, finished: FinishedTable) -> None:
        """Note that all of a table is stored: as many objects, and as many bad ones, as when it was read."""
        base = base_name(table.name)
        self._met.update(snid for snid, owner in self._owner.items() if base_name(owner.file) == base)
        self._shared.meet_all(table.name, table.digest)
        self._tables_met.add((base, table.digest))
        self._counts["unchanged"] += len(table.files)
        self._objects.update(unchanged=finished.n_objects, quarantined=sum(finished.reasons.values()))
        self._reasons.update(finished.reasons)

    def _count_objects(self, kept: pa.Table, n_unchanged: int, rejections: Sequence[Rejection]) -> None:
        scopes = Counter(item.scope for item in rejections)
        found = {"ingested": len(kept), "unchanged": n_unchanged, "quarantined": scopes["object"]}
        self._objects.update(found)
        self._of_table.update({**found, "files": scopes["file"], "chunks": 1})
        self._counts.update(epochs=_n_epochs(kept), dropped=scopes["epoch"])
        self._reasons.update(kind_of(item.reason) for item in rejections)
        self._table_reasons.update(kind_of(item.reason) for item in rejections if item.scope == "object")

    def _finish(self, table: TableRead) -> None:
        """Count a table's files by what became of the whole, and remember it if it was read to its end."""
        found = self._of_table
        outcome = next((name for name in ("ingested", "unchanged") if found[name]), "quarantined")
        self._counts["quarantined" if found["files"] else outcome] += len(table.files)
        self._tables_met.add((base_name(table.name), table.digest))
        if not found["files"] and outcome != "quarantined":
            n_good = found["ingested"] + found["unchanged"]
            self._finished[table.name] = FinishedTable(table.fingerprint, n_good, dict(self._table_reasons))
        self._of_table, self._table_reasons = Counter(), Counter()

    def _count(self, chunk: ChunkRead, kept: pa.Table, rejections: Sequence[Rejection]) -> None:
        files = [rejection for rejection in rejections if rejection.scope == "file"]
        rejected_unchanged = {rejection.file for rejection in files} & {item.file for item in chunk.unchanged}
        n_unchanged = len(chunk.unchanged) - len(rejected_unchanged)
        self._counts.update(
            ingested=len(kept),
            unchanged=n_unchanged,
            quarantined=len(files),
            ignored=len(chunk.ignored),
            epochs=_n_epochs(kept),
            dropped=len(rejections) - len(files),
        )
        self._objects.update(ingested=len(kept), unchanged=n_unchanged, quarantined=len(files))
        self._reasons.update(kind_of(rejection.reason) for rejection in rejections)
        self._ignored += chunk.ignored[: COMPANIONS_NAMED - len(self._ignored)]


def _are(verdicts: Sequence[Verdict], wanted: Verdict) -> pa.Array:
    return pa.array([verdict == wanted for verdict in verdicts], pa.bool_())


def _files(chunk: ChunkRead) -> list[StoredFile]:
    """Return object, file and SOURCE_HASH of each row."""
    names = ("SNID", "SOURCE", "SOURCE_HASH")
    return [StoredFile(*row) for row in zip(*(chunk.light_curves[name].to_pylist() for name in names), strict=True)]


def _n_epochs(light_curves: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(light_curves["MJD"])).as_py() or 0)
