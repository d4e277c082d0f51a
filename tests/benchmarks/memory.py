"""Peak memory of an ingest as the survey grows: `python -m tests.benchmarks.memory [1 3 10]`.

Of any other command: `python -m tests.benchmarks.memory -- snflow run ...`.

A survey of n × 17,000 files is made of the SPCC (or of our own simulation, where the SPCC is absent) with new SNIDs.
It is read into a new store, then again, then with changed and new files among those that the store has. What is
measured is the proportional set size of the process and its workers together, every 50 ms, beyond nothing: Python and
its libraries are included. Linux only. Disk: about 0.3 GB for each 17,000 files, in the folder of temporary files.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from typing import IO, Final

from rich.console import Console
from rich.table import Table

from pipeline.ingest.settings import IngestSettings
from tests.real_data import find_real_data

REPOSITORY: Final = Path(__file__).parents[2]
FILES: Final = 17_000
OBJECTS_PER_COMMIT: Final = IngestSettings().objects_per_commit
NIGHT: Final = 500
"""Files that change, and as many new ones, in a night."""

INGEST: Final = """
    import json, sys
    from pathlib import Path
    from pipeline.store import IngestSettings, Store, ingest
    settings = IngestSettings(workers=2, objects_per_commit=int(sys.argv[3]))
    summary = ingest([Path(sys.argv[2])], Store.create(Path(sys.argv[1])), settings).to_dict()
    print(json.dumps({name: summary[name] for name in ("n_ingested", "n_unchanged", "n_quarantined")}))
"""


@dataclass(frozen=True)
class Measured:
    """Peak memory of one command [MB, 10⁶ bytes], wall time [s], and what it printed."""

    megabytes: float
    seconds: float
    output: str


def measure(script: str, *words: object) -> Measured:
    """Run a Python script that prints a line, and watch its memory."""
    return watch([sys.executable, "-c", textwrap.dedent(script), *map(str, words)], subprocess.PIPE)


def watch(command: Sequence[str], stdout: int | IO[str] | None = None, stderr: int | IO[str] | None = None) -> Measured:
    """Run a command, and watch the memory of its process and of all below it."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=stdout, stderr=stderr, text=True) as process:
        while process.poll() is None:
            peak = max(peak, sum(_pss(number) for number in _family(process.pid)))
            time.sleep(0.05)
        output = process.stdout.read() if process.stdout is not None else ""
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}")
    return Measured(peak / 1e6, time.perf_counter() - start, output.strip())


def _family(process: int) -> Iterator[int]:
    yield process
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        children = [int(word) for thread in threads for word in (thread / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from _family(child)


def _pss(process: int) -> int:
    """Return the proportional set size of a process [bytes], 0 when it is gone."""
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return 1024 * int(found[1]) if found else 0


def survey_texts(scratch: Path, n: int = FILES) -> list[bytes]:
    """Return the light-curve files of the SPCC, or else of our own simulation, repeated to n."""
    data = find_real_data()
    archive = data / "spcc" / "SIMGEN_PUBLIC_DES.tar.gz" if data is not None else None
    if archive is not None and archive.exists():
        with tarfile.open(archive) as packed:
            members = (packed.extractfile(member) for member in packed if member.name.endswith(".DAT"))
            texts = [member.read() for member in members if member is not None]
    else:
        texts = _simulated(scratch)
    return (texts * (n // len(texts) + 1))[:n]


def _simulated(scratch: Path) -> list[bytes]:
    from pipeline.ingest.simulate import SimulationSettings, simulate_survey

    simulate_survey(scratch / "simulated", SimulationSettings(n_objects=400))
    return [path.read_bytes() for path in sorted((scratch / "simulated").glob("*.DAT"))]


def write_copies(folder: Path, texts: Sequence[bytes], first: int, remark: bytes = b"") -> Path:
    """Write every text to a file, as the object whose SNID is its number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, text in enumerate(texts, first):
        new = re.sub(rb"(?m)^SNID:\s+\S+", b"SNID: %d" % number, text, count=1)
        (folder / f"SN{number:08d}.DAT").write_bytes(remark + new)
    return folder


def grow(
    texts: Sequence[bytes], times: int, scratch: Path, objects_per_commit: int = OBJECTS_PER_COMMIT
) -> Iterator[tuple[str, Measured]]:
    """Measure an ingest into a new store, the same again, and a night of changed and new files."""
    folder, store = scratch / f"survey-{times}", scratch / f"store-{times}"
    for copy in range(times):
        write_copies(folder / f"{copy}", texts, copy * len(texts))
    yield "new store", measure(INGEST, store, folder, objects_per_commit)
    yield "the same again", measure(INGEST, store, folder, objects_per_commit)
    rmtree(folder)
    n = times * len(texts)
    night = scratch / f"night-{times}"
    write_copies(night, texts[:NIGHT], 0, b"# measured again\n")
    write_copies(night, texts[:NIGHT], n)
    yield "a night", measure(INGEST, store, night, objects_per_commit)
    rmtree(store)
    rmtree(night)


def main(sizes: Sequence[int]) -> None:
    """Measure and print the curve."""
    table = Table(title=f"peak memory of an ingest with 2 workers, n × {FILES:,} files")
    for name in ("n", "what", "peak [MB]", "wall [s]", "summary"):
        table.add_column(name, justify="left" if name in ("what", "summary") else "right")
    with TemporaryDirectory(prefix="snflow-memory-") as scratch:
        texts = survey_texts(Path(scratch))
        for times in sizes:
            for what, found in grow(texts, times, Path(scratch)):
                table.add_row(str(times), what, f"{found.megabytes:,.0f}", f"{found.seconds:.1f}", found.output)
                Console(stderr=True).print(times, what, f"{found.megabytes:,.0f} MB", f"{found.seconds:.1f} s")
    Console(width=150).print(table)


if __name__ == "__main__" and sys.argv[1:2] == ["--"]:
    seen = watch(sys.argv[2:])
    Console(stderr=True).print(f"peak memory {seen.megabytes:,.0f} MB over all its processes, {seen.seconds:.0f} s")
elif __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 3, 10])
