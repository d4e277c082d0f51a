"""One object in several files: which are its parts, and what becomes of them.

What is stored of a shared object is a function of the set of its files: the order in which they come, together or in
separate ingests, changes nothing. A file of the same base name that comes later is a new version and takes the place of
the old one, as it does for an object of one file.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.override import Override, file_digest
from pipeline.ingest.readers.assembly import Epochs, ObjectRow, light_curve_table
from pipeline.ingest.reading import base_name
from pipeline.schema import EPOCH_COLUMNS, LIGHT_CURVE_SCHEMA, OBJECT_COLUMNS, TRUTH_SCHEMA

__all__ = ["PART_SCHEMA", "Composed", "DuplicatePolicy", "Part", "Shared", "SharedChange", "as_parts", "compose"]

DuplicatePolicy = Literal["quarantine", "newest", "merge"]

_TRUTH: Final = tuple(name for name in TRUTH_SCHEMA.names if name != "SNID")
PART_SCHEMA: Final = pa.schema(
    [*LIGHT_CURVE_SCHEMA, *(pa.field(f"TRUTH_{name}", TRUTH_SCHEMA.field(name).type) for name in _TRUTH)]
)
"""What one file says of a shared object; kept in the store so that the object can be composed anew."""

OBJECTS_AT_ONCE: Final = 500
"""Shared objects composed together: as Python values they take far more room than as columns."""

Row = dict[str, Any]


class Part(NamedTuple):
    """A file that has an object: the object, the file, and its SOURCE_HASH."""

    snid: str
    file: str
    digest: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells this part from others: its path does not, for a copy elsewhere is the same file."""
        return self.snid, base_name(self.file), self.digest


@dataclass(frozen=True)
class SharedChange:
    """Shared objects that a batch changes.

    Attributes:
        rows: PART_SCHEMA, of the parts that were read.
        members: all parts of each object.
        policies: of each object.
    """

    rows: pa.Table = field(default_factory=PART_SCHEMA.empty_table)
    members: Mapping[str, list[Part]] = field(default_factory=dict)
    policies: Mapping[str, DuplicatePolicy] = field(default_factory=dict)


class Shared:
    """Which objects are in several files, and which files these are."""

    def __init__(
        self,
        policy: DuplicatePolicy = "quarantine",
        stored: Mapping[str, str] | None = None,
        parts: Iterable[Part] = (),
    ) -> None:
        """Start from what the store has: the SOURCE_HASH of its objects, and the parts of shared ones."""
        self._default = policy
        self._stored = {snid: digest for snid, digest in (stored or {}).items() if ":" in digest}
        self._members: dict[str, list[Part]] = {}
        for part in parts:
            if policy != "quarantine" or part.snid in self._stored:
                self._members.setdefault(part.snid, []).append(part)
        self._met: set[tuple[str, str, str]] = set()
        self._settled = {snid for snid in self._members if self._stored.get(snid) == self._composition(snid)}
        self._touched: set[str] = set()
        self._rows: list[pa.Table] = []

    @property
    def n_pending(self) -> int:
        """Count the parts that are not yet written."""
        return sum(len(rows) for rows in self._rows)

    def __contains__(self, snid: str) -> bool:
        """Whether an object is in several files."""
        return snid in self._members

    @property
    def takes_any(self) -> bool:
        """Whether files may share an object, even if none did so before."""
        return self._default != "quarantine"

    def parts(self) -> list[Part]:
        """List all parts."""
        return [part for members in self._members.values() for part in members]

    def settled_parts(self) -> list[Part]:
        """List the parts of objects that are stored as they should be: they need not be read again."""
        return [part for snid in self._settled for part in self._members[snid]]

    def takes(self, file: Part) -> bool:
        """Whether a file whose SNID is another file's becomes a part of the object."""
        if self._policy(file.snid) == "quarantine":
            return False
        names = {base_name(part.file) for part in self._members.get(file.snid, [])}
        return self._default != "quarantine" or base_name(file.file) in names

    def meet(self, snid: str, file: str, digest: str) -> None:
        """Note that a part was met, unchanged."""
        name = base_name(file)
        self._met |= {
            part.key
            for part in self._members.get(snid, [])
            if base_name(part.file) == name and file_digest(part.digest) == digest
        }

    def meet_all(self, file: str, digest: str) -> None:
        """Note that all parts of a table of many objects were met, unchanged."""
        for snid in self._members:
            self.meet(snid, file, digest)

    def join(self, file: Part, owner: Part | None, owner_was_met: bool) -> bool:
        """Make a file part of an object, in the place of its own earlier version; tell whether that changes anything.

        Args:
            file: just read.
            owner: the file that has the object so far, alone.
            owner_was_met: in this run; else it may be an earlier version.
        """
        if file.snid not in self._members:
            self._members[file.snid] = [owner] if owner else []
            self._met |= {owner.key} if owner and owner_was_met else set()
        members = self._members[file.snid]
        is_known = any(part.key == file.key for part in members)
        if not is_known:
            name = base_name(file.file)
            kept = [part for part in members if base_name(part.file) != name or part.key in self._met]
            self._members[file.snid] = [*kept, file]
        self._met.add(file.key)
        if is_known and file.snid in self._settled:
            return False
        self._settled.add(file.snid)
        self._touched.add(file.snid)
        return True

    def add_rows(self, rows: pa.Table) -> None:
        """Keep what was read of parts until it is written."""
        self._rows.append(rows)

    def take_change(self) -> SharedChange:
        """Hand over what is to be written, and forget it."""
        touched = sorted(self._touched)
        change = SharedChange(
            pa.concat_tables([PART_SCHEMA.empty_table(), *self._rows]),
            {snid: list(self._members[snid]) for snid in touched},
            {snid: self._policy(snid) for snid in touched},
        )
        self._touched, self._rows = set(), []
        return change

    def _policy(self, snid: str) -> DuplicatePolicy:
        """Return the policy of this run, or, where it is to quarantine, the one that made the object what it is."""
        if self._default != "quarantine":
            return self._default
        stored = self._stored.get(snid, "").partition(":")[0]
        return next((policy for policy in get_args(DuplicatePolicy) if policy == stored), "quarantine")

    def _composition(self, snid: str) -> str:
        return composition(self._policy(snid), self._members[snid])


