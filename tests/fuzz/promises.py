"""What every answer to damaged files must keep; read as an ingest reads, from files in memory."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

import pyarrow as pa

from pipeline.ingest.archives import Member, archive_members, is_archive_name
from pipeline.ingest.packing import plain_name
from pipeline.ingest.quarantine import quarantine_rows
from pipeline.ingest.readers import ReadOptions, ReadResult, Rejection
from pipeline.ingest.reading import ChunkRead, ChunkReader, read_chunks
from pipeline.ingest.sources import Source
from pipeline.schema import LIGHT_CURVE_SCHEMA, QUARANTINE_SCHEMA, TRUTH_SCHEMA, LightCurves, Truth, light_curve_hashes
from tests.fuzz.mutations import Files

__all__ = ["BrokenPromiseError", "read_and_check"]

MAX_BYTES: Final = 4 << 20
"""Size of a file, at most, in this ingest."""


class BrokenPromiseError(Exception):
    """An answer that is not what a reader promises."""


@dataclass(frozen=True)
class Drawn(Source):
    """Inputs as folders of one source, named by their number; archives among them lie on disk while they are read.

    Attributes:
        inputs: their files.
        names: of all files that were given to be read.
    """

    inputs: Sequence[Files] = ()
    names: list[str] = field(default_factory=list)

    def members(self, max_bytes: int) -> Iterator[Member]:
        """Yield the files, and those of archives."""
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            for number, files in enumerate(self.inputs):
                for member in chain.from_iterable(_members(name, data, folder, max_bytes) for name, data in files):
                    named = member._replace(name=f"{number}/{member.name}")
                    if member.data is not None or member.problem is not None:
                        self.names.append(named.name)
                    yield named


def read_and_check(inputs: Sequence[Files], options: ReadOptions) -> ReadResult:
    """Read inputs as an ingest does.

    Raises:
        BrokenPromiseError: if the answer is not what readers promise.
    """
    source = Drawn("drawn", inputs=inputs)
    chunks = list(read_chunks(source, ChunkReader(options, MAX_BYTES), workers=1))
    _check_accounts(source.names, chunks)
    rejections = [rejection for chunk in chunks for rejection in chunk.rejections]
    _check_rejections(rejections)
    light_curves = pa.concat_tables([LIGHT_CURVE_SCHEMA.empty_table(), *(chunk.light_curves for chunk in chunks)])
    truth = pa.concat_tables([TRUTH_SCHEMA.empty_table(), *(chunk.truth for chunk in chunks)])
    _check_tables(light_curves, truth)
    return ReadResult(light_curves, truth, rejections)


def _members(name: str, data: bytes, folder: str, max_bytes: int) -> Iterator[Member]:
    if not is_archive_name(name):
        yield Member(name, data=data)
        return
    path = os.path.join(folder, name)
    with open(path, "wb") as handle:
        handle.write(data)
    yield from archive_members(path, max_bytes)


def _check_accounts(names: Sequence[str], chunks: Sequence[ChunkRead]) -> None:
    """Each file was read, rejected or left alone as a companion, once."""
    found: Counter[str] = Counter()
    for chunk in chunks:
        files = [rejection.file for rejection in chunk.rejections if rejection.scope == "file"]
        sources = chunk.light_curves["SOURCE"].to_pylist()
        if chunk.table is None:
            found.update([*sources, *files, *chunk.ignored])
        elif {*sources, *files} - {chunk.table.name}:
            raise BrokenPromiseError(f"objects or damage of other files than {chunk.table.name}")
        elif chunk.table.is_last:
            found.update(chunk.table.files)
    given = Counter(plain_name(name) for name in names)
    answered = Counter({plain_name(name): 0 for name in found})
    for name, count in found.items():
        answered[plain_name(name)] += count
    if given != answered:
        raise BrokenPromiseError(f"not accounted for once: {sorted((given - answered) or (answered - given))[:3]}")


def _check_rejections(rejections: Sequence[Rejection]) -> None:
    """Reasons can be counted by kind, and stored."""
    for rejection in rejections:
        kind, colon, _ = rejection.reason.partition(":")
        if not colon or not kind.strip() or len(kind) > 60:
            raise BrokenPromiseError(f"a reason without a kind: {rejection.reason[:200]!r}")
    pa.Table.from_pylist(quarantine_rows("drawn", rejections), schema=QUARANTINE_SCHEMA).validate(full=True)


def _check_tables(light_curves: pa.Table, truth: pa.Table) -> None:
    """The tables are valid, of the same objects, and hashed as the store would hash them."""
    for table, schema in ((light_curves, LIGHT_CURVE_SCHEMA), (truth, TRUTH_SCHEMA)):
        if not table.schema.equals(schema):
            raise BrokenPromiseError(f"not the schema: {table.schema}")
        table.validate(full=True)
    snids = light_curves["SNID"].to_pylist()
    if snids != truth["SNID"].to_pylist():
        raise BrokenPromiseError("light curves and truth are of different objects")
    if None in snids or "" in snids:
        raise BrokenPromiseError("an object without a name")
    met: set[str] = set()
    first = [not (snid in met or met.add(snid)) for snid in snids]
    curves = light_curves.filter(pa.array(first, pa.bool_()))
    LightCurves.from_arrow(curves)
    Truth(truth.filter(pa.array(first, pa.bool_())).to_pandas())
    if light_curve_hashes(curves) != curves["PHOTOMETRY_HASH"].to_pylist():
        raise BrokenPromiseError("PHOTOMETRY_HASH is not that of the row")
