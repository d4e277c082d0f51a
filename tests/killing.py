"""Commands that are killed on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

__all__ = ["kill_in_training"]


def kill_in_training(command: Sequence[str], epoch: int = 3) -> None:
    """Run a command that prints the number of each epoch, and kill it with signal 9 when it has come to one."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= epoch:
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
