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
from pipeline.ingest.readers.snana_header import Header, HeaderError, parse_header
from pipeline.schema import ZP_INTERNAL

__all__ = ["LinesRead", "read_lines"]

_KEY: Final = re.compile(rb"[A-Za-z][\w()-]*:")
_NUMBER: Final = re.compile(
    rb"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf(?:inity)?)", re.IGNORECASE
)


class LinesRead(NamedTuple):
    """One file: what was not read; and its header, measurements and early-epoch mark [d], None when rejected."""

    rejections: list[Rejection]
    found: tuple[Header, Epochs, float] | None = None


class Measurement(NamedTuple):
    """One `OBS:` row: time [d], band after renaming, flux and error as written, flag."""

    mjd: float
    band: str
    fluxcal: float
    fluxcal_err: float
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
    header = parse_header(b"\n" + b"\n".join(lines.header))
    if not lines.rows:
        raise _LineError(None, "no measurements: the file ends before the first OBS: row")
    read = [(number, _measurement(number, words, header, options)) for number, words in lines.rows]
    if header.n_rows > len(read):
        raise _LineError(None, f"truncated: NOBS announces {header.n_rows} rows, the file has {len(read)}")
    faults = [(number, fault) for number, row in read if (fault := _fault(row))]
    good = [(number, row) for number, row in read if not _fault(row)]
    if not good:
        raise _LineError(faults[0][0], f"no usable measurement: all {len(read)} rows are bad, first: {faults[0][1]}")
    rejections = [
        Rejection(file.name, fault, number, header.observed.snid, "epoch", file.digest) for number, fault in faults
    ]
    before = [row.mjd for number, row in good if lines.mark is not None and number < lines.mark]
    epochs = _epochs(owner, [row for _, row in good], header.zeropoint)
    return LinesRead(rejections, (header, epochs, max(before, default=np.nan)))


def _sort_lines(data: bytes) -> _Lines:
    lines = _Lines()
    for number, line in _numbered(data):
        words = line.partition(b"#")[0].split()
        if words[:1] == [b"OBS:"]:
            lines.rows.append((number, words))
        elif words[:1] == [b"DETECTION:"]:
            lines.mark = number
        elif words[:1] == [b"END:"]:
            break
        elif words and lines.rows and not _KEY.match(words[0]):
            shown = line.strip().decode("utf-8", "replace")[:60]
            raise _LineError(number, f"damaged row: expected OBS:, came {shown!r}")
        else:
            lines.header.append(line)
    return lines


def _numbered(data: bytes) -> Iterator[tuple[int, bytes]]:
    return enumerate(data.split(b"\n"), start=1)


def _measurement(number: int, words: list[bytes], header: Header, options: ReadOptions) -> Measurement:
    columns = header.columns
    if len(words) != columns.width:
        raise _LineError(number, f"damaged row: expected {columns.width - 1} values, came {len(words) - 1}")
    band = words[columns.band].decode("utf-8", "replace")
    band = options.band_map.get(band, band)
    known = options.known_bands(header.filters)
    if known is not None and band not in known:
        raise _LineError(number, f"unknown band: {band}; known are {' '.join(sorted(known))}")
    places = (columns.mjd, columns.fluxcal, columns.fluxcal_err)
    mjd, fluxcal, fluxcal_err = (_number(number, words[place]) for place in places)
    flag = 0.0 if columns.flag is None else _number(number, words[columns.flag])
    if not abs(flag) < 2**31:
        raise _LineError(number, f"damaged row: PHOTFLAG {flag} is not a 32-bit integer")
    return Measurement(mjd, band, fluxcal, fluxcal_err, int(flag))


def _number(number: int, word: bytes) -> float:
    if not _NUMBER.fullmatch(word):
        raise _LineError(number, f"damaged row: {word.decode('utf-8', 'replace')!r} is not a number")
    return float(word)


def _fault(row: Measurement) -> str | None:
    """Say why a measurement cannot be used, None when it can."""
    for name, value in (("MJD", row.mjd), ("FLUXCAL", row.fluxcal), ("FLUXCALERR", row.fluxcal_err)):
        if not np.isfinite(value):
            return f"{name} is not finite: {value}"
    return None if row.fluxcal_err > 0 else f"FLUXCALERR is not positive: {row.fluxcal_err}"


def _epochs(owner: int, rows: list[Measurement], zeropoint: float) -> Epochs:
    mjd, band, fluxcal, fluxcal_err, flag = zip(*rows, strict=True)
    scale = 10 ** (0.4 * (ZP_INTERNAL - zeropoint))
    return Epochs(
        np.full(len(rows), owner, dtype=np.int64),
        np.array(mjd),
        pa.array(band, pa.string()).dictionary_encode(),
        np.array(fluxcal) * scale,
        np.array(fluxcal_err) * scale,
        np.array(flag, dtype=np.int32),
    )


def _snid(data: bytes) -> str | None:
    found = re.search(rb"^[ \t]*SNID:[ \t]*(\S+)", data, re.MULTILINE)
    return found[1].decode("utf-8", "replace") if found else None


def _line_of(data: bytes, key: bytes) -> int | None:
    """Return the line of a header key, the last one where it is repeated."""
    numbers = [number for number, line in _numbered(data) if line.lstrip().startswith(key + b":")]
    return numbers[-1] if numbers else None
