"""Prefect's server of a site, in a process of its own that ends with its parent: `python -m ... FD PARENT`."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Final

from flows.serving.api import Api
from flows.serving.plan import Plan, child_environment

__all__ = ["ServerProcess", "ServerStartError", "prefect_environment"]

START_SECONDS: Final = 120.0
"""A busy machine takes half a minute."""
SECONDS_BETWEEN_LOOKS: Final = 0.2
SILENCE_SECONDS: Final = 120.0
"""A server that says nothing for so long is started anew."""
STOP_SECONDS: Final = 10.0
LOG_BYTES: Final = 10_000_000
"""A log longer than this is not gone on with."""

IDLE: Final = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",  # looks after work pools, of which there are none here
    "PREFECT_SERVER_SERVICES_PAUSE_EXPIRATIONS_ENABLED": "false",  # none of the flows pauses
    "PREFECT_SERVER_SERVICES_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "15",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_LOOP_SECONDS": "60",
    "PREFECT_SERVER_SERVICES_REPOSSESSOR_LOOP_SECONDS": "60",
}
"""What an idle server need not do, or not every few seconds."""


class ServerStartError(RuntimeError):
    """The server does not start."""


class ServerProcess:
    """Prefect's server, started, looked after and stopped.

    The socket that it listens at is ours: while a server that has ended is started anew, requests wait there, and a run
    at work notices nothing but the delay.
    """

    def __init__(self, plan: Plan, listener: socket.socket):
        self._plan = plan
        self._listener = listener
        self._api = Api(plan.url)
        self._log = Path(plan.home) / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._last_answer = time.monotonic()

    def start(self) -> None:
        """Start the server, and wait until it answers.

        Raises:
            ServerStartError: if it ends, or does not answer in time.
        """
        plan, fd = self._plan, self._listener.fileno()
        command = [sys.executable, "-m", "flows.serving.server_process", str(fd), str(os.getpid())]
        environment = child_environment(prefect_environment(plan) | _server_settings(plan))
        with _open_log(self._log) as log:
            self._process = subprocess.Popen(
                command, env=environment, cwd=plan.out, start_new_session=True, pass_fds=[fd], stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._api.is_healthy():
            if self._process.poll() is not None:
                raise ServerStartError(
                    f"Prefect's server ended with exit code {self._process.returncode}; see {self._log}"
                )
            if time.monotonic() > deadline:
                self.stop()
                raise ServerStartError(
                    f"Prefect's server did not answer at {plan.url} within {START_SECONDS:.0f} s; see {self._log}"
                )
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self.has_answered()

    def has_answered(self) -> None:
        """Remember that the server is well."""
        self._last_answer = time.monotonic()

    def what_is_wrong(self) -> str:
        """Say why the server must be started anew; nothing while it is well."""
        if self._process is None or self._process.poll() is not None:
            return f"has ended (exit code {None if self._process is None else self._process.returncode})"
        silence = time.monotonic() - self._last_answer
        return f"has not answered for {silence:.0f} s" if silence > SILENCE_SECONDS else ""

    def stop(self) -> None:
        """Stop the server."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _open_log(path: Path) -> IO[bytes]:
    """Open what the server says, to go on with; a long one is begun anew, and the one before is kept."""
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def prefect_environment(plan: Plan) -> dict[str, str]:
    """Return what tells Prefect, in the processes of a site, which server is theirs."""
    return {
        "PREFECT_HOME": plan.home,
        "PREFECT_API_URL": f"{plan.url}/api",
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_CLIENT_MAX_RETRIES": "8",  # a run outlives its server for some minutes
    }


def _server_settings(plan: Plan) -> dict[str, str]:
    return IDLE | {
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_SERVER_API_HOST": plan.host,
        "PREFECT_SERVER_API_PORT": str(plan.port),
        "PREFECT_SERVER_UI_API_URL": "/api",  # whatever name or tunnel the pages are looked at through
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": plan.url,  # pages of strangers in the same browser may not command it
        # A run that holds the one slot of its flow keeps it when the server is started anew.
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(plan.days_of_runs * 86400),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"P{plan.days_of_runs}D",
    }


def main(fd: int, parent: int) -> None:
    """Serve at a socket that listens already, until the parent ends."""
    import uvicorn

    from pipeline.processes import end_with_parent

    end_with_parent(parent)
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app(final=True), log_level="warning", timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
