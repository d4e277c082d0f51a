"""What each change of the training is worth on the simulation and on the real sky.

    python -m tests.benchmarks.robustness STORE REAL --out JSON [--only NAME]... [--seed N]... [--set WORD]...

Trains a quick network for the SPCC's protocol P1, for each candidate and seed, and writes after each what it says of
the validation part, of the test part, of the test part as a longer and sparser survey would have seen it, and of real
supernovae Ia, all with a redshift and without. What the file has already is not done again. The real supernovae are a
development set here: choose by them and by the validation part, and look at the test part last.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rich.console import Console
from rich.table import Table

from pipeline.classify.predict import with_redshift
from pipeline.evaluate.metrics import METRICS, THRESHOLD, Scores, measure
from pipeline.files import write_atomically
from pipeline.prepare.resample import Resampled, group_epochs
from pipeline.prepare.window import brightest_day
from pipeline.protocols.data import ProtocolData, RealSky
from pipeline.provenance import versions
from pipeline.schema import LightCurves
from pipeline.train.experiment import Experiment, load_experiment
from pipeline.train.fit import Sample, choose_sample, training_data
from pipeline.train.inference import Preparation, ensemble_logits, prepare_photometry, threads
from pipeline.train.member import MemberRun

EXPERIMENTS: Final = Path(__file__).parents[2] / "flows" / "experiments"
QUICK: Final = ("model.hidden_sizes=[48,48]", "fit.epochs=25", "fit.members=1", "fit.device=cpu")
"""A network that trains in a minute or two."""

MEASURED: Final = ("accuracy", "auc", "figure_of_merit", "purity", "completeness", "log_loss")

WINDOW: Final = "resampler.window_days=[80,170]"
FLOOR: Final = "normaliser.error_floor=0.05"
NIGHTS: Final = "augment.drop_night=0.3"
HIDDEN: Final = "augment.hide_redshift=0.4"
CANDIDATES: Final[dict[str, tuple[str, ...]]] = {
    "as the SPCC": (),
    "window": (WINDOW,),
    "window 60 to 130": ("resampler.window_days=[60,130]",),
    "error floor": (FLOOR,),
    "both": (WINDOW, FLOOR),
    "both, window 60 to 130": ("resampler.window_days=[60,130]", FLOOR),
    "both, floor 0.1": (WINDOW, "normaliser.error_floor=0.1"),
    "both, drop 0.6": (WINDOW, FLOOR, "augment.drop=0.6"),
    "both, drop night 0.6": (WINDOW, FLOOR, "augment.drop_night=0.6"),
    "both, drop band 0.1": (WINDOW, FLOOR, "augment.drop_band=0.1"),
    "both, hide redshift 0.5": (WINDOW, FLOOR, "augment.hide_redshift=0.5"),
    "both, no scale": (WINDOW, FLOOR, "normaliser.use_scale=false"),
    "both, truncate start 0.3": (WINDOW, FLOOR, "augment.truncate_start=0.3"),
    "both, brightness 0.3": (WINDOW, FLOOR, "augment.brightness=0.3"),
    "both, zeropoint 0.05": (WINDOW, FLOOR, "augment.zeropoint=0.05"),
    "both, band noise 2": (WINDOW, FLOOR, "augment.band_noise=2"),
    "both, error scale 0.5": (WINDOW, FLOOR, "augment.error_scale=0.5"),
    "both, stretch 0.1": (WINDOW, FLOOR, "augment.stretch=0.1"),
    "both, brightness 0.3, zeropoint 0.05": (WINDOW, FLOOR, "augment.brightness=0.3", "augment.zeropoint=0.05"),
    "both, four changes": (
        WINDOW,
        FLOOR,
        "augment.brightness=0.3",
        "augment.zeropoint=0.05",
        "augment.band_noise=1.5",
        "augment.drop_night=0.5",
    ),
    "sky": (WINDOW, FLOOR, NIGHTS, HIDDEN),
    "sky, floor 0.1": (WINDOW, "normaliser.error_floor=0.1", NIGHTS, HIDDEN),
}
"""Settings of each candidate, on top of those of the experiment `spcc` and of QUICK."""

KEPT_NIGHTS: Final = 0.65
KEPT_BANDS: Final = 0.8
"""Shares that leave a light curve of the SPCC about as many nights and bands a night as SNLS has."""

EMPTY_FROM: Final = 150.0
EMPTY_UNTIL: Final = 350.0
EMPTY_EVERY: Final = 4.0
"""Days after the brightest on which a long survey sees nothing any more."""


@dataclass(frozen=True)
class Subject:
    """Light curves to classify, and the index of the class of each, 0 being Ia."""

    light_curves: LightCurves
    labels: npt.NDArray[np.int64]


def as_long_survey(subject: Subject, bands: tuple[str, ...], rng: np.random.Generator) -> Subject:
    """Return the light curves with fewer nights and bands, and with many nights of nothing after the supernova."""
    light_curves = subject.light_curves
    epochs, owner = light_curves.epochs, light_curves.object_index
    night = owner * 100_000 + np.floor(epochs["MJD"].to_numpy()).astype(np.int64)
    nights, which = np.unique(night, return_inverse=True)
    is_kept = (rng.random(len(nights)) < KEPT_NIGHTS)[which] & (rng.random(len(epochs)) < KEPT_BANDS)
    is_kept[np.isin(owner, np.setdiff1d(owner, owner[is_kept]))] = True
    first = epochs["MJD"].to_numpy()[light_curves.offsets[:-1]]
    peak = first + brightest_day(group_epochs(light_curves, bands, 0.5))
    empty = empty_nights(light_curves, peak, rng)
    both = pd.concat([epochs[is_kept].assign(OWNER=owner[is_kept]), empty], ignore_index=True)
    both["BAND"] = both["BAND"].astype(epochs["BAND"].dtype)
    both = both.sort_values(["OWNER", "MJD"], kind="stable", ignore_index=True)
    offsets = np.searchsorted(both["OWNER"].to_numpy(), np.arange(len(light_curves) + 1)).astype(np.int64)
    return Subject(LightCurves(light_curves.objects, both[epochs.columns], offsets), subject.labels)


def empty_nights(light_curves: LightCurves, peak: npt.NDArray[np.float64], rng: np.random.Generator) -> pd.DataFrame:
    """Return measurements of noise alone, with the median error of each object and band, and their OWNER."""
    errors = light_curves.epochs.assign(OWNER=light_curves.object_index)
    errors = errors.groupby(["OWNER", "BAND"], observed=True)["FLUXCALERR"].median().reset_index()
    days = np.arange(EMPTY_FROM, EMPTY_UNTIL, EMPTY_EVERY)
    table = errors.loc[np.repeat(errors.index, len(days))].reset_index(drop=True)
    table["MJD"] = peak[table["OWNER"].to_numpy()] + np.tile(days, len(errors))
    table["FLUXCAL"] = rng.normal(size=len(table)) * table["FLUXCALERR"]
    table["PHOTFLAG"] = 0
    return table[rng.random(len(table)) < KEPT_NIGHTS * KEPT_BANDS]


@dataclass(frozen=True)
class Study:
    """What all candidates share.

    Attributes:
        data: light curves with their classes.
        sky: real supernovae Ia.
        words: settings of all candidates.
    """

    data: ProtocolData
    sky: LightCurves
    words: tuple[str, ...]

    def experiment(self, settings: Sequence[str], seed: int) -> Experiment:
        """Return the settings of a candidate; the split stays that of draw 1."""
        return load_experiment("spcc", EXPERIMENTS, (*QUICK, *self.words, *settings, f"fit.seed={seed}"))

    @cached_property
    def sample(self) -> Sample:
        """Who is in which part."""
        return choose_sample(self.data.light_curves, self.data.truth, self.experiment((), 1))

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        """What every candidate classifies."""
        split, bands = self.sample.split, self.experiment((), 1).bands
        test = Subject(*self.sample.part(split.test))
        return {
            "validation": Subject(*self.sample.part(split.validation)),
            "test": test,
            "long": as_long_survey(test, bands, np.random.default_rng(0)),
            "real": Subject(with_redshift(self.sky, "specz"), np.zeros(len(self.sky), dtype=np.int64)),
        }

    def run(self, candidate: str, seed: int) -> dict[str, Any]:
        """Train a candidate, and measure it."""
        experiment = self.experiment(CANDIDATES[candidate], seed)
        training = MemberRun(training_data(self.sample, experiment), experiment, 0)
        started = time.process_time()
        with threads(experiment.fit.threads):
            while not training.is_finished:
                training.train_epoch()
        training.average.module.load_state_dict(training.best)
        return {
            "candidate": candidate,
            "settings": list(CANDIDATES[candidate]),
            "seed": seed,
            "best_epoch": int(np.argmin([row["VALID_LOSS"] for row in training.history])) + 1,
            "train_cpu_seconds": round(time.process_time() - started, 1),
            "snflow": versions()["snflow"],
            **{name: judge(training, subject) for name, subject in self.subjects.items()},
        }


def judge(training: MemberRun, subject: Subject) -> dict[str, dict[str, float]]:
    """Return the metrics with a redshift and without; of Ia alone, the share called Ia and their mean P(Ia)."""
    found = {}
    for name, redshift in (("z", "photoz"), ("no z", "none")):
        seen = with_redshift(subject.light_curves, redshift)
        p_ia = probabilities(training, prepare_photometry(seen, training.experiment))
        scores = Scores(np.column_stack([p_ia, 1 - p_ia]), subject.labels)
        metrics = {"called_ia": float((p_ia > THRESHOLD).mean()), "mean_p_ia": float(p_ia.mean())}
        if not scores.is_ia.all():
            metrics = measure(scores, {metric: METRICS[metric] for metric in MEASURED})
            metrics["non_ia_called_ia"] = float((p_ia[~scores.is_ia] > THRESHOLD).mean())
        found[name] = {metric: round(value, 5) for metric, value in metrics.items()}
    return found


def probabilities(training: MemberRun, resampled: Resampled) -> npt.NDArray[np.float64]:
    """(n,) P(Ia), not calibrated, which changes no call at 0.5."""
    preparation = Preparation(training.experiment.resampler, training.data.normaliser)
    network: Any = training.average.module
    logits = torch.from_numpy(ensemble_logits([network], resampled, preparation, training.device)[0]).double()
    p_ia: npt.NDArray[np.float64] = logits.softmax(dim=-1)[:, 0].numpy()
    return p_ia


def table_of(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Return the means over seeds, in percent."""
    table = Table(title=f"called at P(Ia) > {THRESHOLD}, in %, with the redshift / without")
    columns = (
        ("validation log-loss", "validation", "log_loss"),
        ("validation accuracy", "validation", "accuracy"),
        ("real Ia called Ia", "real", "called_ia"),
        ("longer survey: Ia called Ia", "long", "completeness"),
        ("and others", "long", "non_ia_called_ia"),
        ("test accuracy", "test", "accuracy"),
        ("test purity", "test", "purity"),
    )
    table.add_column("candidate")
    table.add_column("seeds", justify="right")
    for name, _, _ in columns:
        table.add_column(name, justify="right")
    for candidate in dict.fromkeys(run["candidate"] for run in runs):
        same = [run for run in runs if run["candidate"] == candidate]
        cells = [
            " / ".join(f"{100 * np.mean([run[part][z][metric] for run in same]):.1f}" for z in ("z", "no z"))
            for _, part, metric in columns
        ]
        table.add_row(candidate, str(len(same)), *cells)
    return table


