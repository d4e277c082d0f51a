"""The runs of a site: one at a time, since each writes to the same catalogue; Prefect is told what became of each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from flows.serving.api import Api, FlowRun
from flows.serving.plan import Plan, child_environment
from flows.serving.server_process import prefect_environment

__all__ = ["Runs"]

STOP_SECONDS: Final = 30.0
"""So long may a run take to end by itself once it was asked to."""
SECONDS_BETWEEN_LOOKS: Final = 0.1
AGAIN: Final = "after-a-crash"
"""Tag of a run that repeats one that crashed; it is not repeated itself."""


@dataclass
class Running:
    """A run and its process.

    Attributes:
        run: as the server told it when it was due.
        process: leader of the run's process group.
        begun: by the monotonic clock [s].
        end: state that the run is given once its process has ended, and why; empty: what the flow said itself.
    """

    run: FlowRun
    process: subprocess.Popen[bytes]
    begun: float = field(default_factory=time.monotonic)
    end: tuple[str, str, str] | None = None


class Runs:
    """Starts what is due, watches it, and ends it."""

    def __init__(self, plan: Plan, api: Api, say: Callable[[str], None]):
        self._plan = plan
        self._api = api
        self._say = say
        self._running: Running | None = None
        self._flows: Mapping[str, str] = {}

    @property
    def is_idle(self) -> bool:
        """Whether no run is at work."""
        return self._running is None

    def recover(self) -> None:
        """Say of the runs that ended with an earlier `snflow serve` that they crashed."""
        self._flows = {deployment: name for name, deployment in self._api.deployments().items()}
        self._api.take_over(self._flows)
        for run in self._api.unfinished(self._flows):
            self._crash(run, "snflow serve ended during this run")

    def step(self) -> None:
        """Look after the run at work, or start the next that is due."""
        if self._running is not None:
            self._watch(self._running)
        if self._running is None:
            self._start_next()

    def stop(self) -> None:
        """End the run at work; the next one goes on where it stopped."""
        if self._running is None:
            return
        self._end(self._running, ("CRASHED", "Crashed", "snflow serve was stopped during this run"))

    def _start_next(self) -> None:
        for run in self.without_missed(self._api.due(self._flows)):
            if self._api.set_state(run["id"], "PENDING", "Pending", force=False) != "PENDING":
                continue  # cancelled or put off meanwhile
            command = [sys.executable, "-m", "flows.serving.flow_process", run["id"], str(os.getpid())]
            environment = child_environment(prefect_environment(self._plan))
            process = subprocess.Popen(command, env=environment, cwd=self._plan.out, start_new_session=True)
            self._running = Running(run, process)
            self._say(f"{self._name(run)}: begun")
            return

    def without_missed(self, due: Iterable[FlowRun]) -> list[FlowRun]:
        """Of the scheduled runs of a flow that are overdue only the last is done: it does the work of the others."""
        kept: list[FlowRun] = []
        for run in due:
            same = [other for other in kept if other["deployment_id"] == run["deployment_id"]]
            for missed in [other for other in same if other["auto_scheduled"] and run["auto_scheduled"]]:
                message = f"not begun in time; the run of {run['expected_start_time']} does its work"
                self._api.set_state(missed["id"], "CANCELLED", "Missed", message)
                self._say(f"{self._name(missed)} of {missed['expected_start_time']}: {message}")
                kept.remove(missed)
            kept.append(run)
        return kept

    def _watch(self, running: Running) -> None:
        if _has_ended(running.process):
            self._settle(running)
        elif time.monotonic() - running.begun > self._plan.timeout_seconds:
            hours = self._plan.timeout_seconds / 3600
            self._end(running, ("FAILED", "TimedOut", f"ended after {hours:g} h, the timeout of the site file"))
        elif self._api.read(running.run["id"])["state"]["type"] == "CANCELLING":
            self._end(running, ("CANCELLED", "Cancelled", "ended by request"))

    def _end(self, running: Running, end: tuple[str, str, str]) -> None:
        """End the process of a run and all that it has started, and say how it ended."""
        running.end = end
        self._say(f"{self._name(running.run)}: ending it, {end[2]}")
        running.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while not _has_ended(running.process) and time.monotonic() < deadline:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self._settle(running)

    def _settle(self, running: Running) -> None:
        """Say how a run ended whose process is gone."""
        _kill_group(running.process)
        code = running.process.returncode
        run = self._api.read(running.run["id"])
        state = run["state"]
        if running.end is not None and state["type"] not in ("COMPLETED", "FAILED"):  # else it was done in that moment
            self._api.set_state(run["id"], *running.end)
            self._crash_within(run["id"], running.end[2])
        elif state["type"] in ("RUNNING", "PENDING", "CANCELLING"):
            self._crash(run, f"its process ended (exit code {code})")
        self._running = None
        state = self._api.read(run["id"])["state"]
        self._say(f"{self._name(run)}: {state['name']} {state['message'] or ''}".rstrip())

    def _crash(self, run: FlowRun, why: str) -> None:
        """Say that a run crashed; a night is gone on with at once, unless another is due anyway, but only once."""
        self._crash_within(run["id"], why)
        self._api.set_state(run["id"], "CRASHED", "Crashed", why)
        deployment = run["deployment_id"]
        if self._flows.get(deployment) == "nightly" and AGAIN not in run["tags"] and not self._api.due([deployment]):
            message = f"again, since {run['name']} crashed: {why}"
            self._api.create_run(deployment, message, [*run["tags"], AGAIN], run["parameters"])

    def _crash_within(self, run: str, why: str) -> None:
        for inner in self._api.unfinished_within(run):
            self._crash_within(inner["id"], why)
            self._api.set_state(inner["id"], "CRASHED", "Crashed", why)
        self._api.crash_tasks(run, why)

    def _name(self, run: FlowRun) -> str:
        return f"{self._flows.get(run['deployment_id'], 'run')} ({run['name']})"


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; its number stays its own until `_kill_group` has waited for it."""
    if process.returncode is not None:
        return True
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what a run has left of its processes, and wait for their leader."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
