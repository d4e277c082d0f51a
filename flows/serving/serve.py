"""The loop of `snflow serve`: keeps Prefect's server up and does the runs of a site when they are due."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flows.serving.api import Api, ServerError, ServerGoneError
from flows.serving.plan import Plan, child_environment
from flows.serving.runs import Runs
from flows.serving.server_process import ServerProcess, prefect_environment
from pipeline.processes import only_one

__all__ = ["LOCK", "NOTES", "serve"]

LOCK: Final = ".serve.lock"
NOTES: Final = "serve.json"
"""In the folder of a site: held while it is served; where, since when, and by which process."""

SECONDS_BETWEEN_LOOKS: Final = 5.0
PORT_SECONDS: Final = 15.0
"""So long is waited for the port of a server that is ending."""
Say = Callable[[str], None]


def serve(plan: Plan, say: Say) -> None:
    """Do the runs of a site when they are due, until the process is asked to end.

    Raises:
        AtWorkError: if the site is served already.
        RuntimeError: if the port is taken, or the server does not start.
    """
    out = Path(plan.out)
    with only_one(out / LOCK, f"the schedule of {plan.out}"), _stopping() as stopped:
        _wait_for_port(plan)
        Path(plan.home).mkdir(parents=True, exist_ok=True)
        server = ServerProcess(plan)
        runs = Runs(plan, Api(plan.url), say)
        try:
            server.start()
            _register(plan)
            runs.recover()
            _write_notes(plan)
            _greet(plan, say)
            while not stopped.is_set():
                _step(server, runs, say)
                stopped.wait(SECONDS_BETWEEN_LOOKS)
        finally:
            say("Stopping; what is at work ends first")
            _stop(server, runs, say)


def _step(server: ServerProcess, runs: Runs, say: Say) -> None:
    """Do what is due; a server that has ended is started anew, which the run at work waits for."""
    try:
        runs.step()
    except ServerGoneError as error:
        say(str(error))
        wrong = server.what_is_wrong()
        if wrong:
            say(f"Prefect's server {wrong}; starting it anew")
            server.stop()
            server.start()
    except ServerError as error:  # one request is refused; the next look may find another state
        say(str(error))


def _stop(server: ServerProcess, runs: Runs, say: Say) -> None:
    try:
        runs.stop()
    except (ServerGoneError, ServerError) as error:  # said to be crashed when the site is served again
        say(str(error))
    server.stop()


def _register(plan: Plan) -> None:
    """Tell the server the deployments of the site, in a process that may import the flows, and with them torch."""
    command = [sys.executable, "-m", "flows.deployments", plan.config, *plan.words]
    done = subprocess.run(
        command,
        env=child_environment(prefect_environment(plan)),
        cwd=plan.out,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the deployments could not be registered: {done.stderr.strip()}")


def _wait_for_port(plan: Plan) -> None:
    deadline = time.monotonic() + PORT_SECONDS
    while not _is_free(plan.host, plan.port):
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"port {plan.port} of {plan.host} is taken by another program; set another one: [server] port in "
                f"{plan.config}, or --set server.port=4201"
            )
        time.sleep(0.5)


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def _write_notes(plan: Plan) -> None:
    content = {"url": plan.url, "process": os.getpid(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
    (Path(plan.out) / NOTES).write_text(json.dumps(content) + "\n", encoding="utf-8")


def _greet(plan: Plan, say: Say) -> None:
    say(f"Serving {plan.config}: nights at {plan.schedule}, the next one at {plan.next_time}")
    say(f"Runs, schedule and artifacts: {plan.url}")
    if plan.host not in ("127.0.0.1", "::1", "localhost") and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        where = f"{plan.host}:{plan.port}"
        say(f"Whoever reaches {where} may start and stop runs, unless PREFECT_SERVER_API_AUTH_STRING is set")
    say(f"Ctrl-C, or kill {os.getpid()}, stops it; a run at work is ended, and gone on with later")


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that is set when the process is asked to end; asked again, it ends at once."""
    stopped = threading.Event()

    def stop(_number: int, _frame: object) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
