"""What is left of a night for whoever watches: a log in JSON lines, numbers for Prometheus, progress and events.

<out>/log.jsonl      every log record while a night ran, with the id of its run
<out>/metrics.prom   the last night in numbers; written when it begins, and when it ends or fails
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID

from prefect import Flow
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.logging import get_run_logger

from flows.site import LOG, METRICS, SiteSettings, load_site
from pipeline.gauges import LastNight, counts_of, read_last_night, write_last_night
from pipeline.logs import logging_to
from pipeline.notices import EVENTS, Occasion, ended_badly, occasions, told

__all__ = ["Watch", "observed", "tell_crash"]

logger = logging.getLogger(__name__)

RUN_LOGGERS: Final = ("prefect.flow_runs", "prefect.task_runs")
N_STEPS: Final = 5
LEVELS: Final = {"failed": "error", "quarantine": "error", "red": "warning", "amber": "warning"}


@dataclass
class Watch:
    """How far a night has come.

    Attributes:
        night: its name.
        summary: of the night, once it is done.
    """

    night: str
    summary: dict[str, Any] | None = None
    _n_begun: int = 0
    _artifact: UUID | None = field(default=None, repr=False)

    def step(self, name: str) -> None:
        """Say which step begins."""
        percent, words = 100 * self._n_begun / N_STEPS, f"Night {self.night}: {name}"
        get_run_logger().info("step %d of %d: %s", self._n_begun + 1, N_STEPS, name)
        if self._artifact is None:
            made = create_progress_artifact(percent, "snflow-nightly-progress", words)
            self._artifact = cast("UUID", made)  # the flow is not asynchronous
        else:
            update_progress_artifact(self._artifact, percent, words)
        self._n_begun += 1

    def done(self, summary: dict[str, Any]) -> None:
        """Say that the night is done."""
        self.summary = summary
        if self._artifact is not None:
            update_progress_artifact(self._artifact, 100.0, f"Night {self.night}: {summary['sentence']}")


@contextmanager
def observed(site: SiteSettings, folder: Path) -> Iterator[Watch]:
    """Write the log and the numbers of a night while it runs, and tell how it went."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    with _logging(site, run, folder.name):
        last, watch = _begin(site.out / METRICS), Watch(folder.name)
        try:
            _tag(site, run)
            yield watch
        except BaseException as error:
            _end(site, run, last, watch, error)
            raise
        _end(site, run, last, watch, None)


def tell_crash(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
    """Tell of a night whose process is gone; one that told of its end itself is left alone."""
    site = load_site(Path(flow_run.parameters["config"]), flow_run.parameters.get("settings"))
    last = read_last_night(site.out / METRICS)
    if last is None or last.ended is not None:
        return
    now = time.time()
    message = f"A night crashed: {state.message}; the next run goes on where it stopped"
    with _logging(site, flow_run, ""):
        logger.error(message)
    write_last_night(site.out / METRICS, replace(last, ended=now, last_failure=now))
    _emit(site, flow_run, "failed", message, {})


def _logging(site: SiteSettings, run: FlowRun | None, night: str) -> AbstractContextManager[None]:
    """Write what is logged into the log of a site, but for the address that it keeps to itself."""
    shared = {"run_id": str(run.id) if run else "", "run_name": run.name if run else "", "night": night}
    secret = os.environ.get(site.notify.webhook_env, "") if site.notify.webhook_env else ""
    return logging_to(site.out / LOG, shared, site.log, RUN_LOGGERS, [secret])


def _tag(site: SiteSettings, run: FlowRun | None) -> None:
    """Tag a run as one of this site, as automations and Prefect's pages tell them apart."""
    if run and site.tag not in run.tags:
        with get_client(sync_client=True) as client:
            client.update_flow_run(run.id, tags=[*run.tags, site.tag])


def _begin(path: Path) -> LastNight:
    """Note that a night runs; of one that crashed unseen before, that it failed."""
    last, now = read_last_night(path), time.time()
    failure = last.last_failure if last else None
    if last and last.ended is None:
        failure = last.started
        begun = datetime.fromtimestamp(last.started, UTC).isoformat(timespec="seconds")
        get_run_logger().warning("the run that began at %s crashed; what it left undone is done now", begun)
    night = LastNight(now, last_success=last.last_success if last else None, last_failure=failure)
    _write(path, night)
    return night


def _end(site: SiteSettings, run: FlowRun | None, last: LastNight, watch: Watch, error: BaseException | None) -> None:
    """Write the numbers of a night, log how it went, and send the events it gives occasion to."""
    now, summary = time.time(), watch.summary
    night = replace(last, ended=now, success=error is None)
    night = replace(night, last_success=now) if error is None else replace(night, last_failure=now)
    if summary:
        name, _, version = summary["model"].partition("@")
        night = replace(night, counts=counts_of(summary), model=(name, version))
    _write(site.out / METRICS, night)
    found: tuple[Occasion, ...] = occasions(summary) if summary else ()
    if error is not None and "failed" not in found:
        found = ("failed", *found)
    is_told = summary and (error is None or summary["failure"])
    message = told(summary) if summary and is_told else ended_badly(watch.night, error) if error else ""
    level = LEVELS[found[0]] if found else "info"
    getattr(get_run_logger(), level)(message, exc_info=error)
    payload = {"n_changed": summary["n_changed"], **summary["publish"], "guard": summary["guard"]} if summary else {}
    for occasion in found:
        _emit(site, run, occasion, message, {"night": watch.night, **payload})


def _write(path: Path, night: LastNight) -> None:
    """Write the numbers; a night does not fail for want of them."""
    try:
        write_last_night(path, night)
    except OSError as error:
        get_run_logger().error("cannot write %s: %s", path, error)


def _emit(site: SiteSettings, run: FlowRun | None, occasion: Occasion, message: str, payload: dict[str, Any]) -> None:
    """Send an event of a run to Prefect, where automations wait for it."""
    if run is None:
        return
    resource = {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}
    flow = {"prefect.resource.id": f"prefect.flow.{run.flow_id}", "prefect.resource.name": "nightly"}
    related = [
        {**flow, "prefect.resource.role": "flow"},
        {"prefect.resource.id": f"prefect.tag.{site.tag}", "prefect.resource.role": "tag"},
    ]
    emit_event(EVENTS[occasion], resource, related=related, payload={"message": message, **payload})
