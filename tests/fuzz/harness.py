"""Damaged files through the readers: whatever comes, they answer with light curves or with reasons.

A batch is drawn from the seed and its own number, so that it can be drawn again: by the halves of a batch that broke a
promise, and by the process that follows one which a batch has killed.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Final

import pyarrow as pa

from pipeline.ingest.quarantine import kind_of
from tests.fuzz.mutations import Files
from tests.fuzz.promises import BrokenPromiseError, read_and_check
from tests.fuzz.targets import FUZZED, Target

__all__ = ["BATCH", "Finding", "Report", "check_inputs", "fuzz", "fuzz_in_processes"]

BATCH: Final = 64
MAX_SECONDS: Final = 10.0
"""A batch that takes more CPU time counts as a hang; wall time would tell of a busy machine."""
MAX_SILENCE: Final = 12 * MAX_SECONDS
"""A process that says nothing for longer hangs where no signal reaches it."""
MAX_MIB: Final = 300
"""Memory that a batch may take for itself."""
MAX_ADDRESSES: Final = 8 << 30
"""Memory that a process may ask for at all [bytes], so that a damaged size cannot harm the machine."""
_STATUS: Final = Path("/proc/self/status")
_RESET: Final = Path("/proc/self/clear_refs")


class HangError(BaseException):
    """A batch that takes too long; no reader can take it for damage of a file."""


@dataclass(frozen=True)
class Finding:
    """An input that broke a promise, and which."""

    files: Files
    fault: str


@dataclass
class Report:
    """What came of a run.

    Attributes:
        inputs: damaged inputs read, of one file or two each.
        objects: light curves that came out of them.
        reasons: kinds of rejection, and how often each occurred.
        findings: broken promises.
        slowest: the longest batch of 64 [s].
        peak: memory, at most [MiB].
        first_peak: the same after the first thousand inputs [MiB].
    """

    inputs: int = 0
    objects: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: float = 0.0
    peak: float = 0.0
    first_peak: float = 0.0

    @property
    def growth(self) -> float:
        """Memory that was needed after the first thousand inputs in addition [MiB]."""
        return self.peak - self.first_peak

    def add(self, other: Report) -> None:
        """Take in what came of further inputs."""
        self.inputs += other.inputs
        self.objects += other.objects
        self.reasons.update(other.reasons)
        self.findings += other.findings
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)
        if self.inputs <= 1000 or not self.first_peak:
            self.first_peak = self.peak


def fuzz(name: str, inputs: int, seed: int) -> Iterator[Report]:
    """Read damaged inputs in this process, in batches; yield the same report after each."""
    report = Report()
    for number in range(-(-inputs // BATCH)):
        report.add(_read_drawn(name, seed, number, 0, min(BATCH, inputs - number * BATCH)))
        yield report


def fuzz_in_processes(name: str, inputs: int, seed: int) -> Iterator[Report]:
    """Do the same in a process that is started again when a batch kills it."""
    report, number, n_batches = Report(), 0, -(-inputs // BATCH)
    while number < n_batches:
        for part in _in_process(name, seed, range(number, n_batches), 0, BATCH):
            report.add(part)
            number += 1
            yield report
        if number < n_batches:
            killer = Finding(_killer(name, seed, number, 0, BATCH), f"batch {number} killed the process")
            report.add(Report(inputs=BATCH, findings=[killer]))
            number += 1
            yield report


def check_inputs(target: Target, inputs: Sequence[Files]) -> Report:
    """Read some inputs together; where a promise is broken, find the input that breaks it."""
    before, start = time.perf_counter(), _begin_peak()
    report = Report(len(inputs))
    try:
        with _deadline(MAX_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("error")
            result = read_and_check(inputs, target.options)
        report.slowest, report.peak = time.perf_counter() - before, _peak_mib()
        if report.peak - start > MAX_MIB:
            raise BrokenPromiseError(f"took {report.peak - start:.0f} MiB")
    except (Exception, HangError) as error:  # noqa: BLE001 - whatever is raised is what we look for
        if len(inputs) == 1:
            report.findings.append(Finding(inputs[0], f"{type(error).__name__}: {error}"))
            return report
        half = len(inputs) // 2
        parts = [check_inputs(target, part) for part in (inputs[:half], inputs[half:])]
        report.inputs = 0
        for part in parts:
            report.add(part)
        if not report.findings:
            report.findings.append(Finding((), f"only together, {type(error).__name__}: {error}"))
        return report
    report.objects = len(result.light_curves)
    report.reasons.update(kind_of(rejection.reason) for rejection in result.rejections)
    return report


def _draw(name: str, seed: int, number: int) -> tuple[Target, list[Files]]:
    rng = random.Random(f"{name} {seed} {number}")
    target = rng.choice(FUZZED[name])
    return target, [rng.choice(target.draws)(rng) for _ in range(BATCH)]


def _read_drawn(name: str, seed: int, number: int, first: int, last: int) -> Report:
    target, inputs = _draw(name, seed, number)
    return check_inputs(target, inputs[first:last])


def _in_process(name: str, seed: int, numbers: range, first: int, last: int) -> Iterator[Report]:
    """Yield the reports of batches, until all are read or the process has died."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, name, seed, numbers, first, last), daemon=True)
    process.start()
    theirs.close()
    try:
        for _ in numbers:
            if not ours.poll(MAX_SILENCE):
                return
            yield ours.recv()
    except EOFError:
        return
    finally:
        process.kill()
        process.join()
        ours.close()


def _work(pipe: Connection, name: str, seed: int, numbers: range, first: int, last: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESSES, MAX_ADDRESSES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pa.set_cpu_count(1)
    for number in numbers:
        pipe.send(_read_drawn(name, seed, number, first, last))


def _killer(name: str, seed: int, number: int, first: int, last: int) -> Files:
    """Return the input of a batch that kills the process that reads it; nothing if they do so only together."""
    if last - first == 1:
        return _draw(name, seed, number)[1][first]
    middle = (first + last) // 2
    for begin, end in ((first, middle), (middle, last)):
        if not list(_in_process(name, seed, range(number, number + 1), begin, end)):
            return _killer(name, seed, number, begin, end)
    return ()


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise HangError in the main thread after some CPU time."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise HangError(f"no answer within {seconds} s of CPU time")

    previous = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def _begin_peak() -> float:
    """Forget the peak memory where the system can, and return the memory of now [MiB]."""
    if _RESET.exists():
        _RESET.write_text("5")
    return _peak_mib()


def _peak_mib() -> float:
    """Return the peak memory since it was forgotten."""
    if not _STATUS.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
