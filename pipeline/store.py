"""The catalogue: a folder of Delta Lake tables of light curves, truth and quarantine, and how sources get into it.

Every write is one atomic commit, and the commit of the light curves comes last: until then, a run that is repeated does
its work again with the same result; after it, the files are known by their content and nothing happens.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any, Final, cast
from urllib.parse import unquote

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake

from pipeline.files import write_atomically
from pipeline.ingest.bundles import FinishedTable
from pipeline.ingest.contents import STATED, Content, content_hashes
from pipeline.ingest.duplicates import PART_SCHEMA, Shared, as_parts, compose
from pipeline.ingest.inspection import quarantined_sources
from pipeline.ingest.intake import Batch, Intake, StoredFile
from pipeline.ingest.override import read_override
from pipeline.ingest.quarantine import update_quarantine
from pipeline.ingest.readers import ReadOptions
from pipeline.ingest.reading import ChunkReader, read_chunks
from pipeline.ingest.settings import IngestSettings, IngestSummary, TooManyBadFilesError
from pipeline.ingest.sources import Chosen, NoLightCurvesError, Source, SourceError, open_sources
from pipeline.predictions import PredictionTable
from pipeline.schema import LIGHT_CURVE_SCHEMA, QUARANTINE_SCHEMA, TRUTH_SCHEMA, LightCurves, Truth

__all__ = [
    "IngestSettings",
    "IngestSummary",
    "SourceError",
    "Store",
    "StoreError",
    "TooManyBadFilesError",
    "ingest",
    "retry_quarantined",
]

FORMAT: Final = "snflow store"
FORMAT_VERSION: Final = 1
_FINISHED: Final = "tables.json"  # only spares reading; a store without it is whole
_SCHEMAS: Final = {"light_curves": LIGHT_CURVE_SCHEMA, "truth": TRUTH_SCHEMA, "quarantine": QUARANTINE_SCHEMA}
_PARTS: Final = "parts"
"""Table of what each file says of an object that several files have; made when the first such object is written."""


class StoreError(ValueError):
    """A path that is no store, or a store that this version cannot read."""


class Store:
    """A catalogue of light curves on disk.

    Tables are Delta Lake tables below `path`: light_curves, truth, quarantine, predictions. Rows come back in order of
    SNID (as strings), whatever the order in which they were written.
    """

    def __init__(self, path: Path) -> None:
        """Use `Store.open` or `Store.create`."""
        self.path = path

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open a store.

        Raises:
            StoreError: if there is none at this path, or a newer snflow wrote it.
        """
        path = _usable(path)
        try:
            label = json.loads((path / "store.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{path} is not a snflow store: it has no store.json") from None
        except ValueError as error:
            raise StoreError(f"{path} is not a snflow store: store.json is not JSON ({error})") from None
        if not isinstance(label, dict) or label.get("format") != FORMAT:
            raise StoreError(f"{path} is not a snflow store: store.json does not say {FORMAT!r}")
        if label.get("version") != FORMAT_VERSION:
            raise StoreError(
                f"{path} is a store of version {label.get('version')}; this snflow reads version {FORMAT_VERSION}: "
                "ingest its sources into a new store, or use the snflow that wrote it"
            )
        return cls(path)

    @classmethod
    def create(cls, path: Path) -> Store:
        """Create an empty store, or open the one that is there.

        Raises:
            StoreError: if something else is there.
        """
        path = _usable(path)
        if (path / "store.json").exists():
            return cls.open(path)
        if path.is_file() or (path.is_dir() and {entry.name for entry in path.iterdir()} - _SCHEMAS.keys()):
            raise StoreError(f"{path} exists and is not a snflow store")
        path.mkdir(parents=True, exist_ok=True)
        for name, schema in _SCHEMAS.items():
            DeltaTable.create(str(path / name), schema, mode="ignore")
        unfinished = path / "truth" / "store.json.unfinished"
        unfinished.write_text(json.dumps({"format": FORMAT, "version": FORMAT_VERSION}) + "\n", encoding="utf-8")
        os.replace(unfinished, path / "store.json")
        return cls(path)

    def light_curves(self, snids: Sequence[str] | None = None, version: int | None = None) -> LightCurves:
        """Read light curves, in order of SNID, or in the order of the given SNIDs.

        Args:
            snids: which objects; None for all.
            version: an earlier version of the table; None for the latest.

        Raises:
            KeyError: if an SNID is not here.
        """
        light_curves = LightCurves.from_arrow(self._read("light_curves", version=version, snids=snids))
        pa.default_memory_pool().release_unused()  # several times what was read; it would stay for the whole training
        return light_curves if snids is None else light_curves.select(snids)

    def stream(self, snids: Collection[str] | None, size: int, version: int | None = None) -> Iterator[LightCurves]:
        """Read light curves `size` objects at a time, in one pass, in the order in which they are stored.

        Args:
            snids: which objects, of which those that are not here are left out; None for all.
            size: objects in each but the last.
            version: an earlier version of the table; None for the latest.
        """
        pending = LIGHT_CURVE_SCHEMA.empty_table()
        for found in self._batches(snids, LIGHT_CURVE_SCHEMA.names, size, version):
            pending = pa.concat_tables([pending, found.select(LIGHT_CURVE_SCHEMA.names).cast(LIGHT_CURVE_SCHEMA)])
            while len(pending) >= size:
                yield LightCurves.from_arrow(pending[:size].combine_chunks())
                pending = pending[size:].combine_chunks()
        if len(pending):
            yield LightCurves.from_arrow(pending)

    def bands(self, snids: Collection[str] | None, size: int, version: int | None = None) -> set[str]:
        """Return the bands that occur in some objects; reads nothing else of their photometry, `size` at a time."""
        found: set[str] = set()
        for rows in self._batches(snids, ["SNID", "BAND"], size, version):
            found.update(pc.unique(pc.list_flatten(rows["BAND"])).to_pylist())
        return found

    def _batches(
        self, snids: Collection[str] | None, columns: list[str], size: int, version: int | None
    ) -> Iterator[pa.Table]:
        """Read columns of some objects in the order in which they are stored; memory is bounded by `size` objects.

        File by file: a scan of the whole dataset reads ahead of a slow consumer without a bound.
        """
        wanted = pd.Index(list(snids)) if snids is not None else None
        source = self._table("light_curves", version).to_pyarrow_dataset()
        for path in source.files:
            with source.filesystem.open_input_file(path) as file, pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(size, columns=columns):
                    rows = pa.Table.from_batches([batch])
                    if wanted is not None:
                        is_wanted = wanted.get_indexer_for(batch["SNID"].to_pandas()) >= 0
                        rows = rows if is_wanted.all() else rows.filter(pa.array(is_wanted))
                    yield rows

    def photometry_hashes(self, version: int | None = None) -> pa.Table:
        """Return SNID and PHOTOMETRY_HASH of all objects, in order of SNID; reads no photometry."""
        return self._read("light_curves", ["SNID", "PHOTOMETRY_HASH"], version)

    @property
    def prediction_table(self) -> PredictionTable:
        """The table of predictions; empty until a catalogue is classified from its store."""
        return PredictionTable(self.path / "predictions")

    def predictions(
        self, model: str | None = None, snids: Sequence[str] | None = None, version: int | None = None
    ) -> pd.DataFrame:
        """Read every prediction that was kept, of present and of earlier photometry.

        Args:
            model: of this model alone: `name@digest`, or `name` for all that were trained under that name.
            snids: of these objects alone.
            version: an earlier version of the table of predictions; None for the latest.

        Returns:
            One row a prediction, in order of SNID, CREATED, LAST_MJD and MODEL: SNID, MODEL, SETTINGS (JSON of what was
            not the default), SETTINGS_HASH, PHOTOMETRY_HASH, STATUS, REASON, P_<class> and P_<class>_STD of every class
            of any model (NaN where a model has no such class), NOVELTY, N_EPOCHS, LAST_MJD [d], CREATED (UTC). Which
            rows are of the present photometry, `photometry_hashes` tells.
        """
        return self.prediction_table.read(model, snids, version)

    def snids(self) -> list[str]:
        """List the objects, in order."""
        names: list[str] = self._read("light_curves", ["SNID"])["SNID"].to_pylist()
        return names

    def truth(self) -> Truth:
        """Read what is known of the classes, in order of SNID."""
        return Truth(self._read("truth").to_pandas())

    def quarantine(self) -> pd.DataFrame:
        """Read what was not ingested, and why: QUARANTINE_SCHEMA."""
        table: pd.DataFrame = self._read("quarantine").to_pandas()
        by = ["SOURCE", "FILE", "LINE", "REASON"]
        return table.sort_values(by, na_position="first", kind="stable", ignore_index=True)

    def version(self) -> int:
        """Return the version of the light-curve table; it grows with each commit."""
        return int(self._table("light_curves").version())

    def versions(self) -> dict[str, int]:
        """Return the version of every table."""
        return {name: int(self._table(name).version()) for name in _SCHEMAS}

    def content_hash(self) -> str:
        """Hash what classifiers may read of all objects: 32 hexadecimal digits over (SNID, PHOTOMETRY_HASH)."""
        table = self._read("light_curves", ["SNID", "PHOTOMETRY_HASH"])
        pairs = zip(table["SNID"].to_pylist(), table["PHOTOMETRY_HASH"].to_pylist(), strict=True)
        return hashlib.sha256("".join(f"{snid} {digest}\n" for snid, digest in pairs).encode()).hexdigest()[:32]

    def stored_files(self) -> list[StoredFile]:
        """List which file each object came from; for an object of several files, the newest."""
        return self._files("light_curves")

    def stored_parts(self) -> list[StoredFile]:
        """List the files of the objects that several files have."""
        return self._files(_PARTS)

    def finished_tables(self) -> dict[str, FinishedTable]:
        """List the tables of many objects that are here whole, by name."""
        try:
            found = json.loads((self.path / _FINISHED).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {name: FinishedTable(*values) for name, values in found.items()}

    def content_hashes(self) -> dict[str, Content]:
        """Hash all that is known of each object but the file it came from, by SNID."""
        return content_hashes(self._read("light_curves", STATED), self._read("truth"))

    def write(self, batch: Batch) -> list[str]:
        """Write some objects with their truth and quarantine; the light curves last, as the point of no return.

        Returns:
            The SNID of each conflict between files of one object.
        """
        batch = self._compose(batch) if batch.shared.members else batch
        self._upsert("truth", batch.truth, self._known("truth", batch.truth["SNID"]))
        stored = self._read("quarantine")
        composed = batch.shared.members.keys()
        updated = update_quarantine(stored, batch.quarantine, batch.files, batch.unchanged, composed)
        if not updated.equals(update_quarantine(stored, [], [])):
            write_deltalake(self._table("quarantine"), updated, mode="overwrite")
        self._upsert("light_curves", batch.light_curves, batch.stored_snids)
        if batch.finished:
            tables = {**self.finished_tables(), **batch.finished}
            write_atomically(self.path / _FINISHED, json.dumps(tables, indent=1) + "\n")
        return [entry["SNID"] for entry in batch.quarantine if entry["SCOPE"] == "conflict"]

    def _compose(self, batch: Batch) -> Batch:
        """Make one light curve of each shared object of a batch, and keep its parts."""
        snids = list(batch.shared.members)
        stored = self._read(_PARTS, snids=snids)
        alone, truth = self._read("light_curves", snids=snids), self._read("truth", snids=snids)
        alone = as_parts(alone, truth.take(pc.index_in(alone["SNID"], truth["SNID"].combine_chunks())))
        pending = as_parts(batch.light_curves, batch.truth)
        composed = compose(batch.shared, [batch.shared.rows, pending, stored, alone], batch.override)
        self._replace_parts(stored, composed.parts)
        others = [
            rows.filter(pc.invert(pc.is_in(rows["SNID"], pa.array(snids))))
            for rows in (batch.light_curves, batch.truth)
        ]
        return replace(
            batch,
            light_curves=pa.concat_tables([others[0], composed.light_curves]),
            truth=pa.concat_tables([others[1], composed.truth]),
            quarantine=[*batch.quarantine, *composed.conflicts],
        )

    def _replace_parts(self, stored: pa.Table, wanted: pa.Table) -> None:
        """Replace stored parts by others, in one commit."""
        old, new = ([StoredFile(*row).key for row in _rows(table)] for table in (stored, wanted))
        old_keys, new_keys = set(old), set(new)
        gone = stored.filter(pa.array([key not in new_keys for key in old], pa.bool_()))
        added = wanted.filter(pa.array([key not in old_keys for key in new], pa.bool_()))
        if len(gone) + len(added):
            table = DeltaTable.create(str(self.path / _PARTS), PART_SCHEMA, mode="ignore")
            same = " AND ".join(f"old.{name} = new.{name}" for name in ("SNID", "SOURCE", "SOURCE_HASH"))
            merger = table.merge(pa.concat_tables([gone, added]), same, source_alias="new", target_alias="old")
            merger.when_matched_delete().when_not_matched_insert_all().execute()

    def _known(self, name: str, snids: pa.Array) -> set[str]:
        """Tell which of some objects a table has, without holding its other rows."""
        batches = self._table(name).to_pyarrow_dataset().to_batches(columns=["SNID"])
        return {snid for batch in batches for snid in _choose(batch, snids)["SNID"].to_pylist()}

    def _upsert(self, name: str, rows: pa.Table, stored_snids: set[str]) -> None:
        """Replace the rows whose SNID is stored and append the others, in one commit.

        Not by a Delta merge, which joins with the whole table in memory (deltalake 1.6: 1.1 GB for 51,000 objects);
        overwriting what a predicate chooses streams through the files that hold such rows.
        """
        if not len(rows):
            return
        if not stored_snids:
            write_deltalake(self._table(name), rows, mode="append")
            return
        quoted = ("'" + snid.replace("'", "''") + "'" for snid in sorted(rows["SNID"].to_pylist()))
        write_deltalake(self._table(name), rows, mode="overwrite", predicate=f"SNID IN ({', '.join(quoted)})")

    def _files(self, name: str) -> list[StoredFile]:
        return [StoredFile(*row) for row in _rows(self._read(name, ["SNID", "SOURCE", "SOURCE_HASH"]))]

    def _table(self, name: str, version: int | None = None) -> Any:
        return DeltaTable(str(self.path / name), version=version)

    def _read(
        self,
        name: str,
        columns: Sequence[str] | None = None,
        version: int | None = None,
        snids: Sequence[str] | None = None,
    ) -> pa.Table:
        """Read a table, or what it knows of some objects, in order of SNID and in the types of its schema.

        Objects are chosen batch by batch here, because a file that deltalake 1.6 wrote in a merge cannot be filtered by
        a string ("no kernel matching input types (string, string_view)").
        """
        whole = PART_SCHEMA if name == _PARTS else _SCHEMAS[name]
        schema = pa.schema([whole.field(column) for column in columns or whole.names])
        if name == _PARTS and not (self.path / name / "_delta_log").exists():
            return schema.empty_table()
        source = self._table(name, version).to_pyarrow_dataset()
        chosen = None if snids is None else pa.array(snids, pa.string())
        batches = [_choose(batch, chosen) for batch in source.to_batches(columns=schema.names)]
        rows = pa.Table.from_batches(batches).select(schema.names).cast(schema) if batches else schema.empty_table()
        return rows.take(pc.sort_indices(rows["SNID"]))


def _choose(batch: pa.RecordBatch, snids: pa.Array | None) -> pa.RecordBatch:
    return batch if snids is None else batch.filter(pc.is_in(batch["SNID"].cast(pa.string()), snids))


def _rows(table: pa.Table) -> list[tuple[str, str, str]]:
    """Return object, file and content hash of each row."""
    return list(zip(*(table[name].to_pylist() for name in ("SNID", "SOURCE", "SOURCE_HASH")), strict=True))


def _usable(path: Path) -> Path:
    """Return a path that Delta Lake takes as it is.

    Raises:
        StoreError: if the path has a percent escape, which Delta Lake would decode.
    """
    path = Path(path).absolute()
    if unquote(str(path)) != str(path):
        raise StoreError(f"{path}: a store cannot be in a folder whose name has a percent escape such as %20")
    return path


def ingest(
    sources: Sequence[Path | Source],
    store: Store,
    settings: IngestSettings | None = None,
    progress: Callable[[int, int | None], None] | None = None,
) -> IngestSummary:
    """Read folders, archives and files into a store.

    Ingesting the same again changes nothing; a changed file (same base name, same SNID) replaces its object; another
    file with an SNID that the store already has is quarantined, or shares the object, as `settings.duplicates` says.

    Args:
        sources: read in this order.
        store: where to.
        settings: of the readers, and how much may be bad.
        progress: called with the files seen so far, and how many there are in all (None while unknown).

    Raises:
        SourceError: before anything is read, if a source is missing or empty; after it, if no source had a light curve.
        OverrideError: before anything is read, if the table of overrides cannot be used.
        TooManyBadFilesError: after what is good was written.
    """
    settings = settings or IngestSettings()
    start = perf_counter()
    opened = open_sources(sources)
    counts = [source.n_members for source in opened]
    total = None if None in counts else sum(count or 0 for count in counts)
    stored = store.stored_files()
    shared = Shared(settings.duplicates, {item.snid: item.digest for item in stored}, store.stored_parts())
    options = ReadOptions(settings.band_map, settings.bands, settings.columns, settings.type_codes)
    replaced = replace(read_override(settings.override), reading=options.mark)
    intake = Intake(stored, shared, replaced, store.content_hashes)
    finished = intake.still_finished(store.finished_tables())
    reader = ChunkReader(options, settings.max_file_bytes, intake.known, finished)

    def write() -> None:
        batch = intake.take_batch()
        intake.note_conflicts(batch, store.write(batch))

    for source in opened:
        intake.start(source)
        for chunk in read_chunks(source, reader, settings.workers or os.cpu_count() or 1):
            intake.add(source, chunk)
            if progress is not None:
                progress(intake.n_seen, total)
            if intake.n_pending >= settings.objects_per_commit:
                write()
    write()
    summary = intake.summary([source.name for source in opened], perf_counter() - start, store.version())
    if not summary.n_files:
        message = f"no light curve in {', '.join(summary.sources)}: {summary.n_ignored} other files"
        raise NoLightCurvesError(message, summary)
    if summary.bad_fraction > settings.max_bad_fraction:
        raise TooManyBadFilesError(summary, settings.max_bad_fraction)
    return summary


def retry_quarantined(
    store: Store, settings: IngestSettings, progress: Callable[[int, int | None], None] | None = None
) -> tuple[IngestSummary, list[str]]:
    """Read the files in quarantine again from where they came, and no others, and ingest what is good by now.

    Files that are still bad stay in quarantine; they do not fail the run.

    Returns:
        What became of the files, and the paths of those that are gone; the entries of these stay.
    """
    entries = store.quarantine()
    sources, gone = quarantined_sources(entries[entries["SCOPE"] != "conflict"])
    if not sources:
        return IngestSummary(version=store.version()), gone
    try:
        summary = ingest(sources, store, settings.model_copy(update={"max_bad_fraction": 1.0}), progress)
    except NoLightCurvesError as error:
        summary = cast(IngestSummary, error.summary)
    lost = [f"{source.name}/{file}" for source in sources if isinstance(source, Chosen) for file in source.missing]
    return summary, sorted([*gone, *lost])
