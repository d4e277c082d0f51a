"""One draw of a protocol: who is learnt from, the networks, their answers, and what stands beside them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.classify.outputs import write_predictions
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.evaluation_run import METRICS_FILE, write_findings
from pipeline.evaluate.findings import Evaluation, Findings
from pipeline.files import write_atomically
from pipeline.protocols.data import ProtocolData, RealSky, held_back
from pipeline.protocols.definitions import FOM_AT_THRESHOLD, N_SPCC, Protocol
from pipeline.provenance import versions
from pipeline.schema import Predictions
from pipeline.taxonomy import CLASS_SETS
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.classical import classical_predictions
from pipeline.train.control import control_predictions
from pipeline.train.ensemble import state_file
from pipeline.train.experiment import Experiment
from pipeline.train.fit import Sample, TrainingResult, choose_sample, fingerprint, train_classifier
from pipeline.train.inference import choose_device
from pipeline.train.member import Row
from pipeline.train.training_run import write_course

__all__ = ["RESULT_FILE", "Draw", "classify_real", "read_results", "run_draw"]

RESULT_FILE: Final = "result.json"
"""Written last: a draw that has one is finished."""

CONTESTANTS: Final = ("network", "classical", "control")
"""Whose answers on the test part are kept, beside the share of the most frequent class."""

SAYS_NOTHING_OF_RESULT: Final[dict[str, Any]] = {
    "name": True,
    "description": True,
    "split": {"seed"},
    "fit": {"seed", "members"},
}
"""Settings of an experiment in which draws of one row may differ."""

Report = Callable[[Row], None]


@dataclass(frozen=True)
class Draw:
    """What is to be done, and where.

    Attributes:
        protocol: row of the table.
        number: of the draw, from 1; the seed of the split and of the networks.
        experiment: settings, those of the row and the draw among them.
        out: folder of all rows.
    """

    protocol: Protocol
    number: int
    experiment: Experiment
    out: Path

    @property
    def folder(self) -> Path:
        """Where the draw's files are: <row>/draw-<number>, of an ensemble <row>-x<members>/draw-<number>."""
        return self._folder_of(self.protocol.id)

    @property
    def trained_in(self) -> Path:
        """Where the draw's networks are."""
        return self._folder_of(self.protocol.trained_as)

    def _folder_of(self, row: str) -> Path:
        members = self.experiment.fit.members
        return self.out / (row if members == 1 else f"{row}-x{members}") / f"draw-{self.number}"

    @cached_property
    def deviations(self) -> list[str]:
        """Say in which settings the draw is not what the row demands."""
        experiment, row = self.experiment, self.protocol
        demanded = (
            ("classes", experiment.classes, row.classes),
            ("split.train", experiment.split.train, 1.0 if row.spectra else row.n_train),
            ("normaliser.use_redshift", experiment.normaliser.use_redshift, row.uses_redshift),
        )
        return [f"{name} is {came}, not {expected}" for name, came, expected in demanded if came != expected]

    def recipe(self, data_hash: str) -> str:
        """Hash all that draws of one row must share: settings, the row's own rules, and the data.

        Settings count where they are not the default, so that one which a later version adds changes no recipe.
        """
        row, experiment = self.protocol, self.experiment
        kinds = [section.kind for section in (experiment.model, experiment.resampler, experiment.normaliser)]
        settings = f"{experiment.model_dump_json(exclude=SAYS_NOTHING_OF_RESULT, exclude_defaults=True)} {kinds}"
        rules = f"{row.id} {row.n_train} {row.spectra} {row.is_early} {row.asks}"
        return hashlib.blake2b(f"{settings}\n{rules}\n{data_hash}".encode(), digest_size=8).hexdigest()

    def finished(self, data_hash: str) -> dict[str, Any] | None:
        """Return the result of an earlier run; None where there is none.

        Raises:
            ValueError: if it was made with other settings or data.
        """
        path = self.folder / RESULT_FILE
        if not path.exists():
            return None
        result = read_result(path)
        if result["recipe"] != self.recipe(data_hash):
            raise ValueError(f"{path} was made with other settings or data; give another --out, or delete its folder")
        return result


