"""snflow beside SuperNNova (Möller & de Boissière 2020, arXiv:1901.06384): the same light curves, machine and core.

    python -m tests.benchmarks.supernnova STORE --work FOLDER --model DIR [--model DIR]... [--objects N] [--out JSON]

Installs SuperNNova into an environment of its own in FOLDER (once; gigabytes), writes the light curves of a store as
the CSV that it reads, trains it for an epoch, so that it has weights, and classifies the light curves with it and with
snflow. Both are given one core and one thread; rates are by CPU time, which other work on the machine disturbs least,
and the best of several runs in turn. SuperNNova's validation classifies each light curve many times (whole, around its
peak, and spoilt in four ways), by its own choice: so the networks are also timed alone. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import textwrap
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline.provenance import versions
from pipeline.schema import LightCurves, Truth
from pipeline.store import Store, ingest
from tests.benchmarks.memory import REPOSITORY, watch

SUPERNNOVA: Final = "supernnova==3.0.51"
CORE: Final = "0"
SHOWN: Final = ("supernnova", "torch", "numpy", "pandas", "astropy", "h5py", "mlflow")
SNTYPES: Final = {"101": "Ia", "120": "nonIa"}
MISSING: Final = -9.0

CLASSIFY: Final = """
    import json, os, sys
    from pathlib import Path
    import torch
    from pipeline.classify.catalogue import classify_catalogue
    from pipeline.classify.predict import ClassifySettings

    torch.set_num_threads(1)
    source, model, out = map(Path, sys.argv[1:])
    before = sum(os.times()[:4])
    found = classify_catalogue(source, model, [out], ClassifySettings())
    print(json.dumps({"n_objects": found["n_new"], "status": found["status"], "seconds": sum(os.times()[:4]) - before}))
"""
"""Classifies all of a source that has no predictions yet."""

NETWORKS: Final = """
    import json, sys, time
    from pathlib import Path
    import torch
    from pipeline.classify.predict import Classifier
    from pipeline.store import Store

    torch.set_num_threads(1)
    light_curves = Store.open(Path(sys.argv[1])).light_curves()
    classifier = Classifier.load(Path(sys.argv[2]))
    count = {"network_alone": 0.0, "light_curves": 0, "steps": 0}

    def timed(forward):
        def call(batch):
            started = time.process_time()
            answer = forward(batch)
            count["network_alone"] += time.process_time() - started
            count["light_curves"] += len(batch.mask)
            count["steps"] += int(batch.mask.sum())
            return answer
        return call

    for network in classifier.networks:
        network.forward = timed(network.forward)
    best = None
    for _ in range(3):
        count.update(network_alone=0.0, light_curves=0, steps=0)
        classifier.predict(light_curves)
        best = dict(count) if best is None or count["network_alone"] < best["network_alone"] else best
    n = len(light_curves)
    print(json.dumps({**best, "n_objects": n, "passes": best["light_curves"] / n,
                      "steps": best["steps"] / best["light_curves"], "parameters": sum(
                          weights.numel() for network in classifier.networks for weights in network.parameters())}))
"""
"""Times the networks on the batches that a classification gives them."""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        cpu_seconds: of all its processes, start and imports included.
        wall_seconds: the same by the clock.
        megabytes: peak of the proportional set size of all its processes [10⁶ bytes].
        told: what it said of itself.
    """

    cpu_seconds: float
    wall_seconds: float
    megabytes: float
    told: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        whole: light curves per second, start and imports included.
        inside: light curves per second after imports; None where that was not measured.
        megabytes: peak memory; None for a part of another row.
    """

    who: str
    what: str
    whole: float | None
    inside: float | None
    megabytes: float | None
    note: str = ""


def on_one_core(command: Sequence[str], log: Path, is_told: bool = False) -> Cost:
    """Run a command on CORE.

    Args:
        command: program and words.
        log: where its output goes, all of it or, where it tells of itself, what it says on standard error.
        is_told: whether its standard output is JSON.

    Raises:
        RuntimeError: if it fails; the message names the log.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w") as file:
        try:
            pinned = ["taskset", "--cpu-list", CORE, *command]
            found = watch(pinned, subprocess.PIPE if is_told else file, file)
        except RuntimeError as error:
            raise RuntimeError(f"{command[0]}: {error}; see {log}") from None
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, found.seconds, found.megabytes, json.loads(found.output) if is_told else {})


