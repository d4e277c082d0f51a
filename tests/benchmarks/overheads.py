"""What Prefect costs: CPU time of `snflow run` beyond that of the plain functions, without and with a server.

Usage: python -m tests.benchmarks.overheads [--repeats 3]

The survey, its settings and the work are the same; of each way the median over the repeats counts, and the ways take
turns. Times are of all processes of the command: its own short-lived server included where there is no other, but not
that of a server that runs anyway.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pipeline.ingest.simulate import SimulationSettings, simulate_survey
from tests.serving import Served, free_port, make_site

ROOT: Final = Path(__file__).parents[2]
N_OBJECTS: Final = 300
SETTINGS: Final = ("fit.epochs=3", "fit.members=1")
PLAIN: Final = """
import sys
from pathlib import Path

from pipeline.classify.catalogue import classify_beside, classify_catalogue
from pipeline.classify.settings import ClassifySettings
from pipeline.evaluate.evaluation_run import evaluate_run
from pipeline.evaluate.examination import examine_run
from pipeline.ingest.settings import IngestSettings
from pipeline.provenance import write_record
from pipeline.report.run_report import report_run
from pipeline.store import Store, ingest
from pipeline.train.experiment import load_experiment
from pipeline.train.training_run import train_from_store

survey, out, experiments = map(Path, sys.argv[1:4])
store = out / "store"
experiment = load_experiment("demo", experiments, sys.argv[4:])
ingested = ingest([survey], Store.create(store), IngestSettings())
for folder in (store, out):
    write_record(folder, "ingest", {}, ingested.to_dict())
trained = train_from_store(store, experiment, out)
outputs = [out / "predictions.parquet", out / "predictions.csv"]
classify_catalogue(store, out / "model", outputs, ClassifySettings())
classify_beside(store, out)
evaluate_run(store, out, trained["thresholds"])
examine_run(out)
report_run(out)
"""
THROUGH_PREFECT: Final = "from flows.cli import app; app()"


def cpu_seconds(words: list[str], environment: Mapping[str, str]) -> float:
    """Run Python and return the CPU time of it and of all that it has started [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def run_once(way: str, survey: Path, folder: Path, url: str) -> float:
    """Do the job once, in a new folder, and return its CPU time [s]."""
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "PREFECT_HOME": str(folder.parent / "home"),
    }
    environment.pop("PREFECT_API_URL", None)
    if way == "plain functions":
        return cpu_seconds(
            ["-c", PLAIN, str(survey), str(folder), str(ROOT / "flows/experiments"), *SETTINGS], environment
        )
    if way == "with a server":
        environment["PREFECT_API_URL"] = f"{url}/api"
    changed = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["run", str(survey), "--experiment", "demo", "--out", str(folder), *changed]
    return cpu_seconds(["-c", THROUGH_PREFECT, *words], environment)


def main() -> None:
    """Print the median CPU time of each way, and what it is beyond the plain functions."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    found: dict[str, list[float]] = {"plain functions": [], "with a server": [], "without a server": []}
    with tempfile.TemporaryDirectory(prefix="snflow-") as name:
        scratch, port = Path(name), free_port()
        (scratch / "home").mkdir()
        simulate_survey(scratch / "survey", SimulationSettings(n_objects=N_OBJECTS))
        with Served(make_site(scratch / "site", port), port) as served:
            for number in range(repeats):
                for way, seconds in found.items():
                    folder = scratch / f"{way.replace(' ', '-')}-{number}"
                    seconds.append(run_once(way, scratch / "survey", folder, served.api.url))
    plain = statistics.median(found["plain functions"])
    for way, seconds in found.items():
        middle = statistics.median(seconds)
        spread = ", ".join(f"{value:.1f}" for value in seconds)
        sys.stdout.write(
            f"{way:<20} {middle:6.1f} s CPU ({spread}), beyond the plain functions {middle - plain:5.1f} s\n"
        )


if __name__ == "__main__":
    main()
