"""Search hyperparameters: `python -m tests.benchmarks.searching STORE --row P4 --trials 40 --study FILE`.

Optuna draws settings, after the experiment's own; each is judged by the log-loss, after a temperature, on folds of the
training part of draw 1 of a row of `snflow protocols`, so that no test object is ever looked at. FILE is an SQLite
database: the same command goes on with it, and two of them may share it. The best settings are printed as words for
`--set`; --json writes all trials.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import optuna

from models import LightCurveClassifier
from pipeline.files import write_atomically
from pipeline.prepare.split import Split
from pipeline.protocols.data import ProtocolData, held_back
from pipeline.protocols.run import ProtocolSettings, plan_draws
from pipeline.provenance import versions
from pipeline.train.calibration import Calibration, ensemble_probabilities, fit_temperature, log_loss
from pipeline.train.experiment import Experiment, load_experiment
from pipeline.train.fit import Sample, choose_sample, training_data
from pipeline.train.inference import Preparation, ensemble_logits
from pipeline.train.member import MemberRun
from tests.benchmarks.comparing import EXPERIMENTS

Suggest = Callable[[optuna.Trial], object]

SPACE: Final[dict[str, Suggest]] = {
    "fit.learning_rate": lambda trial: trial.suggest_float("fit.learning_rate", 1e-3, 1e-2, log=True),
    "fit.batch_size": lambda trial: trial.suggest_categorical("fit.batch_size", [16, 32, 64, 128]),
    "fit.weight_decay": lambda trial: trial.suggest_float("fit.weight_decay", 1e-3, 0.5, log=True),
    "fit.averaging": lambda trial: trial.suggest_categorical("fit.averaging", [0.98, 0.99, 0.995, 0.998]),
    "fit.epochs": lambda trial: trial.suggest_int("fit.epochs", 30, 100, step=10),
    "model.dropout": lambda trial: trial.suggest_float("model.dropout", 0.0, 0.6),
    "model.bidirectional": lambda trial: trial.suggest_categorical("model.bidirectional", [True, False]),
    "fit.learns": lambda trial: trial.suggest_categorical("fit.learns", ["classes", "subtypes", "templates"]),
    "model.hidden_sizes": lambda trial: trial.suggest_categorical(
        "model.hidden_sizes", ["[32, 32]", "[64, 64]", "[96, 96]", "[128, 128]"]
    ),
    "augment.drop": lambda trial: trial.suggest_float("augment.drop", 0.0, 0.8),
    "augment.noise": lambda trial: trial.suggest_float("augment.noise", 0.0, 2.0),
    "augment.truncate": lambda trial: trial.suggest_float("augment.truncate", 0.0, 0.5),
    "augment.photoz": lambda trial: trial.suggest_float("augment.photoz", 0.0, 1.0),
}
"""What is searched, by setting."""


def main() -> None:
    """Go on with a study, and print its best settings."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.searching", description=__doc__)
    parser.add_argument("store", type=Path, help="catalogue with the SPCC")
    parser.add_argument("--row", default="P4", help="row of snflow protocols")
    parser.add_argument("--experiment", default="best")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings that are not searched")
    parser.add_argument("--trials", type=int, default=40, help="of this command; what the study has comes on top")
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--study", type=Path, required=True)
    parser.add_argument("--json", type=Path, help="file for the trials")
    arguments = parser.parse_args()
    sample, words = training_part(arguments)
    folds = list(folds_of(sample, arguments.folds))
    study = optuna.create_study(
        study_name=arguments.row,
        storage=f"sqlite:///{arguments.study}",
        load_if_exists=True,
        sampler=optuna.samplers.TPESampler(n_startup_trials=12),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=8),
    )
    fixed = [*words, *arguments.set]
    if not study.trials:
        study.enqueue_trial(own_settings(load_experiment(arguments.experiment, EXPERIMENTS, fixed)))
    study.optimize(lambda trial: mean_loss(trial, folds, arguments.experiment, fixed), arguments.trials)
    print(f"best of {len(study.trials)}: log-loss {study.best_value:.4f}")
    print(" ".join(f"--set '{name}={value}'" for name, value in study.best_params.items()))
    if arguments.json:
        write_atomically(arguments.json, json.dumps(told(study, arguments, fixed), indent=1) + "\n")


