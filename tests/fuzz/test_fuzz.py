"""The short version of `python -m tests.fuzz`."""

from __future__ import annotations

import random
from collections import deque

import pytest

from pipeline.ingest.readers import ReadOptions, SourceFile, snana_text
from tests.fuzz.harness import FUZZED, fuzz, seeds_of
from tests.fuzz.mutations import mutate

INPUTS = 20_000


@pytest.mark.parametrize("name", sorted(FUZZED))
def test_damaged_files_give_light_curves_or_reasons_and_nothing_else(name: str):
    (report,) = deque(fuzz(name, INPUTS // len(FUZZED), seed=20), maxlen=1)
    assert [finding.fault for finding in report.findings] == []
    assert report.growth < 100


def test_damaged_snana_text_is_read_by_columns_as_line_by_line(monkeypatch: pytest.MonkeyPatch):
    rng, seeds = random.Random(7), seeds_of("snana_text")
    files = [SourceFile(f"{number}.dat", mutate(rng, seeds), "") for number in range(2000)]
    by_columns = snana_text.read(files, ReadOptions())
    monkeypatch.setattr(snana_text, "_cut", lambda index, data: None)
    line_by_line = snana_text.read(files, ReadOptions())
    assert by_columns.rejections == line_by_line.rejections
    assert by_columns.truth.equals(line_by_line.truth)
    assert by_columns.light_curves.equals(line_by_line.light_curves)
