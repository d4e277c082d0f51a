from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.ingest.reading import ChunkReader, read_chunks
from pipeline.ingest.sources import open_sources
from pipeline.ingest.table_processes import CHUNKS_AHEAD, TableProcesses
from pipeline.store import IngestSettings, Store, ingest
from tests.pipeline.ingest.snana_files import write_survey
from tests.pipeline.ingest.table_files import Curve, write_csv, write_fits, write_parquet

ROWS = ((56000.0, "g", 10.0, 1.0), (56000.5, "r", 20.0, 2.0), (56007.0, "g", 30.0, 3.0))


@pytest.fixture(autouse=True)
def _workers_write_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr("pipeline.ingest.tables_ahead.BYTES_FOR_PROCESSES", 1)
    yield
    assert os.listdir(tmp_path / "temporary") == []


def write_night(folder: Path) -> Path:
    """Tables of several formats, good and damaged, and files of one object each."""
    write_survey(folder, 3)
    for number in range(5):
        (folder / f"p{number}").mkdir()
        curves = [Curve(f"{number}-{object_}", ROWS) for object_ in range(7)]
        write_parquet(folder / f"p{number}", [*curves, Curve(f"{number}-empty", ())])
        write_fits(folder, [Curve(f"f{number}-{object_}", ROWS) for object_ in range(4)], stem=f"S{number}")
    write_csv(folder, [Curve("0-1", ROWS), Curve("c", ROWS)])
    damaged = folder / "p3" / "Npix=7.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-9])
    return folder


def test_tables_read_in_processes_give_what_one_process_gives(tmp_path: Path):
    night = write_night(tmp_path / "night")
    stores = [Store.create(tmp_path / f"store{workers}") for workers in (1, 2, 3)]
    summaries = [
        ingest([night], store, IngestSettings(workers=workers, max_bad_fraction=1)).to_dict()
        for workers, store in enumerate(stores, start=1)
    ]
    for summary in summaries:
        del summary["seconds"], summary["files_per_second"]
    assert summaries[0] == summaries[1] == summaries[2]
    assert summaries[0]["reasons"] == {"damaged": 1, "duplicate SNID": 1, "no measurements": 4}
    for store in stores[1:]:
        assert store.light_curves().to_arrow().equals(stores[0].light_curves().to_arrow())
        assert store.quarantine().equals(stores[0].quarantine())
        assert store.finished_tables() == stores[0].finished_tables()
    again = ingest([night], stores[1], IngestSettings(workers=2, max_bad_fraction=1))
    assert (again.n_objects_ingested, again.n_objects_unchanged) == (0, summaries[0]["n_objects_ingested"])


def test_reading_that_is_given_up_ends_the_processes_and_removes_their_files(tmp_path: Path):
    night = write_night(tmp_path / "night")
    chunks = read_chunks(open_sources([night])[0], ChunkReader(), 2)
    while not (chunk := next(chunks)).table:
        pass
    assert len(chunk.light_curves) == 4
    chunks.close()


def many_chunks(task: int) -> Iterator[tuple[Any, list[pa.Table]]]:
    if task < 0:
        raise KeyError("a bug")
    for number in range(3 * CHUNKS_AHEAD):
        yield (task, number, os.getpid()), [pa.table({"n": [task, number]}), pa.table({"text": ["a"]})]


def test_workers_that_are_ahead_wait_and_what_they_give_stays_in_order(tmp_path: Path):
    processes = TableProcesses(many_chunks, 2)
    try:
        for task in range(4):
            processes.send(task)
        time.sleep(3)
        assert len(list((tmp_path / "temporary").rglob("*.*"))) <= 2 * CHUNKS_AHEAD
        found = [item for _ in range(4) for item in processes.take()]
    finally:
        processes.stop()
    assert [words[:2] for words, _ in found] == [(task, number) for task in range(4) for number in range(12)]
    assert [tables[0]["n"].to_pylist() for _, tables in found] == [list(words[:2]) for words, _ in found]
    assert len({words[2] for words, _ in found}) == 2


def test_an_error_that_no_table_explains_is_raised_in_the_parent():
    processes = TableProcesses(many_chunks, 1)
    try:
        processes.send(-1)
        with pytest.raises(KeyError, match="a bug"):
            list(processes.take())
    finally:
        processes.stop()


def test_a_worker_that_is_killed_ends_the_reading_with_a_message():
    processes = TableProcesses(many_chunks, 2)
    try:
        processes.send(0)
        chunks = processes.take()
        words, _ = next(chunks)
        os.kill(words[2], signal.SIGKILL)
        with pytest.raises(RuntimeError, match="died with exit code -9; run the same again"):
            list(chunks)
    finally:
        processes.stop()
