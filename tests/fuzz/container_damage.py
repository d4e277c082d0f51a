"""Damaged archives and packed files: bytes changed before packing or after, headers that lie, archives in archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

from tests.fuzz.mutations import Files, mutate_bytes

__all__ = ["draw_container"]

PACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "": bytes,
    ".gz": lambda data: gzip.compress(data, 1, mtime=0),
    ".xz": lambda data: lzma.compress(data, preset=0),
    ".bz2": lambda data: bz2.compress(data, 1),
}
LIGHT_CURVE: Final = (
    b"SURVEY: TEST\nSNID: 7\nFILTERS: gr\nNVAR: 4\nVARLIST: MJD FLT FLUXCAL FLUXCALERR\n"
    b"OBS: 56000.0 g 10.0 1.0\nOBS: 56001.0 r 20.0 2.0\nEND:\n"
)
TABLE: Final = b"SNID,MJD,BAND,FLUXCAL,FLUXCALERR\n8,56000.0,g,10.0,1.0\n"
MEMBERS: Final[Files] = (
    ("a.dat", LIGHT_CURVE),
    ("README", b"Read me.\n"),
    ("c.dat.gz", gzip.compress(LIGHT_CURVE, 1, mtime=0)),
    ("n" * 120 + ".dat", LIGHT_CURVE),
)
_NAMES: Final = (
    "../x.dat",
    "/etc/x.dat",
    "a.dat",
    "",
    ".",
    "a/../../b",
    "\x1b[2J.dat",
    "\udc80.dat",
    "x.tar",
    "x.zip",
    "x.dat.gz",
    "C:\\x",
)
_TYPES: Final = b"0123456789\0SLKxgNDMVX\xff"
_SIZES: Final = (
    b"00000000000\0", b"77777777777\0", b"-0000000001\0", b"zzzzzzzzzzz\0", b"           \0", b"\x80" + b"\xff" * 11,
    b"\xff" * 12, b"\x80\0\0\0\0\0\0\0\0\0\0\x07", b"\x80\0\0\0\x7f" + b"\xff" * 7, b"00000000200\0", b"00004000001\0",
)  # fmt: skip
_PAX: Final = (
    b"size=9999999999999", b"size=-1", b"size=x", b"path=\xff\xfe", b"path=../x", b"path=", b"mtime=nan",
    b"mtime=1e999", b"hdrcharset=BINARY",
    b"GNU.sparse.major=1", b"GNU.sparse.map=0,1", b"GNU.sparse.name=x", b"GNU.sparse.size=9999999999", b"linkpath=a",
)  # fmt: skip


def draw_container(rng: random.Random) -> Files:
    """Damage an archive, one in an archive, or one packed file."""
    kind = rng.random()
    if kind < 0.15:
        suffix = rng.choice((".gz", ".xz", ".bz2"))
        return ((f"sn.dat{suffix}", mutate_bytes(rng, (PACKERS[suffix](LIGHT_CURVE),))),)
    name, data = _archive(rng, _some_members(rng))
    if kind < 0.4:
        name, data = _archive(rng, (*MEMBERS[:1], (f"deep/{name}", data), *MEMBERS[1:2]))
    return ((name, data),)


def _some_members(rng: random.Random) -> Files:
    further = (("b/night.csv", TABLE),) if rng.random() < 0.1 else ()
    return (*rng.sample(MEMBERS, rng.choice((1, 2, 3))), *further)


def _archive(rng: random.Random, members: Files) -> tuple[str, bytes]:
    """Pack files, and damage the archive: before it is packed, after that, or not."""
    if rng.random() < 0.4:
        data = _zip(members, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
        return rng.choice(("night.zip", "night.zip", "night.tar")), _damaged(rng, data, _damage_zip)
    data = _damaged(rng, _tar(members, rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))), _damage_tar)
    suffix = rng.choice(tuple(PACKERS))
    packed = PACKERS[suffix](data)
    if suffix and rng.random() < 0.4:
        packed = mutate_bytes(rng, (packed,))
    return "night.tar" + suffix, packed


@lru_cache(maxsize=1000)
def _tar(members: Files, form: int) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=form) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return _without_padding(packed.getvalue())


def _without_padding(data: bytes) -> bytes:
    """Leave the two empty blocks that end an archive, of the twenty that tarfile fills up to."""
    content = data.rstrip(b"\0")
    return content.ljust(-(-len(content) // 512) * 512 + 1024, b"\0")


@lru_cache(maxsize=1000)
def _zip(members: Files, method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return packed.getvalue()


def _damaged(rng: random.Random, data: bytes, damage: Callable[[random.Random, bytes], bytes]) -> bytes:
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        data = damage(rng, data) if rng.random() < 0.6 else mutate_bytes(rng, (data,))
    return data


def _damage_tar(rng: random.Random, data: bytes) -> bytes:
    """Change a member's header, and make its checksum right."""
    places = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    if not places:
        return data
    at, change = rng.choice(places), rng.random()
    header = bytearray(data[at : at + 512].ljust(512, b"\0"))
    if change < 0.3:
        header[124:136] = rng.choice(_SIZES)
    elif change < 0.5:
        header[156] = rng.choice(_TYPES)
    elif change < 0.65:
        header[:100] = rng.choice(_NAMES).encode("utf-8", "surrogateescape").ljust(100, b"\0")
    elif change < 0.8:
        return data[:at] + _pax_header(rng.choice(_PAX)) + data[at:]
    else:
        field = rng.choice(((100, 8), (136, 12), (329, 8), (265, 32), (345, 155), (386, 97), (482, 30)))
        header[field[0] : field[0] + field[1]] = rng.randbytes(field[1])
    return data[:at] + _with_checksum(header) + data[at + 512 :]


def _with_checksum(header: bytearray) -> bytes:
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


def _pax_header(record: bytes) -> bytes:
    body = b" " + record + b"\n"
    size = len(body) + 2
    body = b"%d" % size + body
    header = bytearray(tarfile.TarInfo("pax").tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"%011o\0" % len(body)
    header[156] = ord("x")
    return _with_checksum(header) + body.ljust(512, b"\0")


def _damage_zip(rng: random.Random, data: bytes) -> bytes:
    """Overwrite a field of a member's header, or of the table of contents, or of the end."""
    mark, places = rng.choice(
        (
            (b"PK\3\4", (4, 6, 8, 14, 18, 22, 26, 28)),
            (b"PK\1\2", (6, 8, 10, 16, 20, 24, 28, 30, 32, 38, 42)),
            (b"PK\5\6", (4, 8, 10, 12, 16, 20)),
        )
    )
    starts = _starts(data, mark)
    if not starts:
        return data
    at = rng.choice(starts) + rng.choice(places)
    value = rng.choice(
        (0, 1, 8, 9, 12, 14, 93, 99, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0xA000 << 16, rng.randrange(1 << 32))
    )
    width = rng.choice((2, 4))
    return data[:at] + struct.pack("<I", value)[:width] + data[at + width :]


def _starts(data: bytes, mark: bytes) -> Sequence[int]:
    found, at = [], data.find(mark)
    while at >= 0:
        found.append(at)
        at = data.find(mark, at + 1)
    return found
