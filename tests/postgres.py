"""A throw-away PostgreSQL on loopback, for the tests of a team's server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port, wait_until

__all__ = ["PASSWORD", "Postgres", "postgres"]

PASSWORD = "Tq9-throw-away"
USER = "postgres"
"""PostgreSQL refuses root; Debian's package makes this user."""


@dataclass
class Postgres:
    """A cluster that can be stopped and started again; its database `prefect` is there once it runs."""

    programs: Path
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What Prefect's server is told."""
        return f"postgresql+asyncpg://{USER}:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def ask(self, query: str) -> list[str]:
        """Return what a query gives, a line each."""
        command = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-At", "-c", query, "postgres"]
        environment = os.environ | {"PGPASSWORD": PASSWORD}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    def make(self) -> None:
        """Make the cluster."""
        (self.folder / "password").write_text(PASSWORD)
        words = ["-D", str(self.folder / "data"), "-U", USER, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"]
        command = [str(self.programs / "initdb"), *words, f"--pwfile={self.folder / 'password'}"]
        subprocess.run(command, check=True, capture_output=True, **_as_unprivileged(self.folder))

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off"}
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self.programs / "postgres"), "-D", str(self.folder / "data"), *words]
        with (self.folder / "postgres.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, start_new_session=True, **_as_unprivileged(self.folder)
            )
        ready = [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready, check=False).returncode == 0, 30, "PostgreSQL")

    def stop(self) -> None:
        """Stop it at once, as if its machine had failed."""
        if self.process:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Make and start a cluster; skip where PostgreSQL is not installed."""
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not here: install Debian's postgresql, or have initdb and postgres on the PATH")
    folder = Path(tempfile.mkdtemp(prefix="snflow-postgres-"))
    cluster = Postgres(programs, folder)
    try:
        if os.getuid() == 0:
            shutil.chown(folder, USER, USER)
        cluster.make()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)


def _programs() -> Path | None:
    """Return the folder of PostgreSQL's programs, of the newest where there are several."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def _as_unprivileged(folder: Path) -> dict[str, Any]:
    """Return what makes a program run as somebody who is not root."""
    if os.getuid() != 0:
        return {"cwd": folder}
    account = pwd.getpwnam(USER)
    return {"cwd": folder, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
