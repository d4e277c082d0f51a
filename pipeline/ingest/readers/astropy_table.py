"""ECSV and VOTable, by astropy: one row per measurement, columns as in a CSV table.

A VOTable's first table is read. Units are not converted: FLUXCAL is at ZP 27.5 or at the row's ZP_FLUXCAL. A VOTable
whose data lie elsewhere (STREAM href) is refused: astropy would open any file or address that a stranger has written
there.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

import numpy as np
import pyarrow as pa

from pipeline.ingest.readers.base import Bundle, Part, ReadOptions, ReadResult, TableError, TableFile
from pipeline.ingest.readers.long_tables import LongTable, stream_long
from pipeline.ingest.readers.many_objects import Origin

__all__ = ["ecsv_part", "stream_ecsv", "stream_votable", "votable_part"]


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
        _refuse_links(file)
    with file.open() as handle, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            table = Table.read(handle, format=form)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - in damaged files astropy meets errors of every kind
            raise TableError(f"damaged: {form} cannot be read ({' '.join(str(error).split())[:200]})") from None
    return pa.table({name: _column(table[name]) for name in table.colnames if table[name].ndim == 1})


def _refuse_links(file: TableFile) -> None:
    """Go through the elements of a VOTable.

    Raises:
        TableError: if it is not XML, or its data lie in another file.
    """

    def look(name: str, attributes: dict[str, str]) -> None:
        if _local(name) == "stream" and "href" in map(_local, attributes):
            raise TableError(
                "links elsewhere: its STREAM has a href, which is not followed; write the data into the file"
            )

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
