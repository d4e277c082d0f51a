"""Measurements per second from tables of many objects, and sncosmo's reader beside them; CPU time of one process.

Alone: `python -m tests.benchmarks.tables`. The tables are random numbers: 20,000 objects of 100 measurements.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import sncosmo
from astropy.io import fits
from astropy.table import Table
from pyarrow import csv

from pipeline.ingest.reading import ChunkReader, read_chunks
from pipeline.ingest.sources import open_sources
from pipeline.store import IngestSettings, Store, ingest
from tests.benchmarks.rows import Row, rate

OBJECTS: Final = 20_000
EPOCHS: Final = 100
SNCOSMO_OBJECTS: Final = 500


def run(data: Path | None, scratch: Path) -> list[Row]:
    """Measure on tables written for the purpose."""
    folder = scratch / "tables"
    folder.mkdir()
    head = write_fits(folder, OBJECTS)
    few = write_fits(folder, SNCOSMO_OBJECTS)
    columns = measurements(OBJECTS)
    long, lists = folder / "long.parquet", folder / "lists.parquet"
    table = pa.table({"SNID": pa.array(np.repeat(np.arange(OBJECTS), EPOCHS)), **columns})
    pq.write_table(table, long)
    csv.write_csv(table, folder / "long.csv")
    offsets = pa.array(np.arange(OBJECTS + 1, dtype=np.int32) * EPOCHS)
    nested = {name: pa.ListArray.from_arrays(offsets, pa.array(values)) for name, values in columns.items()}
    pq.write_table(pa.table({"SNID": [str(number) for number in range(OBJECTS)], **nested}), lists)
    total = OBJECTS * EPOCHS
    return [
        epochs_row("SNANA FITS pair to Arrow", total, lambda: read(head), head),
        epochs_row("SNANA FITS pair to store", total, lambda: store_all(head, scratch), head, repeats=1),
        epochs_row("sncosmo.read_snana_fits", SNCOSMO_OBJECTS * EPOCHS, lambda: read_by_sncosmo(few), few),
        epochs_row("Parquet, lists, to Arrow", total, lambda: read(lists), lists),
        epochs_row("Parquet, decoded alone", total, lambda: pq.read_table(lists, use_threads=False), lists),
        epochs_row("Parquet, long, to Arrow", total, lambda: read(long), long),
        epochs_row("CSV, long, to Arrow", total, lambda: read(folder / "long.csv"), folder / "long.csv"),
    ]


def epochs_row(name: str, n_epochs: int, work: Callable[[], object], path: Path, repeats: int = 3) -> Row:
    """Measure, and say how large the files are."""
    found = rate(n_epochs, work, repeats=repeats)
    size = path.stat().st_size
    size += path.with_name(path.name.replace("HEAD", "PHOT")).stat().st_size if "HEAD" in path.name else 0
    return Row(name, found, "epochs/s", f"{size / 1e6:.0f} MB, {size * found / n_epochs / 1e6:.0f} MB/s, CPU time")


def measurements(n_objects: int) -> dict[str, Any]:
    """Draw measurements, in time order within each object."""
    rng = np.random.default_rng(1)
    n = n_objects * EPOCHS
    return {
        "MJD": 56000 + np.tile(np.arange(EPOCHS) * 1.5, n_objects) + rng.uniform(0, 1, n),
        "BAND": np.array(list("griz"))[rng.integers(0, 4, n)],
        "FLUXCAL": rng.normal(0, 30, n),
        "FLUXCALERR": rng.uniform(1, 5, n),
    }


def write_fits(folder: Path, n_objects: int) -> Path:
    """Write a pair of FITS files in SNANA's layout, and return HEAD."""
    starts = 1 + (EPOCHS + 1) * np.arange(n_objects)
    is_row = np.ones(n_objects * (EPOCHS + 1), dtype=bool)
    is_row[EPOCHS :: EPOCHS + 1] = False
    phot = {}
    for name, values in measurements(n_objects).items():
        column = np.full(len(is_row), "-" if name == "BAND" else -777, dtype=values.dtype)
        column[is_row] = values
        phot[name] = column.astype("S2") if name == "BAND" else column.astype("f8" if name == "MJD" else "f4")
    head = {
        "SNID": np.arange(n_objects).astype("S16"),
        "NOBS": np.full(n_objects, EPOCHS, np.int32),
        "PTROBS_MIN": starts.astype(np.int32),
        "PTROBS_MAX": (starts + EPOCHS - 1).astype(np.int32),
        "REDSHIFT_FINAL": np.full(n_objects, 0.3, np.float32),
    }
    for part, columns in (("HEAD", head), ("PHOT", phot)):
        primary = fits.PrimaryHDU()
        primary.header["PHOTFILE"] = f"{n_objects}_PHOT.FITS"
        path = folder / f"{n_objects}_{part}.FITS"
        fits.HDUList([primary, fits.BinTableHDU(Table(columns))]).writeto(path)
    return folder / f"{n_objects}_HEAD.FITS"


def read(path: Path) -> int:
    """Read a table into Arrow, and count the objects."""
    chunks = read_chunks(open_sources([path])[0], ChunkReader(), 1)
    found = sum(len(chunk.light_curves) for chunk in chunks)
    if found != OBJECTS:
        raise ValueError(f"expected {OBJECTS} objects of {path.name}, came {found}")
    return found


def store_all(path: Path, scratch: Path) -> None:
    """Ingest into a new store."""
    with TemporaryDirectory(dir=scratch) as new:
        ingest([path], Store.create(Path(new) / "store"), IngestSettings(workers=1))


def read_by_sncosmo(head: Path) -> None:
    """Read with the reader that most people use."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sncosmo.read_snana_fits(str(head), str(head).replace("HEAD", "PHOT"))


def _main() -> None:
    with TemporaryDirectory() as scratch:
        for row in run(None, Path(scratch)):
            print(f"{row.name:32s} {row.value:10,.0f} {row.unit:8s} {row.note}")  # noqa: T201


if __name__ == "__main__":
    _main()
