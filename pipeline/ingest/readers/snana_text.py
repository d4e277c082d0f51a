"""SNANA light-curve text: a header of `KEY: value` lines, then one `OBS:` row per measurement.

Rows in any order, tabs or spaces, columns named by `VARLIST:` or `VARNAMES:`, the band under FLT or BAND; a line
`DETECTION:` or `TRIGGER:` among the rows marks the early epoch. FLUXCAL is at `ZP_FLUXCAL` of the header, 27.5 mag
without it (SNANA manual, section "Data file format"; Kessler et al. 2009, arXiv:0908.4280). Columns such as `Zpt` and
`MAG` describe the image and the magnitude and do not change FLUXCAL; where there is no FLUXCAL, it is computed from MAG
and MAGERR. PHOTFLAG is kept, PHOTPROB is not. Reading ends at `END:` or `END_PHOTOMETRY:`; spectra after it are left
alone.

Files are read many at once, by columns; whatever is unusual in a file sends this file alone to `snana_lines`, which
reads line by line and says what is wrong where.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain, compress
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.ingest.readers.assembly import Epochs, ObjectRow, light_curve_table, truth_table
from pipeline.ingest.readers.base import ReadOptions, ReadResult, Rejection, SourceFile
from pipeline.ingest.readers.snana_columns import Columns, HeaderError, is_announced, to_fluxcal
from pipeline.ingest.readers.snana_header import Header, parse_header
from pipeline.ingest.readers.snana_lines import read_lines
from pipeline.ingest.tokens import IrregularRowsError, Words, split_rows

__all__ = ["read", "recognises"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_OPENS_A_LINE: Final = re.compile(rb"^[ \t\r\v\f]*(?:SNID|VARLIST|OBS):", re.MULTILINE)
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class _Text(NamedTuple):
    """One file, cut into its header and its rows.

    Attributes:
        place: the file's place among those read together.
        rows: parts of the file, together the `OBS:` lines without the `DETECTION:` line, ending with a line end.
        mark: position in `rows` where that line stood [bytes], None without one.
        first_row: length of the first row with its line end [bytes].
    """

    place: int
    header: Header
    rows: tuple[memoryview | bytes, ...]
    mark: int | None
    first_row: int = 1

    @property
    def size(self) -> int:
        """Count the bytes of the rows."""
        return sum(map(len, self.rows))

    @property
    def row_length(self) -> int:
        """Return the length of a row where they may all be as long as the first, 0 where they are not."""
        return 0 if self.size % self.first_row else self.first_row


class _Table(NamedTuple):
    """The measurements of some files and, file by file, the MJD of the early-epoch mark."""

    texts: list[_Text]
    epochs: Epochs
    detection_mjd: list[float]


def recognises(data: bytes) -> bool:
    """Tell SNANA text by a line that starts with SNID:, VARLIST: or OBS:."""
    return _OPENS_A_LINE.search(data) is not None


def read(files: Sequence[SourceFile], options: ReadOptions) -> ReadResult:
    """Read light curves and truth; a file that is damaged is rejected alone, with line and reason."""
    files = [_without_mark(file) for file in files]
    texts = [text for index, file in enumerate(files) if (text := _cut(index, file.data, options)) is not None]
    tables = list(_read_tables(texts, options))
    done = {text.place for table in tables for text in table.texts}
    rejections: list[Rejection] = []
    for index, file in enumerate(files):
        if index not in done:
            lines = read_lines(index, file, options)
            rejections += lines.rejections
            if lines.found is not None:
                header, epochs, detection_mjd = lines.found
                tables.append(_Table([_Text(index, header, (), None)], epochs, [detection_mjd]))
    return _assemble(files, tables, rejections)


def _without_mark(file: SourceFile) -> SourceFile:
    """Drop the byte-order mark that some editors put before UTF-8."""
    if file.data.startswith(_BYTE_ORDER_MARK):
        return file._replace(data=file.data[len(_BYTE_ORDER_MARK) :])
    return file


def _cut(index: int, data: bytes, options: ReadOptions) -> _Text | None:
    """Cut a file into header and rows, None where this is not straightforward."""
    start = data.find(b"\nOBS:") + 1
    if not start:
        return None
    try:
        header = parse_header(b"\n" + data[:start], options.type_codes)
    except HeaderError:
        return None
    end = _end_of_rows(data, start)
    if end is None:
        return None
    text = memoryview(data)
    first_row = (data.find(b"\n", start, end) + 1 or end + 1) - start
    mark = data.find(b"\nDETECTION:", start, end) + 1 or data.find(b"\nTRIGGER:", start, end) + 1
    if not mark:
        return _Text(index, header, (text[start:end], b"\n"), None, first_row)
    after = data.find(b"\n", mark) + 1
    return _Text(index, header, (text[start:mark], text[after:end], b"\n"), mark - start, first_row)


def _end_of_rows(data: bytes, start: int) -> int | None:
    """Return where the last line of the photometry ends, None where more follows that may matter."""
    end = data.rfind(b"\nEND:", start)
    if data.find(b"#", start, end) >= 0 or (end > 0 and data[end + 5 :].strip()):
        return None
    if end < 0:
        end = len(data.rstrip())
    if data.startswith((b"OBS:", b"DETECTION:"), data.rfind(b"\n", 0, end) + 1):
        return end
    end = data.find(b"\nEND_PHOTOMETRY:", start, end)
    return None if end < 0 or _OPENS_A_LINE.search(data, end + 1) else end


def _read_tables(texts: Sequence[_Text], options: ReadOptions) -> Iterable[_Table]:
    layouts: dict[tuple[Columns, int], list[_Text]] = {}
    for text in texts:
        layouts.setdefault((text.header.columns, text.row_length), []).append(text)
    for group in layouts.values():
        yield from _read_group(group, options)


def _read_group(texts: list[_Text], options: ReadOptions) -> Iterable[_Table]:
    """Read files of one layout together; where some line is irregular, halve the group until it stands alone."""
    try:
        yield _read_regular(texts, options)
    except (IrregularRowsError, pa.ArrowInvalid):
        half = len(texts) // 2
        if half:
            yield from _read_group(texts[:half], options)
            yield from _read_group(texts[half:], options)


def _read_regular(texts: list[_Text], options: ReadOptions) -> _Table:
    columns = texts[0].header.columns
    words = split_rows(b"".join([b"\n", *chain.from_iterable(text.rows for text in texts)]), columns.width, b"OBS:")
    starts = 1 + np.concatenate([[0], np.cumsum([text.size for text in texts])])
    bounds = np.searchsorted(words.row_starts, starts)
    epochs = _epochs(texts, words, np.diff(bounds), options)
    marks = np.array([0 if text.mark is None else text.mark for text in texts])
    detection_mjd = _latest(epochs.mjd, bounds[:-1], np.searchsorted(words.row_starts, starts[:-1] + marks))
    is_sound = _are_sound(texts, epochs, bounds, options)
    return _keep(is_sound, _Table(texts, epochs, detection_mjd.tolist()))


def _epochs(texts: Sequence[_Text], words: Words, counts: npt.NDArray[np.int64], options: ReadOptions) -> Epochs:
    columns = texts[0].header.columns
    zeropoints = np.array([text.header.zeropoint for text in texts])
    of_rows = np.repeat(zeropoints, counts) if (zeropoints != zeropoints[0]).any() else zeropoints[0]
    value, error = words.numbers(columns.value), words.numbers(columns.error)
    fluxcal, fluxcal_err = to_fluxcal(value, error, of_rows, columns.is_mag)
    owner = np.repeat(np.array([text.place for text in texts], dtype=np.int64), counts)
    band = words.column(columns.band).dictionary_encode()
    band.dictionary.validate(full=True)
    return Epochs(owner, words.numbers(columns.mjd), options.rename(band), fluxcal, fluxcal_err, _flags(words, columns))


def _flags(words: Words, columns: Columns) -> npt.NDArray[np.int32]:
    if columns.flag is None:
        return np.zeros(len(words.row_starts), np.int32)
    flag = words.numbers(columns.flag)
    if not (np.abs(flag) < 2**31).all():
        raise IrregularRowsError("some PHOTFLAG is not a 32-bit integer")
    return flag.astype(np.int32)


def _latest(mjd: Floats, starts: Integers, stops: Integers) -> Floats:
    """Return the latest of mjd[start:stop] for each pair, NaN where there is nothing between them."""
    pairs = np.column_stack([starts, stops]).ravel()
    latest = np.maximum.reduceat(np.append(mjd, -np.inf), pairs)[::2]
    return np.where(stops > starts, latest, np.nan)


def _are_sound(texts: Sequence[_Text], epochs: Epochs, bounds: Integers, options: ReadOptions) -> npt.NDArray[np.bool_]:
    """Tell, file by file, whether every row is a good measurement in a known band and none is missing."""
    is_good = np.isfinite(epochs.mjd) & np.isfinite(epochs.fluxcal) & np.isfinite(epochs.fluxcal_err)
    is_good &= epochs.fluxcal_err > 0
    file_of_row = np.repeat(np.arange(len(texts)), np.diff(bounds))
    is_good &= _is_known_band(texts, epochs.band, file_of_row, options)
    announced = np.array([text.header.n_rows for text in texts])
    return np.logical_and.reduceat(is_good, bounds[:-1]) & (np.diff(bounds) >= announced)


def _is_known_band(
    texts: Sequence[_Text], band: pa.DictionaryArray, file_of_row: Integers, options: ReadOptions
) -> npt.NDArray[np.bool_]:
    names = band.dictionary.to_pylist()
    filters = sorted({text.header.filters for text in texts})
    known = [options.known_bands(group) for group in filters]
    is_known = np.array([[bands is None or is_announced(name, bands) for name in names] for bands in known])
    place = np.array([filters.index(text.header.filters) for text in texts])
    of_row: npt.NDArray[np.bool_] = is_known[place[file_of_row], np.asarray(band.indices)]
    return of_row


def _keep(is_sound: npt.NDArray[np.bool_], table: _Table) -> _Table:
    """Leave out the files that need to be read line by line."""
    if is_sound.all():
        return table
    texts = list(compress(table.texts, is_sound))
    kept = np.isin(table.epochs.owner, [text.place for text in texts])
    return _Table(texts, table.epochs.where(kept), list(compress(table.detection_mjd, is_sound)))


def _assemble(files: Sequence[SourceFile], tables: Sequence[_Table], rejections: list[Rejection]) -> ReadResult:
    marks = {text.place: mjd for table in tables for text, mjd in zip(table.texts, table.detection_mjd, strict=True)}
    headers = {text.place: text.header for table in tables for text in table.texts}
    indices = sorted(headers)
    objects = [ObjectRow(headers[i].observed, marks[i], files[i].name, files[i].digest) for i in indices]
    row_of_file = np.zeros(len(files), dtype=np.int64)
    row_of_file[indices] = np.arange(len(indices))
    parts = [replace(table.epochs, owner=row_of_file[table.epochs.owner]) for table in tables]
    truth = truth_table([headers[i].told for i in indices])
    return ReadResult(light_curve_table(objects, parts), truth, rejections)
