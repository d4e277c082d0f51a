"""How fast a whole evaluation is, and its peak memory; alone: `python -m tests.benchmarks.evaluating`.

A million random predictions, with everything that `evaluate` finds: 300 resamples, a prior, S/N and redshift. Memory
is that of the whole process, tables and Python included. One evaluation alone: `... evaluating 1000000 3`.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from pipeline.evaluate.evaluation import evaluate
from pipeline.schema import Predictions, Truth, prediction_columns
from pipeline.taxonomy import CLASS_SETS, class_of
from tests.benchmarks.memory import watch
from tests.benchmarks.rows import Row

OBJECTS: Final = 1_000_000
CLASSES: Final = {len(classes): classes for classes in CLASS_SETS.values()}
SUBCLASSES: Final = {"Ia": 0.25, "IIP": 0.4, "IIn": 0.1, "Ib": 0.1, "Ic": 0.15}
LIMIT_SECONDS: Final = 60
LIMIT_MEGABYTES: Final = 2000


def run(data: Path | None, scratch: Path) -> list[Row]:
    """Measure with two and three classes, each in a process of its own."""
    return [measure_one(n_classes) for n_classes in (2, 3)]


def measure_one(n_classes: int, n_objects: int = OBJECTS) -> Row:
    """Evaluate in another process, and watch its memory."""
    command = [sys.executable, "-m", "tests.benchmarks.evaluating", str(n_objects), str(n_classes)]
    found = watch(command, subprocess.PIPE)
    seconds, cpu = map(float, found.output.split())
    limits = f"limits {LIMIT_SECONDS} s and {LIMIT_MEGABYTES:,} MB"
    note = f"{seconds:.1f} s ({cpu:.1f} s CPU), peak {found.megabytes:,.0f} MB; {limits} for 10⁶"
    return Row(f"evaluating, {n_classes} classes, everything", n_objects / cpu, "predictions/s", note)


def make_inputs(n_objects: int, n_classes: int, seed: int = 0) -> tuple[Predictions, Truth, pd.Series]:
    """Draw predictions, the truth, and the best S/N."""
    rng = np.random.default_rng(seed)
    names = list(SUBCLASSES)
    drawn = rng.choice(len(names), n_objects, p=list(SUBCLASSES.values()))
    classes = CLASSES[n_classes]
    columns = {2: [0, 1, 1, 1, 1], 3: [0, 1, 1, 2, 2], 8: [0, 3, 2, 5, 6]}[n_classes]
    powers = rng.normal(0, 1.5, (n_objects, n_classes))
    powers[np.arange(n_objects), np.array(columns)[drawn]] += 4
    np.exp(powers, out=powers)
    powers /= powers.sum(axis=1, keepdims=True)
    table = pd.DataFrame(powers, columns=[f"P_{name}" for name in classes])
    snids = pd.Series(np.arange(n_objects).astype(str))
    table = table.assign(SNID=snids, STATUS="classified", REASON="", N_EPOCHS=rng.integers(5, 200, n_objects))
    known = pd.DataFrame(
        {
            "SNID": snids,
            "CLASS": np.array([class_of(name) for name in names])[drawn],
            "SUBCLASS": np.array(names)[drawn],
            "TEMPLATE": np.char.add("T", rng.integers(0, 60, n_objects).astype(str)),
            "SPECTYPE": None,
            "REDSHIFT": rng.uniform(0.1, 1.2, n_objects),
            "PEAKMJD": 56000.0,
        }
    )
    best_snr = pd.Series(rng.lognormal(2.5, 1, n_objects), index=snids)
    return Predictions(table.reindex(columns=prediction_columns(classes)), classes), Truth(known), best_snr


def _evaluate_one(n_objects: int, n_classes: int) -> None:
    predictions, truth, best_snr = make_inputs(n_objects, n_classes)
    started, cpu = time.perf_counter(), time.process_time()
    evaluate(predictions, truth, name="bench", thresholds={"mine": 0.7}, best_snr=best_snr, prior={"Ia": 0.4})
    print(time.perf_counter() - started, time.process_time() - cpu)  # noqa: T201


def _main() -> None:
    for row in run(None, Path()):
        print(f"{row.name:38s} {row.value:10,.0f} {row.unit}  {row.note}")  # noqa: T201


if __name__ == "__main__" and len(sys.argv) > 2:
    _evaluate_one(int(sys.argv[1]), int(sys.argv[2]))
elif __name__ == "__main__":
    _main()
