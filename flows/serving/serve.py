"""The loop of `snflow serve`: keeps Prefect's server up and does the runs of a site when they are due."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flows.serving.api import Api, ServerError, ServerGoneError
from flows.serving.plan import Plan, child_environment
from flows.serving.runs import Runs
from flows.serving.server_process import ServerProcess, ServerStartError, prefect_environment
from pipeline.processes import only_one

__all__ = ["LOCK", "NOTES", "serve"]

LOCK: Final = ".serve.lock"
NOTES: Final = "serve.json"
"""In the folder of a site: held while it is served; where, since when, and by which process."""

SECONDS_BETWEEN_LOOKS: Final = 5.0
BACKLOG: Final = 128
"""Requests that wait while the server is started anew."""
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
    with ExitStack() as stack:
        stack.enter_context(only_one(out / LOCK, f"the schedule of {plan.out}"))
        stopped = stack.enter_context(_stopping())
        Path(plan.home).mkdir(parents=True, exist_ok=True)
        listener = stack.enter_context(closing(_listen(plan)))
        server = ServerProcess(plan, listener)
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
        wrong = server.what_is_wrong()
        if wrong:
            say(f"Prefect's server {wrong}; starting it anew")
            server.stop()
            server.start()
        runs.step()
        server.has_answered()
    except (ServerGoneError, ServerError, ServerStartError) as error:  # the next look may find another state
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


def _listen(plan: Plan) -> socket.socket:
    """Listen at the address of the server; wait for an earlier one that is ending.

    Raises:
        RuntimeError: if another program does, or the address is not one of this machine.
    """
    deadline = time.monotonic() + PORT_SECONDS
    while True:
        listener = socket.socket(socket.AF_INET6 if ":" in plan.host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((plan.host, plan.port))
            listener.listen(BACKLOG)
            return listener
        except OSError as error:
            listener.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{plan.host}:{plan.port} cannot be listened at ({error.strerror}): set [server] in {plan.config}, "
                    "or --set server.port=4201"
                ) from None
        time.sleep(0.5)


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
