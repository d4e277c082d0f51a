"""Light curves of many objects written for tests, in every format and layout that a reader of tables knows."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from astropy.table import Table

from pipeline.ingest.bundles import Pairing, read_bundle, recognise_table
from pipeline.ingest.readers import READERS, ReadOptions, ReadResult, TableReader
from pipeline.ingest.readers.base import plain_start

Row = tuple[float, str, float, float]
EPOCHS = ("MJD", "BAND", "FLUXCAL", "FLUXCALERR")


@dataclass(frozen=True)
class Curve:
    """One object: rows are (MJD, band, flux, error); redshifts −9 where unknown."""

    snid: str
    rows: tuple[Row, ...]
    photoz: float = 0.25
    ra: float = 10.5


def long_frame(curves: Sequence[Curve]) -> pd.DataFrame:
    rows = [(curve.snid, *row, curve.photoz, curve.ra) for curve in curves for row in curve.rows]
    return pd.DataFrame(rows, columns=["SNID", *EPOCHS, "HOSTGAL_PHOTOZ", "RA"])


def write_fits(
    folder: Path, curves: Sequence[Curve], packed: bool = False, stem: str = "S", **cards: Any
) -> list[Path]:
    """Write HEAD and PHOT, with a row of −777 after each object and a vector column in HEAD."""
    ends = np.cumsum([len(curve.rows) + 1 for curve in curves])
    counts = np.array([len(curve.rows) for curve in curves])
    rows = [row for curve in curves for row in (*curve.rows, (-777.0, "-", -777.0, -777.0))]
    head = Table(
        {
            "SNID": np.array([curve.snid.encode() for curve in curves], "S16"),
            "RA": [curve.ra for curve in curves],
            "HOSTGAL_PHOTOZ": [curve.photoz for curve in curves],
            "HOSTGAL_MAGS": np.zeros((len(curves), 4), np.float32),
            "SNTYPE": np.full(len(curves), 101, np.int32),
            "NOBS": counts.astype(np.int32),
            "PTROBS_MIN": (ends - counts).astype(np.int32),
            "PTROBS_MAX": (ends - 1).astype(np.int32),
            "SIM_TYPE_INDEX": np.full(len(curves), 22, np.int32),
            "SIM_PEAKMJD": np.full(len(curves), 56010.0),
        }
    )
    mjd, band, flux, error = zip(*rows, strict=True)
    phot = Table({"MJD": mjd, "BAND": np.array(band, "S12"), "FLUXCAL": flux, "FLUXCALERR": error})
    names = f"{stem}_HEAD.FITS", f"{stem}_PHOT.FITS"
    paths = []
    for name, table in zip(names, (head, phot), strict=True):
        primary = fits.PrimaryHDU()
        primary.header.update({"SURVEY": "TEST", "PHOTFILE": names[1], **cards})
        paths.append(folder / (f"{name}.gz" if packed else name))
        fits.HDUList([primary, fits.BinTableHDU(table)]).writeto(paths[-1], overwrite=True)
    return paths


def write_packed_fits(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    return write_fits(folder, curves, packed=True)


def write_supernnova(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    long = long_frame(curves)
    head = long.drop_duplicates("SNID")[["SNID", "HOSTGAL_PHOTOZ", "RA"]].assign(SIM_REDSHIFT_CMB=0.3, SNTYPE=122)
    head.to_csv(folder / "DES_HEAD.csv")
    long[["SNID", *EPOCHS]].rename(columns={"BAND": "FLT"}).to_csv(folder / "DES_PHOT.csv")
    return [folder / "DES_HEAD.csv", folder / "DES_PHOT.csv"]


def write_plasticc(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    names = dict(zip(["SNID", *EPOCHS], ["object_id", "mjd", "passband", "flux", "flux_err"], strict=True))
    long = long_frame(curves).rename(columns=names)
    head = long.drop_duplicates("object_id")[["object_id", "HOSTGAL_PHOTOZ", "RA"]].assign(true_target=42)
    head.columns = ["object_id", "hostgal_photoz", "ra", "true_target"]
    long["passband"] = long["passband"].map("ugrizy".index)
    paths = [folder / "plasticc_train_metadata.csv", folder / "plasticc_train_lightcurves.csv.gz"]
    head.to_csv(paths[0], index=False)
    paths[1].write_bytes(gzip.compress(long[list(names.values())].to_csv(index=False).encode()))
    return paths


def write_csv(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    long_frame(curves).to_csv(folder / "night.csv", index=False, sep=";")
    return [folder / "night.csv"]


def write_ecsv(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    Table.from_pandas(long_frame(curves)).write(folder / "night.ecsv", overwrite=True)
    return [folder / "night.ecsv"]


def write_votable(folder: Path, curves: Sequence[Curve]) -> list[Path]:
    Table.from_pandas(long_frame(curves)).write(folder / "night.vot", format="votable", overwrite=True)
    return [folder / "night.vot"]


def object_table(curves: Sequence[Curve], layout: str) -> pa.Table:
    """One row per object, with its measurements in `lists`, a `struct` of lists, or a list of `structs`."""
    head = {
        "SNID": [curve.snid for curve in curves],
        "HOSTGAL_PHOTOZ": [curve.photoz for curve in curves],
        "RA": [curve.ra for curve in curves],
    }
    kinds = dict(zip(EPOCHS, (pa.float64(), pa.string(), pa.float64(), pa.float64()), strict=True))
    lists = {name: [[row[at] for row in curve.rows] for curve in curves] for at, name in enumerate(EPOCHS)}
    columns = {name: pa.array(lists[name], pa.list_(kind)) for name, kind in kinds.items()}
    if layout == "lists":
        return pa.table({**head, **columns})
    if layout == "struct":
        return pa.table({**head, "lc": pa.StructArray.from_arrays(list(columns.values()), list(columns))})
    rows = [[dict(zip(EPOCHS, row, strict=True)) for row in curve.rows] for curve in curves]
    return pa.table({**head, "lc": pa.array(rows, pa.list_(pa.struct(list(kinds.items()))))})


def write_parquet(folder: Path, curves: Sequence[Curve], layout: str = "lists") -> list[Path]:
    is_long = layout == "long"
    table = pa.Table.from_pandas(long_frame(curves)) if is_long else object_table(curves, layout)
    pq.write_table(table, folder / "Npix=7.parquet", row_group_size=3)
    return [folder / "Npix=7.parquet"]


def write_arrow(folder: Path, curves: Sequence[Curve], is_stream: bool = False) -> list[Path]:
    table = object_table(curves, "struct" if is_stream else "lists")
    make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    with make(str(folder / "night.arrow"), table.schema) as writer:
        writer.write_table(table)
    return [folder / "night.arrow"]


LAYOUTS: dict[str, tuple[str, Callable[[Path, Sequence[Curve]], list[Path]]]] = {
    "snana_fits": ("snana_fits", write_fits),
    "snana_fits_packed": ("snana_fits", write_packed_fits),
    "supernnova": ("csv", write_supernnova),
    "plasticc": ("csv", write_plasticc),
    "csv": ("csv", write_csv),
    "ecsv": ("ecsv", write_ecsv),
    "votable": ("votable", write_votable),
    "parquet_lists": ("parquet", write_parquet),
    "parquet_long": ("parquet", lambda folder, curves: write_parquet(folder, curves, "long")),
    "parquet_struct": ("parquet", lambda folder, curves: write_parquet(folder, curves, "struct")),
    "parquet_structs": ("parquet", lambda folder, curves: write_parquet(folder, curves, "structs")),
    "arrow_file": ("arrow", write_arrow),
    "arrow_stream": ("arrow", lambda folder, curves: write_arrow(folder, curves, is_stream=True)),
}
"""Format and writer of every layout; a new reader of tables brings its own."""


def read_paths(paths: Sequence[Path], options: ReadOptions | None = None) -> ReadResult:
    """Read files that lie together, by the reader that recognises them."""
    options = options or ReadOptions()
    pairing = Pairing()
    members = [recognise_table(path.name, str(path), None, plain_start(path.read_bytes()), options) for path in paths]
    assert None not in members
    found = [*pairing.add(member for member in members if member is not None), *pairing.finish()]
    ((form, bundle, _),) = found
    reader = READERS[form]
    assert isinstance(reader, TableReader)
    return reader.read(bundle, options)


def read_damaged(paths: Sequence[Path]) -> Iterator[ReadResult]:
    """Read what of some files is still recognised, as an ingest does."""
    pairing, options = Pairing(), ReadOptions()
    found = [recognise_table(path.name, str(path), None, plain_start(path.read_bytes()), options) for path in paths]
    for form, bundle, _ in [*pairing.add(member for member in found if member is not None), *pairing.finish()]:
        for result, _ in read_bundle(form, bundle, "digest", options):
            yield result
