"""Facts about a team's server: Prefect on PostgreSQL, workers of its own, and a database that goes away for a while."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flows.site import SiteSettings, load_site
from pipeline.classify.outputs import read_predictions
from pipeline.store import Store
from tests.postgres import PASSWORD, Postgres, postgres
from tests.servers import ROOT, PrefectServer, end, prefect_server, receiver, start, wait_until
from tests.sites import NOTIFY, add_bad_files, make_drift, make_site

SECONDS_LOST = 20
PATIENCE = {"PREFECT_CLIENT_RETRY_EXTRA_CODES": "500", "PREFECT_CLIENT_MAX_RETRIES": "6"}
"""As the guide tells those who start workers."""

pytestmark = pytest.mark.slow


@dataclass
class Team:
    """A server on PostgreSQL, two workers, and a site whose nights they do."""

    database: Postgres
    server: PrefectServer
    path: Path

    @property
    def site(self) -> SiteSettings:
        return load_site(self.path)

    def deploy(self) -> None:
        """Deploy as the guide says, but leave the hour to the tests."""
        command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
        environment = self.server.environment | {"SNFLOW_SITE": str(self.path)}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
        for name in self.server.ask("deployments/filter"):
            self.server.ask(f"deployments/{name['id']}/pause_deployment")

    def begin_night(self) -> str:
        """Ask the workers for a night; return the id of its run."""
        nights = {"name": {"any_": ["nightly"]}}
        (found,) = self.server.ask("deployments/filter", flows=nights)
        return str(self.server.ask(f"deployments/{found['id']}/create_flow_run")["id"])

    def end_of(self, run: str, seconds: float = 100) -> str:
        """Wait for the end of a run; return its state."""

        def ended() -> str:
            state = self.server.ask("flow_runs/filter", flow_runs={"id": {"any_": [run]}})[0]["state"]
            return str(state["name"]) if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else ""

        return str(wait_until(ended, seconds, "the end of a night"))

    def log(self) -> str:
        path = self.path.parent / "log.jsonl"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    folder = tmp_path_factory.mktemp("team")
    with (
        postgres() as database,
        prefect_server(folder, PREFECT_SERVER_DATABASE_CONNECTION_URL=database.address, **PATIENCE) as server,
        temporary_settings({PREFECT_API_URL: server.api}),
    ):
        command = ["prefect", "worker", "start", "--pool", "snflow", "--type", "process"]
        workers = [start(command, server.environment, folder / f"worker{number}.log") for number in range(2)]
        try:
            found = Team(database, server, make_site(folder / "site", sections=NOTIFY))
            wait_until(lambda: server.ask("work_pools/filter"), 60, "a work pool")
            found.deploy()
            yield found
        finally:
            for worker in workers:
                end(worker)


def test_a_worker_does_a_night_and_its_artifacts_are_in_the_database(team: Team) -> None:
    run = team.begin_night()
    assert team.end_of(run) == "Completed"
    table = read_predictions(team.site.out / "published" / "predictions.parquet").table
    assert len(table) == 30
    stored = team.database.ask("select key from artifact where key like 'snflow-nightly%' order by key")
    assert stored == ["snflow-nightly", "snflow-nightly-progress", "snflow-nightly-report", "snflow-nightly-summary"]
    assert team.database.ask("select name from flow_run_state where type = 'FAILED'") == []
    assert team.database.ask(f"select count(*) from log where flow_run_id = '{run}'") != ["0"]
    written = [path.read_bytes() for path in team.server.folder.rglob("*") if path.is_file()]
    assert not [text for text in written if PASSWORD.encode() in text]


def test_a_database_that_is_lost_while_a_night_runs_loses_nothing_and_doubles_nothing(team: Team) -> None:
    make_drift(team.path.parent)
    n_before, seen = len(list((team.site.out / "nights").iterdir())), len(team.log())
    run = team.begin_night()
    wait_until(lambda: "step 2 of 5" in team.log()[seen:], 60, "a night at work")
    team.database.stop()
    time.sleep(SECONDS_LOST)
    team.database.start()
    assert team.end_of(run) == "Completed"
    assert len(list((team.site.out / "nights").iterdir())) == n_before + 1
    present = read_predictions(team.site.out / "published" / "predictions.parquet").table
    assert (len(present), present["SNID"].is_unique) == (30, True)
    assert not Store.open(team.site.store).predictions().duplicated(["SNID", "PHOTOMETRY_HASH"]).any()

    team.database.stop()
    team.database.start()
    assert team.end_of(team.begin_night()) == "Completed"


def test_a_failed_night_of_a_worker_is_told_once_though_prefect_knows_of_it_too(
    team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.automations import check_automations, ensure_automations

    with receiver() as heard:
        monkeypatch.setenv("SNFLOW_TEST_WEBHOOK", heard.address)
        ensure_automations(team.site)
        add_bad_files(team.path.parent, 5)
        assert team.end_of(team.begin_night()) == "Failed"
        wait_until(lambda: heard.told, 30, "a call of the webhook")
        time.sleep(5)  # nothing more comes
        told: list[dict[str, Any]] = heard.told
    assert len(told) == 1
    assert "5 of 35 files were quarantined" in told[0]["text"]
    assert check_automations(team.site) == []
