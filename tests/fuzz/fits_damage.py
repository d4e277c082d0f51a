"""Damaged SNANA FITS: HEAD and PHOT with other cards, other values, other bytes; packed before or after."""

from __future__ import annotations

import gzip
import random
import struct
from functools import cache
from io import BytesIO
from typing import Any, Final

import numpy as np
from astropy.io import fits
from astropy.table import Table

from tests.fuzz.mutations import Files, damage_files, mutate_bytes

__all__ = ["draw_fits", "fits_pairs"]

BLOCK, CARD = 2880, 80
_FORMS: Final = (
    "A", "0A", "1A", "16A", "999999999A", "J", "1J", "0J", "2J", "4E", "D", "0D", "999999999999D", "I", "K",
    "B", "L", "X", "12X", "0X", "C", "M", "P", "PJ(3)", "1PB(0)", "1QD(9)", "Z", "1Z", "J1", "-1J", "1.5J",
    "A3", "2PD", "'A'", "é",
)  # fmt: skip
_VALUES: Final = (
    "0", "1", "-1", "2", "3", "8", "16", "-32", "-64", "80", "1000", "1000000", "2147483648", "99999999999999",
    "9999999999999999999999", "T", "F", "nan", "inf", "1E30", "1E400", "-0.0", "'", "'", "''", "'x", "27.5",
    "'27.5'", "²", "٣", "1.5", "(1,2)",
)  # fmt: skip
_NAMES: Final = (
    "SNID", "MJD", "BAND", "FLT", "FLUXCAL", "FLUXCALERR", "PHOTFLAG", "PTROBS_MIN", "PTROBS_MAX", "NOBS", "RA",
    "SNTYPE", "SIM_TYPE_INDEX", "SIM_TYPE_NAME", "HOSTGAL_PHOTOZ", "DETECTION_MJD", "DEC", "SURVEY", "x",
)  # fmt: skip
_KEYS: Final = (
    "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "BITPIX", "PCOUNT", "GCOUNT", "TFIELDS", "THEAP", "TSCAL1", "TZERO1",
    "TSCAL3", "TZERO3", "TNULL1", "TDIM1", "XTENSION", "SIMPLE", "EXTEND", "END", "CONTINUE", "COMMENT",
    "PHOTFILE", "SURVEY", "FILTERS", "ZP_FLUXCAL", "MWEBV_APPLYFLAG",
)  # fmt: skip
_INTEGERS: Final = (0, 1, 2, 3, 4, 5, 7, -1, -9, -777, 1 << 16, (1 << 31) - 1, -(1 << 31))
_FLOATS: Final = (0.0, -0.0, float("nan"), float("inf"), -float("inf"), 1e30, -1e30, 1e-40, -777.0, -9.0, 5e4)


def draw_fits(rng: random.Random) -> Files:
    """Damage HEAD, PHOT, or both."""
    pair = rng.choice(fits_pairs())
    is_packed = rng.random() < 0.15
    if is_packed and rng.random() < 0.5:
        packed = tuple((f"{name}.gz", gzip.compress(data, 1, mtime=0)) for name, data in pair)
        return damage_files(rng, packed, lambda data: mutate_bytes(rng, (data,)))
    damaged = damage_files(rng, pair, lambda data: _damage(rng, data))
    return tuple((f"{name}.gz", gzip.compress(data, 1, mtime=0)) for name, data in damaged) if is_packed else damaged


@cache
def fits_pairs() -> tuple[Files, ...]:
    """Return pairs in SNANA's ways: numbers or words as SNID, vectors in HEAD, a scale, a zeropoint, flags."""
    words, numbers = np.array([b"007", b"a b"], "S8"), np.array([7, 12], np.int32)
    return (
        _pair({"SNID": words, "HOSTGAL_MAGS": np.zeros((2, 4), np.float32), "NOBS": [2, 1]}, "BAND"),
        _pair({"SNID": numbers, "SNTYPE": [101, 122], "SIM_TYPE_NAME": words}, "FLT", FILTERS="gr", MWEBV_APPLYFLAG=1),
        _pair({"SNID": numbers, "SIM_TYPE_INDEX": [1, 22]}, "BAND", ZP_FLUXCAL=30.0),
    )


