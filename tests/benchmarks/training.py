"""How fast training is, and how near to the machine: `python -m tests.benchmarks.training STORE [--row P1] [--json F]`.

One epoch of a row's training part, without validation, for each way of batching and each precision, in turns on one
thread; the rate of the arithmetic stands beside that of a matrix multiply. Run it on one free core.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import torch
from torch import nn

from pipeline.files import write_atomically
from pipeline.prepare.batches import equal_length_batches, shuffled_batches
from pipeline.prepare.resample import complete
from pipeline.protocols.data import ProtocolData
from pipeline.protocols.definitions import Protocol
from pipeline.protocols.run import ProtocolSettings, plan_draws
from pipeline.provenance import versions
from pipeline.train.experiment import Experiment
from pipeline.train.fit import choose_sample, training_data
from pipeline.train.member import MemberRun, TrainingData
from tests.benchmarks.comparing import EXPERIMENTS
from tests.benchmarks.rows import rate

Batches = Callable[[np.ndarray, int, np.random.Generator], list[np.ndarray]]

PASSES: Final = 3
"""Of the network's arithmetic in a step of training: forwards once, backwards twice."""


def at_random(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Shuffle, whatever the lengths."""
    order = rng.permutation(len(lengths))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def of_equal_length(lengths: np.ndarray, batch_size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Put objects of the same length together, and no others."""
    order = rng.permutation(len(lengths))
    batches = [order[rows] for rows in equal_length_batches(lengths[order], batch_size)]
    rng.shuffle(batches)
    return batches


WAYS: Final[dict[str, tuple[tuple[str, ...], Batches]]] = {
    "as it is": ((), shuffled_batches),
    "float32": (("fit.precision=float32",), shuffled_batches),
    "bfloat16": (("fit.precision=bfloat16",), shuffled_batches),
    "batches of 64": (("fit.batch_size=64",), shuffled_batches),
    "batches of 256": (("fit.batch_size=256",), shuffled_batches),
    "batches of 512": (("fit.batch_size=512",), shuffled_batches),
    "batches at random": ((), at_random),
    "batches of equal length": ((), of_equal_length),
    "one direction": (("model.bidirectional=false",), shuffled_batches),
}
"""What is compared: settings, and how objects are put into batches."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.training", description=__doc__)
    parser.add_argument("store", type=Path, help="catalogue with the SPCC")
    parser.add_argument("--row", default="P1", help="row of snflow protocols")
    parser.add_argument("--experiment", default="best")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    catalogue = ProtocolData.read(arguments.store)
    multiply = {kind: multiply_rate(kind) for kind in (torch.float32, torch.bfloat16)}
    print(", ".join(f"{kind}: {value:.0f} GFLOP/s" for kind, value in multiply.items()))
    print("| way | steps/s | light curves/s | padding | preparing | GFLOP/s | of the multiply |\n" + "|---" * 7 + "|")
    results = []
    for name, (words, batches) in WAYS.items():
        experiment, protocol = experiment_of(arguments, words)
        data = training_data(choose_sample(catalogue.seen_in(protocol), catalogue.truth, experiment), experiment)
        found = measure(data, experiment, batches)
        found["share_of_multiply"] = found["gflops"] / multiply[torch.bfloat16 if found["bfloat16"] else torch.float32]
        results.append({"way": name, **found})
        print(line(results[-1]), flush=True)
    if arguments.json:
        told = {
            "row": arguments.row,
            "experiment": arguments.experiment,
            "versions": versions(),
            "multiply_gflops": {str(kind).removeprefix("torch."): round(value) for kind, value in multiply.items()},
            "ways": results,
        }
        write_atomically(arguments.json, json.dumps(told, indent=1) + "\n")


def experiment_of(arguments: argparse.Namespace, words: tuple[str, ...]) -> tuple[Experiment, Protocol]:
    """Return the settings of draw 1 of the row, and the row."""
    with tempfile.TemporaryDirectory() as nowhere:
        (draw,) = plan_draws(
            ProtocolSettings(
                protocols=(arguments.row,),
                store=arguments.store,
                out=Path(nowhere),
                experiments=EXPERIMENTS,
                experiment=arguments.experiment,
                words=words,
                draws=1,
            )
        )
    return draw.experiment, draw.protocol


def measure(data: TrainingData, experiment: Experiment, batches: Batches) -> dict[str, Any]:
    """Train two epochs, of which the faster counts, and go through the batches without a network."""
    run, seconds = MemberRun(data, experiment, 0), []
    with patch("pipeline.train.member.shuffled_batches", batches):
        for epoch in range(2):
            with run.randomness(epoch) as (rng, generator):
                started = time.process_time()
                run.optimise(rng, generator)
                seconds.append(time.process_time() - started)
        prepared = prepare(run)
    best = min(seconds)
    return {
        "steps_per_second": prepared["batches"] / best,
        "light_curves_per_second": len(data.train.labels) / best,
        "padding": 1 - prepared["nights"] / prepared["places"],
        "preparing": prepared["seconds"] / best,
        "gflops": PASSES * 2 * weights_used_each_night(run.model) * prepared["nights"] / best / 1e9,
        "bfloat16": run.uses_bfloat16,
    }


def prepare(run: MemberRun) -> dict[str, float]:
    """Do all of an epoch but the network: what it takes, and how much of the batches is padding."""
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    found = {"batches": 0, "nights": 0, "places": 0, "seconds": -time.process_time()}
    for _, photometry in run.batches(rng, generator):
        mask = run.data.normaliser(complete(photometry, run.experiment.resampler, generator)).mask
        found["batches"] += 1
        found["nights"] += int(mask.sum())
        found["places"] += mask.numel()
    found["seconds"] += time.process_time()
    return found


def weights_used_each_night(model: nn.Module) -> int:
    """Count the weights that every step of a light curve is multiplied with: those of all matrices but the head's."""
    return sum(value.numel() for name, value in model.named_parameters() if value.ndim == 2 and "head" not in name)


def line(found: dict[str, Any]) -> str:
    """One line of the table."""
    cells = [
        found["way"],
        f"{found['steps_per_second']:.1f}",
        f"{found['light_curves_per_second']:,.0f}",
        f"{found['padding']:.1%}",
        f"{found['preparing']:.1%}",
        f"{found['gflops']:.0f}",
        f"{found['share_of_multiply']:.1%}",
    ]
    return "| " + " | ".join(cells).replace("%", " %") + " |"


def multiply_rate(kind: torch.dtype) -> float:
    """GFLOP/s of one thread in multiplying two matrices."""
    first, second = (torch.rand(2048, 2048).to(kind) for _ in range(2))
    return rate(2 * 2048**3 / 1e9, lambda: first @ second, repeats=5)


if __name__ == "__main__":
    main()
