"""Files per second: from a folder, from an archive, bytes alone, and sncosmo's reader beside them.

Alone: `python -m tests.benchmarks.reading`; the SPCC archive is found in `$SNFLOW_DATA/spcc`, else in
`../shared/data/spcc` beside the repository, and files of our own simulation are read where it is absent.
"""

from __future__ import annotations

import os
import tarfile
import time
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import sncosmo

from pipeline.ingest.reading import ChunkReader, read_chunks
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.ingest.sources import open_sources
from pipeline.store import IngestSettings, Store, ingest
from tests.benchmarks.rows import Row, rate
from tests.real_data import find_real_data

SNCOSMO_FILES: Final = 300


def run(data: Path | None, scratch: Path) -> list[Row]:
    """Measure on the SPCC where it is present, else on simulated files; in warm cache, the best of a few repeats."""
    archive = data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz" if data is not None else None
    folder = scratch / "reading"
    if archive is not None and archive.exists():
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    else:
        archive = None
        simulate_survey(folder, SimulationSettings())
    rows = folder_rates(folder, scratch)
    return rows if archive is None else [*rows, archive_rate(archive)]


def folder_rates(folder: Path, scratch: Path) -> list[Row]:
    """Measure reading a folder: its bytes, its light curves, into a store, and by sncosmo."""
    files = [path for path in folder.rglob("*") if path.suffix.lower() == ".dat" and path.parent.name != "filters"]
    n, cores = len(files), os.cpu_count() or 1
    size = sum(path.stat().st_size for path in files) / n
    some = files[:SNCOSMO_FILES]
    return [
        Row(
            "bytes of the files alone", rate(n, lambda: read_bytes(files)), "files/s", f"{n} files of {size:.0f} bytes"
        ),
        Row("folder to Arrow, one process", rate(n, lambda: read(folder, 1)), "files/s", "CPU time; hashes included"),
        Row(
            f"folder to Arrow, {cores} processes",
            rate(n, lambda: read(folder, cores), time.perf_counter),
            "files/s",
            "wall time, starting the processes included",
        ),
        Row(
            "folder to store, one process",
            rate(n, lambda: store_all(folder, scratch), repeats=1),
            "files/s",
            "CPU time",
        ),
        Row("sncosmo.read_snana_ascii", rate(len(some), lambda: read_by_sncosmo(some)), "files/s", "photometry only"),
    ]


def archive_rate(archive: Path) -> Row:
    """Measure reading the compressed archive as a stream."""
    n = sum(len(chunk.light_curves) for chunk in read_chunks(open_sources([archive])[0], ChunkReader(), 1))
    return Row("tar.gz to Arrow, one process", rate(n, lambda: read(archive, 1)), "files/s", "CPU time")


def read(source: Path, workers: int) -> int:
    """Read a source into Arrow tables, and count the objects."""
    chunks = read_chunks(open_sources([source])[0], ChunkReader(), workers)
    return sum(len(chunk.light_curves) for chunk in chunks)


def read_bytes(files: list[Path]) -> int:
    """Read all files and do nothing with them."""
    total = 0
    for file in files:
        with open(file, "rb", buffering=0) as handle:
            total += len(handle.read(1 << 16))
    return total


def store_all(folder: Path, scratch: Path) -> None:
    """Ingest into a new store."""
    with TemporaryDirectory(dir=scratch) as new:
        ingest([folder], Store.create(Path(new) / "store"), IngestSettings(workers=1))


def read_by_sncosmo(files: list[Path]) -> None:
    """Read with the reader that most people use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            sncosmo.read_snana_ascii(str(file), default_tablename="OBS")


def _main() -> None:
    data = find_real_data()
    with TemporaryDirectory() as scratch:
        for row in run(data, Path(scratch)):
            print(f"{row.name:32s} {row.value:10,.0f} {row.unit:8s} {row.note}")  # noqa: T201


if __name__ == "__main__":
    _main()
