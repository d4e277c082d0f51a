"""What names of columns mean, and what is told of cells that hold no number or no name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest.readers import ReadOptions
from pipeline.ingest.readers.column_names import find_columns
from tests.pipeline.ingest.table_files import Curve, long_frame, read_paths

ROWS = ((56000.0, "g", 10.0, 1.0), (56000.5, "r", 20.0, 2.0), (56007.0, "g", 30.0, 3.0))


@pytest.mark.parametrize("layout", ["csv", "long", "structs"])
def test_tables_with_the_names_of_rubin_are_in_nanojansky(layout: str, tmp_path: Path):
    names = {"SNID": "diaObjectId", "MJD": "midpointMjdTai", "BAND": "band", "FLUXCAL": "psfFlux"}
    names |= {"FLUXCALERR": "psfFluxErr", "RA": "ra"}
    curves = [Curve("9007199254740993", ROWS), Curve("2", ROWS)]
    frame = long_frame(curves).rename(columns=names).astype({"diaObjectId": np.int64})
    path = tmp_path / ("night.csv" if layout == "csv" else "night.parquet")
    if layout == "csv":
        frame.to_csv(path, index=False)
    elif layout == "long":
        pq.write_table(pa.Table.from_pandas(frame), path)
    else:
        rows = [[dict(zip(list(names.values())[1:5], row, strict=True)) for row in curve.rows] for curve in curves]
        pq.write_table(pa.table({"diaObjectId": [int(curve.snid) for curve in curves], "sources": rows}), path)
    result = read_paths([path])
    assert result.light_curves["SNID"].to_pylist() == ["9007199254740993", "2"]
    assert result.light_curves["FLUXCAL"].to_pylist()[0] == pytest.approx([0.2754229, 0.5508458, 0.8262686])
    assert result.light_curves["FLUXCALERR"].to_pylist()[0] == pytest.approx([0.02754229, 0.05508458, 0.08262686])


def test_of_forced_photometry_the_difference_is_read():
    names = ["diaObjectId", "midpointMjdTai", "band", "psfFlux", "psfFluxErr", "psfDiffFlux", "psfDiffFluxErr"]
    found = find_columns(names, ReadOptions())
    assert (found["FLUXCAL"], found["FLUXCALERR"]) == ("psfDiffFlux", "psfDiffFluxErr")
    assert find_columns(names[:-1], ReadOptions())["FLUXCAL"] == "psfFlux"


def test_a_word_where_a_number_is_due_is_told_and_an_empty_cell_is_not_finite(tmp_path: Path):
    rows = "s,55999,g,1,1\ns,-777,-,-777,-777\ns,56000,g,bright,1\ns,56001,g,,1\ns,56002,g,1,nan\nt,x,g,1,1\n"
    path = tmp_path / "night.csv"
    path.write_text("SNID,MJD,BAND,FLUXCAL,FLUXCALERR\n" + rows)
    assert [(item.line, item.reason) for item in read_paths([path]).rejections] == [
        (6, "no usable measurement: all 1 rows are bad, first: not a number: MJD is 'x'"),
        (3, "not a number: FLUXCAL is 'bright'"),
        (4, "FLUXCAL is not finite: nan"),
        (5, "FLUXCALERR is not finite: nan"),
    ]


def test_rows_of_a_header_that_name_no_object_are_rejected_as_such(tmp_path: Path):
    header, rows = tmp_path / "S_HEAD.csv", tmp_path / "S_PHOT.csv"
    header.write_text("SNID,HOSTGAL_PHOTOZ\n7,0.5\n,0.1\n,0.2\n7,0.5\n")
    rows.write_text("SNID,MJD,BAND,FLUXCAL,FLUXCALERR\n7,56000,g,1,1\n")
    result = read_paths([header, rows])
    assert result.light_curves["PHOTOZ"].to_pylist() == [0.5]
    assert [(item.line, item.snid, item.reason.partition(":")[0]) for item in result.rejections] == [
        (2, None, "no SNID"),
        (3, None, "no SNID"),
        (4, "7", "duplicate SNID"),
    ]
