"""Fuzz the readers: `python -m tests.fuzz --inputs 1000000 --seed 1 [--reader NAME] [--keep FOLDER] [--json FILE]`.

Exits with 1 when an input broke a promise; those inputs are written to the folder, a folder each.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.files import write_atomically
from tests.fuzz.harness import BATCH, Finding, Report, fuzz_in_processes
from tests.fuzz.targets import FUZZED

PROGRESS_INPUTS = BATCH * 500


def main() -> int:
    """Fuzz, report, and keep what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="damaged inputs, for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", choices=FUZZED, help="one reader, or the containers; without it, all")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-findings"), help="folder for inputs that break a promise"
    )
    parser.add_argument("--json", type=Path, help="file to which a summary of each reader is added")
    arguments = parser.parse_args()
    faulthandler.enable()
    names = [arguments.reader] if arguments.reader else list(FUZZED)
    return max([_fuzz_one(name, arguments) for name in names])


def _fuzz_one(name: str, arguments: argparse.Namespace) -> int:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    start, report = time.perf_counter(), Report()
    for report in fuzz_in_processes(name, arguments.inputs, arguments.seed):
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
        print(f"  {_keep(finding, name, arguments.keep)}: {finding.fault}")
    sys.stdout.flush()
    if arguments.json:
        _add_summary(arguments.json, _summary(name, arguments.seed, commit, report, seconds))
    return 1 if report.findings else 0


def _keep(finding: Finding, name: str, folder: Path) -> Path:
    digest = hashlib.sha256(b"".join(data for _, data in finding.files)).hexdigest()[:12]
    path = folder / name / digest
    path.mkdir(parents=True, exist_ok=True)
    for file, data in finding.files:
        (path / file).write_bytes(data)
    return path


def _summary(name: str, seed: int, commit: str, report: Report, seconds: float) -> dict[str, Any]:
    return {
        "reader": name,
        "inputs": report.inputs,
        "seed": seed,
        "objects": report.objects,
        "rejections": report.reasons.total(),
        "findings": [finding.fault for finding in report.findings],
        "seconds": round(seconds),
        "growth_mib": round(report.growth),
        "peak_mib": round(report.peak),
        "slowest_batch_seconds": round(report.slowest, 2),
        "commit": commit,
        "reasons": dict(report.reasons.most_common()),
    }


def _add_summary(path: Path, summary: dict[str, Any]) -> None:
    summaries = json.loads(path.read_text()) if path.exists() else []
    write_atomically(path, json.dumps([*summaries, summary], indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
