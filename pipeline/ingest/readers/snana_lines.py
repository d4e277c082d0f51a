"""SNANA text read line by line: for the file in which something is unusual, and to say what and where."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.ingest.readers.assembly import Epochs
from pipeline.ingest.readers.base import ReadOptions, Rejection, SourceFile
from pipeline.ingest.readers.snana_columns import Columns, HeaderError, is_announced, to_fluxcal
from pipeline.ingest.readers.snana_header import Header, parse_header

__all__ = ["LinesRead", "read_lines"]

_MARKS: Final = (b"DETECTION:", b"TRIGGER:")
_ENDS: Final = (b"END:", b"END_PHOTOMETRY:")
_KEY: Final = re.compile(rb"[A-Za-z][\w()-]*:")
_NUMBER: Final = re.compile(
    rb"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE
)


class LinesRead(NamedTuple):
    """One file: what was not read; and its header, measurements and early-epoch mark [d], None when rejected."""

    rejections: list[Rejection]
    found: tuple[Header, Epochs, float] | None = None


class Measurement(NamedTuple):
    """One `OBS:` row: its line, time [d], band after renaming, flux or magnitude and its error as written, flag."""

    line: int
    mjd: float
    band: str
    value: float
    error: float
    flag: int


class _LineError(ValueError):
    """A file that cannot be read, and the line to blame."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line


@dataclass
class _Lines:
    """The lines of a file, sorted by what they are: `rows` and `mark` by line number, `mark` the early epoch's."""

    header: list[bytes] = field(default_factory=list)
    rows: list[tuple[int, list[bytes]]] = field(default_factory=list)
    mark: int | None = None


def read_lines(owner: int, file: SourceFile, options: ReadOptions) -> LinesRead:
    """Read one file; bad measurements are left out, and a damaged file is rejected, both with line and reason."""
    snid = _snid(file.data)
    try:
        return _read(owner, file, options)
    except HeaderError as error:
        line = _line_of(file.data, error.key)
        return LinesRead([Rejection(file.name, str(error), line, snid, digest=file.digest)])
    except _LineError as error:
        return LinesRead([Rejection(file.name, str(error), error.line, snid, digest=file.digest)])


def _read(owner: int, file: SourceFile, options: ReadOptions) -> LinesRead:
    lines = _sort_lines(file.data)
    header = parse_header(b"\n" + b"\n".join(lines.header), options.type_codes)
    if not lines.rows:
        raise _LineError(None, "no measurements: the file ends before the first OBS: row")
    rows = [_measurement(number, words, header, options) for number, words in lines.rows]
    if header.n_rows > len(rows):
        raise _LineError(None, f"truncated: NOBS announces {header.n_rows} rows, the file has {len(rows)}")
    epochs = _epochs(owner, rows, header)
    faults = _faults(rows, epochs, header.columns)
    is_good = np.array([fault is None for fault in faults])
    rejections = [
        Rejection(file.name, fault, row.line, header.observed.snid, "epoch", file.digest)
        for row, fault in zip(rows, faults, strict=True)
        if fault is not None
    ]
    if not is_good.any():
        first = rejections[0]
        raise _LineError(first.line, f"no usable measurement: all {len(rows)} rows are bad, first: {first.reason}")
    is_before = is_good & [lines.mark is not None and row.line < lines.mark for row in rows]
    mark = float(epochs.mjd[is_before].max(initial=-np.inf))
    return LinesRead(rejections, (header, epochs.where(is_good), mark if is_before.any() else np.nan))


def _sort_lines(data: bytes) -> _Lines:
    lines = _Lines()
    numbered = _numbered(data)
    for number, line in numbered:
        words = line.partition(b"#")[0].split()
        if words[:1] == [b"OBS:"]:
            lines.rows.append((number, words))
        elif words and words[0].startswith(_MARKS) and lines.rows:
            lines.mark = number
        elif words and words[0].startswith(_ENDS):
            _refuse_another_object(numbered)
        elif words and lines.rows and not _KEY.match(words[0]):
            raise _LineError(number, f"damaged row: expected OBS:, came {_shown(line)!r}")
        else:
            lines.header.append(line)
    return lines


