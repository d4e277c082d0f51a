"""Values that replace those of the files: a table keyed by SNID, for redshifts, reddening, positions and classes.

An object remembers which row of such a table, and which chosen names of bands, columns and types, it was read with
(`mark`): with others, or without, its file is read again although its content is the same.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.ingest.reading import ChunkRead, content_hash
from pipeline.schema import light_curve_hashes
from pipeline.settings import SettingsError
from pipeline.taxonomy import CLASSES, SNANA_TYPE_CODES, SUBCLASS_TO_CLASS, class_of

__all__ = ["Override", "OverrideError", "file_digest", "read_override"]

OBSERVED: Final = ("PHOTOZ", "PHOTOZ_ERR", "SPECZ", "SPECZ_ERR", "MWEBV", "RA", "DEC")
TRUE_NUMBERS: Final = ("REDSHIFT", "PEAKMJD")
TYPES: Final = ("CLASS", "SUBCLASS", "TYPE")
COLUMNS: Final = ("SNID", *OBSERVED, *TRUE_NUMBERS, *TYPES)
"""What a table may have; RA and DEC [deg], MWEBV [mag], PEAKMJD [d], TYPE a code of SNANA_TYPE_CODES."""
UNKNOWN: Final = frozenset({-9.0, -99.0, -999.0})
"""What SNANA writes for a number it does not know; of RA and DEC these are legal values."""
NOT_NEGATIVE: Final = frozenset({"PHOTOZ_ERR", "SPECZ_ERR"})
SEPARATOR: Final = "+"
"""Stands in SOURCE_HASH between the hash of a file and the mark of how it was read."""

Row = dict[str, float | str]
Cells = Mapping[str, object]


class OverrideError(SettingsError):
    """A table of overrides that cannot be used; the message says where and why."""


def file_digest(source_hash: str) -> str:
    """Return the hash of the file alone.

    >>> file_digest("ab12+77"), file_digest("ab12")
    ('ab12', 'ab12')
    """
    return source_hash.partition(SEPARATOR)[0]


@dataclass(frozen=True)
class Override:
    """What replaces values of the files.

    Attributes:
        file: absolute path of the table, empty without one.
        digest: of its bytes.
        rows: by SNID, the cells that are not empty, types in TRUTH_SCHEMA's words.
        reading: mark of the options with which files are read, empty if none was chosen.
    """

    file: str = ""
    digest: str = ""
    rows: Mapping[str, Row] = field(default_factory=dict)
    reading: str = ""

    def mark(self, snid: str) -> str:
        """Return 16 hexadecimal digits for how an object is read and changed, empty if nothing was chosen."""
        row = self.rows.get(snid)
        if not row:
            return self.reading
        return hashlib.sha256((self.reading + json.dumps(row, sort_keys=True)).encode()).hexdigest()[:16]

    def is_current(self, snid: str, source_hash: str) -> bool:
        """Tell whether an object was read in this way, with just these values."""
        return source_hash.partition(SEPARATOR)[2] == self.mark(snid)

    def apply(self, chunk: ChunkRead) -> ChunkRead:
        """Replace values of the objects just read, and mark them."""
        light_curves, truth = self.replace_values(chunk.light_curves, chunk.truth)
        if light_curves is chunk.light_curves and not self.reading:
            return chunk
        marks = [self.mark(snid) for snid in light_curves["SNID"].to_pylist()]
        hashes = [
            digest + (SEPARATOR + mark if mark else "")
            for digest, mark in zip(light_curves["SOURCE_HASH"].to_pylist(), marks, strict=True)
        ]
        return replace(chunk, light_curves=_set(light_curves, "SOURCE_HASH", hashes), truth=truth)

    def replace_values(self, light_curves: pa.Table, truth: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Replace values in LIGHT_CURVE_SCHEMA and TRUTH_SCHEMA; hashes of the photometry follow."""
        names = pc.is_in(light_curves["SNID"], pa.array(list(self.rows), pa.string())).to_numpy()
        if not names.any():
            return light_curves, truth
        for column in OBSERVED:
            light_curves = self._replace(light_curves, column)
        hashes = light_curves["PHOTOMETRY_HASH"].to_pylist()
        rows = np.flatnonzero(names)
        for row, value in zip(rows.tolist(), light_curve_hashes(light_curves.take(rows)), strict=True):
            hashes[row] = value
        for column in (*TRUE_NUMBERS, "CLASS", "SUBCLASS", "SPECTYPE"):
            truth = self._replace(truth, column)
        return _set(light_curves, "PHOTOMETRY_HASH", hashes), truth

    def summary(self, met: set[str], n_listed: int = 1000) -> dict[str, Any]:
        """Say which table it was, and which of its SNIDs no file of this run had: all counted, the first listed."""
        if not self.file:
            return {}
        unmatched = sorted(self.rows.keys() - met)
        return {
            "file": self.file,
            "hash": self.digest,
            "n_rows": len(self.rows),
            "n_matched": len(self.rows) - len(unmatched),
            "n_unmatched": len(unmatched),
            "unmatched": unmatched[:n_listed],
        }

    def _replace(self, table: pa.Table, column: str) -> pa.Table:
        snids, values = table["SNID"].to_pylist(), table[column].to_pylist()
        found = [self.rows.get(snid, {}).get(column, old) for snid, old in zip(snids, values, strict=True)]
        return _set(table, column, found)


