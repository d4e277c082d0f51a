"""Prefect's short-lived server ends with the command that started it, also when that is killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving import wait_for

CODE = """
import time
import flows
from prefect import flow

@flow
def waiting():
    print("begun", flush=True)
    time.sleep(300)

waiting()
"""


@pytest.mark.slow
def test_the_server_of_a_command_that_is_killed_ends_with_it(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "PREFECT_HOME": str(tmp_path)}
    environment.pop("PREFECT_API_URL", None)
    with subprocess.Popen([sys.executable, "-c", CODE], stdout=subprocess.PIPE, text=True, env=environment) as command:
        assert command.stdout is not None
        assert command.stdout.readline() == "begun\n"
        (server,) = Path(f"/proc/{command.pid}/task/{command.pid}/children").read_text().split()
        command.kill()
    wait_for(lambda: not Path(f"/proc/{server}").exists(), 10)
