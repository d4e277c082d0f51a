from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.gauges import LastNight, counts_of, read_last_night, write_last_night

SUMMARY: dict[str, Any] = {
    "n_changed": 30,
    "status": {"classified": 20, "abstained": 10},
    "guard": {"status": "amber"},
    "publish": {"n_held": 4},
    "ingest": {"n_quarantined": 2, "n_objects_quarantined": 3},
    "classify": {"status": {"classified": 200, "failed": 1}, "n_quarantined_files": 5, "n_quarantined_objects": 6},
}


def samples(path: Path) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(path.read_text())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def test_a_night_is_told_in_numbers_that_prometheus_reads(tmp_path: Path) -> None:
    night = LastNight(100.0, 160.0, True, 160.0, 50.0, counts_of(SUMMARY), ("spcc-ia", 'v"1\n'))
    write_last_night(tmp_path / "metrics.prom", night)
    found = samples(tmp_path / "metrics.prom")
    assert found[("snflow_night_duration_seconds",)] == 60
    assert found[("snflow_night_success",)] == 1
    assert found[("snflow_night_guard_status",)] == 2
    assert found[("snflow_night_changed_objects",)] == 30
    assert found[("snflow_night_objects", "abstained")] == 10
    assert found[("snflow_night_objects", "rejected")] == 0
    assert found[("snflow_catalogue_objects", "failed")] == 1
    assert found[("snflow_held_objects",)] == 4
    assert found[("snflow_night_quarantined_files",)] == 2
    assert found[("snflow_quarantine_objects",)] == 6
    assert found[("snflow_model_info", "spcc-ia", 'v"1\n')] == 1


def test_a_night_that_runs_says_so_and_keeps_when_the_last_went_well(tmp_path: Path) -> None:
    write_last_night(tmp_path / "metrics.prom", LastNight(200.0, last_success=160.0))
    found = samples(tmp_path / "metrics.prom")
    assert found[("snflow_night_running",)] == 1
    assert ("snflow_night_success",) not in found
    assert read_last_night(tmp_path / "metrics.prom") == LastNight(200.0, None, False, 160.0, None)


@pytest.mark.parametrize("content", [b"", b"snflow_night_start", b"\xff\xfe", b"snflow_night_success 1\n"])
def test_a_damaged_file_tells_nothing_of_the_last_night(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "metrics.prom"
    path.write_bytes(content)
    assert read_last_night(path) is None
    assert read_last_night(tmp_path / "none") is None
