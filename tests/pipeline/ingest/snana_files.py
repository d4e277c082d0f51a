"""SNANA text written for tests: a light curve, and the ways in which people write it down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ingest.readers import ReadOptions, ReadResult, SourceFile
from pipeline.ingest.readers.snana_text import read
from pipeline.ingest.reading import content_hash

EXAMPLES = Path(__file__).parents[2] / "data" / "snana_text"
EXTRA_VALUES = {"FIELD": "NULL", "PHOTFLAG": "4096", "MAG": "nan"}
Row = tuple[float, str, float, float]
ROWS: tuple[Row, ...] = ((56000.0, "g", 10.0, 1.0), (56000.5, "r", 20.0, 2.0), (56007.0, "g", 30.0, 3.0))


@dataclass(frozen=True)
class Dialect:
    """How a light curve is written down."""

    band: str = "FLT"
    separator: str = "  "
    line_end: str = "\n"
    comment: str = ""
    has_end: bool = True
    has_nobs: bool = True
    extra_columns: tuple[str, ...] = ("FIELD", "SIM_MAG")
    columns_key: str = "VARLIST"
    end: str = "END:"
    byte_order_mark: str = ""
    is_mag: bool = False

    def measured(self, flux: float, error: float) -> list[str]:
        """Write flux and error, or magnitude and error where the table has no fluxes."""
        if self.is_mag:
            return [repr(27.5 - 2.5 * math.log10(flux)), repr(2.5 / math.log(10) * error / flux)]
        return [repr(flux), repr(error)]


DIALECTS = {
    "spcc": Dialect(),
    "des_sn3yr": Dialect("BAND", " ", comment="  # remark", extra_columns=("FIELD", "PHOTFLAG", "PHOTPROB", "ZPFLUX")),
    "snls": Dialect(has_end=False, extra_columns=("FIELD", "SNR", "MAG", "MAGERR", "Zpt")),
    "ps1": Dialect(line_end="\r\n", extra_columns=("FIELD", "MAG", "MAGERR"), byte_order_mark="\ufeff"),
    "combined": Dialect("BAND", "\t", columns_key="VARNAMES", end="END_PHOTOMETRY:\n\nNSPECTRA: 0\nEND:"),
    "magnitudes": Dialect(extra_columns=("FIELD",), is_mag=True),
}
"""The ways of the surveys, by name."""


@dataclass(frozen=True)
class Written:
    """A light curve to write: its header and its rows (MJD, band, flux, error)."""

    snid: str = "7"
    rows: tuple[Row, ...] = ROWS
    header: dict[str, str] = field(default_factory=lambda: {"FILTERS": "griz", "SNTYPE": "-9"})

    def text(self, dialect: Dialect | None = None) -> str:
        """Render the file."""
        dialect = dialect or Dialect()
        measured = ["MAG", "MAGERR"] if dialect.is_mag else ["FLUXCAL", "FLUXCALERR"]
        names = ["MJD", dialect.band, *measured, *dialect.extra_columns]
        header = {"SURVEY": "TEST", "SNID": self.snid, **self.header}
        if dialect.has_nobs:
            header["NOBS"] = str(len(self.rows))
        lines = [f"{key}:{dialect.separator}{value}{dialect.comment}" for key, value in header.items()]
        lines.append(dialect.separator.join([f"{dialect.columns_key}:", *names]))
        extra = [EXTRA_VALUES.get(name, "25.000") for name in dialect.extra_columns]
        for mjd, band, flux, error in self.rows:
            lines.append(dialect.separator.join(["OBS:", repr(mjd), band, *dialect.measured(flux, error), *extra]))
        if dialect.has_end:
            lines.append(dialect.end)
        return dialect.byte_order_mark + dialect.line_end.join([*lines, ""])


def read_texts(*texts: str | bytes, options: ReadOptions | None = None) -> ReadResult:
    """Read texts as files 0.dat, 1.dat, …"""
    contents = [text if isinstance(text, bytes) else text.encode() for text in texts]
    files = [SourceFile(f"{number}.dat", data, content_hash(data)) for number, data in enumerate(contents)]
    return read(files, options or ReadOptions())


def write_survey(folder: Path, n: int = 5, **changed: str) -> Path:
    """Write n files sn00.dat, …, SNIDs 100, 101, …; `changed` replaces the text of some, by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n):
        stem = f"sn{number:02d}"
        rows = tuple((mjd, band, flux + number, error) for mjd, band, flux, error in ROWS)
        (folder / f"{stem}.dat").write_text(changed.get(stem, Written(str(100 + number), rows).text()))
    return folder
