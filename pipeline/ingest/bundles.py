"""Files that hold many objects: which belong together, and what came of them, chunk by chunk.

A header belongs to the rows that it names, or whose name differs only by a word such as HEAD or PHOT, metadata or
lightcurves; one CSV header alone in its folder serves every table of measurements there.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pipeline.ingest.readers import READERS, Bundle, Part, ReadOptions, Rejection, TableFile, TableReader, csv_table
from pipeline.ingest.readers.base import TABLE_ERRORS, ReadResult, TableError, plain_start
from pipeline.ingest.readers.column_names import find_columns
from pipeline.ingest.readers.many_objects import no_objects

__all__ = [
    "FinishedTable",
    "Pairing",
    "TableMember",
    "TableRead",
    "fingerprint",
    "is_side_file",
    "read_bundle",
    "recognise_table",
    "table_problem",
]

_ROLE_WORD: Final = re.compile(r"[_\-. ]*(head|phot|meta_?data|light_?curves?(_\d+)?)$")
_SUFFIXES: Final = re.compile(r"(\.gz|\.fits|\.fit|\.csv|\.tsv|\.txt|\.dat)+$")
_SIDE_FILES: Final = ("_metadata", "_common_metadata", "data_thumbnail.parquet")


class TableMember(NamedTuple):
    """A file of a source that holds many objects, or describes them."""

    form: str
    part: Part
    file: TableFile


class TableRead(NamedTuple):
    """Which files a chunk of objects came from.

    Attributes:
        files: names, each counted with one bundle only.
        name: what SOURCE says of the objects.
        digest: of the bundle.
        fingerprint: of the bundle and of how it is read.
        is_last: whether this is the bundle's last chunk.
        finished: what the store says of a bundle that was skipped, None for one that is read.
    """

    files: tuple[str, ...]
    name: str
    digest: str
    fingerprint: str
    is_last: bool
    finished: FinishedTable | None = None


class FinishedTable(NamedTuple):
    """A bundle of which everything is in the store.

    Attributes:
        fingerprint: of its files and of how they were read.
        n_objects: good ones.
        reasons: kinds of reason for which other objects were quarantined, and how often each occurred.
    """

    fingerprint: str
    n_objects: int
    reasons: dict[str, int]


class Pairing:
    """Puts the headers and rows of one source together as they come."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._headers: list[TableMember] = []
        self._rows: list[TableMember] = []

    @property
    def waiting(self) -> list[TableMember]:
        """List the files that have no partner yet."""
        return [*self._headers, *self._rows]

    def add(self, members: Iterable[TableMember]) -> Iterator[tuple[str, Bundle, tuple[str, ...]]]:
        """Take files in, and yield each bundle that is complete: its format, itself, and the names it counts for."""
        for member in members:
            if member.part.role == "table":
                yield member.form, Bundle(member.file, None, member.file.name), (member.file.name,)
                continue
            own, others = (self._headers, self._rows) if member.part.role == "header" else (self._rows, self._headers)
            partner = next((other for other in others if _are_pair(member, other)), None)
            if partner is None or not _table_reader(member.form).needs_header:
                own.append(member)
                continue
            others.remove(partner)
            header, rows = (member, partner) if member.part.role == "header" else (partner, member)
            names = (header.file.name, rows.file.name)
            yield member.form, Bundle(rows.file, header.file, header.file.name), names

    def finish(self) -> Iterator[tuple[str, Bundle, tuple[str, ...]]]:
        """Yield what can be read without a header, with its header where there is one."""
        free = [member for member in self._rows if not _table_reader(member.form).needs_header]
        chosen = {member.file.name: _header_for(member, self._headers) for member in free}
        counts = [header.file.name for header in chosen.values() if header is not None]
        used: set[str] = set()  # headers; one may serve several files, and counts with the first of them
        for member in free:
            self._rows.remove(member)
            header = chosen[member.file.name]
            file = None if header is None else header.file
            is_shared = file is not None and (counts.count(file.name) > 1 or not _are_pair(member, header))
            new_headers = () if file is None or file.name in used else (file.name,)
            used.update(new_headers)
            names = (*new_headers, member.file.name)
            yield member.form, Bundle(member.file, file, member.file.name, is_shared), names
        self._headers = [member for member in self._headers if member.file.name not in used]

    def rest(self) -> list[Rejection]:
        """Reject what has no partner."""
        return [
            *(Rejection(member.file.name, _without_rows(member)) for member in self._headers),
            *(
                Rejection(member.file.name, "no HEAD: no file beside it says whose its rows are")
                for member in self._rows
            ),
        ]

    def is_wanted(self, name: str) -> bool:
        """Tell by its name whether a file could be the partner of one that waits."""
        return any(
            _stem(name) == _stem(member.file.name) or (member.part.partner and _names_match(name, member.part.partner))
            for member in self.waiting
        ) and name not in {member.file.name for member in self.waiting}


