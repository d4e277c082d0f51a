"""Binary tables of FITS files as numpy records: the cards that describe them, and their rows from first to last.

FITS standard 4.0, sections 4 and 7.3. Columns of variable length are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from pipeline.ingest.readers.base import TableError

__all__ = ["FitsTable", "read_cards"]

BLOCK: Final = 2880
CARD: Final = 80
_PIECE: Final = 1 << 25
MAX_CARDS: Final = 36 * 1000
_FORMAT: Final = re.compile(r"(\d*)([LXBIJKAEDCMPQ])")
_DTYPES: Final = {
    "L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "C": ">c8", "M": ">c16",
    "P": "V8", "Q": "V16",
}  # fmt: skip

Cards = dict[str, str]
Records = npt.NDArray[Any]


def read_cards(handle: BinaryIO) -> Cards:
    """Read one header, up to its END; values as text, strings without quotes.

    Raises:
        TableError: if the header does not end.
    """
    cards: Cards = {}
    last = ""
    for _ in range(MAX_CARDS // 36):
        block = handle.read(BLOCK)
        if len(block) < BLOCK:
            raise TableError("truncated: a FITS header ends before END")
        for start in range(0, BLOCK, CARD):
            card = block[start : start + CARD].decode("latin-1")
            if card.rstrip() == "END":
                return cards
            last = _add_card(cards, card, last)
    raise TableError(f"damaged: a FITS header has no END in {MAX_CARDS} cards")


def _add_card(cards: Cards, card: str, last: str) -> str:
    """Note a card's value, and return the key that a CONTINUE card after it goes on with."""
    if card.startswith("CONTINUE") and cards.get(last, "").endswith("&"):
        cards[last] = cards[last][:-1] + _value(card[8:])
        return last
    key, separator, value = card.removeprefix("HIERARCH ").partition("=")
    if not separator or card.startswith(("COMMENT", "HISTORY")):
        return last
    cards[key.strip()] = _value(value)
    return key.strip()


def _value(text: str) -> str:
    found = re.match(r"\s*'((?:[^']|'')*)'", text)
    return found[1].replace("''", "'").rstrip() if found else text.partition("/")[0].strip()


@dataclass
class FitsTable:
    """The first binary table of an open FITS file.

    Attributes:
        primary: cards of the file.
        cards: cards of the table.
        dtype: of a row; a column of several numbers has a shape.
        n_rows: as announced.
        data_start: position of the first row [bytes].
    """

    handle: BinaryIO
    primary: Cards
    cards: Cards
    dtype: np.dtype[Any]
    n_rows: int
    data_start: int

    @classmethod
    def open(cls, handle: BinaryIO) -> FitsTable:
        """Read up to the first row of the first binary table.

        Raises:
            TableError: if there is none, or its description contradicts itself.
        """
        primary = read_cards(handle)
        if _integer(primary, "NAXIS", 0) and _integer(primary, "NAXIS1", 0):
            raise TableError("damaged: the FITS file opens with an image")
        cards = read_cards(handle)
        if cards.get("XTENSION") != "BINTABLE":
            raise TableError("no table: the first extension of the FITS file is not a binary table")
        dtype = _row_dtype(cards)
        if dtype.itemsize != _integer(cards, "NAXIS1"):
            raise TableError(f"damaged: columns of {dtype.itemsize} bytes in rows of {cards['NAXIS1']}")
        return cls(handle, primary, cards, dtype, _integer(cards, "NAXIS2"), handle.tell())

    @property
    def names(self) -> Sequence[str]:
        """Name the columns."""
        return self.dtype.names or ()

    def rows(self, first: int, last: int) -> Records:
        """Return the rows from `first` to before `last`, counted from 0; in a packed file, going back is slow.

        Raises:
            TableError: if the file ends before.
        """
        self.handle.seek(self.data_start + first * self.dtype.itemsize)
        data = _read(self.handle, (last - first) * self.dtype.itemsize)
        if len(data) < (last - first) * self.dtype.itemsize:
            announced = f"NAXIS2 announces {self.n_rows} rows"
            raise TableError(f"truncated: {announced}, the file ends in row {first + len(data) // self.dtype.itemsize}")
        return np.frombuffer(data, self.dtype)

    def numbers(self, records: Records, name: str) -> npt.NDArray[np.float64]:
        """Return a column of numbers as float64, in its units.

        Raises:
            TableError: if what the header says of its units is no number.
        """
        index = self.names.index(name) + 1
        scale, zero = (_number(self.cards, f"{key}{index}") for key in ("TSCAL", "TZERO"))
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told as such
            values = records[name].astype(np.float64)
            return values * (scale or 1.0) + zero if scale or zero else values


def _read(handle: BinaryIO, size: int) -> bytes:
    """Read at most `size` bytes, in pieces: what a damaged header asks for may not be there, nor fit."""
    pieces: list[bytes] = []
    while size > 0 and (piece := handle.read(min(size, _PIECE))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def _row_dtype(cards: Cards) -> np.dtype[Any]:
    fields: list[tuple[Any, ...]] = []
    seen: set[str] = set()
    for index in range(1, _integer(cards, "TFIELDS") + 1):
        found = _FORMAT.match(cards.get(f"TFORM{index}", ""))
        if not found:
            raise TableError(f"damaged: TFORM{index} is {cards.get(f'TFORM{index}')!r}")
        name = cards.get(f"TTYPE{index}", "") or f"column {index}"
        name = name if name not in seen else f"{name} {index}"
        seen.add(name)
        fields.append(_field(name, int(found[1] or 1), found[2]))
    try:
        return np.dtype(fields)
    except ValueError as error:
        raise TableError(f"damaged: the columns of the FITS table make no row ({error})") from None


def _field(name: str, repeat: int, code: str) -> tuple[Any, ...]:
    if code == "A":
        return name, f"S{repeat}" if repeat else "V0"
    if code == "X":
        return name, f"V{(repeat + 7) // 8}"
    return (name, _DTYPES[code]) if repeat == 1 else (name, _DTYPES[code], (repeat,))


def _number(cards: Cards, key: str) -> float:
    try:
        return float(cards.get(key, 0))
    except ValueError:
        raise TableError(f"damaged: {key} of the FITS file is {cards[key]!r}") from None


def _integer(cards: Cards, key: str, default: int | None = None) -> int:
    value = cards.get(key, default)
    if value is None or not re.fullmatch("[0-9]{1,15}", str(value)):
        raise TableError(f"damaged: {key} of the FITS file is {value!r}")
    return int(value)
