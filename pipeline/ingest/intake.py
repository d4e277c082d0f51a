"""Bookkeeping of one ingest: which object belongs to which file, what is still to be written, and the final account."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import compress
from typing import Final, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.bundles import FinishedTable, TableRead
from pipeline.ingest.quarantine import Entry, FileRead, kind_of, quarantine_rows
from pipeline.ingest.readers import Rejection
from pipeline.ingest.reading import ChunkRead, Unchanged, base_name
from pipeline.ingest.settings import IngestSummary
from pipeline.ingest.sources import Source
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA

__all__ = ["STATED", "Batch", "Content", "Intake", "StoredFile", "content_hashes"]


STATED: Final = ("SNID", "RA", "DEC", "SURVEY", "DETECTION_MJD", "PHOTOMETRY_HASH")
"""Columns that say all of an object that LIGHT_CURVE_SCHEMA does, but for its file."""
Content = tuple[int | None, int | None]
"""Hashes of what is observed and of what is told of an object."""


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
        finished: tables of many objects that are in the store whole once this batch is, by name.
    """

    light_curves: pa.Table
    truth: pa.Table
    quarantine: list[Entry]
    files: list[FileRead]
    stored_snids: set[str]
    finished: dict[str, FinishedTable] = field(default_factory=dict)


