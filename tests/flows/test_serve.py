"""Facts about `snflow serve`, on real servers: what is due is done once, whatever is killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.classify.outputs import read_predictions
from tests.serving import EVERY_MINUTE, Served, free_port, make_site, wait_for


def published(folder: Path) -> list[str]:
    return sorted(read_predictions(folder / "published" / "predictions.parquet").table["SNID"])


@pytest.mark.slow
def test_a_night_that_is_due_is_done_by_the_real_scheduler(tmp_path: Path) -> None:
    port = free_port()
    with Served(make_site(tmp_path, port, EVERY_MINUTE), port) as served:
        (first,) = wait_for(lambda: [run for run in served.nights() if run["state_type"] == "COMPLETED"][:1], 180)
        assert first["auto_scheduled"]
        assert len(published(tmp_path)) == 20
        assert next(tmp_path.glob("nights/*/nightly.json")).exists()
    assert served.process.returncode == 0
