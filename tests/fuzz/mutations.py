"""Damaged copies of small files: what disks, editors, mailers and people do to text, and bad luck to bytes."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

__all__ = ["ODD_NUMBERS", "Files", "damage_files", "mutate", "mutate_bytes"]

Files = tuple[tuple[str, bytes], ...]
"""One input: a file, or those that belong together, each with its name."""

_NUMBER: Final = re.compile(rb"[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
_WORD: Final = re.compile(rb"[^\s,]+")
ODD_NUMBERS: Final = (
    b"nan NaN inf -inf 0 -0.0 -9 -9.0 -99 -999 99 99.999 128 666 1e308 -1e308 1e309 1e-320 5e-324 1e400 0x1f 1_000 "
    b"2147483648 -2147483649 4294967296 9223372036854775808 18446744073709551616 1e19 +1 .5 5. 1,5 1e 1e+ -- +-0.1 "
    b"0.3+-0.1 1d5 NULL None \xd9\xa3 1\x002 " + b"9" * 400
).split(b" ")
_WORDS: Final = (
    b"OBS: END: END_PHOTOMETRY: SNID: VARLIST: VARNAMES: NOBS: NVAR: DETECTION: TRIGGER: FILTERS: TYPE: SNTYPE: "
    b"ZP_FLUXCAL: REDSHIFT_HELIO: HOSTGAL_PHOTOZ: HOST_GALAXY_PHOTO-Z: SIM_COMMENT: SIM_REDSHIFT: PRIVATE(x): MJD "
    b"FLT BAND FLUXCAL FLUXCALERR MAG MAGERR PHOTFLAG +- +_ # \" ' , ; | { } [ ] < > \\ % \xef\xbb\xbf \xff\xfe \xe9 "
    b"\xc3\xa9 \xed\xa0\x80 \xf4\x90\x80\x80 \x00 \x1a \x85 \xe2\x80\xa8 DES-g g r"
).split(b" ")
_SPACES: Final = (b" ", b"\t", b"\n", b"\r", b"\r\n", b"\x0b", b"\x0c", b"\x1c", b"\xa0", b"\n\n", b"\n ", b"")

_ODD_INTEGERS: Final = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    256,
    1 << 15,
    1 << 16,
    (1 << 31) - 1,
    -(1 << 31),
    1 << 40,
    1 << 62,
)


class Stock(NamedTuple):
    """What damage may bring in: other files of the format, and words that mean something in it."""

    seeds: Sequence[bytes]
    words: Sequence[bytes]


Mutation = Callable[[bytes, random.Random, Stock], bytes]


def mutate(rng: random.Random, seeds: Sequence[bytes], words: Sequence[bytes] = _WORDS) -> bytes:
    """Return one of the seeds, which are text, after one to six damages."""
    return _mutate(rng, Stock(seeds, words), _MUTATIONS)


def mutate_bytes(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds, which are not text, after one to six damages."""
    return _mutate(rng, Stock(seeds, ()), _BYTE_MUTATIONS)


def damage_files(rng: random.Random, files: Files, damage: Callable[[bytes], bytes]) -> Files:
    """Damage one of the files, or all; now and then lose one."""
    chosen = range(len(files)) if rng.random() < 0.3 else (rng.randrange(len(files)),)
    damaged = tuple((name, damage(data) if place in chosen else data) for place, (name, data) in enumerate(files))
    if len(files) > 1 and rng.random() < 0.02:
        return (rng.choice(damaged),)
    return damaged


def _mutate(rng: random.Random, stock: Stock, mutations: Sequence[Mutation]) -> bytes:
    data = rng.choice(stock.seeds)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        data = rng.choice(mutations)(data, rng, stock)
    return data


def _span(data: bytes, rng: random.Random) -> tuple[int, int]:
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + rng.randrange(1 + min(200, len(data))))


def _flip_a_bit(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    if not data:
        return data
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << rng.randrange(8))]) + data[place + 1 :]


def _insert_bytes(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.randrange(1, 9)) + data[place:]


def _insert_a_word(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    place = rng.randrange(len(data) + 1)
    word = rng.choice(_SPACES) + rng.choice(stock.words) + rng.choice(_SPACES)
    return data[:place] + word + data[place:]


def _delete(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + data[stop:]


def _repeat(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    start, stop = _span(data, rng)
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 2, 20)) + data[stop:]


def _cut_short(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _splice(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    other = rng.choice(stock.seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _change_a_number(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    return _replace_one(data, rng, _NUMBER, rng.choice(ODD_NUMBERS))


def _change_a_word(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    return _replace_one(data, rng, _WORD, rng.choice(stock.words))


def _replace_one(data: bytes, rng: random.Random, pattern: re.Pattern[bytes], new: bytes) -> bytes:
    match = pattern.search(data, rng.randrange(len(data) + 1))
    return data if match is None else data[: match.start()] + new + data[match.end() :]


def _change_a_space(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    return _replace_one(data, rng, re.compile(rb"\s"), rng.choice(_SPACES))


def _change_all_line_ends(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    return data.replace(b"\n", rng.choice((b"\r\n", b"\r", b" \n", b"\n\n", b"\n#\n", b"")))


def _move_a_line(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    line = lines.pop(rng.randrange(len(lines)))
    lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _overwrite(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    start, stop = _span(data, rng)
    return data[:start] + rng.choice((bytes(stop - start), b"\xff" * (stop - start))) + data[stop:]


def _change_an_integer(data: bytes, rng: random.Random, stock: Stock) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(_ODD_INTEGERS) % (1 << 8 * size)
    place = rng.randrange(max(len(data) - size, 0) + 1)
    return data[:place] + value.to_bytes(size, rng.choice(("little", "big"))) + data[place + size :]


_MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flip_a_bit,
    _insert_bytes,
    _insert_a_word,
    _delete,
    _repeat,
    _cut_short,
    _splice,
    _change_a_number,
    _change_a_number,
    _change_a_word,
    _change_a_space,
    _change_all_line_ends,
    _move_a_line,
)
_BYTE_MUTATIONS: Final[tuple[Mutation, ...]] = (
    _flip_a_bit,
    _flip_a_bit,
    _flip_a_bit,
    _change_an_integer,
    _change_an_integer,
    _overwrite,
    _insert_bytes,
    _delete,
    _repeat,
    _cut_short,
    _splice,
)
