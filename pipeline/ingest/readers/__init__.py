"""The formats that can be read: one file per format, one line here."""

from __future__ import annotations

from typing import Final

from pipeline.ingest.readers import astropy_table, columnar, csv_table, snana_fits, snana_text
from pipeline.ingest.readers.base import (
    Bundle,
    Part,
    Reader,
    ReadOptions,
    ReadResult,
    Rejection,
    SourceFile,
    TableFile,
    TableReader,
)

__all__ = [
    "READERS",
    "Bundle",
    "Part",
    "ReadOptions",
    "ReadResult",
    "Reader",
    "Rejection",
    "SourceFile",
    "TableFile",
    "TableReader",
]

READERS: Final[dict[str, Reader | TableReader]] = {
    "snana_text": Reader(snana_text.recognises, snana_text.read),
    "snana_fits": TableReader(snana_fits.part, snana_fits.stream, needs_header=True),
    "parquet": TableReader(columnar.parquet_part, columnar.stream_parquet),
    "arrow": TableReader(columnar.arrow_part, columnar.stream_arrow),
    "ecsv": TableReader(astropy_table.ecsv_part, astropy_table.stream_ecsv),
    "votable": TableReader(astropy_table.votable_part, astropy_table.stream_votable),
    "csv": TableReader(csv_table.part, csv_table.stream),
}
