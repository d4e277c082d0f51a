"""SNANA FITS: a HEAD file with one row per object, and a PHOT file with one row per measurement.

HEAD names its PHOT file (PHOTFILE, which may lack the .gz) and gives each object's rows there (PTROBS_MIN to
PTROBS_MAX, 1-based, both included; a row of −777 stands between objects). FLUXCAL is at ZP_FLUXCAL of the header,
27.5 mag without it. Columns with several numbers in a row, such as host vectors, are left alone. Where
MWEBV_APPLYFLAG is 1 the fluxes are corrected for the Milky Way already, and MWEBV is stored as 0. Simulations whose
VERSION names ELAsTiCC have type codes of their own.
SNANA manual, section "Data file format" (Kessler et al. 2009, arXiv:0908.4280).
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from pipeline.ingest.readers.assembly import Epochs, flags_of, is_zeropoint
from pipeline.ingest.readers.base import START_BYTES, Bundle, Part, ReadOptions, ReadResult, TableError
from pipeline.ingest.readers.fits_table import Cards, FitsTable, Records, read_cards
from pipeline.ingest.readers.header_columns import HEADER_ALIASES, Found, observed_columns, told_columns
from pipeline.ingest.readers.many_objects import (
    CHUNK_OBJECTS,
    Described,
    Origin,
    read_objects,
    repeated_snids,
    split_evenly,
)
from pipeline.schema import ZP_INTERNAL
from pipeline.taxonomy import ELASTICC_CODES

__all__ = ["part", "stream"]

_HEAD: Final = ("SNID", "PTROBS_MIN", "PTROBS_MAX")
_PHOT: Final = ("MJD", "FLUXCAL", "FLUXCALERR")
_NEEDED: Final = frozenset([*_HEAD, "NOBS", *(name for names in HEADER_ALIASES.values() for name in names)])


def part(start: bytes, options: ReadOptions) -> Part | None:
    """Tell HEAD and PHOT by the columns of their tables."""
    if not start.startswith(b"SIMPLE  ="):
        return None
    handle = io.BytesIO(start[:START_BYTES])
    try:
        primary, cards = read_cards(handle), read_cards(handle)
    except TableError:
        return None
    names = {value for key, value in cards.items() if key.startswith("TTYPE")}
    if names.issuperset(_HEAD):
        return Part("header", primary.get("PHOTFILE") or None)
    return Part("rows") if names.issuperset(_PHOT) else None


def stream(bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects in the order of HEAD."""
    if bundle.header is None:
        raise TableError("no HEAD: a PHOT file does not say whose its rows are")
    with bundle.header.open() as head_file, bundle.rows.open() as phot_file:
        head, phot = FitsTable.open(head_file), FitsTable.open(phot_file)
        _check(head, "HEAD", _HEAD[1:], _HEAD[:1])
        _check_kinds(head, "HEAD", (*_HEAD[1:], "NOBS"), "iu")
        _check(phot, "PHOT", _PHOT, ("BAND", "FLT"))
        _check_kinds(phot, "PHOT", (*_PHOT, "PHOTFLAG"), "iuf")
        filters = tuple(head.primary.get("FILTERS", ""))
        origin = Origin(bundle.name, digest, filters)
        seen: set[str] = set()
        for first in range(0, head.n_rows, CHUNK_OBJECTS):
            records = head.rows(first, min(first + CHUNK_OBJECTS, head.n_rows))
            for begin, end in split_evenly(_counts(records)):
                yield _read(records[begin:end], first + begin, head.primary, phot, origin, options, seen)


def _check(table: FitsTable, part: str, numbers: Sequence[str], words: Sequence[str]) -> None:
    """Check that a table has its columns, one value a row where these are words; of the words, one will do.

    Raises:
        TableError: if not.
    """
    missing = [name for name in numbers if name not in table.names]
    missing += [] if set(words) & set(table.names) else [words[0]]
    if missing:
        raise TableError(f"missing columns: {' '.join(missing)} ({part} has {' '.join(table.names)})")
    _check_kinds(table, part, words, "Siu")


def _check_kinds(table: FitsTable, part: str, names: Sequence[str], kinds: str) -> None:
    """Check that columns, if they are there, have one value a row, of these kinds of numpy.

    Raises:
        TableError: if not.
    """
    odd = [name for name in names if name in table.names and table.dtype[name].kind not in kinds]
    if odd:
        raise TableError(f"damaged: {' '.join(odd)} of {part} is not one value a row, or of another type")


def _counts(records: Records) -> npt.NDArray[np.int64]:
    counts: npt.NDArray[np.int64] = records["PTROBS_MAX"].astype(np.int64) - records["PTROBS_MIN"] + 1
    return np.maximum(counts, 0)


