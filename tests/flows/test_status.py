"""Facts about `snflow status`: it reads files alone, and its exit code says whether somebody should look."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from flows.cli import app
from flows.nights import LOCK, drop_old_nights
from flows.site import load_site
from flows.status import site_status
from pipeline.classify.settings import ClassifySettings
from pipeline.ingest.settings import IngestSettings
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from pipeline.processes import only_one
from pipeline.provenance import write_record
from pipeline.store import Store, ingest
from tests.small_model import small_classifier

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def site_file(folder: Path) -> Path:
    path = folder / "site.toml"
    path.write_text('sources = ["inbox"]\nstore = "catalogue"\nmodel = "model"\nout = "."\n')
    return path


def status(config: Path, code: int) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["status", "--config", str(config), "--json"])
    assert result.exit_code == code, result.output
    return dict(json.loads(result.stdout))


def night(folder: Path, began: datetime, failure: str | None = None) -> None:
    """Make the folder of a night: finished, unless `failure` is None."""
    made = folder / "nights" / began.strftime("%Y-%m-%dT%H%M%S.000")
    made.mkdir(parents=True)
    if failure is not None:
        summary = {"sentence": "green: like the training data", "guard": {"status": "green"}, "failure": failure}
        write_record(made, "nightly", {}, summary)


def test_a_site_without_a_night_says_so_and_counts_what_waits(tmp_path: Path) -> None:
    config = site_file(tmp_path)
    assert "no night yet" in status(config, 1)["problems"][0]
    simulate_survey(tmp_path / "inbox", SimulationSettings(n_objects=5, seed=1))
    (tmp_path / "inbox" / "bad.DAT").write_text("SNID: 7\n")
    small_classifier().checkpoint.save(tmp_path / "model")
    store = Store.create(tmp_path / "catalogue")
    ingest([tmp_path / "inbox"], store, IngestSettings(max_bad_fraction=1.0))
    waiting = status(config, 1)["backlog"]
    assert waiting == {"n_objects": 5, "n_unclassified": 5, "n_held": 0, "n_quarantined": 1}
    from pipeline.classify.incremental import classify_store

    classify_store(store, tmp_path / "model", ClassifySettings())
    assert status(config, 1)["backlog"]["n_unclassified"] == 0


def test_the_last_night_may_be_done_failed_interrupted_or_at_work(tmp_path: Path) -> None:
    site = load_site(site_file(tmp_path))
    now = datetime.now(UTC)
    night(tmp_path, now - timedelta(minutes=3), failure="")
    assert status(tmp_path / "site.toml", 0)["last"]["outcome"] == "done"
    night(tmp_path, now - timedelta(minutes=2), failure="too many bad files")
    assert "too many bad files" in status(tmp_path / "site.toml", 1)["problems"][0]
    night(tmp_path, now - timedelta(minutes=1))
    assert status(tmp_path / "site.toml", 1)["last"]["outcome"] == "interrupted"
    with only_one(site.out / LOCK, "it"):
        assert status(tmp_path / "site.toml", 0)["last"]["outcome"] == "at work"


def test_two_nights_that_did_not_come_are_a_problem_and_one_is_not(tmp_path: Path) -> None:
    site = load_site(site_file(tmp_path))  # at 8:00
    night(tmp_path, datetime(2026, 11, 23, 8, tzinfo=UTC))
    interrupted = len(site_status(site, NOW).problems)
    assert len(site_status(site, NOW + timedelta(days=1)).problems) == interrupted
    (*_, overdue) = site_status(site, NOW + timedelta(days=2)).problems
    assert "though 2 were due" in overdue


def test_status_imports_no_torch(tmp_path: Path) -> None:
    code = "import sys; from flows.cli import app; import flows.status, flows.site; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_only_the_newest_finished_nights_are_kept_where_the_site_says_so(tmp_path: Path) -> None:
    config = site_file(tmp_path)
    for hour in range(4):
        night(tmp_path, NOW + timedelta(hours=hour), failure=None if hour == 0 else "")
    assert drop_old_nights(load_site(config)) == []
    assert drop_old_nights(load_site(config, ["retention.nights=2"])) == ["2026-11-23T130000.000"]
    assert len(list(tmp_path.glob("nights/*"))) == 3  # the unfinished one stays
