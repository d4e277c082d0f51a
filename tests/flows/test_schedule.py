"""Facts about when nights are due, without a server: clocks set forward and back, missed runs, mistakes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from prefect.utilities.importtools import import_object

from flows.deployments import site_deployments
from flows.schedule import ScheduleSettings, next_times
from flows.serving.api import Api
from flows.serving.plan import Plan
from flows.serving.runs import Runs
from pipeline.settings import SettingsError

ROOT = Path(__file__).parents[2]
IN_THE_GAP = ScheduleSettings(nightly="30 2 * * *", timezone="Europe/Berlin")


@pytest.mark.parametrize("change", [datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)])
def test_a_night_at_an_hour_that_is_skipped_or_comes_twice_is_done_once(change: datetime) -> None:
    first, after = change - timedelta(days=2), change + timedelta(days=3)
    planned = set()
    for minutes in range(0, 5 * 24 * 60, 31):  # the scheduler looks ahead again and again, from whenever it is
        planned |= set(next_times(IN_THE_GAP, 3, first + timedelta(minutes=minutes)))
    days = [time for time in sorted(planned) if time < after]
    assert len(days) == 5
    hours = [(later - earlier) / timedelta(hours=1) for earlier, later in pairwise(days)]
    assert all(23 <= gap <= 25 for gap in hours)


def test_a_schedule_that_cannot_be_is_an_error_that_says_what_is_expected() -> None:
    for wrong in ("0 25 * * *", "8:00", "* * * * * *", ""):
        with pytest.raises(ValueError, match="five fields of a cron line"):
            ScheduleSettings(nightly=wrong)
    with pytest.raises(ValueError, match='such as "UTC" or "Europe/Berlin"'):
        ScheduleSettings(timezone="Berlin")
    with pytest.raises(SettingsError, match="a time that comes"):
        next_times(ScheduleSettings(nightly="0 0 30 2 *"), 1, datetime(2026, 1, 1, tzinfo=UTC))


class FakeApi:
    """Remembers which runs were given which state."""

    def __init__(self) -> None:
        self.given: list[tuple[str, str]] = []

    def set_state(self, run: str, kind: str, name: str, message: str = "", force: bool = True) -> str:
        self.given.append((run, name))
        return kind


def due(name: str, hour: int, deployment: str = "nightly", by_hand: bool = False) -> dict[str, Any]:
    time = f"2026-11-23T{hour:02d}:00:00Z"
    return {
        "id": name,
        "name": name,
        "deployment_id": deployment,
        "auto_scheduled": not by_hand,
        "expected_start_time": time,
    }


def test_of_the_nights_that_were_missed_only_the_last_is_done_and_what_was_asked_for_by_hand_stays(
    tmp_path: Path,
) -> None:
    plan = Plan("site.toml", [], str(tmp_path), str(tmp_path), "127.0.0.1", 1, 1.0, 1, "", "")
    api, said = FakeApi(), list[str]()
    runs = Runs(plan, cast("Api", api), said.append)
    waiting = [due("a", 1), due("hand", 1, by_hand=True), due("b", 2), due("other", 2, "retrain"), due("c", 3)]
    assert [run["id"] for run in runs.without_missed(waiting)] == ["hand", "other", "c"]
    assert api.given == [("a", "Missed"), ("b", "Missed")]
    assert len(said) == 2


def site_file(folder: Path) -> Path:
    (folder / "model").mkdir()
    path = folder / "site.toml"
    path.write_text(
        'sources = ["inbox"]\nstore = "catalogue"\nmodel = "model"\nout = "."\n'
        '[schedule]\nnightly = "30 2 * * *"\ntimezone = "Europe/Berlin"\n'
    )
    return path


def test_the_deployments_of_a_site_are_scheduled_limited_and_described(tmp_path: Path) -> None:
    found = {deployment.flow_name: deployment for deployment in site_deployments(site_file(tmp_path))}
    assert set(found) == {"nightly", "ingest", "train", "classify", "report"}
    (schedule,) = found["nightly"].schedules or []
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("30 2 * * *", "Europe/Berlin")
    assert not any(found[name].schedules for name in found if name != "nightly")
    for name, deployment in found.items():
        assert deployment.concurrency_limit == 1
        assert deployment.tags
        properties = deployment._parameter_openapi_schema.properties
        assert set(deployment.parameters) <= set(properties), name
        assert all(entry.get("description") for entry in properties.values()), name


def test_the_flows_of_prefect_yaml_are_there_and_take_its_parameters() -> None:
    content = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    names = set()
    for deployment in content["deployments"]:
        flow = import_object(deployment["entrypoint"])
        names.add(flow.name)
        assert set(deployment["parameters"]) <= set(flow.parameters.properties)
        assert deployment["concurrency_limit"]["limit"] == 1
        assert deployment["work_pool"]["name"] == "snflow"
    assert names == {"nightly", "ingest", "train", "classify", "report"}
