"""Damaged files through a reader: whatever comes, it answers with light curves or with reasons."""

from __future__ import annotations

import random
import resource
import signal
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

import pyarrow as pa

from pipeline.ingest.quarantine import kind_of
from pipeline.ingest.readers import READERS, Reader, ReadOptions, ReadResult, SourceFile
from pipeline.schema import LightCurves, Truth
from tests.fuzz.mutations import mutate

__all__ = ["FUZZED", "Finding", "Report", "fuzz", "seeds_of"]

DATA: Final = Path(__file__).parents[1] / "data"
FUZZED: Final = {name: reader for name, reader in READERS.items() if isinstance(reader, Reader)}
"""Readers of files of one object; test_tables.py damages tables of many, which come in pairs."""
BATCH: Final = 64
MAX_SECONDS: Final = 10.0
"""A batch that takes longer counts as a hang."""


@dataclass(frozen=True)
class Finding:
    """An input that broke a promise, and which."""

    data: bytes
    fault: str


@dataclass
class Report:
    """What came of a run.

    Attributes:
        inputs: files read.
        objects: light curves that came out of them.
        reasons: kinds of rejection, and how often each occurred.
        findings: broken promises.
        slowest: the longest batch of 64 [s].
        growth: of the peak memory since the first thousand inputs [MiB].
    """

    inputs: int = 0
    objects: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: float = 0.0
    growth: float = 0.0


def seeds_of(reader: str) -> list[bytes]:
    """Return the example files of a reader, and those that once broke it."""
    folders = (DATA / reader, DATA / "fuzz" / reader)
    return [path.read_bytes() for folder in folders if folder.is_dir() for path in sorted(folder.iterdir())]


def fuzz(reader: str, inputs: int, seed: int) -> Iterator[Report]:
    """Read damaged files, in batches; yield the same report after each."""
    rng, seeds, report = random.Random(seed), seeds_of(reader), Report()
    start = None
    while report.inputs < inputs:
        batch = [mutate(rng, seeds) for _ in range(min(BATCH, inputs - report.inputs))]
        _read_batch(reader, batch, report)
        report.inputs += len(batch)
        if start is None and report.inputs >= 1000:
            start = _peak_mib()
        report.growth = _peak_mib() - (start or _peak_mib())
        yield report


def _read_batch(reader: str, batch: Sequence[bytes], report: Report) -> None:
    before = time.perf_counter()
    fault, result = _try(reader, batch)
    report.slowest = max(report.slowest, time.perf_counter() - before)
    if fault is None and result is not None:
        report.objects += len(result.light_curves)
        report.reasons.update(kind_of(rejection.reason) for rejection in result.rejections)
    elif len(batch) == 1:
        report.findings.append(Finding(batch[0], str(fault)))
    else:
        half = len(batch) // 2
        _read_batch(reader, batch[:half], report)
        _read_batch(reader, batch[half:], report)


def _try(reader: str, batch: Sequence[bytes]) -> tuple[str | None, ReadResult | None]:
    """Read some inputs as files; say which promise was broken, if any."""
    files = [SourceFile(f"{number}.dat", data, f"{number:032x}") for number, data in enumerate(batch)]
    try:
        with _deadline(MAX_SECONDS), warnings.catch_warnings():
            warnings.simplefilter("error")
            for file in files:
                FUZZED[reader].recognises(file.data)
            result = FUZZED[reader].read(files, ReadOptions())
            return _broken_promise(files, result), result
    except Exception as error:  # noqa: BLE001 - whatever is raised is what we look for
        return f"{type(error).__name__}: {error}", None


def _broken_promise(files: Sequence[SourceFile], result: ReadResult) -> str | None:
    """Say what is wrong with an answer: a file without one or with two, or a table that is not valid."""
    read = set(result.light_curves["SOURCE"].to_pylist())
    rejected = {rejection.file for rejection in result.rejections if rejection.scope == "file"}
    names = {file.name for file in files}
    if read | rejected != names or read & rejected:
        return f"not accounted for once: {sorted(names - (read | rejected)) or sorted(read & rejected)}"
    without_kind = [rejection.reason for rejection in result.rejections if ":" not in rejection.reason]
    if without_kind:
        return f"a reason without a kind: {without_kind[0]}"
    result.light_curves.validate(full=True)
    result.truth.validate(full=True)
    snids = result.light_curves["SNID"].to_pylist()
    if snids != result.truth["SNID"].to_pylist():
        return "light curves and truth are of different objects"
    first = [snids.index(snid) == row for row, snid in enumerate(snids)]
    LightCurves.from_arrow(result.light_curves.filter(pa.array(first, pa.bool_())))
    Truth(result.truth.filter(pa.array(first, pa.bool_())).to_pandas())
    return None


@contextmanager
def _deadline(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in the main thread after some time."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