def read_words() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path, help="store with the SPCC")
    parser.add_argument("real", type=Path, help="real supernovae Ia, in a store or in files")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to add the results to")
    parser.add_argument("--only", action="append", choices=CANDIDATES, help="candidate; may be given again; all")
    parser.add_argument("--seed", type=int, action="append", help="of the network; may be given again; 1")
    parser.add_argument("--set", action="append", default=[], help="setting of all candidates, as fit.epochs=40")
    return parser.parse_args()


def main() -> None:
    """Train, measure, and write after each; then print."""
    words, console = read_words(), Console(width=190)
    study = Study(ProtocolData.read(words.store), RealSky.read(words.real).light_curves, tuple(words.set))
    shared = {
        "command": "python -m tests.benchmarks.robustness STORE REAL --out JSON",
        "experiment": ["spcc", *QUICK, *words.set],
        "data_hash": study.data.hash,
        "split": {"seed": 1, "hash": study.sample.split.hash, **study.sample.split.counts},
        "n_real": len(study.sky),
    }
    runs = read_runs(words.out, shared)
    for seed in words.seed or [1]:
        for candidate in words.only or CANDIDATES:
            key = (candidate, list(CANDIDATES[candidate]), seed)
            if key in [(run["candidate"], run["settings"], run["seed"]) for run in runs]:
                continue
            runs.append(study.run(candidate, seed))
            content = {**shared, "finished": datetime.now(UTC).isoformat(timespec="seconds"), "runs": runs}
            write_atomically(words.out, json.dumps(content, indent=1) + "\n")
            console.print(table_of(runs[-1:]))
    console.print(table_of(runs))


def read_runs(path: Path, shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the runs that a file has already; none where there is no file.

    Raises:
        ValueError: if they are of other data or settings.
    """
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    different = [key for key, value in shared.items() if content[key] != value]
    if different:
        raise ValueError(f"{path} is of another {', '.join(different)}; give another --out")
    runs: list[dict[str, Any]] = content["runs"]
    return runs


if __name__ == "__main__":
    main()
