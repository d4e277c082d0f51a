"""Rows are split as Python splits them, line by line, whether their words stand in columns or not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.tokens import IrregularRowsError, split_rows

NUMBERS = st.integers(-9999, 99999).map(str)
FIELDS = st.lists(st.tuples(NUMBERS, st.sampled_from("griz"), NUMBERS), min_size=1, max_size=6)


def in_columns(rows: list[tuple[str, str, str]]) -> bytes:
    """Write rows as programs do, each word in a column of its own."""
    return b"\n" + "".join(f"OBS: {mjd:>6s} {band} {flux:>7s}\n" for mjd, band, flux in rows).encode()


def words_by_line(text: bytes, width: int) -> list[list[str]] | None:
    """Split line by line, None where some line is not OBS: and width − 1 words."""
    lines = text.decode().split("\n")
    rows = [line.split() for line in lines[1:-1]]
    are_rows = all(len(row) == width and row[0] == "OBS:" for row in rows)
    is_known = all(letter.isprintable() or letter in "\t\n\v\f\r" for letter in text.decode())
    starts_first = all(line.startswith("OBS:") for line in lines[1:-1])
    return rows if rows and lines[0] == lines[-1] == "" and are_rows and is_known and starts_first else None


def words_by_column(text: bytes, width: int) -> list[list[str]] | None:
    """Split by columns, None where that is refused."""
    try:
        words = split_rows(text, width, b"OBS:")
    except IrregularRowsError:
        return None
    columns = [words.column(index).to_pylist() for index in range(width)]
    return [list(row) for row in zip(*columns, strict=True)]


@settings(deadline=None, max_examples=300)
@given(FIELDS)
def test_words_in_columns_are_found(rows: list[tuple[str, str, str]]):
    assert words_by_column(in_columns(rows), 4) == [["OBS:", *row] for row in rows]


@settings(deadline=None, max_examples=300)
@given(FIELDS, st.data())
def test_one_changed_byte_is_seen_as_line_by_line(rows: list[tuple[str, str, str]], data: st.DataObject):
    text = bytearray(in_columns(rows))
    place = data.draw(st.integers(1, len(text) - 2))
    text[place] = data.draw(st.sampled_from(b" \t\n\r\v\f\x00\x1f0-gO:"))
    assert words_by_column(bytes(text), 4) == words_by_line(bytes(text), 4)


@settings(deadline=None, max_examples=300)
@given(FIELDS, st.data())
def test_one_byte_moved_to_another_place_is_seen_as_line_by_line(rows: list[tuple[str, str, str]], data: st.DataObject):
    text = bytearray(in_columns(rows))
    source, target = (data.draw(st.integers(1, len(text) - 2)) for _ in range(2))
    text.insert(target, text.pop(source))
    assert words_by_column(bytes(text), 4) == words_by_line(bytes(text), 4)


@pytest.mark.parametrize("n_blanks", [1, 5000])
def test_a_row_may_be_long(n_blanks: int):
    assert words_by_column(b"\nOBS:" + b" " * n_blanks + b"1\n", 2) == [["OBS:", "1"]]
