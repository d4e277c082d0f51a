"""Words of a table of text, found for many rows at once.

A table of equal rows needs no parser: the edges between words and white space, found in one pass over the bytes, are
the offsets of an Arrow string array whose every other string is a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["IrregularRowsError", "Words", "split_rows"]

Positions = npt.NDArray[np.int64]

_SPACE: Final = 32
_NEWLINE: Final = 10
_WHITE: Final = np.frombuffer(b"\t\n\v\f\r ", np.uint8)


class IrregularRowsError(ValueError):
    """The rows do not all have the expected words; read them one by one to learn which."""


@dataclass(frozen=True)
class Words:
    """The words of n_rows × width, in one text.

    Attributes:
        row_starts: (n_rows,) int64, position of each row's first byte in the text [bytes].
        width: words in a row.
        strings: Arrow strings, words and the gaps between them in turn.
    """

    row_starts: Positions
    width: int
    strings: pa.StringArray

    def column(self, index: int) -> pa.StringArray:
        """Return the words of one column, (n_rows,)."""
        rows = np.arange(len(self.row_starts), dtype=np.int64)
        return self.strings.take(pa.array(2 * (rows * self.width + index)))

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
    edges = np.flatnonzero(is_word[1:] != is_word[:-1])
    edges += 1
    if len(edges) == 0 or len(edges) % (2 * width):
        raise IrregularRowsError(f"{len(edges) // 2} words are not rows of {width}")
    row_starts = edges[:: 2 * width].copy()
    n_control = np.count_nonzero(buffer < _SPACE)
    if n_control != np.count_nonzero(buffer == _NEWLINE) and not np.isin(buffer[~is_word], _WHITE).all():
        raise IrregularRowsError("some byte is neither text nor white space")
    # As many line ends as rows, and one before each row: then no row holds a line end.
    n_line_ends = np.count_nonzero(buffer == _NEWLINE) - 1
    follows_line_end = n_line_ends == len(row_starts) and (buffer[row_starts - 1] == _NEWLINE).all()
    if not (follows_line_end and _all_start_with(text, row_starts, edges[1 :: 2 * width], first_word)):
        raise IrregularRowsError(f"some line is not {first_word.decode()} and {width - 1} words")
    offsets = pa.py_buffer(edges.astype(np.int32))
    return Words(row_starts, width, pa.StringArray.from_buffers(len(edges) - 1, offsets, pa.py_buffer(text)))


def _all_start_with(text: bytes, starts: Positions, ends: Positions, word: bytes) -> bool:
    """Tell whether the words from `starts` to `ends` are all this word."""
    at_every_byte = np.ndarray(len(text) - len(word) + 1, f"S{len(word)}", text, strides=(1,))
    return bool((ends - starts == len(word)).all() and (at_every_byte[starts] == word).all())
