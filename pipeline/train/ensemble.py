"""Members of an ensemble trained side by side, one process each on the cores there are."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipeline.processes import end_with_parent, process_context
from pipeline.train.experiment import Experiment
from pipeline.train.member import Row, TrainingData, train_member
from pipeline.train.state import StateError, TrainingState

__all__ = ["state_file", "train_ensemble"]


class MemberFailedError(RuntimeError):
    """A training process died or raised; the message carries what it said."""


def state_file(folder: Path, member: int) -> Path:
    """Where a member keeps its training state."""
    return folder / f"member-{member}.state.safetensors"


def train_ensemble(
    data: TrainingData, experiment: Experiment, folder: Path, report: Callable[[Row], None]
) -> list[TrainingState]:
    """Train all members, resuming those that an earlier run began.

    Args:
        data: training and validation objects.
        experiment: settings; `fit.members` networks of `fit.threads` threads each.
        folder: holds one state file a member.
        report: called in this process with each history row of each member.

    Raises:
        MemberFailedError: if a training process fails.
        StateError: if a state file cannot be resumed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    members = range(experiment.fit.members)
    if len(members) == 1:
        return [train_member(data, experiment, 0, state_file(folder, 0), report)]
    pool = MemberPool(data, experiment, folder, report)
    try:
        pool.run(list(members), max(1, (os.cpu_count() or 1) // experiment.fit.threads))
    finally:
        pool.stop()
    states = [TrainingState.load(state_file(folder, member), data.fingerprint) for member in members]
    return [state for state in states if state is not None]


@dataclass
class MemberPool:
    """The running processes of an ensemble."""

    data: TrainingData
    experiment: Experiment
    folder: Path
    report: Callable[[Row], None]

    def __post_init__(self) -> None:
        """Prepare for processes that share nothing, which is what torch wants."""
        self.context = process_context()
        self.messages: Any = self.context.Queue()
        self.running: dict[int, BaseProcess] = {}

    def run(self, waiting: list[int], most: int) -> None:
        """Run every member, `most` at a time."""
        while waiting or self.running:
            while waiting and len(self.running) < most:
                self.start(waiting.pop(0))
            self.listen()

    def start(self, member: int) -> None:
        """Start one member."""
        arguments = (self.data, self.experiment, member, state_file(self.folder, member), self.messages, os.getpid())
        process = self.context.Process(target=_member_process, args=arguments, daemon=True, name=f"member-{member}")
        process.start()
        self.running[member] = process

    def listen(self) -> None:
        """Take the next message; without one, look whether a process died without a word."""
        try:
            member, kind, content = self.messages.get(timeout=1.0)
        except queue.Empty:
            for member, process in self.running.items():
                if process.exitcode not in (None, 0):
                    raise MemberFailedError(
                        f"member {member} died with exit code {process.exitcode}; run the same command to resume"
                    ) from None
            return
        if kind == "row":
            self.report(content)
        elif kind == "state error":
            raise StateError(content)
        elif kind == "error":
            raise MemberFailedError(f"member {member} failed: {content}")
        else:
            self.running.pop(member).join()

    def stop(self) -> None:
        """End what still runs."""
        for process in self.running.values():
            process.terminate()
            process.join()


def _member_process(
    data: TrainingData, experiment: Experiment, member: int, path: Path, messages: Any, parent: int
) -> None:
    end_with_parent(parent)
    try:
        train_member(data, experiment, member, path, lambda row: messages.put((member, "row", row)))
    except StateError as error:
        messages.put((member, "state error", str(error)))
    except (ValueError, RuntimeError, OSError, MemoryError) as error:
        messages.put((member, "error", f"{type(error).__name__}: {error}"))
    else:
        messages.put((member, "done", None))
