"""What each choice is worth: `python -m tests.benchmarks.comparing STORE --of architectures --out FOLDER`.

Each variant of an experiment is trained on the rows of `snflow protocols` that are asked for, all with the same CPU
seconds (of a row, see SECONDS) or, with --epochs, as many epochs, and answers the test part; the log-loss of the
validation part, after calibration, stands beside, and is what one chooses by. What is finished is kept in FOLDER, so
that the same command goes on after a crash; --json writes all of it as one file, and the last lines are a table. Run it
on one free core.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from pipeline.classify.predict import Classifier
from pipeline.classify.settings import ClassifySettings
from pipeline.evaluate.evaluation import evaluate
from pipeline.files import write_atomically
from pipeline.protocols.data import ProtocolData
from pipeline.protocols.draw import Draw, as_numbers
from pipeline.protocols.run import ProtocolSettings, plan_draws
from pipeline.provenance import versions
from pipeline.train.experiment import Experiment
from pipeline.train.fit import Sample, choose_sample, train_classifier, training_data
from pipeline.train.member import MemberRun

EXPERIMENTS: Final = Path(__file__).parents[2] / "flows" / "experiments"

GRID: Final = ("resampler.kind=grid",)
ONE_WAY: Final = ("model.bidirectional=false",)
FILL: Final = ("resampler.kind=random_fill", "resampler.window_days=[80,170]")

MORE: Final = {"truncate_start": 0.1, "drop_night": 0.3, "drop_band": 0.1, "band_noise": 1, "stretch": 0.05, "mix": 0.2}
"""Changes that `best` does not make, and how strongly they are tried."""

VARIANTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "architectures": {
        "perceptron on a window of the grid": ("model.kind=window", *GRID),
        "convolution, causal, on the grid": ("model.kind=convolution", *GRID),
        "convolution, causal": ("model.kind=convolution",),
        "rnn": ("model.cell=rnn", *ONE_WAY),
        "gru": ("model.cell=gru", *ONE_WAY),
        "lstm": ("model.cell=lstm", *ONE_WAY),
        "bidirectional rnn": ("model.cell=rnn",),
        "bidirectional gru": ("model.cell=gru",),
        "bidirectional lstm": (),
        "bidirectional lstm, mean of the steps": ("model.pooling=mean",),
        "Phased LSTM": ("model.kind=phased",),
        "transformer": ("model.kind=transformer",),
    },
    "resamplers": {
        "nights, gap 0.5 d": (),
        "gap 0.04 d (an hour)": ("resampler.gap_days=0.04",),
        "gap 2 d": ("resampler.gap_days=2",),
        "random fill, the mean of neighbours at test time": FILL,
        "random fill, one at test time": (*FILL, "resampler.test_draws=1"),
        "random fill, five at test time": (*FILL, "resampler.test_draws=5"),
        "random fill, gap 0.5 d, five at test time": (*FILL, "resampler.test_draws=5", "resampler.gap_days=0.5"),
        "grid, 3 d": GRID,
    },
    "augmentation": {
        "all": (),
        "none": tuple(f"augment.{name}=0" for name in ("drop", "noise", "truncate", "photoz", "hide_redshift")),
        "no dropped measurements": ("augment.drop=0",),
        "no noise": ("augment.noise=0",),
        "no truncation": ("augment.truncate=0",),
        "no scatter of the photo-z": ("augment.photoz=0",),
        "no hidden redshift": ("augment.hide_redshift=0",),
        **{f"all and {name} {value}": (f"augment.{name}={value}",) for name, value in MORE.items()},
    },
    "training": {
        "classes": ("fit.learns=classes",),
        "subtypes": ("fit.learns=subtypes",),
        "templates": ("fit.learns=templates",),
        "templates, float32": ("fit.learns=templates", "fit.precision=float32"),
    },
}
"""What is compared: each variant says what it changes in the experiment."""

SECONDS: Final = {"P1": 240.0, "P4": 80.0, "P10-z": 160.0}
"""CPU seconds of training of each row; of others 240."""

METRICS: Final = ("accuracy", "auc", "figure_of_merit", "log_loss", "ece")


def main() -> None:
    """Train and measure what is not finished yet, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.comparing", description=__doc__)
    parser.add_argument("store", type=Path, help="catalogue with the SPCC")
    parser.add_argument("--of", choices=VARIANTS, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--experiment", default="best")
    parser.add_argument("--rows", nargs="+", default=["P1", "P4", "P10-z"], help="rows of snflow protocols")
    parser.add_argument("--draws", type=int, default=1)
    parser.add_argument("--budget", type=float, default=1.0, help="factor on the seconds of every row")
    parser.add_argument("--epochs", type=int, help="the same epochs instead of the same seconds")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of all variants")
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    data = ProtocolData.read(arguments.store)
    results = []
    for place, (name, words) in enumerate(VARIANTS[arguments.of].items()):
        out = arguments.out / f"{arguments.of}-{place:02d}"
        for draw in plan_draws(
            ProtocolSettings(
                protocols=tuple(arguments.rows),
                store=arguments.store,
                out=out,
                experiments=EXPERIMENTS,
                experiment=arguments.experiment,
                words=(*words, *arguments.set),
                draws=arguments.draws,
            )
        ):
            file = draw.folder / "result.json"
            if not file.exists():
                budget = arguments.budget * SECONDS.get(draw.protocol.id, 240.0)
                found = measure(data, draw, budget, arguments.epochs)
                told = {
                    "variant": name,
                    "row": draw.protocol.id,
                    "draw": draw.number,
                    "words": [*words, *arguments.set],
                }
                write_atomically(file, json.dumps({**told, **found}, indent=1) + "\n")
            results.append(json.loads(file.read_text(encoding="utf-8")))
            print(line(results[-1]), flush=True)
    print("\n".join(["", *table(results)]))
    if arguments.json:
        told = {"experiment": arguments.experiment, "data_hash": data.hash, "versions": versions()}
        write_atomically(arguments.json, json.dumps({**told, "results": results}, indent=1) + "\n")


def measure(data: ProtocolData, draw: Draw, budget: float, epochs: int | None = None) -> dict[str, Any]:
    """Train with a number of CPU seconds or of epochs, and answer the test part."""
    experiment, light_curves = draw.experiment, data.seen_in(draw.protocol)
    sample = choose_sample(light_curves, data.truth, experiment)
    epochs = epochs or max(3, round(budget / seconds_of_epoch(sample, experiment)))
    experiment = experiment.model_copy(update={"fit": experiment.fit.model_copy(update={"epochs": epochs})})
    draw.folder.mkdir(parents=True, exist_ok=True)
    started = time.process_time()
    trained = train_classifier(light_curves, data.truth, experiment, draw.folder)
    seconds = time.process_time() - started
    test, _ = sample.part(sample.split.test)
    classifier = Classifier(trained.checkpoint, ClassifySettings(device="cpu"))
    started = time.process_time()
    predictions = classifier.predict(test)
    rate = len(test) / (time.process_time() - started)
    metrics = as_numbers(evaluate(predictions, data.truth, name=draw.protocol.id, n_resamples=0))
    return {
        **{name: metrics[name] for name in METRICS},
        "validation_log_loss": trained.checkpoint.card["calibration"]["on validation, after"]["log_loss"],
        "parameters": sum(value.numel() for value in trained.checkpoint.weights[0].values()),
        "epochs": len(trained.history),
        "train_cpu_seconds": round(seconds, 1),
        "light_curves_per_cpu_second": round(rate),
        "seeds": {"split": experiment.split.seed, "fit": experiment.fit.seed},
    }


def seconds_of_epoch(sample: Sample, experiment: Experiment) -> float:
    """CPU seconds of one epoch of training and validation, the better of two."""
    run = MemberRun(training_data(sample, experiment), experiment, 0)
    seconds = []
    for _ in range(2):
        started = time.process_time()
        run.train_epoch()
        seconds.append(time.process_time() - started)
    return float(np.min(seconds))


def line(result: dict[str, Any]) -> str:
    """One line of the table."""
    metrics = "  ".join(f"{name} {result[name]:.4f}" for name in (*METRICS, "validation_log_loss"))
    rates = f"{result['epochs']:4d} epochs, {result['train_cpu_seconds']:5.0f} s, {result['parameters']:,} parameters"
    return f"{result['variant']:40s} {result['row']:6s} {metrics}  {rates}"


def table(results: list[dict[str, Any]]) -> list[str]:
    """Write a table for people, one line a variant: means over draws; the last columns are of the first row."""
    frame = pd.DataFrame(results)
    rows = list(dict.fromkeys(frame["row"]))
    told = ["parameters", f"epochs on {rows[0]}", "training [CPU s]", "light curves/CPU s"]
    headings = ["variant", *(f"{row}: accuracy / AUC / FoM" for row in rows), *told]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    for variant, of_variant in frame.groupby("variant", sort=False):
        means = of_variant.groupby("row").mean(numeric_only=True)
        cells = [quality(means.loc[row]) if row in means.index else "–" for row in rows]
        first = means.loc[next(row for row in rows if row in means.index)]
        numbers = [
            first["parameters"],
            first["epochs"],
            first["train_cpu_seconds"],
            first["light_curves_per_cpu_second"],
        ]
        lines.append(f"| {variant} | " + " | ".join([*cells, *(f"{number:,.0f}" for number in numbers)]) + " |")
    return lines


def quality(means: pd.Series) -> str:
    """Write accuracy, AUC and figure of merit in short."""
    auc, merit = (f"{means[name]:.{digits}f}".lstrip("0") for name, digits in (("auc", 4), ("figure_of_merit", 3)))
    return f"{means['accuracy']:.1%} / {auc} / {merit}".replace("%", " %")


if __name__ == "__main__":
    main()