def _refuse_another_object(rest: Iterator[tuple[int, bytes]]) -> None:
    """Go through what follows the end: spectra and remarks, but no object or measurement that would be lost."""
    for number, line in rest:
        if line.lstrip().startswith((b"SNID:", b"VARLIST:", b"OBS:")):
            raise _LineError(number, f"more than one object: after the end of the first came {_shown(line)!r}")


def _shown(line: bytes) -> str:
    return line.strip().decode("utf-8", "replace")[:60]


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    return enumerate(data.split(b"\n"), start=1)


def _measurement(number: int, words: list[bytes], header: Header, options: ReadOptions) -> Measurement:
    columns = header.columns
    if len(words) != columns.width:
        raise _LineError(number, f"damaged row: expected {columns.width - 1} values, came {len(words) - 1}")
    band = words[columns.band].decode("utf-8", "replace")
    band = options.band_map.get(band, band)
    known = options.known_bands(header.filters)
    if known is not None and not is_announced(band, known):
        raise _LineError(number, f"unknown band: {band}; known are {' '.join(sorted(known))}")
    places = (columns.mjd, columns.value, columns.error)
    mjd, value, error = (_number(number, words[place]) for place in places)
    flag = 0.0 if columns.flag is None else _number(number, words[columns.flag])
    if not abs(flag) < 2**31:
        raise _LineError(number, f"damaged row: PHOTFLAG {flag} is not a 32-bit integer")
    return Measurement(number, mjd, band, value, error, int(flag))


def _number(number: int, word: bytes) -> float:
    if not _NUMBER.fullmatch(word):
        raise _LineError(number, f"damaged row: {word.decode('utf-8', 'replace')!r} is not a number")
    return float(word)


def _faults(rows: list[Measurement], epochs: Epochs, columns: Columns) -> list[str | None]:
    numbers = zip(epochs.mjd.tolist(), epochs.fluxcal.tolist(), epochs.fluxcal_err.tolist(), strict=True)
    return [_fault(row, *of_row, columns.is_mag) for row, of_row in zip(rows, numbers, strict=True)]


def _fault(row: Measurement, mjd: float, fluxcal: float, fluxcal_err: float, is_mag: bool) -> str | None:
    """Say why a measurement cannot be used, None when it can."""
    value, error = ("MAG", "MAGERR") if is_mag else ("FLUXCAL", "FLUXCALERR")
    if not np.isfinite(mjd):
        return f"MJD is not finite: {row.mjd}"
    if not np.isfinite(fluxcal):
        return f"MAG is not measured: {row.value:g}" if is_mag else f"{value} is not finite: {row.value}"
    if not np.isfinite(fluxcal_err):
        return f"{error} is not finite: {row.error}"
    return None if fluxcal_err > 0 else f"{error} is not positive: {row.error}"


def _epochs(owner: int, rows: list[Measurement], header: Header) -> Epochs:
    _, mjd, band, value, error, flag = zip(*rows, strict=True)
    fluxcal, fluxcal_err = to_fluxcal(np.array(value), np.array(error), header.zeropoint, header.columns.is_mag)
    return Epochs(
        np.full(len(rows), owner, dtype=np.int64),
        np.array(mjd),
        pa.array(band, pa.string()).dictionary_encode(),
        fluxcal,
        fluxcal_err,
        np.array(flag, dtype=np.int32),
    )


def _snid(data: bytes) -> str | None:
    found = re.search(rb"^[ \t]*SNID:[ \t]*(\S+)", data, re.MULTILINE)
    return found[1].decode("utf-8", "replace") if found else None


def _line_of(data: bytes, key: bytes) -> int | None:
    """Return the line of a header key, the last one where it is repeated."""
    numbers = [number for number, line in _numbered(data) if line.lstrip().startswith(key + b":")]
    return numbers[-1] if numbers else None