class SuperNNova:
    """An installation of SuperNNova, with light curves in its format, and its commands."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.bin = work / "environment" / "bin"
        self.raw = work / "raw"
        self.trained = work / "trained"
        self.database = work / "database"

    def install(self) -> dict[str, str]:
        """Make the environment where it is not there yet, and return the versions of what is in it."""
        if not (self.bin / "snn").exists():
            venv.create(self.bin.parent, with_pip=True, clear=True)
            pinned = re.search(r"^torch==.*$", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE)
            for package in ([pinned[0]] if pinned else []) + [SUPERNNOVA]:  # torch first: a range would fetch CUDA
                self._python("-m", "pip", "install", "--disable-pip-version-check", package)
        frozen = self._python("-m", "pip", "list", "--format=json", "--disable-pip-version-check").splitlines()[-1]
        return {entry["name"].lower(): entry["version"] for entry in json.loads(frozen)}

    def _python(self, *words: str) -> str:
        done = subprocess.run([self.bin / "python", *words], stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(words)} failed with {done.returncode}: {done.stdout[-2000:]}")
        return done.stdout

    def make_data(self, dump: Path, *words: str) -> Cost:
        """Make its database; --debug is its loop in one process, the pool of the other way needs three cores."""
        shutil.rmtree(dump, ignore_errors=True)
        return self._snn("make_data", dump, "--debug", *words)

    def train(self) -> Path:
        """Train for an epoch, and return the weights."""
        self.make_data(self.trained)
        self._snn("train_rnn", self.trained, "--nb_epoch", "1")
        return next((self.trained / "models").glob("*/*.pt"))

    def validate(self, weights: Path) -> Cost:
        """Classify everything in its database, with the command that its users type."""
        return self._snn("validate_rnn", self.database, "--model_files", str(weights))

    def look_inside(self, weights: Path) -> Cost:
        """Tell what its validation costs after imports, and its network alone."""
        result = self.work / "inside.json"
        inside = str(Path(__file__).with_name("supernnova_inside.py"))
        words = self._words("validate_rnn", self.database, "--model_files", str(weights))
        command = [str(self.bin / "python"), "-P", inside, str(result), *words]  # -P: this module has its name
        cost = on_one_core(command, self.work / "inside.log")
        return Cost(cost.cpu_seconds, cost.wall_seconds, cost.megabytes, json.loads(result.read_text()))

    def _snn(self, action: str, dump: Path, *words: str) -> Cost:
        log = self.work / f"{action}-{dump.name}.log"
        return on_one_core([str(self.bin / "snn"), *self._words(action, dump, *words)], log)

    def _words(self, action: str, dump: Path, *words: str) -> list[str]:
        return [
            action,
            *("--raw_dir", str(self.raw), "--dump_dir", str(dump), "--fits_dir", str(self.work / "no-fits")),
            *("--sntypes", json.dumps(SNTYPES), "--redshift", "zpho", *words),
        ]


def write_csv(light_curves: LightCurves, truth: Truth, folder: Path) -> Path:
    """Write light curves as SuperNNova reads them: a HEAD and a PHOT table, with the true class as SNTYPE."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    objects, known = light_curves.objects, truth.table
    redshifts = {
        f"HOSTGAL_{name}": objects[name].fillna(MISSING) for name in ("PHOTOZ", "PHOTOZ_ERR", "SPECZ", "SPECZ_ERR")
    }
    head = {
        "SNID": objects["SNID"],
        "PEAKMJD": known["PEAKMJD"].to_numpy(),
        **redshifts,
        "SIM_REDSHIFT_CMB": known["REDSHIFT"].to_numpy(),
        "SNTYPE": np.where(known["CLASS"] == "Ia", "101", "120"),
    }
    pd.DataFrame(head).to_csv(folder / "SURVEY_HEAD.csv", index=False)
    epochs = light_curves.epochs[["MJD", "FLUXCAL", "FLUXCALERR"]]
    names = objects["SNID"].to_numpy()[light_curves.object_index]
    photometry = epochs.assign(SNID=names, FLT=light_curves.epochs["BAND"].astype("str"))
    photometry.to_csv(folder / "SURVEY_PHOT.csv", index=False)
    return folder


