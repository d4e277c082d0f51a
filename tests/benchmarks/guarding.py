"""How often the drift guard is wrong: false alarms on nights like the training data, and what it finds in others.

`python -m tests.benchmarks.guarding RUN [--nights 200] [--objects 300] [--json FILE]`: RUN is the folder of a run on a
survey with truth (the SPCC), whose training part is the reference, and whose test part gives the nights. Each night is
a draw of its objects, each as it was known after one of its measurements, with no object twice.
"""

# ruff: noqa: T201

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from pipeline.evaluate.guard import GuardSettings, guard_night
from pipeline.evaluate.night import told_unlike
from pipeline.files import write_atomically
from pipeline.prepare.imitations import IMITATIONS
from pipeline.prepare.truncate import truncate_at_random
from pipeline.provenance import versions
from pipeline.schema import LightCurves
from pipeline.store import Store
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.reference import make_reference

Shift = Callable[[LightCurves, np.random.Generator], LightCurves]


def main() -> None:
    """Judge nights of every kind, and print how they came out."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.guarding", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--objects", type=int, default=300, help="light curves of a night")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file for the results")
    arguments = parser.parse_args()
    light_curves = Store.open(arguments.run / "store").light_curves()
    parts = pd.read_parquet(arguments.run / "split.parquet").groupby("PART")["SNID"].apply(list)
    checkpoint = Checkpoint.load(arguments.run / "model")
    bands, train = checkpoint.experiment.bands, light_curves.select(parts["train"])
    unlike = told_unlike(checkpoint)
    reference = make_reference(train, np.zeros(len(train), np.int64), bands, ("all",), arguments.seed, unlike)
    test = light_curves.select(parts["test"])
    rows = []
    for name, shift in SHIFTS.items():
        found, causes = Counter[str](), Counter[str]()
        for night in range(arguments.nights):
            rng = np.random.default_rng([arguments.seed, night])
            drawn = truncate_at_random(test.take(rng.permutation(len(test))[: arguments.objects]), rng)
            verdict = guard_night(shift(drawn, rng), reference, bands, GuardSettings(), night, unlike)
            found[verdict.status] += 1
            causes.update(one.name for one in verdict.differences[:1])
        rows.append({"night": name, "n": arguments.nights, **found, "first": dict(causes.most_common(2))})
        print(
            f"{name:45s} red {found['red'] / arguments.nights:6.1%}  amber {found['amber'] / arguments.nights:6.1%}  "
            f"{', '.join(name for name, _ in causes.most_common(2))}",
            flush=True,
        )
    if arguments.json:
        told = {"objects": arguments.objects, "seed": arguments.seed, "model": checkpoint.name}
        settings = GuardSettings().model_dump()
        summary = {**told, "settings": settings, "versions": versions(), "nights": rows}
        write_atomically(arguments.json, json.dumps(summary, indent=1) + "\n")


def scaled(factors: dict[str, float]) -> Shift:
    """Multiply fluxes and errors of bands, as a wrong zeropoint does."""

    def shift(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
        del rng
        factor = light_curves.epochs["BAND"].map(factors).astype(np.float64).fillna(1.0)
        scaled = {name: light_curves.epochs[name] * factor for name in ("FLUXCAL", "FLUXCALERR")}
        return replace(light_curves, epochs=light_curves.epochs.assign(**scaled))

    return shift


def magnitudes(difference: float, bands: str = "griz") -> Shift:
    """Shift the zeropoint of bands [mag]."""
    return scaled(dict.fromkeys(bands, 10 ** (-0.4 * difference)))


def noisier(factor: float) -> Shift:
    """Worse seeing: larger errors, and the noise that goes with them."""

    def shift(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
        error = light_curves.epochs["FLUXCALERR"]
        extra = rng.normal(0, 1, len(error)) * error * np.sqrt(factor**2 - 1)
        epochs = light_curves.epochs.assign(FLUXCAL=light_curves.epochs["FLUXCAL"] + extra, FLUXCALERR=error * factor)
        return replace(light_curves, epochs=epochs)

    return shift


def kept(is_kept: Callable[[LightCurves], pd.Series]) -> Shift:
    """Leave measurements out."""

    def shift(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
        del rng
        keep = is_kept(light_curves).to_numpy()
        lengths = np.bincount(light_curves.object_index[keep], minlength=len(light_curves))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return LightCurves(light_curves.objects, light_curves.epochs[keep].reset_index(drop=True), offsets)

    return shift


def mixed(share: float, kind: str) -> Shift:
    """Replace a share of the objects by curves of another kind, with the cadence and errors of real ones."""

    def shift(light_curves: LightCurves, rng: np.random.Generator) -> LightCurves:
        other = IMITATIONS[kind](light_curves, rng)
        is_other = rng.random(len(light_curves)) < share
        chosen = is_other[light_curves.object_index]
        flux = {
            name: np.where(chosen, other.epochs[name], light_curves.epochs[name]) for name in ("FLUXCAL", "FLUXCALERR")
        }
        return replace(light_curves, epochs=light_curves.epochs.assign(**flux))

    return shift


SHIFTS: Final[dict[str, Shift]] = {
    "like the training data": lambda light_curves, rng: light_curves,
    "zeropoint of all bands off by 0.05 mag": magnitudes(0.05),
    "zeropoint of r off by 0.05 mag": magnitudes(0.05, "r"),
    "zeropoint of all bands off by 0.2 mag": magnitudes(0.2),
    "zeropoint of r off by 0.2 mag": magnitudes(0.2, "r"),
    "zeropoint of all bands off by 0.5 mag": magnitudes(0.5),
    "band z lost": kept(lambda light_curves: light_curves.epochs["BAND"] != "z"),
    "seeing: errors 1.3 times as large": noisier(1.3),
    "seeing: errors 1.6 times as large": noisier(1.6),
    "cadence: every second night": kept(lambda light_curves: np.floor(light_curves.epochs["MJD"]) % 2 == 0),
    "new class: 10 % constant sources": mixed(0.1, "constant"),
    "new class: 10 % periodic sources": mixed(0.1, "sinusoidal"),
    "new class: 30 % constant sources": mixed(0.3, "constant"),
    "new class: 30 % periodic sources": mixed(0.3, "sinusoidal"),
}


if __name__ == "__main__":
    main()