def own_settings(experiment: Experiment) -> dict[str, Any]:
    """Return what an experiment says of the settings that are searched, as Optuna knows them."""
    values = {name: getattr(getattr(experiment, name.split(".")[0]), name.split(".")[1]) for name in SPACE}
    return {name: str(list(value)) if isinstance(value, tuple) else value for name, value in values.items()}


def told(study: optuna.Study, arguments: argparse.Namespace, fixed: list[str]) -> dict[str, Any]:
    """Return what a study found, as plain values."""
    trials = [
        {"settings": trial.params, "state": trial.state.name, "log_loss": trial.value} for trial in study.get_trials()
    ]
    return {
        "row": arguments.row,
        "experiment": arguments.experiment,
        "words": fixed,
        "folds": arguments.folds,
        "versions": versions(),
        "trials": trials,
    }


def training_part(arguments: argparse.Namespace) -> tuple[Sample, list[str]]:
    """Return what draw 1 of a row may learn from, validation included, and the row's own settings."""
    with tempfile.TemporaryDirectory() as nowhere:
        settings = ProtocolSettings(
            protocols=(arguments.row,),
            store=arguments.store,
            out=Path(nowhere),
            experiments=EXPERIMENTS,
            experiment=arguments.experiment,
            words=tuple(arguments.set),
            draws=1,
        )
        (draw,) = plan_draws(settings)
    data = ProtocolData.read(arguments.store)
    sample = choose_sample(
        data.seen_in(draw.protocol), data.truth, draw.experiment, held_back(draw.protocol, data.truth, 1)
    )
    snids = (*sample.split.train, *sample.split.validation)
    rows = np.sort(sample.rows(snids))
    inside = replace(
        sample,
        light_curves=sample.light_curves.take(rows),
        labels=sample.labels[rows],
        kinds=sample.kinds[rows],
        split=Split(snids, (), ()),
    )
    return inside, list(draw.protocol.words)


def folds_of(sample: Sample, n_folds: int) -> Iterator[Sample]:
    """Yield the sample once per fold, which is its validation part."""
    snids = np.random.default_rng(0).permutation(sorted(sample.split.train))
    for fold in range(n_folds):
        left_out = frozenset(snids[fold::n_folds])
        train = tuple(sorted(set(snids) - left_out))
        yield replace(sample, split=Split(train, tuple(sorted(left_out)), ()))


def mean_loss(trial: optuna.Trial, folds: list[Sample], experiment: str, words: list[str]) -> float:
    """Train on each fold's rest; return the mean validation loss."""
    chosen: list[str] = [f"{name}={suggest(trial)}" for name, suggest in SPACE.items()]
    settings = load_experiment(experiment, EXPERIMENTS, [*words, *chosen, "fit.members=1"])
    losses: list[float] = []
    for place, fold in enumerate(folds):
        losses.append(loss_of(fold, settings))
        trial.report(float(np.mean(losses)), place)
        if trial.should_prune():
            raise optuna.TrialPruned
    print(f"trial {trial.number}: {np.mean(losses):.4f} {' '.join(chosen)}", flush=True)
    return float(np.mean(losses))


def loss_of(sample: Sample, experiment: Experiment) -> float:
    """Train to the end; return the log-loss of the weights that are kept on what was left out, after a temperature."""
    data = training_data(sample, experiment)
    run = MemberRun(data, experiment, 0)
    while not run.is_finished:
        run.train_epoch()
    network = cast("LightCurveClassifier", run.average.module)
    network.load_state_dict(run.best)
    left_out, preparation = data.validation, Preparation(experiment.resampler, data.normaliser)
    logits = ensemble_logits([network], left_out.resampled, preparation, run.device).astype(np.float64)
    calibration = Calibration(fit_temperature(logits, left_out.labels))
    return log_loss(ensemble_probabilities(logits, calibration).mean(axis=0), left_out.labels)


if __name__ == "__main__":
    main()
