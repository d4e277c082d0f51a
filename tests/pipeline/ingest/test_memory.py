"""Memory does not grow with the survey; `python -m tests.benchmarks.memory` draws the whole curve."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.memory import grow, survey_texts

MEGABYTES = 150
"""What 16,000 more files may cost, mostly the allocators' slack; a Delta merge of a night would cost 250 more."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_five_times_as_many_files_need_hardly_more_memory(tmp_path: Path):
    texts = survey_texts(tmp_path, 4000)
    once, often = (dict(grow(texts, times, tmp_path, objects_per_commit=2000)) for times in (1, 5))
    assert once.keys() == often.keys() == {"new store", "the same again", "a night"}
    for what, found in often.items():
        assert found.megabytes < once[what].megabytes + MEGABYTES, what