def run_draw(draw: Draw, data: ProtocolData, report: Report = lambda row: None) -> dict[str, Any]:
    """Train, classify the test part, evaluate; what an earlier run has finished is taken from its files.

    Args:
        draw: what is to be done.
        data: all objects.
        report: called with the history row of each finished epoch.

    Returns:
        What is in `result.json`.

    Raises:
        ValueError: if no object is left to test on, too few can be trained on, or the folder holds the result of
            other settings or data.
        StateError: if the folder holds a training of other settings or data.
    """
    known = draw.finished(data.hash)
    if known is not None:
        return known
    started, light_curves = cpu_seconds(), data.seen_in(draw.protocol)
    kept = held_back(draw.protocol, data.truth, draw.number)
    sample = sample_of(draw, data, kept)
    write_atomically(draw.folder / "experiment.json", draw.experiment.model_dump_json(indent=1) + "\n")
    lenders = borrow_networks(draw, fingerprint(sample, draw.experiment))
    trained = train_classifier(light_curves, data.truth, draw.experiment, draw.folder, report, kept)
    others = sorted({lender["row"] for lender in lenders} - {draw.protocol.id})
    write_course(without_validation(trained) if others else trained, draw.folder)
    seconds = {"train": cpu_seconds() - started + sum(lender["cpu_seconds"]["train"] for lender in lenders)}
    answers = answer_all(sample, trained.checkpoint, draw.experiment, seconds)
    evaluations = compare(answers, data, draw.folder, trained.checkpoint.thresholds)
    result = {
        **describe(draw, data.hash, trained.checkpoint),
        "fingerprint": trained.checkpoint.card["fingerprint"],
        "split": sample.split.counts,
        "split_hash": sample.split.hash,
        "cuts": dict(sample.cuts),
        "deviations": draw.deviations,
        "notes": [
            *data.notes(draw.protocol),
            *(f"answered by the networks of {row}, which have learnt the same" for row in others),
            *notes_on(sample, draw, evaluations["network"]),
        ],
        "metrics": {
            **{name: as_numbers(evaluations[name]) for name in CONTESTANTS},
            "majority": {"accuracy": majority(sample)},
        },
        "classes": list(evaluations["network"].classes),
        "confusion": [list(row) for row in evaluations["network"].confusion],
        "cpu_seconds": {name: round(value, 2) for name, value in seconds.items()},
    }
    write_atomically(draw.folder / RESULT_FILE, json.dumps(result, indent=1) + "\n")
    return result


def sample_of(draw: Draw, data: ProtocolData, kept: tuple[str, ...]) -> Sample:
    """Choose and split the objects; an error names the row, and so does a test part without an object."""
    try:
        sample = choose_sample(data.seen_in(draw.protocol), data.truth, draw.experiment, kept)
    except ValueError as error:
        raise ValueError(f"{draw.protocol.id}: {error}") from None
    if not sample.split.test:
        raise ValueError(
            f"{draw.protocol.id}: all {len(sample.light_curves)} objects are learnt from and none is left to test on; "
            "lower split.train"
        )
    return sample


def borrow_networks(draw: Draw, mark: str) -> list[dict[str, Any]]:
    """Take over the networks that finished draws have trained from the same objects with the same settings.

    An ensemble begins with the single network of its row; networks that learn templates answer for all sets of classes.

    Args:
        draw: what is to be done.
        mark: fingerprint of its training.

    Returns:
        Results of the draws whose networks were taken.
    """
    finished = [path for path in draw.out.glob(f"*/draw-*/{RESULT_FILE}") if path.parent != draw.folder]
    same = [(result, path.parent) for path in finished if (result := read_result(path)).get("fingerprint") == mark]
    same.sort(key=lambda one: (-one[0]["members"], one[0]["row"]))
    lenders: dict[Path, dict[str, Any]] = {}
    for member in range(draw.experiment.fit.members):
        state = state_file(Path("training"), member)
        result, folder = next(((result, folder) for result, folder in same if (folder / state).exists()), ({}, None))
        if folder is not None:
            write_atomically(draw.folder / state, (folder / state).read_bytes())
            lenders[folder] = result
    return list(lenders.values())


def without_validation(trained: TrainingResult) -> TrainingResult:
    """Leave out of a history what was asked of the validation part: it was for the classes of another row."""
    return replace(trained, history=trained.history.drop(columns=["VALID_LOSS", "VALID_ACCURACY"]))


def answer_all(
    sample: Sample, checkpoint: Checkpoint, experiment: Experiment, seconds: dict[str, float]
) -> dict[str, Predictions]:
    """Classify the test part with the networks and with the baselines, and note the CPU seconds of each."""
    test, _ = sample.part(sample.split.test)
    classifier = Classifier(checkpoint, ClassifySettings(device=experiment.fit.device))
    ways: dict[str, Callable[[], Predictions]] = {
        "network": lambda: classifier.predict(test),
        "classical": lambda: classical_predictions(sample, experiment),
        "control": lambda: control_predictions(sample, experiment),
    }
    answers = {}
    for name, answer in ways.items():
        started = cpu_seconds()
        answers[name] = answer()
        seconds[name] = cpu_seconds() - started
    return answers


def compare(
    answers: dict[str, Predictions], data: ProtocolData, folder: Path, thresholds: dict[str, float]
) -> dict[str, Evaluation]:
    """Evaluate the answers, those of the networks also at their thresholds, and write them and their metrics."""
    found = {
        name: evaluate(one, data.truth, name=name, n_resamples=0, thresholds=thresholds if name == "network" else {})
        for name, one in answers.items()
    }
    write_findings(Findings(tuple(found.values())), folder / METRICS_FILE)
    for name, predictions in answers.items():
        path = folder / "predictions.parquet" if name == "network" else folder / "beside" / f"{name}.parquet"
        write_predictions(predictions, path)
    return found


