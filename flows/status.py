"""How a site's nights go, from its files alone: no server is needed, and torch is not imported."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from flows.nights import LOCK as NIGHT_LOCK
from flows.nights import RECORD, begun_at, newest_nights
from flows.schedule import next_times
from flows.serving.serve import LOCK as SERVE_LOCK
from flows.serving.serve import NOTES
from flows.site import PUBLISHED, SiteSettings
from pipeline.classify.incremental import Renewal, choose_new
from pipeline.classify.publication import read_held
from pipeline.processes import who_holds
from pipeline.provenance import read_record
from pipeline.store import Store

__all__ = ["Backlog", "LastNight", "SiteStatus", "site_status"]

PERIODS: Final = 2
"""A site is overdue when so many nights should have begun since the last one, and none has ended."""
GRACE: Final = timedelta(minutes=15)
"""So much later than it is due a night may begin: the machine is busy, or another run is at work."""


@dataclass(frozen=True)
class LastNight:
    """The newest night.

    Attributes:
        night: name of its folder.
        outcome: done; failed, with the reason in `message`; interrupted, and gone on with by the next; or at work.
        ended: when, in UTC; empty for one that has not.
        verdict: of the drift guard: green, amber, red or unknown; empty until it is known.
        message: what the drift guard said, or why the night failed.
    """

    night: str
    outcome: Literal["done", "failed", "interrupted", "at work"]
    ended: str
    verdict: str
    message: str


@dataclass(frozen=True)
class Backlog:
    """What waits.

    Attributes:
        n_objects: in the catalogue.
        n_unclassified: of these, changed and not classified yet by the site's classifier.
        n_held: whose classes are held back until somebody has looked.
        n_quarantined: entries of the quarantine: files and objects that could not be read.
    """

    n_objects: int = 0
    n_unclassified: int = 0
    n_held: int = 0
    n_quarantined: int = 0


@dataclass(frozen=True)
class SiteStatus:
    """How a site's nights go.

    Attributes:
        served: who serves it, since when; empty if nobody does.
        url: Prefect's pages, while it is served.
        last: the newest night, if there was one.
        following: when the next night is due, in UTC.
        backlog: what waits.
        problems: what somebody should look at; empty if all is well.
    """

    served: str
    url: str
    last: LastNight | None
    following: str
    backlog: Backlog
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def site_status(site: SiteSettings, now: datetime) -> SiteStatus:
    """Tell how the nights of a site go."""
    served = who_holds(site.out / SERVE_LOCK)
    last = _last_night(site)
    (following,) = next_times(site.schedule, 1, now)
    return SiteStatus(
        served=served,
        url=_notes(site)["url"] if served else "",
        last=last,
        following=following.isoformat(timespec="minutes"),
        backlog=_backlog(site),
        problems=tuple(_problems(site, last, now)),
    )


def _last_night(site: SiteSettings) -> LastNight | None:
    for folder in newest_nights(site)[:1]:
        record = read_record(folder, RECORD)
        if not record:
            outcome: Literal["at work", "interrupted"] = (
                "at work" if who_holds(site.out / NIGHT_LOCK) else "interrupted"
            )
            return LastNight(folder.name, outcome, "", "", "")
        summary = record["summary"]
        failure = summary["failure"]
        message = failure or summary["sentence"]
        verdict = summary["guard"]["status"]
        return LastNight(folder.name, "failed" if failure else "done", record["finished"], verdict, message)
    return None


def _backlog(site: SiteSettings) -> Backlog:
    n_held = len(read_held(site.out / PUBLISHED))
    if not (site.store / "store.json").exists():  # before the first night
        return Backlog(n_held=n_held)
    store = Store.open(site.store)
    asked = choose_new(store, site.model_folder, site.classify, Renewal())
    return Backlog(len(asked.present), len(asked.snids), n_held, len(store.quarantine()))


def _problems(site: SiteSettings, last: LastNight | None, now: datetime) -> list[str]:
    problems = []
    if last is not None and last.outcome in ("failed", "interrupted"):
        problems.append(
            f"the last night, {last.night}, {last.outcome}: {last.message or 'the next one goes on with it'}"
        )
    since = _since(site, last)
    if since is None:
        problems.append("there was no night yet, and nobody serves the site: snflow serve, or snflow nightly")
    elif next_times(site.schedule, PERIODS, since)[-1] + GRACE < now and not who_holds(site.out / NIGHT_LOCK):
        problems.append(f"no night has ended since {since.isoformat(timespec='minutes')}, though {PERIODS} were due")
    return problems


def _since(site: SiteSettings, last: LastNight | None) -> datetime | None:
    """Return when the last night ended, or began if it has not, or since when the site is served."""
    if last is not None:
        return datetime.fromisoformat(last.ended) if last.ended else begun_at(last.night)
    return datetime.fromisoformat(_notes(site)["since"]) if who_holds(site.out / SERVE_LOCK) else None


def _notes(site: SiteSettings) -> dict[str, str]:
    path: Path = site.out / NOTES
    if not path.exists():  # served since a moment ago
        return {"url": "", "since": datetime.now(UTC).isoformat(timespec="seconds")}
    found: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return found