def composition(policy: DuplicatePolicy, members: Iterable[Part]) -> str:
    """Return the SOURCE_HASH of an object of several files: the policy, and a hash of the set of its parts."""
    lines = "\n".join(sorted(f"{part.digest} {base_name(part.file)}" for part in members))
    return f"{policy}:{hashlib.sha256(lines.encode()).hexdigest()[:32]}"


def as_parts(light_curves: pa.Table, truth: pa.Table) -> pa.Table:
    """Put light curves and truth of single files, row by row, together as PART_SCHEMA."""
    return pa.Table.from_arrays([*light_curves.columns, *(truth[name] for name in _TRUTH)], schema=PART_SCHEMA)


@dataclass(frozen=True)
class Composed:
    """Shared objects as they are to be stored.

    Attributes:
        light_curves: LIGHT_CURVE_SCHEMA.
        truth: TRUTH_SCHEMA.
        parts: PART_SCHEMA, all members.
        conflicts: rows of QUARANTINE_SCHEMA, SCOPE "conflict".
    """

    light_curves: pa.Table
    truth: pa.Table
    parts: pa.Table
    conflicts: list[Row]


def compose(change: SharedChange, parts: Sequence[pa.Table], override: Override) -> Composed:
    """Make one light curve of each shared object.

    Newest is the file whose last MJD is latest; then the one with more measurements, then the later in order of name.
    Header and truth are those of the newest file. `newest` takes its measurements alone; `merge` takes for each MJD and
    band those of the newest file that has any.

    Args:
        change: which objects, of which parts.
        parts: where the parts may be found, PART_SCHEMA; the first that has one counts.
        override: replaces values of the composed objects too.

    Raises:
        KeyError: if a part is nowhere.
    """
    names = list(change.members)
    slices = [names[first : first + OBJECTS_AT_ONCE] for first in range(0, len(names), OBJECTS_AT_ONCE)]
    composed = [_compose(snids, change, parts) for snids in slices]
    light_curves, truth = override.replace_values(
        pa.concat_tables([item.light_curves for item in composed]), pa.concat_tables([item.truth for item in composed])
    )
    used = pa.concat_tables([item.parts for item in composed])
    return Composed(light_curves, truth, used, [entry for item in composed for entry in item.conflicts])


