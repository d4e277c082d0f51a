"""When a site's nights are due, where its server listens, and what is kept: sections of a site file."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import available_timezones

from pydantic import Field, field_validator

from pipeline.settings import FrozenConfig, SettingsError

__all__ = ["RetentionSettings", "ScheduleSettings", "ServerSettings", "next_times"]


class ScheduleSettings(FrozenConfig):
    """When `snflow serve` does a night."""

    nightly: str = "0 8 * * *"
    """Minute, hour, day of the month, month and day of the week, as in cron: every day at 8 by the clock below."""
    timezone: str = "UTC"
    """Clock that `nightly` goes by, such as America/Santiago; when it is set forward or back, a night is done once."""
    timeout_hours: float = Field(default=20.0, gt=0)
    """A run that takes longer is ended; the next one goes on where it stopped."""

    @field_validator("nightly")
    @classmethod
    def _is_cron(cls, line: str) -> str:
        from prefect.client.schemas.schedules import CronSchedule

        try:
            if len(line.split()) > 5:  # seconds, or a year
                raise ValueError
            CronSchedule(cron=line)
        except ValueError:
            raise ValueError(
                "expected the five fields of a cron line (minute, hour, day of the month, month, day of the week), "
                'such as "0 8 * * *" for every day at 8:00'
            ) from None
        return line

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, name: str) -> str:
        if name not in available_timezones():
            raise ValueError('expected a name of the IANA time zones, such as "UTC" or "Europe/Berlin"')
        return name


class ServerSettings(FrozenConfig):
    """Prefect's server of a site, as `snflow serve` runs it."""

    host: str = "127.0.0.1"
    """Address to listen at: this machine alone. Whoever reaches another one may start and stop runs."""
    port: int = Field(default=4200, ge=1, le=65535)
    """Port of its pages and its API; each site on a machine needs its own."""
    home: Path | None = None
    """Folder of its database; default: `prefect` in `out`."""


class RetentionSettings(FrozenConfig):
    """How long what the nights leave is kept; the catalogue and what is published always are."""

    days_of_runs: int = Field(default=90, ge=1)
    """Finished runs stay so long in Prefect, with their logs, artifacts and events [days]."""
    nights: int | None = Field(default=None, ge=1)
    """So many of the newest folders of finished nights are kept; default: all."""


def next_times(schedule: ScheduleSettings, n: int, after: datetime) -> list[datetime]:
    """Return the next `n` times in UTC of a schedule, later than a time, as Prefect's scheduler plans them.

    Raises:
        SettingsError: if there is none, such as on a 30th of February.
    """
    from prefect.server.schemas.schedules import CronSchedule

    cron = CronSchedule(cron=schedule.nightly, timezone=schedule.timezone)
    try:
        found = asyncio.run(cron.get_dates(n, start=after + timedelta(microseconds=1)))
    except ValueError:
        raise SettingsError(f"schedule.nightly: expected a time that comes, came {schedule.nightly!r}") from None
    return [datetime.fromtimestamp(time.timestamp(), UTC) for time in found]  # plain, not pendulum
