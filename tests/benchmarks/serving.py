"""What an idle `snflow serve` costs: CPU time and memory of all its processes together.

Usage: python -m tests.benchmarks.serving [--seconds 300]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.serving import Served, free_port, make_site

SETTLE_SECONDS = 60.0
"""What starting leaves to do is done by then."""


def processes(root: int) -> list[int]:
    """Return a process and all that it has started, by their numbers."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(word) for word in (task / "children").read_text().split()]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process so far [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def proportional_megabytes(pid: int) -> float:
    """Return the memory of a process, shared pages divided by who shares them [MB]."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024 / 1e6


def main() -> None:
    """Print a line for each process, and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="snflow-") as name:
        port = free_port()
        with Served(make_site(Path(name), port), port) as served:
            time.sleep(SETTLE_SECONDS)
            pids = processes(served.process.pid)
            before = {pid: cpu_seconds(pid) for pid in pids}
            time.sleep(seconds)
            spent = {pid: cpu_seconds(pid) - before[pid] for pid in pids}
            sizes = {pid: proportional_megabytes(pid) for pid in pids}
            for pid in pids:
                command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
                write(" ".join(command[1:4]), sizes[pid], spent[pid] / seconds)
    write(f"all, idle for {seconds:.0f} s", sum(sizes.values()), sum(spent.values()) / seconds)


def write(name: str, megabytes: float, share: float) -> None:
    """Write a line of the table."""
    sys.stdout.write(f"{name:<60.60} {megabytes:6.0f} MB {share:7.2%} CPU\n")


if __name__ == "__main__":
    main()
