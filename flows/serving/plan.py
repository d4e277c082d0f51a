"""What `snflow serve` needs of a site file, read by a process of its own: that imports what serving does without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Plan", "PlanError", "child_environment", "make_plan"]

ROOT: Final = Path(__file__).parents[2]


class PlanError(ValueError):
    """A site file with a mistake; the message is for the user."""


@dataclass(frozen=True)
class Plan:
    """A site, as it is served.

    Attributes:
        config: site file.
        words: settings changed by hand.
        out: folder of the site.
        home: folder of Prefect's database.
        host: address that the server listens at.
        port: of the server.
        timeout_seconds: longest run.
        days_of_runs: how long finished runs are kept.
        schedule: cron line and time zone, for people.
        next_time: when the next night is due, UTC.
    """

    config: str
    words: list[str]
    out: str
    home: str
    host: str
    port: int
    timeout_seconds: float
    days_of_runs: int
    schedule: str
    next_time: str

    @property
    def url(self) -> str:
        """Address of Prefect's pages, from this machine."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"


def make_plan(config: Path, words: list[str] | None = None) -> Plan:
    """Read a site file.

    Raises:
        PlanError: if it has a mistake.
    """
    command = [sys.executable, "-m", "flows.serving.plan", str(config.absolute()), *(words or [])]
    done = subprocess.run(command, env=child_environment({}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise PlanError(done.stderr.strip())
    return Plan(**json.loads(done.stdout))


def child_environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child process that finds this package, wherever it runs."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path} | dict(more)


def _read(config: Path, words: list[str]) -> Plan:
    from datetime import UTC, datetime

    from flows.schedule import next_times
    from flows.site import load_site

    site = load_site(config, words)
    (following,) = next_times(site.schedule, 1, datetime.now(UTC))
    return Plan(
        config=str(config),
        words=words,
        out=str(site.out),
        home=str(site.home),
        host=site.server.host,
        port=site.server.port,
        timeout_seconds=site.schedule.timeout_hours * 3600,
        days_of_runs=site.retention.days_of_runs,
        schedule=f"{site.schedule.nightly} ({site.schedule.timezone})",
        next_time=following.isoformat(timespec="minutes"),
    )


def main(words: list[str]) -> None:
    """Print the plan of a site file as JSON; with a mistake in it, say so and end with 2."""
    from pipeline.settings import SettingsError

    try:
        found: dict[str, Any] = asdict(_read(Path(words[0]), words[1:]))
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
