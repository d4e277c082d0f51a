"""Predictions as files: Parquet, CSV, ECSV, FITS and VOTable, all of which come back as they were."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from pipeline.schema import Predictions

__all__ = [
    "WRITERS",
    "Format",
    "check_suffix",
    "read_predictions",
    "write_predictions",
    "write_several",
    "write_table",
]

TEXTS: Final = ("SNID", "STATUS", "REASON", "MODEL", "PHOTOMETRY_HASH", "CREATED", "CALLED")
"""Columns of words; a word that looks like a number, or like nothing, stays a word."""


class Format(NamedTuple):
    """How a table is written to a file of a format, and read from one."""

    write: Callable[[pd.DataFrame, Path], None]
    read: Callable[[Path], pd.DataFrame]


def write_predictions(predictions: Predictions, path: Path) -> None:
    """Write predictions in the format that the name's ending tells, atomically."""
    write_several({path: predictions.table})


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write any table as `write_predictions` does."""
    write_several({path: table})


def write_several(tables: dict[Path, pd.DataFrame]) -> None:
    """Write tables to their files; they all appear, or none does and what was there before stays.

    Raises:
        ValueError: if a name has an unknown ending.
        OSError: if a file cannot be written.
    """
    for path in tables:
        check_suffix(path)
    partial = {path: path.with_name(f".{path.name}.partial") for path in tables}
    try:
        for path, table in tables.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            WRITERS[path.suffix].write(table, partial[path])
        for path in tables:
            os.replace(partial[path], path)
    finally:
        for leftover in partial.values():
            leftover.unlink(missing_ok=True)


def check_suffix(path: Path) -> None:
    """Raise ValueError if predictions cannot be written to a file of this name."""
    if path.suffix not in WRITERS:
        *most, last = WRITERS
        raise ValueError(
            f"cannot write predictions to {path}: expected a name that ends in {', '.join(most)} or {last}"
        )


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        ValueError: if the file is missing, or is not a table of predictions.
    """
    check_suffix(path)
    if not path.exists():
        raise ValueError(f"no predictions at {path}")
    table = WRITERS[path.suffix].read(path)
    names = [name.removesuffix("_STD") for name in table.columns if name.startswith("P_") and name.endswith("_STD")]
    classes = tuple(name.removeprefix("P_") for name in names if name in table.columns)
    missing = {"SNID", "STATUS", "REASON"} - set(table.columns)
    if missing:
        raise ValueError(f"{path} is not a table of predictions: it has no column {', '.join(sorted(missing))}")
    return Predictions(_typed(table), classes)


def _write_parquet(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path, index=False)


def _write_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False)


def _read_csv(path: Path) -> pd.DataFrame:
    """Read by Arrow, whose numbers come back to the last bit."""
    options = csv.ConvertOptions(
        column_types=dict.fromkeys(TEXTS, pa.string()),
        null_values=["", "nan", "NaN"],
        strings_can_be_null=False,
    )
    try:
        table = csv.read_csv(path, None, csv.ParseOptions(newlines_in_values=True), options)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} is not a table of predictions: {error}") from None
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with the types that predictions have, whatever those of the file were."""
    types = {name: "str" if name in TEXTS else "int64" if name == "N_EPOCHS" else "float64" for name in table.columns}
    return table.astype(types)


def _write_by_astropy(form: str, to_column: Callable[[pd.Series], Any]) -> Callable[[pd.DataFrame, Path], None]:
    def write(table: pd.DataFrame, path: Path) -> None:
        from astropy.table import Table

        columns = {str(name): to_column(table[name]) for name in table.columns}
        Table(columns, copy=False).write(path, format=form, overwrite=True)

    return write


def _read_by_astropy(form: str) -> Callable[[Path], pd.DataFrame]:
    def read(path: Path) -> pd.DataFrame:
        from astropy.table import Table

        table = Table.read(path, format=form)
        return pd.DataFrame({name: _plain(table[name], name in TEXTS) for name in table.colnames})

    return read


def _texts(column: pd.Series) -> Any:
    """Return words as numpy has them, at least one character wide, and numbers as they are."""
    if str(column.name) not in TEXTS:
        return column.to_numpy()
    words = column.astype(object).fillna("").to_numpy()
    return words.astype(f"U{max([1, *map(len, words)])}")


def _bytes(column: pd.Series) -> Any:
    """Return words as bytes in UTF-8: FITS knows ASCII only, but keeps the bytes of any text."""
    values = _texts(column)
    return np.char.encode(values, "utf-8") if values.dtype.kind == "U" else values


def _plain(column: Any, is_text: bool) -> Any:
    values = np.ma.getdata(column)
    mask = np.ma.getmaskarray(column)
    if not is_text:
        filled = np.where(mask, np.nan, values) if mask.any() else values
        return np.asarray(filled).astype(np.asarray(filled).dtype.newbyteorder("="))
    words = [word.decode("utf-8") if isinstance(word, bytes) else str(word) for word in values]
    return pd.array(["" if gone else word for word, gone in zip(words, mask, strict=True)], dtype="str")


_FITS: Final = Format(_write_by_astropy("fits", _bytes), _read_by_astropy("fits"))
_VOTABLE: Final = Format(_write_by_astropy("votable", _texts), _read_by_astropy("votable"))

WRITERS: Final[dict[str, Format]] = {
    ".parquet": Format(_write_parquet, pd.read_parquet),
    ".csv": Format(_write_csv, _read_csv),
    ".ecsv": Format(_write_by_astropy("ascii.ecsv", _texts), _read_by_astropy("ascii.ecsv")),
    ".fits": _FITS,
    ".vot": _VOTABLE,
    ".xml": _VOTABLE,
}
"""Formats of predictions by the ending of the file's name."""
