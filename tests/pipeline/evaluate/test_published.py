"""Facts about the published numbers."""

from __future__ import annotations

from pipeline.evaluate.published import PROTOCOLS, PUBLISHED, published_for


def test_every_published_row_belongs_to_a_protocol_and_names_its_source():
    assert {row.protocol for row in PUBLISHED} == set(PROTOCOLS)
    assert all(len(row.arxiv.split(".")) == 2 and row.who for row in PUBLISHED)


def test_published_numbers_are_shares():
    numbers = [value for row in PUBLISHED for value in (row.accuracy, row.auc, row.figure_of_merit)]
    assert all(value is None or 0 < value < 1 for value in numbers)
    assert all(any((row.accuracy, row.auc, row.figure_of_merit)) for row in PUBLISHED)


def test_the_best_published_result_of_the_first_protocol_is_that_of_moss():
    best = published_for("P1")[0]
    assert (best.arxiv, best.accuracy, best.auc, best.figure_of_merit) == ("1810.06441", 0.966, 0.995, 0.757)


def test_a_protocol_that_nobody_published_has_no_rows():
    assert published_for("P13") == ()
