"""What reading gives, chunk by chunk, and how a chunk is to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.ingest.bundles import FinishedTable, TableMember, TableRead
from pipeline.ingest.readers import ReadOptions, Rejection
from pipeline.schema import LIGHT_CURVE_SCHEMA, TRUTH_SCHEMA

__all__ = ["ChunkRead", "ChunkReader", "Unchanged"]


@dataclass(frozen=True)
class Unchanged:
    """A file whose content the store already has, under the same name."""

    file: str
    digest: str


@dataclass(frozen=True)
class ChunkRead:
    """What came of one chunk of files: each is in the tables, unchanged, rejected, or ignored as a companion.

    Attributes:
        opened: archives and packed files that were opened; what they hold is counted, they are not.
    """

    light_curves: pa.Table = field(default_factory=LIGHT_CURVE_SCHEMA.empty_table)
    truth: pa.Table = field(default_factory=TRUTH_SCHEMA.empty_table)
    rejections: list[Rejection] = field(default_factory=list)
    unchanged: list[Unchanged] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    tables: list[TableMember] = field(default_factory=list)
    """Files of many objects, not yet read."""
    table: TableRead | None = None
    """Where the objects come from when they are a chunk of such a file."""


@dataclass(frozen=True)
class ChunkReader:
    """How to read a chunk: the readers' options, the size limit, and what the store already has.

    Attributes:
        known: base name of the file by content hash.
        finished: tables of many objects that the store has whole, by name.
    """

    options: ReadOptions = field(default_factory=ReadOptions)
    max_bytes: int = 64 << 20
    known: Mapping[str, str] = field(default_factory=dict)
    finished: Mapping[str, FinishedTable] = field(default_factory=dict)
