"""The table of bad inputs in pipeline/ingest/README.md is what really happens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pipeline.ingest.bad_inputs import BAD_INPUTS, message

GUIDE = Path(__file__).parents[3] / "pipeline" / "ingest" / "README.md"


@pytest.fixture(scope="module")
def told() -> dict[str, str]:
    cells = [line.strip("| ").split(" | ") for line in GUIDE.read_text().splitlines() if line.startswith("| ")]
    return {row[0]: row[1] for row in cells if row[0] in BAD_INPUTS}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_a_bad_input_is_told_what_the_guide_says_and_costs_the_good_one_nothing(
    name: str, told: dict[str, str], tmp_path: Path
):
    assert message(name, tmp_path) == told[name]
