"""Words of a table of text, found for many rows at once.

A table of equal rows needs no parser: the edges between words and white space are found in one pass over the bytes, and
where every row has its words end at the same places, as programs write them, in even less.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["IrregularRowsError", "Words", "split_rows"]

Positions = npt.NDArray[np.int32]

_SPACE: Final = 32
_NEWLINE: Final = 10
_LONGEST_ALIGNED: Final = 2048
"""Longer rows are not compared with each other [bytes]: no program writes them, but somebody could."""
_WHITE: Final = np.frombuffer(b"\t\n\v\f\r ", np.uint8)


class IrregularRowsError(ValueError):
    """The rows do not all have the expected words; read them one by one to learn which."""


@dataclass(frozen=True)
class Words(ABC):
    """The words of n_rows × width, in one text.

    Attributes:
        text: in which they stand.
        row_starts: (n_rows,) int32, position of each row's first byte in the text [bytes].
    """

    text: bytes
    row_starts: Positions

    @abstractmethod
    def bounds(self, index: int) -> tuple[Positions, Positions]:
        """Return where the words of one column start and end, (n_rows,) each."""

    def column(self, index: int) -> pa.StringArray:
        """Return the words of one column, (n_rows,)."""
        offsets = np.empty(2 * len(self.row_starts), np.int32)
        offsets[::2], offsets[1::2] = self.bounds(index)
        words_and_gaps = pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(self.text))
        return words_and_gaps.take(pa.array(np.arange(0, len(offsets), 2)))

    def numbers(self, index: int) -> npt.NDArray[np.float64]:
        """Return a column as (n_rows,) float64.

        Raises:
            pyarrow.ArrowInvalid: if a word is not a number.
        """
        return np.asarray(self.column(index).cast(pa.float64()))


def split_rows(text: bytes, width: int, first_word: bytes) -> Words:
    r"""Find the words of a text in which every line has `width` words and starts with `first_word`.

    >>> split_rows(b"\nOBS: 1 g\nOBS:\t2  r\n", 3, b"OBS:").column(2).to_pylist()
    ['g', 'r']

    Args:
        text: starts and ends with a line end; at most 2 GB.
        width: words in a row.
        first_word: of every row, without white space before it.

    Raises:
        IrregularRowsError: if some line is different.
    """
    buffer = np.frombuffer(text, np.uint8)
    is_word = buffer > _SPACE
    return _aligned(text, buffer, is_word, width, first_word) or _ragged(text, buffer, is_word, width, first_word)


@dataclass(frozen=True)
class _Aligned(Words):
    """Words that end at the same places in every row.

    Attributes:
        is_word: of each byte of the text.
        length: of a row with its line end [bytes].
        ends: (width,) where the words of a row end, counted from the line end before it [bytes].
    """

    is_word: npt.NDArray[np.bool_]
    length: int
    ends: list[int]

    def bounds(self, index: int) -> tuple[Positions, Positions]:
        before = self.row_starts - 1
        gap = self.ends[index - 1] if index else 1
        starts = before + gap
        for place in range(gap, self.ends[index]):
            is_blank = ~self.is_word[place :: self.length]
            if not is_blank.any():
                break
            starts += is_blank
        return starts, before + self.ends[index]


def _aligned(
    text: bytes, buffer: npt.NDArray[np.uint8], is_word: npt.NDArray[np.bool_], width: int, first_word: bytes
) -> _Aligned | None:
    """Find words of rows that are all alike, None where some are not."""
    length = text.find(b"\n", 1)
    n_rows, rest = divmod(len(text) - 1, length)
    if rest or length > _LONGEST_ALIGNED:
        return None
    is_end = is_word[:-1] > is_word[1:]
    ends = (np.flatnonzero(is_end[:length]) + 1).tolist()
    if len(ends) != width or ends[0] != 1 + len(first_word) or not np.array_equal(is_end[length:], is_end[:-length]):
        return None
    # All that is neither text nor a space is the line ends.
    if np.count_nonzero(buffer < _SPACE) != n_rows + 1 or not (buffer[::length] == _NEWLINE).all():
        return None
    if not all((buffer[place::length] == letter).all() for place, letter in enumerate(first_word, start=1)):
        return None
    return _Aligned(text, np.arange(1, len(text), length, dtype=np.int32), is_word, length, ends)


@dataclass(frozen=True)
class _Ragged(Words):
    """Words at any places.

    Attributes:
        edges: (n_rows, 2 × width) where words start and end in turn [bytes].
    """

    edges: Positions

    def bounds(self, index: int) -> tuple[Positions, Positions]:
        return self.edges[:, 2 * index], self.edges[:, 2 * index + 1]


def _ragged(
    text: bytes, buffer: npt.NDArray[np.uint8], is_word: npt.NDArray[np.bool_], width: int, first_word: bytes
) -> _Ragged:
    """Find words of rows in which they stand anywhere."""
    edges: Positions = np.flatnonzero(is_word[1:] != is_word[:-1]).astype(np.int32)
    edges += 1
    if len(edges) == 0 or len(edges) % (2 * width):
        raise IrregularRowsError(f"{len(edges) // 2} words are not rows of {width}")
    edges = edges.reshape(-1, 2 * width)
    row_starts = edges[:, 0].copy()
    n_newlines = np.count_nonzero(buffer == _NEWLINE)
    if np.count_nonzero(buffer < _SPACE) != n_newlines and not np.isin(buffer[~is_word], _WHITE).all():
        raise IrregularRowsError("some byte is neither text nor white space")
    # As many line ends as rows, and one before each row: then no row holds a line end.
    follows_line_end = n_newlines - 1 == len(row_starts) and (buffer[row_starts - 1] == _NEWLINE).all()
    if not (follows_line_end and _all_start_with(text, row_starts, edges[:, 1], first_word)):
        raise IrregularRowsError(f"some line is not {first_word.decode()} and {width - 1} words")
    return _Ragged(text, row_starts, edges)


def _all_start_with(text: bytes, starts: Positions, ends: Positions, word: bytes) -> bool:
    """Tell whether the words from `starts` to `ends` are all this word."""
    at_every_byte = np.ndarray(len(text) - len(word) + 1, f"S{len(word)}", text, strides=(1,))
    return bool((ends - starts == len(word)).all() and (at_every_byte[starts] == word).all())