def _read(
    records: Records, first: int, primary: Cards, phot: FitsTable, origin: Origin, options: ReadOptions, seen: set[str]
) -> ReadResult:
    objects = _describe(records, first, primary, options)
    misplaced = _misplaced(records, phot.n_rows)
    objects.problems.update(misplaced | repeated_snids(objects.observed["SNID"], seen))
    is_sound = np.ones(len(objects), dtype=bool)
    is_sound[list(misplaced)] = False
    counts = np.where(is_sound, _counts(records), 0)
    begins = np.where(is_sound, records["PTROBS_MIN"].astype(np.int64) - 1, 0)
    has_rows = counts > 0
    begin = int(begins[has_rows].min()) if has_rows.any() else 0
    rows = phot.rows(begin, int((begins + counts)[has_rows].max(initial=begin)))  # before memory is taken for them
    owner = np.repeat(np.arange(len(objects), dtype=np.int64), counts)
    places = np.arange(len(owner)) + np.repeat(begins - (np.cumsum(counts) - counts), counts)
    is_all = len(places) == len(rows) and bool((np.diff(places) == 1).all())
    pick = slice(None) if is_all else places - begin
    epochs = _epochs(phot, rows, pick, owner, _zeropoint(primary, phot.primary))
    return read_objects(objects, epochs, lambda place: int(places[place]) + 1, origin, options)


def _describe(records: Records, first: int, primary: Cards, options: ReadOptions) -> Described:
    """Describe the objects; strings without their padding, columns of several numbers left out."""
    columns: dict[str, Any] = {}
    for name in records.dtype.names or ():
        if name in _NEEDED and records.dtype[name].kind in "iufS":
            is_text = records.dtype[name].kind == "S"
            columns[name] = (
                _texts(records[name]) if is_text else records[name].astype(records.dtype[name].newbyteorder("="))
            )
    table = pd.DataFrame(columns)
    found = Found(table, options.columns)
    snids = _texts(records["SNID"]) if records.dtype["SNID"].kind == "S" else records["SNID"].astype(str).astype(object)
    observed = observed_columns(snids, found, primary.get("SURVEY") or None)
    if primary.get("MWEBV_APPLYFLAG") == "1":
        observed["MWEBV"] = 0.0
    rows = np.arange(first + 1, first + len(records) + 1, dtype=np.int64)
    told = told_columns(snids, found, options.type_codes or _codes_of(primary))
    return Described(observed, told, found.numbers("DETECTION_MJD"), rows, {})


def _codes_of(primary: Cards) -> dict[int, str] | None:
    return ELASTICC_CODES if "ELASTICC" in primary.get("VERSION", "").upper() else None


def _texts(values: npt.NDArray[Any]) -> npt.NDArray[np.object_]:
    words = [value.decode("utf-8", "replace").strip("\0 ") for value in values.tolist()]
    return np.array(words, dtype=object)


def _misplaced(records: Records, n_rows: int) -> dict[int, str]:
    low, high = records["PTROBS_MIN"].astype(np.int64), records["PTROBS_MAX"].astype(np.int64)
    problems = {
        int(place): f"rows outside PHOT: {low[place]} to {high[place]}, PHOT has {n_rows}"
        for place in np.flatnonzero((low < 1) | (high > n_rows) | (high < low - 1))
    }
    if "NOBS" in (records.dtype.names or ()):
        announced = records["NOBS"].astype(np.int64)
        for place in np.flatnonzero(announced != high - low + 1).tolist():
            text = f"rows not as announced: NOBS is {announced[place]}, PTROBS are {low[place]} to {high[place]}"
            problems.setdefault(place, text)
    return problems


def _zeropoint(*headers: Cards) -> float:
    """Return the zeropoint of FLUXCAL [mag]."""
    for cards in headers:
        if "ZP_FLUXCAL" in cards:
            try:
                zeropoint = float(cards["ZP_FLUXCAL"])
            except ValueError:
                raise TableError(f"not a number: ZP_FLUXCAL is {cards['ZP_FLUXCAL']!r}") from None
            if not is_zeropoint(zeropoint):
                raise TableError(f"not a zeropoint: ZP_FLUXCAL is {zeropoint:g} mag, expected 0 to 50")
            return zeropoint
    return ZP_INTERNAL


def _epochs(
    phot: FitsTable,
    records: Records,
    pick: slice | npt.NDArray[np.int64],
    owner: npt.NDArray[np.int64],
    zeropoint: float,
) -> Epochs:
    """Take the measurements of `owner` out of rows of PHOT."""
    mjd, flux, error = (phot.numbers(records, name)[pick] for name in _PHOT)
    flag = phot.numbers(records, "PHOTFLAG")[pick] if "PHOTFLAG" in phot.names else np.zeros(len(owner))
    bands = _bands(records["BAND" if "BAND" in phot.names else "FLT"][pick])
    if zeropoint != ZP_INTERNAL:
        scale = 10 ** (0.4 * (ZP_INTERNAL - zeropoint))
        with np.errstate(over="ignore"):  # a flux that is not finite is told as such
            flux, error = flux * scale, error * scale
    return Epochs(owner, mjd, bands, flux, error, flags_of(flag))


def _bands(names: npt.NDArray[Any]) -> pa.DictionaryArray:
    """Encode names of equal width, and strip their padding."""
    width = names.dtype.itemsize
    buffers = [None, pa.py_buffer(np.ascontiguousarray(names))]
    encoded = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(names), buffers).dictionary_encode()
    words = [name.decode("utf-8", "replace").strip("\0 ") for name in encoded.dictionary.to_pylist()]
    renamed = pa.DictionaryArray.from_arrays(encoded.indices, pa.array(words, pa.string()))
    return renamed if len(set(words)) == len(words) else renamed.cast(pa.string()).dictionary_encode()