def classify_real(draw: Draw, sky: RealSky, data_hash: str) -> dict[str, Any]:
    """Let the networks of another row's draw classify real Ia, with their spectroscopic redshift and without.

    Args:
        draw: of a row that asks for the real sky; the networks it goes by are trained.
        sky: real supernovae of type Ia.
        data_hash: of the data that were learnt from.

    Returns:
        What is in `result.json`; shares are of all supernovae, one without a probability not being called Ia.

    Raises:
        CheckpointError: if the networks are not there.
        ContractError: if these do not know the bands.
    """
    known = draw.finished(data_hash)
    objects = sky.light_curves.objects
    sky_hash = hashlib.blake2b("".join(sorted(objects["PHOTOMETRY_HASH"])).encode(), digest_size=8).hexdigest()
    if known is not None and known["sky_hash"] == sky_hash:
        return known
    checkpoint = Checkpoint.load(draw.trained_in / "model")
    metrics, by_survey = {}, {}
    for name, redshift in (("share_with_redshift", "specz"), ("share_without_redshift", "none")):
        settings = ClassifySettings.model_validate({"device": draw.experiment.fit.device, "redshift": redshift})
        predictions = Classifier(checkpoint, settings).predict(sky.light_curves)
        is_called = predictions.table["P_Ia"] > 0.5
        metrics[name] = float(is_called.mean())
        by_survey[name] = {str(key): float(share) for key, share in is_called.groupby(objects["SURVEY"]).mean().items()}
        write_predictions(predictions, draw.folder / f"{name}.parquet")
    result = {
        **describe(draw, data_hash, checkpoint),
        "sky_hash": sky_hash,
        "deviations": draw.deviations,
        "notes": [
            f"{len(objects):,} real supernovae, {int(objects['SPECZ'].notna().sum()):,} of them with a redshift, "
            f"{sky.n_unsaid:,} taken to be Ia without saying so"
        ],
        "by_survey": by_survey,
        "metrics": {"network": metrics},
        "cpu_seconds": {},
    }
    write_atomically(draw.folder / RESULT_FILE, json.dumps(result, indent=1) + "\n")
    return result


def describe(draw: Draw, data_hash: str, checkpoint: Checkpoint) -> dict[str, Any]:
    """Say what was run, and from what."""
    experiment = draw.experiment
    return {
        "row": draw.protocol.id,
        "protocol": draw.protocol.protocol,
        "draw": draw.number,
        "members": experiment.fit.members,
        "recipe": draw.recipe(data_hash),
        "data_hash": data_hash,
        "model": checkpoint.name,
        "seeds": {"split": experiment.split.seed, "fit": experiment.fit.seed},
        "device": str(choose_device(experiment.fit.device)),
        "versions": versions(),
    }


def notes_on(sample: Sample, draw: Draw, evaluation: Evaluation) -> list[str]:
    """Say what a reader must know of a result: other data than the SPCC's, absent classes, undefined numbers."""
    notes = []
    n_objects = len(sample.light_curves)
    if n_objects != N_SPCC:
        notes.append(f"of {n_objects:,} light curves, not the {N_SPCC:,} of the SPCC")
    for part in ("train", "validation", "test"):
        _, labels = sample.part(getattr(sample.split, part))
        counts = np.bincount(labels, minlength=len(CLASS_SETS[draw.experiment.classes]))
        absent = [name for name, n in zip(CLASS_SETS[draw.experiment.classes], counts, strict=True) if not n]
        if absent:
            notes.append(f"no {', '.join(absent)} in the {part} part")
    undefined = [name for name in draw.protocol.metrics if as_numbers(evaluation).get(name, 0.0) is None]
    if undefined:
        notes.append(f"undefined: {', '.join(undefined)}")
    if evaluation.counts.n_without_probability:
        notes.append(f"{evaluation.counts.n_without_probability} test objects have no probability and are left out")
    return notes


def as_numbers(evaluation: Evaluation) -> dict[str, float | None]:
    """Return the value of each metric, and the figure of merit at the stored threshold; None where undefined."""
    values = {name: found.value for name, found in evaluation.metrics.items()}
    for point in evaluation.operating_points:
        if point.name == "figure_of_merit":
            values[FOM_AT_THRESHOLD] = point.metrics["figure_of_merit"].value
    return {name: None if np.isnan(value) else float(value) for name, value in values.items()}


def majority(sample: Sample) -> float:
    """Share of the test part's most frequent class: the accuracy of always calling that."""
    _, labels = sample.part(sample.split.test)
    return float(np.bincount(labels).max() / len(labels))


def read_result(path: Path) -> dict[str, Any]:
    """Read a draw's result.

    Raises:
        ValueError: if it is not one.
    """
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not the result of a draw ({error}); delete it to evaluate the draw anew") from None
    return result


def read_results(out: Path) -> list[dict[str, Any]]:
    """Read the results of all finished draws in a folder, in order of row, members and draw."""
    results = [read_result(path) for path in out.glob(f"*/draw-*/{RESULT_FILE}")]
    return sorted(results, key=lambda one: (one["row"], one["members"], one["draw"]))


def cpu_seconds() -> float:
    """CPU seconds of this process and of its finished children so far."""
    return sum(os.times()[:4])
