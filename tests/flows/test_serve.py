"""Facts about `snflow serve`, on real servers: what is due is done once, whatever is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from flows.cli import app
from flows.nights import newest_nights
from flows.serving.api import FlowRun
from flows.serving.serve import LOCK
from flows.site import load_site
from pipeline.classify.outputs import read_predictions
from pipeline.processes import only_one
from pipeline.store import Store
from tests.serving import EVERY_MINUTE, NEVER_SOON, Served, free_port, make_site, wait_for

N_OBJECTS = 20


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Served]:
    """A served site whose schedule is far away."""
    port = free_port()
    with Served(make_site(tmp_path, port, NEVER_SOON, N_OBJECTS), port) as served:
        yield served


def check_whole(folder: Path, n_nights: int) -> None:
    """Every object is published once and was classified once, and no night is unfinished."""
    published = read_predictions(folder / "published" / "predictions.parquet").table["SNID"]
    assert len(published) == published.nunique() == N_OBJECTS
    predictions = Store.open(folder / "catalogue").predictions()
    assert len(predictions) == predictions["SNID"].nunique() == N_OBJECTS
    nights = newest_nights(load_site(folder / "site.toml"))
    assert len(nights) == n_nights
    assert all((night / "nightly.json").exists() for night in nights)


def in_state(served: Served, state: str) -> list[FlowRun]:
    return [run for run in served.nights() if run["state_type"] == state]


def begun(served: Served) -> Any:
    """The process of a run whose night has a folder, and is not finished."""
    wait_for(lambda: list(served.folder.glob("nights/*")))
    return served.child("flow_process")


@pytest.mark.slow
def test_a_night_that_is_due_is_done_by_the_real_scheduler(tmp_path: Path) -> None:
    port = free_port()
    with Served(make_site(tmp_path, port, EVERY_MINUTE, N_OBJECTS), port) as served:
        (first,) = wait_for(lambda: in_state(served, "COMPLETED")[:1], 180)
        assert first["auto_scheduled"]
        status = CliRunner().invoke(app, ["status", "--config", str(tmp_path / "site.toml")])
        assert (status.exit_code, f"127.0.0.1:{port}" in status.output) == (0, True), status.output
    assert served.process.returncode == 0
    check_whole(tmp_path, len(list(tmp_path.glob("nights/*"))))


@pytest.mark.slow
def test_a_server_that_is_killed_is_started_anew_and_the_run_at_work_goes_on(site: Served) -> None:
    site.run_now()
    run = begun(site)
    server = site.child("server_process")
    assert server is not None
    os.kill(server, signal.SIGKILL)
    wait_for(lambda: in_state(site, "COMPLETED"))
    assert [night["state_type"] for night in site.nights()] == ["COMPLETED"]
    assert run is not None
    check_whole(site.folder, 1)
    site.run_now()  # the slot of the flow is free again
    wait_for(lambda: len(in_state(site, "COMPLETED")) == 2)


@pytest.mark.slow
def test_a_run_that_is_killed_is_marked_crashed_and_its_night_is_gone_on_with(site: Served) -> None:
    site.run_now()
    os.kill(begun(site), signal.SIGKILL)
    wait_for(lambda: in_state(site, "COMPLETED"))
    assert [run["state_type"] for run in site.nights()] == ["CRASHED", "COMPLETED"]
    assert "exit code -9" in site.nights()[0]["state"]["message"]
    check_whole(site.folder, 1)


@pytest.mark.slow
def test_serve_that_is_killed_leaves_no_process_and_goes_on_when_started_again(site: Served) -> None:
    site.run_now()
    begun(site)
    site.kill()  # fails if a child outlives it
    with Served(site.config, site.port) as again:
        wait_for(lambda: in_state(again, "COMPLETED"))
        assert [run["state_type"] for run in again.nights()] == ["CRASHED", "COMPLETED"]
        assert not again.api.unfinished_within(again.nights()[0]["id"])
        check_whole(site.folder, 1)


@pytest.mark.slow
def test_serve_that_is_asked_to_stop_ends_the_run_and_the_night_is_gone_on_with(site: Served) -> None:
    site.run_now()
    begun(site)
    site.process.terminate()
    assert site.process.wait(60) == 0
    with Served(site.config, site.port) as again:
        again.run_now()
        wait_for(lambda: in_state(again, "COMPLETED"))
        assert in_state(again, "CRASHED")
        check_whole(site.folder, 1)


@pytest.mark.slow
def test_a_run_that_is_cancelled_in_the_pages_ends_and_is_not_begun_again(site: Served) -> None:
    site.run_now()
    begun(site)
    (run,) = wait_for(lambda: in_state(site, "RUNNING"))
    site.api.set_state(run["id"], "CANCELLING", "Cancelling", force=False)
    wait_for(lambda: in_state(site, "CANCELLED"))
    assert site.child("flow_process") is None
    assert [run["state_type"] for run in site.nights()] == ["CANCELLED"]
    site.run_now()
    wait_for(lambda: in_state(site, "COMPLETED"))
    check_whole(site.folder, 1)


@pytest.mark.slow
def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    port = free_port()
    config = make_site(tmp_path, port, NEVER_SOON, N_OBJECTS)
    config.write_text(config.read_text().replace("[schedule]", "[schedule]\ntimeout_hours = 0.0001"))
    with Served(config, port) as served:
        served.run_now()
        (run,) = wait_for(lambda: in_state(served, "FAILED"))
        assert run["state_name"] == "TimedOut"


@pytest.mark.slow
def test_nights_missed_while_serve_was_down_are_done_as_one(tmp_path: Path) -> None:
    port = free_port()
    config = make_site(tmp_path, port, EVERY_MINUTE, N_OBJECTS)
    with Served(config, port) as served:
        wait_for(lambda: in_state(served, "COMPLETED"), 180)
        served.kill()
    down = datetime.now(UTC)
    time.sleep(140)
    up = datetime.now(UTC)
    with Served(config, port) as served:
        n_before = len(list(tmp_path.glob("nights/*")))
        wait_for(lambda: len(list(tmp_path.glob("nights/*/nightly.json"))) > n_before)
        time.sleep(5)
        missed = [run for run in served.nights() if down < at(run) < up - timedelta(seconds=1)]
        assert [run["state_name"] for run in missed if run["state_name"] != "Missed"] in ([], ["Completed"])
        assert sum(run["state_name"] == "Missed" for run in missed) >= 1
        n_done = sum(1 for run in served.nights() if at(run) > down and run["state_name"] == "Completed")
        assert n_done <= 1 + (datetime.now(UTC) - up).total_seconds() // 60 + 1


def at(run: FlowRun) -> datetime:
    return datetime.fromisoformat(run["expected_start_time"])


def test_a_site_that_is_served_already_is_refused(tmp_path: Path) -> None:
    config = make_site(tmp_path, free_port(), n_objects=1)
    with only_one(tmp_path / LOCK, "it"):
        refused = CliRunner().invoke(app, ["serve", "--config", str(config)])
    assert refused.exit_code == 1
    assert "another run is at work on the schedule" in refused.output
    assert f"process {os.getpid()}" in refused.output


def test_a_mistake_in_a_site_file_is_told_before_anything_is_started(tmp_path: Path) -> None:
    config = make_site(tmp_path, free_port(), "0 25 * * *", n_objects=1)
    refused = CliRunner().invoke(app, ["serve", "--config", str(config)])
    assert refused.exit_code == 2
    assert "five fields of a cron line" in refused.output
