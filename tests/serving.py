"""A site that is served in a process of its own, for tests that kill parts of it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from flows.serving.api import Api, FlowRun, ServerError, ServerGoneError
from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from tests.small_model import small_classifier

__all__ = ["Served", "free_port", "make_site", "wait_for"]

ROOT = Path(__file__).parents[1]
EVERY_MINUTE = "* * * * *"
NEVER_SOON = "0 0 1 1 *"


def make_site(folder: Path, port: int, cron: str = NEVER_SOON, n_objects: int = 20) -> Path:
    """Make a site with a few light curves and a small classifier, and return its file."""
    simulate_survey(folder / "inbox", SimulationSettings(n_objects=n_objects, seed=1))
    small_classifier().checkpoint.save(folder / "model")
    path = folder / "site.toml"
    path.write_text(
        f'sources = ["inbox"]\nstore = "catalogue"\nmodel = "model"\nout = "."\n'
        f'[schedule]\nnightly = "{cron}"\n[server]\nport = {port}\n'
    )
    return path


def free_port() -> int:
    """Return a port that nobody listens at."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(holds: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = holds()
        except (ServerGoneError, ServerError):
            found = None
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds} s in vain")


class Served:
    """`snflow serve` of a site, as a process."""

    def __init__(self, config: Path, port: int):
        self.config, self.port, self.folder = config, port, config.parent
        self.api = Api(f"http://127.0.0.1:{port}")
        self._log = self.folder / "serve.log"
        code = "from flows.cli import app; app()"
        command = [sys.executable, "-c", code, "serve", "--config", str(config)]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._n_before = self._log.read_text().count("Ctrl-C") if self._log.exists() else 0
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log, stdout=log, start_new_session=True)

    def __enter__(self) -> Served:
        wait_for(lambda: self._log.read_text().count("Ctrl-C") > self._n_before or self.process.poll() is not None)
        return self

    def __exit__(self, *_error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(60)

    def children(self) -> list[int]:
        """Return the numbers of the processes that serve has started."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def child(self, module: str) -> int | None:
        """Return the number of a child process by its module."""
        for pid in self.children():
            if f"flows.serving.{module}" in Path(f"/proc/{pid}/cmdline").read_text():
                return pid
        return None

    def nights(self) -> list[FlowRun]:
        """Return all runs of the nightly deployment but those to come, the earliest first."""
        deployment = self.api.deployments()["nightly"]
        chosen = {"deployment_id": {"any_": [deployment]}, "state": {"type": {"not_any_": ["SCHEDULED"]}}}
        return self.api.runs(chosen)

    def run_now(self) -> None:
        """Ask for a night now."""
        self.api.create_run(self.api.deployments()["nightly"], "by hand", [], {})

    def kill(self) -> None:
        """Kill serve itself, and wait until its children have followed it."""
        children = self.children()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), 10)