def snflow(source: Path, model: Path, work: Path) -> Cost:
    """Classify a store or files with snflow; a store of ours as one that has no predictions yet."""
    if source.is_relative_to(work):
        shutil.rmtree(source / "predictions", ignore_errors=True)
    words = (str(source), str(model), str(work / "predictions.parquet"))
    return on_one_core([sys.executable, "-c", textwrap.dedent(CLASSIFY), *words], work / "snflow.log", is_told=True)


def networks(store: Path, model: Path, work: Path) -> Cost:
    """Time the networks of a model alone."""
    command = [sys.executable, "-c", textwrap.dedent(NETWORKS), str(store), str(model)]
    return on_one_core(command, work / "networks.log", is_told=True)


def best(costs: Sequence[Cost]) -> Cost:
    """Return the cheapest of several runs."""
    return min(costs, key=lambda cost: cost.cpu_seconds)


def measure(theirs: SuperNNova, store: Path, models: Sequence[Path], n: int, repeats: int) -> list[Row]:
    """Classify with everything in turn, several times, and return the rates."""
    weights = theirs.train()
    runs: dict[tuple[str, str], list[Cost]] = {}
    for _ in range(repeats):
        runs.setdefault(("", "prepare"), []).append(theirs.make_data(theirs.database, "--data_testing"))
        runs.setdefault(("", "validate"), []).append(theirs.validate(weights))
        runs.setdefault(("", "inside"), []).append(theirs.look_inside(weights))
        for model in models:
            for what, source in (("files", theirs.raw), ("store", store)):
                runs.setdefault((str(model), what), []).append(snflow(source, model, theirs.work))
            runs.setdefault((str(model), "networks"), []).append(networks(store, model, theirs.work))
    costs = {key: best(found) for key, found in runs.items()}
    rows = rows_of_supernnova(costs["", "prepare"], costs["", "validate"], costs["", "inside"], n)
    for model in models:
        rows += rows_of_snflow(*(costs[str(model), what] for what in ("files", "store", "networks")), model, n)
    return rows


def rows_of_supernnova(prepare: Cost, validate: Cost, inside: Cost, n: int) -> list[Row]:
    """Return its lines: from files, from its database, its network.

    Raises:
        RuntimeError: if it classified other than n light curves.
    """
    told = inside.told
    if told["n_objects"] != n:
        raise RuntimeError(f"SuperNNova classified {told['n_objects']} light curves, expected {n}")
    both = prepare.cpu_seconds + validate.cpu_seconds
    database = (n / validate.cpu_seconds, n / told["seconds"], validate.megabytes)
    passes = f"{told['passes']:.1f} passes of each light curve through its network, its own choice"
    alone = f"one pass of {told['steps']:.1f} steps, packed; with the making of batches {n / told['with_batches']:,.0f}"
    return [
        Row(
            "SuperNNova",
            "from files",
            n / both,
            None,
            max(prepare.megabytes, validate.megabytes),
            "CSV to database too",
        ),
        Row("SuperNNova", "from its database", *database, passes),
        Row("SuperNNova", "network alone", None, n / told["network_alone"], None, alone),
    ]


