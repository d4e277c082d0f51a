"""Damaged Parquet and Arrow: valid files of odd tables, and bytes changed in files of sound ones."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from io import BytesIO
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.mutations import Files, mutate_bytes

__all__ = ["draw_arrow", "draw_arrow_bytes", "draw_parquet", "draw_parquet_bytes"]

EPOCHS: Final = ("MJD", "BAND", "FLUXCAL", "FLUXCALERR")
_SOUND: Final[dict[str, tuple[Any, ...]]] = {
    "SNID": ("007", "a b", "12", "é"),
    "MJD": (56000.0, 56000.5, 56007.0, 56003.0),
    "BAND": ("g", "r", "g", "i"),
    "FLUXCAL": (10.0, -2.5, 30.0, 0.0),
    "FLUXCALERR": (1.0, 2.0, 0.5, 3.0),
}
_FURTHER: Final[dict[str, tuple[Any, ...]]] = {
    "PHOTFLAG": (0, 4096, 2**31, -1),
    "ZP_FLUXCAL": (27.5, 30.0, -9.0, 1e9),
    "HOSTGAL_PHOTOZ": (0.25, -9.0, float("nan"), 0.5),
    "RA": (10.5, -9.0, 359.0, 0.0),
    "SURVEY": ("DES", None, "", "a" * 300),
    "SNTYPE": (101, 22, -9, 2**40),
    "SIM_TYPE_NAME": ("SNIa", "II", "?", None),
    "DETECTION_MJD": (56000.0, -9.0, None, 1e30),
    "detected_bool": (True, False, True, None),
}
_MOMENT: Final = datetime(2020, 1, 1, tzinfo=UTC)
_NUMBERS: Final = (0, 1, -1, 7, 120)
_WIDE: Final = (2**63 - 1, -(2**63), 2**53 + 1, 0, 56000)
_REALS: Final = (float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, -0.0, -777.0, -9.0)
_WORDS: Final = ("", " ", "g", "nan", "-9", "1e999", "0x1f", "56000", "\0", "\x1b[2J", "é", "?" * 99, "u202e", "None")

Maker = Callable[[random.Random, int], pa.Array]


def _of(kind: pa.DataType, values: Sequence[Any]) -> Maker:
    return lambda rng, n: pa.array([rng.choice((*values, None)) for _ in range(n)], kind)


def _of_list(kind: pa.DataType, values: Sequence[Any]) -> Maker:
    return lambda rng, n: pa.array(
        [rng.choice((None, [], [rng.choice(values)], [rng.choice(values), None])) for _ in range(n)], kind
    )


_UNION: Final = pa.sparse_union([pa.field("a", pa.int64()), pa.field("b", pa.string())])
_ODD: Final[tuple[Maker, ...]] = (
    *(_of(kind, _NUMBERS) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(_of(kind, (0, 1, 7, 200)) for kind in (pa.uint8(), pa.uint16(), pa.uint32())),
    _of(pa.int64(), _WIDE),
    _of(pa.uint64(), (0, 2**64 - 1, 2**63)),
    _of(pa.float16(), [np.float16(value) for value in (0, 1, 6e4)]),
    _of(pa.float32(), _REALS[:3]),
    _of(pa.float64(), _REALS),
    _of(pa.bool_(), (True, False)),
    _of(pa.null(), ()),
    *(_of(kind, _WORDS) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(
        _of(kind, (b"", b"g", b"\xff\xfe", b"\0", b"56000"))
        for kind in (pa.binary(), pa.large_binary(), pa.binary_view())
    ),
    _of(pa.binary(2), (b"g ", b"\xff\0")),
    _of(pa.decimal128(30, 4), (Decimal("56000.5"), Decimal("-9"))),
    _of(pa.decimal256(60, 4), (Decimal("1e40"), Decimal("-9"))),
    *(
        _of(kind, (_MOMENT,))
        for kind in (pa.timestamp("ns"), pa.timestamp("s", "UTC"), pa.timestamp("us", "Europe/Paris"))
    ),
    _of(pa.timestamp("s"), (2**62, -(2**62))),
    _of(pa.date32(), (_MOMENT, 2**30)),
    _of(pa.time64("ns"), (0, 10**12)),
    _of(pa.duration("s"), (0, 2**62)),
    *(_of_list(kind(pa.float64()), _REALS) for kind in (pa.list_, pa.large_list, pa.list_view)),
    _of_list(pa.list_(pa.list_(pa.string())), [["g"], [None], None]),
    lambda rng, n: pa.array([rng.choice((None, [1.0, None])) for _ in range(n)], pa.list_(pa.float64(), 2)),
    lambda rng, n: pa.array([rng.choice((None, {"MJD": 1.0})) for _ in range(n)], pa.struct({"MJD": pa.float64()})),
    lambda rng, n: pa.array([{}] * n, pa.struct([])),
    lambda rng, n: pa.array([rng.choice((None, [("g", 1)])) for _ in range(n)], pa.map_(pa.string(), pa.int32())),
    lambda rng, n: pa.array([rng.choice((None, *_WORDS)) for _ in range(n)]).dictionary_encode(),
    lambda rng, n: pa.array([rng.choice((None, *_REALS)) for _ in range(n)]).dictionary_encode(),
    lambda rng, n: pa.DictionaryArray.from_arrays(
        pa.array([rng.choice((0, 1, 2, None)) for _ in range(n)], pa.int8()), pa.array(["g", None, "g"])
    ),
    lambda rng, n: pa.RunEndEncodedArray.from_arrays([n], [7]) if n else pa.array([], pa.int64()),
    lambda rng, n: pa.UnionArray.from_sparse(
        pa.array([0] * n, pa.int8()), [pa.array([1] * n, pa.int64()), pa.array(["x"] * n, pa.string())]
    ),
    lambda rng, n: pa.ExtensionArray.from_storage(pa.uuid(), pa.array([bytes(16)] * n, pa.binary(16))),
)


def draw_parquet(rng: random.Random) -> Files:
    """Write an odd table as Parquet; now and then damage its bytes."""
    return (("Npix=7.parquet", _drawn(rng, write_parquet)),)


def draw_arrow(rng: random.Random) -> Files:
    """Write an odd table as Arrow IPC; now and then damage its bytes."""
    return (("night.arrow", _drawn(rng, write_arrow)),)


def draw_parquet_bytes(rng: random.Random) -> Files:
    """Change bytes of a sound Parquet file: anywhere, or in what stands at its end."""
    data = rng.choice(sound_files(write_parquet))
    if rng.random() < 0.4:
        return (("Npix=7.parquet", mutate_bytes(rng, (data,))),)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    whole = rng.random() < 0.5  # with its own size, so that it is read
    end = mutate_bytes(rng, (data[-footer:-8],))
    return (
        ("Npix=7.parquet", data[:-footer] + end + (len(end).to_bytes(4, "little") + b"PAR1" if whole else data[-8:])),
    )


def draw_arrow_bytes(rng: random.Random) -> Files:
    """Change bytes of a sound Arrow file or stream."""
    return (("night.arrow", mutate_bytes(rng, sound_files(write_arrow))),)


def write_parquet(table: pa.Table, rng: random.Random) -> bytes:
    """Write a table in one of the ways that Parquet has."""
    written = BytesIO()
    pq.write_table(
        table,
        written,
        row_group_size=rng.choice((1, 3, 100)),
        compression=rng.choice(("none", "snappy", "zstd", "gzip")),
        use_dictionary=rng.random() < 0.5,
        data_page_version=rng.choice(("1.0", "2.0")),
        write_statistics=rng.random() < 0.5,
        store_schema=rng.random() < 0.5,
    )
    return written.getvalue()


def write_arrow(table: pa.Table, rng: random.Random) -> bytes:
    """Write a table as Arrow file or stream, packed or not."""
    written = BytesIO()
    make = rng.choice((pa.ipc.new_file, pa.ipc.new_stream))
    options = pa.ipc.IpcWriteOptions(compression=rng.choice((None, "lz4", "zstd")), unify_dictionaries=True)
    with make(written, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rng.choice((1, 3, 100)))
    return written.getvalue()


@cache
def sound_files(write: Callable[[pa.Table, random.Random], bytes]) -> tuple[bytes, ...]:
    """Write sound tables of every layout in many ways."""
    rng = random.Random(1)
    tables = [_sound_table(layout) for layout in ("long", "lists", "struct", "structs")]
    return tuple(write(table, rng) for table in tables for _ in range(6))


def _drawn(rng: random.Random, write: Callable[[pa.Table, random.Random], bytes]) -> bytes:
    while True:
        try:
            data = write(_odd_table(rng), rng)
        except (pa.ArrowException, OSError):  # not every table can be written in every format
            continue
        return mutate_bytes(rng, (data,)) if rng.random() < 0.1 else data


def _sound_table(layout: str) -> pa.Table:
    if layout == "long":
        return pa.table({name: list(values) for name, values in _SOUND.items()} | {"RA": [10.5, 10.5, -9.0, 1.0]})
    columns = {name: pa.array([_SOUND[name], _SOUND[name][:2]]) for name in EPOCHS}
    return _nested({"SNID": pa.array(["007", "a b"])}, columns, layout)


def _nested(head: dict[str, pa.Array], columns: dict[str, pa.Array], layout: str) -> pa.Table:
    if layout == "lists":
        return pa.table(head | columns)
    if layout == "struct":
        return pa.table(head | {"lc": pa.StructArray.from_arrays(list(columns.values()), list(columns))})
    inner = pa.StructArray.from_arrays([column.flatten() for column in columns.values()], list(columns))
    offsets = next(iter(columns.values())).offsets
    return pa.table(head | {"lc": pa.ListArray.from_arrays(offsets, inner)})


def _odd_table(rng: random.Random) -> pa.Table:
    """Make a table in one of the layouts, some of whose columns have odd types, values, lengths or names."""
    n = rng.choice((0, 1, 2, 3, 3, 4))
    further = {name: _column(rng, values, n) for name, values in _FURTHER.items() if rng.random() < 0.2}
    layout = rng.choice(("long", "lists", "lists", "struct", "structs"))
    if layout == "long":
        table = pa.table({name: _column(rng, values, n) for name, values in _SOUND.items()} | further)
    else:
        head = {"SNID": _column(rng, _SOUND["SNID"], n), **further}
        table = _nested(head, _list_columns(rng, n, layout), layout)
    if rng.random() < 0.15:
        table = table.rename_columns([_other_name(rng, name) for name in table.column_names])
    if rng.random() < 0.1:
        table = table.replace_schema_metadata({b"pandas": rng.choice((b"{", b"{}", b'{"columns": 3}', b"\xff"))})
    return table


def _column(rng: random.Random, sound: Sequence[Any], n: int) -> pa.Array:
    if rng.random() < 0.15:
        return rng.choice(_ODD)(rng, n)
    nothing = (None,) if rng.random() < 0.1 else ()
    return pa.array([rng.choice((*sound, *nothing)) for _ in range(n)])


def _list_columns(rng: random.Random, n: int, layout: str) -> dict[str, pa.Array]:
    lengths = [rng.choice((0, 1, 2, 3)) for _ in range(n)]
    columns = {}
    names = EPOCHS if rng.random() < 0.7 else (*EPOCHS, rng.choice(("PHOTFLAG", "ZP_FLUXCAL", "detected_bool")))
    for name in names:
        own = lengths if layout == "structs" or rng.random() < 0.95 else [rng.choice((0, 1, 2)) for _ in range(n)]
        values = _column(rng, {**_SOUND, **_FURTHER}[name], sum(own))
        nulls = [layout != "structs" and rng.random() < 0.03 for _ in range(n)]
        columns[name] = _listed(rng, own, values, nulls, layout)
    return columns


def _listed(rng: random.Random, lengths: list[int], values: pa.Array, nulls: list[bool], layout: str) -> pa.Array:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    mask = pa.array(nulls, pa.bool_()) if any(nulls) else None
    if layout != "structs" and rng.random() < 0.08 and not any(nulls):
        return pa.LargeListArray.from_arrays(pa.array(offsets), values)
    if layout != "structs" and rng.random() < 0.05 and len(values) % max(len(lengths), 1) == 0 and len(values):
        return pa.FixedSizeListArray.from_arrays(values, len(values) // len(lengths))
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32)), values, mask=mask)


def _other_name(rng: random.Random, name: str) -> str:
    return rng.choice(
        (name, name, name, name.lower(), "SNID", "MJD", "", "lc", "FLUXCAL", "BAND", " ", "lc.MJD", name + "\0")
    )