def read_override(path: Path | None) -> Override:
    """Read a table: Parquet, ECSV or CSV, by content.

    Raises:
        OverrideError: if it is missing or is no table, a column is unknown, an SNID stands twice, or a value is wrong.
    """
    if path is None:
        return Override()
    path = path.absolute()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OverrideError(f"{path}: the table of overrides cannot be read ({error.strerror})") from None
    try:
        names, table = _read_table(data)
    except (ValueError, TypeError, KeyError, pa.ArrowException, csv.Error) as error:
        raise OverrideError(f"{path}: not a table in CSV, ECSV or Parquet: {error}") from None
    _check_columns(path, names)
    return Override(str(path), content_hash(data), _rows(path, table))


def _read_table(data: bytes) -> tuple[list[str], list[tuple[str, Cells]]]:
    """Return the names of columns; and of each row where it stands, and its cells."""
    if data.startswith(b"PAR1"):
        return _named(pq.read_table(pa.BufferReader(data)).to_pandas(ignore_metadata=True))
    text = data.decode("utf-8-sig")
    if text.startswith("# %ECSV"):
        from astropy.table import Table

        return _named(Table.read(text.splitlines(), format="ascii.ecsv").to_pandas())
    reader = csv.reader(io.StringIO(text), strict=True)
    names = [name.strip() for name in next(reader, [])]
    rows = [(f"line {reader.line_num}", cells) for cells in reader if cells]
    wrong = next(((place, cells) for place, cells in rows if len(cells) != len(names)), None)
    if wrong:
        raise ValueError(f"{wrong[0]} has {len(wrong[1])} cells, the header {len(names)}")
    return names, [(place, dict(zip(names, cells, strict=True))) for place, cells in rows]


def _named(frame: pd.DataFrame) -> tuple[list[str], list[tuple[str, Cells]]]:
    names = [str(name) for name in frame.columns]
    records = frame.astype(object).itertuples(index=False, name=None)
    return names, [(f"row {row}", dict(zip(names, cells, strict=True))) for row, cells in enumerate(records, 1)]


def _rows(path: Path, table: Iterable[tuple[str, Cells]]) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    seen: dict[str, str] = {}
    for place, cells in table:
        snid = _snid(cells["SNID"], f"{path}: {place}")
        if snid in seen:
            raise OverrideError(f"{path}: {place}: SNID {snid} stands here again, first in {seen[snid]}")
        seen[snid] = place
        if row := _row(cells, f"{path}: {place}"):
            rows[snid] = row
    return rows


def _check_columns(path: Path, names: list[str]) -> None:
    if "SNID" not in names:
        raise OverrideError(f"{path}: no column SNID among {', '.join(names)}")
    for name in names:
        if name not in COLUMNS:
            nearest = max(COLUMNS, key=lambda known: difflib.SequenceMatcher(None, known, str(name).upper()).ratio())
            raise OverrideError(f"{path}: unknown column {name}; the nearest valid one is {nearest}")
    if len(set(names)) < len(names):
        raise OverrideError(f"{path}: a column stands twice among {', '.join(names)}")


def _is_empty(cell: object) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell)) or not str(cell).strip()


def _snid(cell: object, where: str) -> str:
    if _is_empty(cell) or isinstance(cell, float):
        raise OverrideError(f"{where}: expected an SNID, a word or a whole number, came {cell!r}")
    return str(cell).strip()


def _row(cells: Cells, where: str) -> Row:
    row: Row = {}
    for name in (*OBSERVED, *TRUE_NUMBERS):
        value = math.nan if _is_empty(cells.get(name)) else _number(cells[name], f"{where}: {name}")
        if not (math.isnan(value) or (value in UNKNOWN and name not in ("RA", "DEC"))):
            if value < 0 and name in NOT_NEGATIVE:
                raise OverrideError(f"{where}: {name} is negative: {value:g}")
            row[name] = value
    return row | _types(cells, where)


def _number(cell: object, where: str) -> float:
    try:
        value = float(str(cell))
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise OverrideError(f"{where} is not a number: {cell!r}")
    return value


def _types(cells: Cells, where: str) -> dict[str, str]:
    """Return class, subclass and spectral type; a class alone is a subclass of its own name.

    Raises:
        OverrideError: if a word is unknown, or the columns contradict each other.
    """
    words = {name: str(cells[name]).strip() for name in TYPES if not _is_empty(cells.get(name))}
    found: dict[str, str] = {}
    if "TYPE" in words and (code := _number(words["TYPE"], f"{where}: TYPE")) not in UNKNOWN:
        known = ", ".join(f"{number} {name}" for number, name in SNANA_TYPE_CODES.items())
        if code not in SNANA_TYPE_CODES:
            raise OverrideError(f"{where}: unknown TYPE {words['TYPE']}; known are {known}")
        found["SPECTYPE"] = SNANA_TYPE_CODES[int(code)]
    subclass = words.get("SUBCLASS") or found.get("SPECTYPE") or words.get("CLASS")
    if subclass is None:
        return {}
    if "CLASS" in words and words["CLASS"] not in CLASSES:
        raise OverrideError(f"{where}: unknown CLASS {words['CLASS']}; known are {', '.join(CLASSES)}")
    if class_of(subclass) is None:
        raise OverrideError(f"{where}: unknown SUBCLASS {subclass}; known are {', '.join(SUBCLASS_TO_CLASS)}")
    of_all = {class_of(subclass), class_of(found.get("SPECTYPE", subclass)), words.get("CLASS", class_of(subclass))}
    if len(of_all) > 1:
        told = ", ".join(f"{name} {word}" for name, word in words.items())
        raise OverrideError(f"{where}: the types contradict each other: {told}")
    return {**found, "SUBCLASS": subclass, "CLASS": str(class_of(subclass))}


def _set(table: pa.Table, column: str, values: list[Any]) -> pa.Table:
    place = table.schema.get_field_index(column)
    array = pa.array(values, table.schema.field(place).type, from_pandas=True)
    return table.set_column(place, table.schema.field(place), array)
