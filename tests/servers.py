"""Real servers on loopback for the tests: Prefect's, and one that takes down what webhooks tell it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import httpx

__all__ = [
    "ROOT",
    "PrefectServer",
    "Receiver",
    "end",
    "free_port",
    "mailbox",
    "prefect_server",
    "receiver",
    "start",
    "wait_until",
]

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class PrefectServer:
    """A server: its API, the folder of its files, and the environment of those who use it."""

    api: str
    folder: Path
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    def ask(self, path: str, **body: Any) -> Any:
        """Return what the API answers to a filter."""
        return httpx.post(f"{self.api}/{path}", json=body, timeout=30).raise_for_status().json()


@dataclass
class Receiver:
    """What was told to an address: to a webhook, JSON."""

    address: str
    told: list[dict[str, Any]] = field(default_factory=list)


def free_port() -> int:
    """Return a port of loopback that nobody listens to."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(words: list[str], environment: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a Python module in a session of its own; its output goes to a file."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", *words], env=environment, stdout=file, stderr=file, start_new_session=True
        )


def end(process: subprocess.Popen[bytes], by: signal.Signals = signal.SIGTERM) -> None:
    """End a process with all of its session."""
    if process.poll() is None:
        os.killpg(process.pid, by)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def wait_until(is_so: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return what is asked for as soon as it is true; raise AssertionError after some seconds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := is_so():
            return found
        time.sleep(0.3)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@contextmanager
def prefect_server(folder: Path, **extra: str) -> Iterator[PrefectServer]:
    """Start a Prefect server whose files are in a folder of its own; `extra` is added to its environment."""
    port = free_port()
    chosen = {
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONPATH": str(ROOT),
        **extra,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    environment = inherited | chosen
    log = folder / "server.log"
    process = start(["prefect", "server", "start", "--host", "127.0.0.1"], environment, log)
    api = f"http://127.0.0.1:{port}/api"
    try:
        wait_until(lambda: _answers(api) or process.poll() is not None, 120, "the server")
        assert process.poll() is None, log.read_text()
        yield PrefectServer(api, folder, environment | {"PREFECT_API_URL": api}, process)
    finally:
        end(process)


@contextmanager
def mailbox() -> Iterator[Receiver]:
    """Take letters in, by SMTP; `told` holds each as `{"letter": text}`."""
    told: list[dict[str, Any]] = []

    class Postman(StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while (word := self.rfile.readline()[:4].upper()) and word != b"QUIT":
                self.wfile.write(b"354 go on\r\n" if word == b"DATA" else b"250 fine\r\n")
                if word == b"DATA":
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    told.append({"letter": b"".join(lines).decode()})
                    self.wfile.write(b"250 taken\r\n")

    with ThreadingTCPServer(("127.0.0.1", 0), Postman) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Receiver(f"mailto://127.0.0.1:{server.server_address[1]}?mode=insecure", told)
        finally:
            server.shutdown()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Listen to webhooks."""
    told: list[dict[str, Any]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Receiver(f"http://127.0.0.1:{server.server_address[1]}", told)
        finally:
            server.shutdown()


def _answers(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2).status_code == 200
    except httpx.TransportError:
        return False
