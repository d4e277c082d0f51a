"""Fuzz the readers: `python -m tests.fuzz --inputs 1000000 --seed 1 [--reader NAME] [--keep FOLDER]`.

Exits with 1 when an input broke a promise; those inputs are written to the folder.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import sys
import time
from pathlib import Path

from tests.fuzz.harness import FUZZED, Report, fuzz

PROGRESS_INPUTS = 64 * 1000


def main() -> int:
    """Fuzz, report, and keep what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="damaged files, for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", choices=sorted(FUZZED), help="one reader; without it, all")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that break a promise"
    )
    arguments = parser.parse_args()
    faulthandler.enable()
    names = [arguments.reader] if arguments.reader else sorted(FUZZED)
    return max(_fuzz_one(name, arguments) for name in names)


def _fuzz_one(name: str, arguments: argparse.Namespace) -> int:
    start, report = time.perf_counter(), Report()
    for report in fuzz(name, arguments.inputs, arguments.seed):
        if report.inputs % PROGRESS_INPUTS == 0:
            print(f"{name}: {report.inputs:,} inputs, {len(report.findings)} findings", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - start
    print(
        f"{name}: {report.inputs:,} inputs (seed {arguments.seed}) in {seconds:.0f} s, {report.objects:,} objects, "
        f"slowest batch {report.slowest:.2f} s, peak memory grew by {report.growth:.0f} MiB, "
        f"{len(report.findings)} findings"
    )
    for kind, count in report.reasons.most_common():
        print(f"  {count:9,}  {kind}")
    for finding in report.findings:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        path = arguments.keep / f"{name}-{hashlib.sha256(finding.data).hexdigest()[:12]}"
        path.write_bytes(finding.data)
        print(f"  {path}: {finding.fault}")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