def rows_of_snflow(files: Cost, store: Cost, alone: Cost, model: Path, n: int) -> list[Row]:
    """Return the lines of a model: from files, from the store, its networks.

    Raises:
        RuntimeError: if it classified other than n light curves.
    """
    for cost in (files, store, alone):
        if cost.told["n_objects"] != n:
            raise RuntimeError(f"{model}: {cost.told['n_objects']} light curves classified, expected {n}")
    told, name = alone.told, f"snflow, {model_name(model)}"
    note = f"{told['passes']:.1f} passes, {told['steps']:.1f} steps each, {told['parameters']:,} weights"
    reading = "reading of the same CSV, novelty, abstention and writing included"
    rates = [(n / cost.cpu_seconds, n / cost.told["seconds"], cost.megabytes) for cost in (files, store)]
    return [
        Row(name, "from files", *rates[0], reading),
        Row(name, "from the store", *rates[1], json.dumps(store.told["status"])),
        Row(name, "networks alone", None, n / told["network_alone"], None, note),
    ]


def model_name(model: Path) -> str:
    """Return the name that a model's predictions carry."""
    return str(json.loads((model / "model.json").read_text())["name"])


def ratios(rows: Sequence[Row]) -> dict[str, dict[str, float]]:
    """Return how many times faster each line of snflow is than SuperNNova's of the same place."""
    theirs = rows[:3]
    found: dict[str, dict[str, float]] = {}
    for place, row in enumerate(rows[3:]):
        other = theirs[place % 3]
        pairs = {"whole": (row.whole, other.whole), "after imports": (row.inside, other.inside)}
        found[f"{row.who}, {row.what}"] = {
            name: round(ours / base, 1) for name, (ours, base) in pairs.items() if ours is not None and base is not None
        }
    return found


def table_of(rows: Sequence[Row], title: str) -> Table:
    """Return the table that is printed."""
    table = Table(title=title)
    for name in ("who", "what", "whole command", "after imports", "peak [MB]", "note"):
        table.add_column(name, justify="left" if name in ("who", "what", "note") else "right")
    for row in rows:
        numbers = ("" if value is None else f"{value:,.0f}" for value in (row.whole, row.inside, row.megabytes))
        table.add_row(row.who, row.what, *numbers, row.note)
    return table


def read_words() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path, help="store with the light curves, and their truth")
    parser.add_argument("--work", type=Path, required=True, help="folder for SuperNNova's environment and data")
    parser.add_argument("--model", type=Path, action="append", required=True, help="checkpoint; may be given again")
    parser.add_argument("--objects", type=int, help="how many of the light curves; all")
    parser.add_argument("--repeats", type=int, default=2, help="runs in turn, of which the best counts")
    parser.add_argument("--out", type=Path, help="JSON file to write the result to")
    return parser.parse_args()


def main() -> None:
    """Install, convert, measure, print and write."""
    words, console = read_words(), Console(width=170)
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "SNFLOW_MODELS": str(words.work / "no-models")}
    theirs = SuperNNova(words.work.absolute())
    installed = theirs.install()
    told = ", ".join(f"{name} {installed[name]}" for name in SHOWN if name in installed)
    console.print(f"SuperNNova's environment: {len(installed)} packages, among them {told}")
    catalogue = Store.open(words.store)
    snids = catalogue.snids()[: words.objects]
    write_csv(catalogue.light_curves(snids), catalogue.truth().select(snids), theirs.raw)
    shutil.rmtree(theirs.work / "store", ignore_errors=True)
    store = Store.create(theirs.work / "store")
    ingest([theirs.raw], store)
    rows = measure(theirs, store.path, [model.absolute() for model in words.model], len(snids), words.repeats)
    console.print(table_of(rows, f"light curves per second of CPU time, one core, {len(snids):,} light curves"))
    console.print(ratios(rows))
    if words.out is not None:
        content = {
            "command": "python -m tests.benchmarks.supernnova STORE --work FOLDER --model MODEL",
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": f"{platform.machine()}, one of {os.cpu_count()} cores, shared with other work",
            "versions": versions(),
            "supernnova": {name: installed[name] for name in SHOWN if name in installed},
            "data": {"n_objects": len(snids), "data_hash": catalogue.content_hash()},
            "models": [model_name(model) for model in words.model],
            "light curves per CPU second": [asdict(row) for row in rows],
            "times SuperNNova's": ratios(rows),
        }
        words.out.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