def recognise_table(
    name: str, path: str | None, data: bytes | None, start: bytes, options: ReadOptions
) -> TableMember | None:
    """Return a file as a table, from its unpacked start, None when no reader of tables knows it."""
    for form, reader in READERS.items():
        if isinstance(reader, TableReader) and (part := reader.part(start, options)) is not None:
            return TableMember(form, part, TableFile(name, path, None if path else data))
    return None


def is_side_file(name: str) -> bool:
    """Tell the files that a HATS catalogue has beside its partitions: they repeat rows, or have none."""
    return name.endswith(_SIDE_FILES) and os.path.basename(name) in _SIDE_FILES


def table_problem(name: str, data: bytes) -> str | None:
    """Say what is wrong with a file that is called a table (in lower case), None for a table of something else."""
    if not data.strip():
        return "empty: the file has no content"
    if name.endswith(".parquet"):
        return "damaged: it is called Parquet and does not start as Parquet does"
    if name.endswith((".fits", ".fit")) and _ROLE_WORD.search(_SUFFIXES.sub("", name)):
        return "damaged: it is called HEAD or PHOT, and its FITS headers do not describe such a table"
    return None


def missing_columns(name: str, data: bytes, options: ReadOptions) -> str | None:
    """Say which columns a table of words lacks, None for a file that is not called one."""
    if not name.lower().removesuffix(".gz").endswith((".csv", ".tsv")):
        return None
    try:
        find_columns(csv_table.column_names(plain_start(data)), options)
    except TableError as error:
        return str(error)
    return None


def fingerprint(digest: str, options: ReadOptions) -> str:
    """Hash what is read and how."""
    return hashlib.sha256(f"{digest} {options.mark}".encode()).hexdigest()[:32]


def read_bundle(form: str, bundle: Bundle, digest: str, options: ReadOptions) -> Iterator[tuple[ReadResult, bool]]:
    """Yield what came of a bundle, and whether it is the last; damage ends it with a rejection of the file."""
    before: ReadResult | None = None
    n_met = 0
    try:
        for result in _table_reader(form).stream(bundle, digest, options):
            if before is not None:
                yield before, False
            before = result
            n_met += len(result.light_curves) + len(result.rejections)
        problem = None if n_met else "empty: the table has no object"
    except TABLE_ERRORS as error:
        problem = str(error) if isinstance(error, TableError) else f"damaged: {_shown(error)}"
        problem += f"; {n_met} objects and rows before it were read" if n_met else ""
    rejections = [Rejection(bundle.name, problem, digest=digest)] if problem else []
    last = before or no_objects([])
    yield last._replace(rejections=[*last.rejections, *rejections]), True


def _shown(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _table_reader(form: str) -> TableReader:
    reader: Any = READERS[form]
    return reader  # type: ignore[no-any-return]


def _without_rows(member: TableMember) -> str:
    if member.part.partner:
        return f"no PHOT: {member.part.partner} is not beside it"
    return "no light curves: no file beside it has the measurements of its objects"


def _are_pair(one: TableMember, other: TableMember | None) -> bool:
    if other is None or one.form != other.form or os.path.dirname(one.file.name) != os.path.dirname(other.file.name):
        return False
    header, rows = (one, other) if one.part.role == "header" else (other, one)
    named = header.part.partner is not None and _names_match(rows.file.name, header.part.partner)
    return named or _stem(header.file.name) == _stem(rows.file.name)


def _header_for(rows: TableMember, headers: Sequence[TableMember]) -> TableMember | None:
    named = next((header for header in headers if _are_pair(rows, header)), None)
    folder = os.path.dirname(rows.file.name)
    beside = [header for header in headers if header.form == rows.form and os.path.dirname(header.file.name) == folder]
    return named or (beside[0] if len(beside) == 1 else None)


def _names_match(name: str, partner: str) -> bool:
    """Compare base names, whatever their case and packing."""
    one, other = (os.path.basename(word).lower().removesuffix(".gz") for word in (name, partner))
    return one == other


def _stem(name: str) -> str:
    """Return what the names of a header and its rows have in common.

    >>> _stem("a/DES_HEAD.FITS.gz"), _stem("plasticc_test_lightcurves_01.csv"), _stem("test_set_metadata.csv")
    ('des', 'plasticc_test', 'test_set')
    """
    return _ROLE_WORD.sub("", _SUFFIXES.sub("", os.path.basename(name).lower()))
