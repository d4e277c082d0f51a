"""What every reader of a format shares: the files it is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import pyarrow as pa

__all__ = ["ReadOptions", "ReadResult", "Reader", "Rejection", "SourceFile"]


class SourceFile(NamedTuple):
    """One file of a folder or archive, in memory: its name there, its bytes, and the hash of its bytes."""

    name: str
    data: bytes
    digest: str


class Rejection(NamedTuple):
    """Something that was not read: a whole file, or one measurement of it.

    The reason starts with its kind, up to the colon, so that reasons can be counted. The line is 1-based, None where
    no single line is to blame.
    """

    file: str
    reason: str
    line: int | None = None
    snid: str | None = None
    scope: Literal["file", "epoch"] = "file"
    digest: str | None = None


@dataclass(frozen=True)
class ReadOptions:
    """What a reader needs to know of the settings: names of bands, and which bands may occur."""

    band_map: Mapping[str, str] = field(default_factory=dict)
    bands: tuple[str, ...] | None = None

    def known_bands(self, filters: Sequence[str]) -> frozenset[str] | None:
        """Return the bands that may occur in a file that announces these filters, None when any may."""
        if self.bands is not None:
            return frozenset(self.bands)
        return frozenset(self.band_map.get(name, name) for name in filters) or None

    def rename(self, band: pa.DictionaryArray) -> pa.DictionaryArray:
        """Give bands, as files name them, the names of the band map."""
        if not self.band_map:
            return band
        names = [self.band_map.get(name, name) for name in band.dictionary.to_pylist()]
        renamed = pa.DictionaryArray.from_arrays(band.indices, pa.array(names, pa.string()))
        return renamed.cast(pa.string()).dictionary_encode()


class ReadResult(NamedTuple):
    """What came of some files: LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA row by row, and what was not read.

    Rows come in the order of the files; two files with one SNID both appear.
    """

    light_curves: pa.Table
    truth: pa.Table
    rejections: list[Rejection]


@dataclass(frozen=True)
class Reader:
    """A format: how to recognise a file of it by content, and how to read many files of it."""

    recognises: Callable[[bytes], bool]
    read: Callable[[Sequence[SourceFile], ReadOptions], ReadResult]
