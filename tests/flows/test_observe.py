"""Facts about what a night leaves for those who watch: log, numbers, artifacts; also when it fails or crashed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows.night_artifacts import verdict_markdown
from flows.site import load_site
from pipeline.gauges import HELP, LastNight, read_last_night, write_last_night
from pipeline.logs import LogSettings
from pipeline.notices import EVENTS
from tests.sites import add_bad_files, make_site

ADDRESS = 'address = "https://sn.example.org/site/"\n[guard]\nmin_objects = 1000\n'
PLAIN = 'sources = ["inbox"]\nstore = "catalogue"\nmodel = "model"\nout = "."\n'


def records(site: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (site.parent / "log.jsonl").read_text().splitlines()]


def artifacts() -> dict[str, dict[str, Any]]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.sorting import ArtifactSort

    with get_client(sync_client=True) as client:
        found = client.read_artifacts(sort=ArtifactSort.CREATED_DESC, limit=30)
    return {str(one.key): {"data": str(one.data), "run": str(one.flow_run_id)} for one in reversed(found)}


@pytest.mark.usefixtures("prefect_server")
def test_a_night_leaves_log_numbers_and_artifacts_and_a_failed_one_shows(tmp_path: Path) -> None:
    from flows.nightly import nightly

    site = make_site(tmp_path, 12, ADDRESS)
    metrics = tmp_path / "metrics.prom"
    write_last_night(metrics, LastNight(100.0, None, last_success=50.0))
    summary = nightly(site)

    crashed, *others = records(site)
    assert "1970-01-01T00:01:40+00:00 crashed" in crashed["message"]
    assert len({record["run_id"] for record in records(site)}) == 1
    assert all(record["night"] == summary["night"] and record["run_name"] for record in others)
    assert [record["message"] for record in others].count("step 3 of 5: classify") == 1
    assert {"read and store", "publish"} <= {record["step"].rpartition("-")[0] for record in others}

    night = read_last_night(metrics)
    assert night is not None
    assert night.success
    assert (night.last_failure, night.last_success) == (100.0, night.ended)
    assert sum(summary["status"].values()) == summary["n_changed"] == 12

    left = artifacts()
    assert left["snflow-nightly-progress"]["data"].startswith("100")
    assert "https://sn.example.org/site/nights/" in left["snflow-nightly-report"]["data"]
    assert "(https://sn.example.org/site/log.jsonl)" in left["snflow-nightly"]["data"]
    assert left["snflow-nightly"]["run"] == others[0]["run_id"]
    assert "small@" in left["snflow-nightly-summary"]["data"]

    add_bad_files(tmp_path, 3)
    assert nightly(site, return_state=True).is_failed()
    after = read_last_night(metrics)
    assert after is not None
    assert not after.success
    assert (after.last_success, after.last_failure) == (night.last_success, after.ended)
    assert "snflow_night_quarantined_files 3.0" in metrics.read_text()
    assert "**Failed:** 3 of 15 files were quarantined" in artifacts()["snflow-nightly"]["data"]
    last = records(site)[-1]
    assert (last["level"], "3 of 15 files" in last["message"]) == ("error", True)
    assert "TooManyBadFilesError" in last["traceback"]


SUMMARY: dict[str, Any] = {
    "night": "N",
    "sentence": "amber: the cadence differs",
    "n_changed": 30,
    "status": {"classified": 30},
    "model": "small@1",
    "guard": {"status": "amber"},
    "publish": {"n_held": 0},
    "ingest": {"n_quarantined": 0, "n_objects_quarantined": 0},
    "classify": {"status": {"classified": 30}, "n_quarantined_files": 0, "n_quarantined_objects": 0},
    "failure": "",
}


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("error", "level", "words", "events"),
    [
        (None, "warning", "amber: the cadence differs", ["snflow.night.amber"]),
        (OSError("disk full"), "error", "OSError: disk full", ["snflow.night.failed", "snflow.night.amber"]),
    ],
)
def test_an_amber_night_is_a_warning_and_one_that_breaks_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, level: str, words: str, events: list[str]
) -> None:
    from prefect import flow

    from flows import observe

    sent: list[str] = []
    monkeypatch.setattr(observe, "emit_event", lambda event, *_args, **_more: sent.append(event))
    path = tmp_path / "site.toml"
    path.write_text(PLAIN)

    @flow
    def night() -> None:
        with observe.observed(load_site(path), tmp_path / "nights" / "N") as watch:
            watch.done(SUMMARY)
            if error:
                raise error

    night(return_state=True)
    last = records(path)[-1]
    assert (last["level"], words in last["message"], "traceback" in last) == (level, True, error is not None)
    assert sent == events
    assert f"snflow_night_success {float(error is None)}" in (tmp_path / "metrics.prom").read_text()


def test_a_run_that_is_gone_is_noted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flows import observe

    sent: list[str] = []
    monkeypatch.setattr(observe, "emit_event", lambda event, *_args, **_more: sent.append(event))
    path = tmp_path / "site.toml"
    path.write_text(PLAIN)
    run: Any = SimpleNamespace(id="1", name="run", flow_id="2", parameters={"config": str(path)})
    state: Any = SimpleNamespace(message="exited with -9")
    write_last_night(tmp_path / "metrics.prom", LastNight(100.0, None, last_success=50.0))
    observe.tell_crash(observe.Flow(lambda: None, name="nightly"), run, state)
    observe.tell_crash(observe.Flow(lambda: None, name="nightly"), run, state)
    night = read_last_night(tmp_path / "metrics.prom")
    assert night is not None
    assert (night.success, night.last_success, night.last_failure) == (False, 50.0, night.ended)
    assert sent == ["snflow.night.failed"]
    assert [(record["level"], record["run_name"]) for record in records(path)] == [("error", "run")]


def test_an_amber_verdict_is_shown_with_what_to_look_at() -> None:
    difference = {
        "name": "median error in g",
        "status": "amber",
        "distance": 0.2,
        "p_value": 0.004,
        "is_missing": False,
        "night": 2.5,
        "training": None,
        "look_at": "zeropoint | seeing",
    }
    summary = {
        "night": "N",
        "sentence": "amber: look",
        "failure": "",
        "publish": {"n_held": 0},
        "guard": {"status": "amber", "differences": [difference]},
    }
    text = verdict_markdown(summary)
    assert text.startswith("**▲ amber.** look")
    assert "| median error in g | ▲ amber | 2.5 | – | 0.2 | 0.004 | zeropoint \\| seeing |" in text


def test_the_site_file_of_the_guide_is_read(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[2] / "flows" / "README.md").read_text()
    path = tmp_path / "site.toml"
    path.write_text(guide.partition("```toml\n")[2].partition("```")[0])
    site = load_site(path)
    assert (site.notify.webhook_env, site.notify.blocks) == ("SNFLOW_WEBHOOK", ("sendgrid-email/observers",))
    assert site.log == LogSettings()
    assert all(f"`{event}`" in guide for event in EVENTS.values())
    assert set(re.findall(r"snflow_(\w+)", guide)) <= set(HELP)