def _compose(snids: Sequence[str], change: SharedChange, parts: Sequence[pa.Table]) -> Composed:
    """Compose some of the objects that change, as their files have them."""
    found: dict[tuple[str, str, str], Row] = {}
    for table in parts:
        for row in table.filter(pc.is_in(table["SNID"], pa.array(snids, pa.string()))).to_pylist():
            found.setdefault(_part(row).key, row)
    used: list[Row] = []
    objects: list[Row] = []
    conflicts: list[Row] = []
    for snid in snids:
        rows = sorted((found[member.key] for member in change.members[snid]), key=_age, reverse=True)
        one, told = _merge(rows) if change.policies[snid] == "merge" else _choose(rows)
        objects.append(one | {"SOURCE_HASH": composition(change.policies[snid], change.members[snid])})
        conflicts += told
        used += rows
    truth = [
        {name: row["SNID" if name == "SNID" else f"TRUTH_{name}"] for name in TRUTH_SCHEMA.names} for row in objects
    ]
    return Composed(
        _light_curves(objects),
        pa.Table.from_pylist(truth, schema=TRUTH_SCHEMA),
        pa.Table.from_pylist(used, schema=PART_SCHEMA),
        conflicts,
    )


def _part(row: Row) -> Part:
    return Part(row["SNID"], row["SOURCE"], row["SOURCE_HASH"])


def _age(row: Row) -> tuple[Any, ...]:
    name = base_name(row["SOURCE"])
    return max(row["MJD"], default=-math.inf), len(row["MJD"]), name, row["SOURCE_HASH"]


def _choose(rows: Sequence[Row]) -> tuple[Row, list[Row]]:
    """Take the newest file, and list the others."""
    newest, *older = rows
    told = f"{newest['SOURCE']}, to MJD {max(newest['MJD'], default=math.nan):g}, is kept"
    return newest, [
        _conflict(row, f"older photometry: {len(row['MJD'])} measurements to MJD {max(row['MJD']):g}; {told}")
        for row in older
    ]


def _merge(rows: Sequence[Row]) -> tuple[Row, list[Row]]:
    """Unite the measurements, newest file first, and list where two files tell different things."""
    taken: dict[tuple[float, str], tuple[Row, list[tuple[Any, ...]]]] = {}
    conflicts = []
    for row in rows:
        for place, values in _by_exposure(row).items():
            keeper, kept = taken.setdefault(place, (row, values))
            if Counter(kept) != Counter(values):
                for one, other, sign in ((row, keeper, "is kept"), (keeper, row, "is not kept")):
                    mine, theirs = (values, kept) if one is row else (kept, values)
                    what = f"{place[1]} at MJD {place[0]!r} is {_show(mine)}, and {_show(theirs)} in {other['SOURCE']}"
                    conflicts.append(_conflict(one, f"conflicting measurement: {what}, which {sign}"))
    epochs = [(mjd, band, *value) for (mjd, band), (_, values) in taken.items() for value in values]
    columns = list(zip(*epochs, strict=True)) or [()] * len(EPOCH_COLUMNS)
    return rows[0] | dict(zip(EPOCH_COLUMNS, map(list, columns), strict=True)), conflicts


def _by_exposure(row: Row) -> dict[tuple[float, str], list[tuple[Any, ...]]]:
    """Group flux, error and flag by MJD and band."""
    groups: dict[tuple[float, str], list[tuple[Any, ...]]] = {}
    for mjd, band, *values in zip(*(row[name] for name in EPOCH_COLUMNS), strict=True):
        groups.setdefault((mjd, band), []).append(tuple(values))
    return groups


def _show(values: Sequence[tuple[Any, ...]]) -> str:
    return ", ".join(f"{flux:g} ± {error:g}" for flux, error, _ in values)


def _conflict(row: Row, reason: str) -> Row:
    return {
        "SOURCE": "",
        "FILE": row["SOURCE"],
        "LINE": None,
        "SNID": row["SNID"],
        "SCOPE": "conflict",
        "REASON": reason,
        "SOURCE_HASH": file_digest(row["SOURCE_HASH"]),
    }


def _light_curves(rows: Sequence[Row]) -> pa.Table:
    """Build LIGHT_CURVE_SCHEMA as the readers do."""
    objects = [
        ObjectRow(
            tuple(math.nan if row[name] is None and name != "SURVEY" else row[name] for name in OBJECT_COLUMNS[:9]),
            math.nan if row["DETECTION_MJD"] is None else row["DETECTION_MJD"],
            row["SOURCE"],
            row["SOURCE_HASH"],
        )
        for row in rows
    ]
    owner = np.repeat(np.arange(len(rows), dtype=np.int64), [len(row["MJD"]) for row in rows])
    mjd, band, fluxcal, fluxcal_err, flag = ([value for row in rows for value in row[name]] for name in EPOCH_COLUMNS)
    epochs = Epochs(
        owner,
        np.array(mjd, np.float64),
        pa.array(band, pa.string()).dictionary_encode(),
        np.array(fluxcal, np.float64),
        np.array(fluxcal_err, np.float64),
        np.array(flag, np.int32),
    )
    return light_curve_table(objects, [epochs])