def _pair(columns: dict[str, Any], band: str, **cards: Any) -> Files:
    head = Table(
        columns
        | {"RA": [10.5, -9.0], "HOSTGAL_PHOTOZ": np.array([0.25, -9], np.float32)}
        | {"PTROBS_MIN": np.array([1, 4], np.int32), "PTROBS_MAX": np.array([2, 4], np.int32)}
    )
    phot = Table(
        {
            "MJD": [56000.0, 56000.5, -777.0, 56007.0, -777.0],
            band: np.array(["g", "r", "-", "r", "-"], "S2"),
            "FLUXCAL": np.array([10, 20, -777, 30, -777], np.float32),
            "FLUXCALERR": np.array([1, 2, -777, 3, -777], np.float32),
            "PHOTFLAG": np.array([0, 4096, 0, 0, 0], np.int32),
        }
    )
    return (
        ("S_HEAD.FITS", _written(head, PHOTFILE="S_PHOT.FITS", SURVEY="TEST", **cards)),
        ("S_PHOT.FITS", _written(phot)),
    )


def _written(table: Table, **cards: Any) -> bytes:
    primary = fits.PrimaryHDU()
    for key, value in cards.items():
        primary.header["HIERARCH " + key if len(key) > 8 else key] = value
    written = BytesIO()
    fits.HDUList([primary, fits.BinTableHDU(table)]).writeto(written)
    return written.getvalue()


def _damage(rng: random.Random, data: bytes) -> bytes:
    """Damage a file once to four times: its cards, the numbers in its rows, or any bytes."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        kind = rng.random()
        if kind < 0.55:
            data = _damage_cards(rng, data)
        elif kind < 0.9:
            data = _damage_rows(rng, data)
        else:
            data = mutate_bytes(rng, (data,))
    return data


def _damage_cards(rng: random.Random, data: bytes) -> bytes:
    size = max(len(data) - BLOCK, CARD)
    cards = [data[start : start + CARD] for start in range(0, size, CARD)]
    written = [place for place, card in enumerate(cards) if card.strip()]
    if not written:
        return data
    place, change = rng.choice(written), rng.random()
    if change < 0.6:
        cards[place] = _other_value(rng, cards[place])
    elif change < 0.7:
        cards[place] = _card(rng.choice(_KEYS), rng.choice(_VALUES))
    elif change < 0.8:
        cards[place], cards[place - 1] = cards[place - 1], cards[place]
    elif change < 0.9:
        cards[place] = cards[rng.choice(written)]
    else:
        del cards[place]
    return b"".join(cards) + data[size:]


def _other_value(rng: random.Random, card: bytes) -> bytes:
    key = card[:8].decode("latin-1").strip()
    if key.startswith("TFORM"):
        return _card(key, f"'{rng.choice(_FORMS)}'")
    if key.startswith("TTYPE"):
        return _card(key, f"'{rng.choice(_NAMES)}'")
    if key.startswith("HIERARCH"):
        return card[:26] + f"= {rng.choice(_VALUES)}".encode()[:54].ljust(54)
    return _card(key, rng.choice(_VALUES))


def _card(key: str, value: str) -> bytes:
    return f"{key:8}= {value}".encode()[:CARD].ljust(CARD)


def _damage_rows(rng: random.Random, data: bytes) -> bytes:
    """Overwrite a number in the last block, where the rows of these small tables stand."""
    number = struct.pack(">i", rng.choice(_INTEGERS))
    if rng.random() < 0.5:
        number = struct.pack(rng.choice((">f", ">d")), rng.choice(_FLOATS))
    elif rng.random() < 0.1:
        number = rng.randbytes(4)
    start = max(len(data) - BLOCK, 0)
    place = start + rng.randrange(160)
    return (data[:place] + number + data[place + len(number) :])[: max(len(data), place)]
