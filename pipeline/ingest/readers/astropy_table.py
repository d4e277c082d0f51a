"""ECSV and VOTable, by astropy: one row per measurement, columns as in a CSV table.

A VOTable's first table is read. Units are not converted: FLUXCAL is at ZP 27.5 or at the row's ZP_FLUXCAL. Its elements
are looked at before astropy sees it, which would open any file or address that a stranger has written there (STREAM
href), and take memory for cells of any size (arraysize).
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from math import prod
from typing import Any, Final
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from pipeline.ingest.readers.base import Bundle, Part, ReadOptions, ReadResult, TableError, TableFile
from pipeline.ingest.readers.long_tables import LongTable, stream_long
from pipeline.ingest.readers.many_objects import Origin

__all__ = ["ecsv_part", "stream_ecsv", "stream_votable", "votable_part"]

MAX_CELL: Final = 10_000
"""Values in a cell of a VOTable, at most; names and vectors of surveys have a hundred."""
MAX_VALUES: Final = 1 << 27
"""Values in a whole VOTable, at most: astropy makes room for all that the columns announce, in every row."""


def ecsv_part(start: bytes, options: ReadOptions) -> Part | None:
    """Tell ECSV by its first line."""
    return Part("table") if start.startswith(b"# %ECSV") else None


def votable_part(start: bytes, options: ReadOptions) -> Part | None:
    """Tell a VOTable by the element that opens it."""
    return Part("table") if start.lstrip().startswith(b"<") and b"<VOTABLE" in start[:4096] else None


def stream_ecsv(bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects in the order of the rows; the file is read whole."""
    return _stream("ascii.ecsv", bundle, digest, options)


def stream_votable(bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    """Yield the objects in the order of the rows; the file is read whole."""
    return _stream("votable", bundle, digest, options)


def _stream(form: str, bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[ReadResult]:
    table = _load(form, bundle.rows)
    long_table = LongTable(table.column_names, lambda columns: [table.select(columns)], 0)
    return stream_long(long_table, None, Origin(bundle.name, digest), options)


def _load(form: str, file: TableFile) -> pa.Table:
    """Read one table whole.

    Raises:
        TableError: if astropy cannot.
    """
    from astropy.table import Table

    if form == "votable":
        _look_through(file)
    with file.open() as handle, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = Table.read(handle, format=form)
        except Exception as error:  # noqa: BLE001 - in damaged files astropy meets errors of every kind
            raise TableError(f"damaged: {form} cannot be read ({' '.join(str(error).split())[:200]})") from None
    return pa.table({name: _column(table[name]) for name in table.colnames if table[name].ndim == 1})


def _look_through(file: TableFile) -> None:
    """Go through the elements of a VOTable.

    Raises:
        TableError: if it is not XML, its data lie in another file, or its cells are too large.
    """

    counts = Counter[str]()

    def look(name: str, attributes: dict[str, str]) -> None:
        found = {_local(key): value for key, value in attributes.items()}
        if _local(name) == "stream" and "href" in found:
            raise TableError(
                "links elsewhere: its STREAM has a href, which is not followed; write the data into the file"
            )
        size = prod(int(number[:9]) for number in re.findall("[0-9]+", found.get("arraysize", "")))
        if size > MAX_CELL:
            raise TableError(f"too large: arraysize is {found['arraysize'][:40]!r}, at most {MAX_CELL} values are read")
        counts.update({"values": size} if _local(name) == "field" else {_local(name): 1})
        if counts["tr"] * counts["values"] > MAX_VALUES:
            raise TableError(f"too large: more than {MAX_VALUES} values in {counts['tr']} rows")

    parser = expat.ParserCreate()
    parser.StartElementHandler = look
    try:
        with file.open() as handle:
            parser.ParseFile(handle)
    except TableError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # no XML, or an encoding that is not known or read
        raise TableError(f"damaged: votable cannot be read ({error})") from None


def _local(name: str) -> str:
    return name.rpartition(":")[2].lower()


def _column(column: Any) -> pa.Array:
    values, mask = np.ma.getdata(column), np.ma.getmaskarray(column)
    if values.dtype.kind in "fiub":
        return pa.array(np.asarray(values).astype(values.dtype.newbyteorder("=")), mask=np.asarray(mask))
    words = [None if gone else _text(value) for value, gone in zip(values, mask, strict=True)]
    return pa.array(words, pa.string())


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