class Intake:
    """Decides, file by file and in order, what is new, changed, unchanged or a duplicate."""

    def __init__(
        self, stored: Sequence[StoredFile], contents: Callable[[], Mapping[str, Content]] = dict[str, "Content"]
    ) -> None:
        """Start from what the store has; `contents` gives `content_hashes` of its objects by SNID, when asked."""
        self._contents_of_store = contents
        self.known = {item.digest: base_name(item.file) for item in stored}
        self._snid_of = {item.digest: item.snid for item in stored}
        self._owner = {item.snid: item for item in stored}
        self._stored = {item.snid for item in stored}
        self._met: set[str] = set()
        self._reasons: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self._objects: Counter[str] = Counter()
        self._of_table: Counter[str] = Counter()
        self._table_reasons: Counter[str] = Counter()
        self._ignored: list[str] = []
        self._clear()

    @property
    def n_seen(self) -> int:
        """Count the files seen so far, companions included."""
        return self._counts.total() - self._counts["epochs"] - self._counts["dropped"]

    @property
    def n_pending(self) -> int:
        """Count the objects not yet written."""
        return sum(len(table) for table in self._light_curves)

    def start(self, source: Source) -> None:
        """Begin a source: an archive that was damaged before may be whole now."""
        self._files.append(FileRead(source.name, base_name(source.name)))

    def add(self, source: Source, chunk: ChunkRead) -> None:
        """Take in what came of one chunk of files, or of one of objects from a table."""
        if chunk.table is not None:
            self._add_objects(source, chunk, chunk.table)
            return
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
        self._light_curves.append(chunk.light_curves.filter(pa.array(is_kept, pa.bool_())))
        self._truth.append(chunk.truth.filter(pa.array(is_kept, pa.bool_())))
        self._quarantine += quarantine_rows(source.name, rejections)
        self._count(chunk, rejections)

    def take_batch(self) -> Batch:
        """Hand over what is to be written, and forget it."""
        light_curves = pa.concat_tables([LIGHT_CURVE_SCHEMA.empty_table(), *self._light_curves])
        truth = pa.concat_tables([TRUTH_SCHEMA.empty_table(), *self._truth])
        snids = set(light_curves["SNID"].to_pylist())
        batch = Batch(light_curves, truth, self._quarantine, self._files, snids & self._stored, self._finished)
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
            n_objects=self._objects.total(),
            n_objects_ingested=self._objects["ingested"],
            n_objects_unchanged=self._objects["unchanged"],
            n_objects_quarantined=self._objects["quarantined"],
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
        self._finished: dict[str, FinishedTable] = {}

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
                self._objects["unchanged"] += 1
            else:
                duplicates.append(self._duplicate(file))
        return is_kept, duplicates

    def _duplicate(self, file: StoredFile) -> Rejection:
        reason = f"duplicate SNID: {file.snid} is already that of {self._owner[file.snid].file}"
        return Rejection(file.file, reason, None, file.snid, digest=file.digest)

    def _add_objects(self, source: Source, chunk: ChunkRead, table: TableRead) -> None:
        """Take in some objects of a table; those that are stored as they are stay as they are."""
        if table.finished is not None:
            self._skip(table, table.finished)
            return
        if not self._of_table["chunks"]:
            self._files += [FileRead(source.name, name) for name in {*table.files, table.name}]
        has_new_photometry, has_new_truth, duplicates = self._meet_objects(chunk, table)
        kept = chunk.light_curves.filter(pa.array(has_new_photometry, pa.bool_()))
        self._light_curves.append(kept)
        self._truth.append(chunk.truth.filter(pa.array(has_new_truth, pa.bool_())))
        lost = {item.snid for item in duplicates}
        rejections = [item for item in chunk.rejections if item.scope != "epoch" or item.snid not in lost] + duplicates
        self._files += [FileRead(None, table.name, snid) for snid in kept["SNID"].to_pylist()]
        self._quarantine += quarantine_rows(source.name, rejections)
        n_changed = sum(one or other for one, other in zip(has_new_photometry, has_new_truth, strict=True))
        self._count_objects(n_changed, len(chunk.light_curves) - len(duplicates) - n_changed, rejections)
        if table.is_last:
            self._finish(table)

    def _meet_objects(self, chunk: ChunkRead, table: TableRead) -> tuple[list[bool], list[bool], list[Rejection]]:
        """Tell whose photometry and whose truth are new or changed, and reject an SNID that is another file's."""
        has_new_photometry, has_new_truth, duplicates = [], [], []
        base = base_name(table.name)
        for snid, content in content_hashes(chunk.light_curves, chunk.truth).items():
            owner = self._owner.get(snid)
            stored: Content = (None, None)
            file = StoredFile(snid, table.name, table.digest)
            if owner is not None:
                is_met = snid in self._met
                stored = content if is_met else self._stored_contents.get(snid, stored)
                if base_name(owner.file) != base or (is_met and owner.digest != table.digest):
                    duplicates.append(self._duplicate(file)._replace(scope="object"))
                    stored = content
            has_new_photometry.append(stored[0] != content[0])
            has_new_truth.append(stored[1] != content[1])
            if stored != content or (owner is not None and base_name(owner.file) == base and snid not in self._met):
                self._met.add(snid)
                self._owner[snid] = file
        return has_new_photometry, has_new_truth, duplicates

    @cached_property
    def _stored_contents(self) -> Mapping[str, Content]:
        return self._contents_of_store()

    def _skip(self, table: TableRead, finished: FinishedTable) -> None:
        """Note that all of a table is stored: as many objects, and as many bad ones, as when it was read."""
        base = base_name(table.name)
        self._met.update(snid for snid, owner in self._owner.items() if base_name(owner.file) == base)
        self._counts["unchanged"] += len(table.files)
        self._objects.update(unchanged=finished.n_objects, quarantined=sum(finished.reasons.values()))
        self._reasons.update(finished.reasons)

    def _count_objects(self, n_ingested: int, n_unchanged: int, rejections: Sequence[Rejection]) -> None:
        scopes = Counter(item.scope for item in rejections)
        kept = self._light_curves[-1]
        found = {"ingested": n_ingested, "unchanged": n_unchanged, "quarantined": scopes["object"]}
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
        if not found["files"] and outcome != "quarantined":
            n_good = found["ingested"] + found["unchanged"]
            self._finished[table.name] = FinishedTable(table.fingerprint, n_good, dict(self._table_reasons))
        self._of_table, self._table_reasons = Counter(), Counter()

    def _count(self, chunk: ChunkRead, rejections: Sequence[Rejection]) -> None:
        files = [rejection for rejection in rejections if rejection.scope == "file"]
        rejected_unchanged = {rejection.file for rejection in files} & {item.file for item in chunk.unchanged}
        kept = self._light_curves[-1]
        self._counts.update(
            ingested=len(kept),
            unchanged=len(chunk.unchanged) - len(rejected_unchanged),
            quarantined=len(files),
            ignored=len(chunk.ignored),
            epochs=_n_epochs(kept),
            dropped=len(rejections) - len(files),
        )
        n_unchanged = len(chunk.unchanged) - len(rejected_unchanged)
        self._objects.update(ingested=len(kept), unchanged=n_unchanged, quarantined=len(files))
        self._reasons.update(kind_of(rejection.reason) for rejection in rejections)
        self._ignored += chunk.ignored


def content_hashes(light_curves: pa.Table, truth: pa.Table) -> dict[str, Content]:
    """Hash all that is known of each object but the file it came from, by SNID.

    Args:
        light_curves: STATED columns of LIGHT_CURVE_SCHEMA.
        truth: TRUTH_SCHEMA, of these objects and perhaps others.
    """
    stated = light_curves.select(STATED).to_pandas()
    told = truth.to_pandas().set_index("SNID").reindex(stated["SNID"])
    hashes = [pd.util.hash_pandas_object(table, index=False).tolist() for table in (stated, told)]
    return dict(zip(stated["SNID"], zip(*hashes, strict=True), strict=True))


def _n_epochs(light_curves: pa.Table) -> int:
    return int(pc.sum(pc.list_value_length(light_curves["MJD"])).as_py() or 0)
