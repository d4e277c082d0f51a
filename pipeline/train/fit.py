"""From light curves with known classes to a calibrated classifier."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch.nn import functional as F

from pipeline.prepare.normalise import build_normaliser
from pipeline.prepare.resample import Resampled
from pipeline.prepare.selection import select
from pipeline.prepare.split import Split, split_objects
from pipeline.provenance import versions
from pipeline.schema import LightCurves, Truth
from pipeline.taxonomy import CLASS_SETS, target_classes
from pipeline.train.calibration import (
    UNCALIBRATED,
    choose_thresholds,
    ensemble_probabilities,
    fit_calibration,
    quality,
    with_opinion,
)
from pipeline.train.checkpoint import Accepts, Checkpoint
from pipeline.train.ensemble import train_ensemble
from pipeline.train.experiment import Experiment
from pipeline.train.inference import Preparation, choose_device, ensemble_logits, prepare_photometry, threads
from pipeline.train.kinds import UNKNOWN, Kinds, list_kinds, name_kinds, places_of_kinds
from pipeline.train.member import LabelledObjects, Row, TrainingData
from pipeline.train.novelty import fit_novelty
from pipeline.train.reference import make_reference
from pipeline.train.state import TrainingState
from pipeline.train.teacher import Teacher, load_teacher
from pipeline.train.trees import fit_trees
from pipeline.train.unlike import unlike_supernovae
from pipeline.train.verify import with_answers

__all__ = [
    "Sample",
    "TrainingResult",
    "choose_sample",
    "choose_task",
    "fingerprint",
    "prepare_photometry",
    "train_classifier",
    "training_data",
]

FloatArray = npt.NDArray[np.float64]

PROCEDURE: Final = 2
"""Of training; to be raised by whoever changes what the same settings and data lead to, so that nothing half trained
by earlier code is gone on with."""

SAYS_NOTHING_OF_WEIGHTS: Final[dict[str, Any]] = {
    "name": True,
    "description": True,
    "protocol": True,
    "fit": {"members", "dropout_samples", "calibration", "trees", "teacher", "teacher_weight"},
}
"""Settings that leave the weights of a member as they are; a larger ensemble keeps the members it has.

A teacher counts by its content, not by where it stands; the classes do not count where kinds alone are learnt.
"""


@dataclass(frozen=True)
class Sample:
    """The objects that a classifier may learn from and be tested on.

    Attributes:
        light_curves: every object that passed the cuts and has a known class.
        labels: (n_objects) index of the true class.
        split: who is in which part.
        cuts: reasons for leaving objects out, with their number.
        kinds: (n_objects) names of what is learnt beside the class, as `name_kinds` gives them.
    """

    light_curves: LightCurves
    labels: npt.NDArray[np.int64]
    split: Split
    cuts: list[tuple[str, int]]
    kinds: npt.NDArray[np.object_]

    def part(self, snids: tuple[str, ...]) -> tuple[LightCurves, npt.NDArray[np.int64]]:
        """Return the light curves and labels of some objects."""
        rows = self.rows(snids)
        return self.light_curves.take(rows), self.labels[rows]

    def rows(self, snids: tuple[str, ...]) -> npt.NDArray[np.intp]:
        """Return where some objects stand."""
        return np.asarray(pd.Index(self.light_curves.objects["SNID"]).get_indexer(pd.Index(snids)))


@dataclass(frozen=True)
class TrainingResult:
    """A classifier, and how it came about.

    Attributes:
        checkpoint: the classifier.
        sample: the objects, split.
        history: one row per member and epoch: MEMBER, EPOCH, TRAIN_LOSS, VALID_LOSS, VALID_ACCURACY, LEARNING_RATE,
            SECONDS.
    """

    checkpoint: Checkpoint
    sample: Sample
    history: pd.DataFrame


def train_classifier(
    light_curves: LightCurves,
    truth: Truth,
    experiment: Experiment,
    folder: Path,
    report: Callable[[Row], None] = lambda row: None,
    kept: Collection[str] = (),
) -> TrainingResult:
    """Train, average, calibrate; an interrupted run of the same command goes on where it stopped.

    Args:
        light_curves: all objects; the cuts and the split are made here.
        truth: their classes.
        experiment: settings.
        folder: training states go to `folder/training`, the checkpoint to `folder/model`.
        report: called with the history row of each finished epoch.
        kept: SNIDs of a frozen test set, which nothing is learnt from.

    Raises:
        ValueError: if no object, or too few, can be trained on.
        StateError: if an earlier run in the folder had other settings or data.
        TeacherError: if the teacher reads something else, or has learnt from test objects.
    """
    experiment, sample, teacher = choose_task(light_curves, truth, experiment, kept)
    data = training_data(sample, experiment, teacher)
    rows: list[Row] = []

    def keep(row: Row) -> None:
        rows.append(row)
        report(row)

    states = train_ensemble(data, experiment, folder / "training", keep)
    checkpoint = calibrated_checkpoint(sample, data, experiment, states)
    checkpoint.save(folder / "model")
    history = pd.DataFrame(rows).sort_values(["MEMBER", "EPOCH"], ignore_index=True)
    return TrainingResult(checkpoint, sample, history.astype({"MEMBER": int, "EPOCH": int}))


def choose_task(
    light_curves: LightCurves, truth: Truth, experiment: Experiment, kept: Collection[str] = ()
) -> tuple[Experiment, Sample, Teacher | None]:
    """Return the settings with what they take over from a teacher, the objects, split, and the teacher.

    Raises:
        ValueError: if no object, or too few, can be trained on.
        TeacherError: if the teacher reads something else, or has learnt from test objects.
    """
    teacher = load_teacher(experiment)
    experiment = experiment if teacher is None else teacher.settings_for(experiment)
    sample = choose_sample(light_curves, truth, experiment, kept)
    if teacher is not None:
        teacher.check_split(sample.split)
    return experiment, sample, teacher


def choose_sample(
    light_curves: LightCurves, truth: Truth, experiment: Experiment, kept: Collection[str] = ()
) -> Sample:
    """Apply the cuts, leave out objects of unknown class, and split.

    Args:
        light_curves: all objects.
        truth: their classes.
        experiment: settings.
        kept: SNIDs of a frozen test set, which are in the test part alone.

    Raises:
        ValueError: if a class of the experiment has no object, or a part would be empty.
    """
    classes = CLASS_SETS[experiment.classes]
    known = truth.select(light_curves.objects["SNID"]).table
    targets = known["SUBCLASS"].map(
        lambda name: target_classes(name, experiment.classes) if isinstance(name, str) else None
    )
    labels = targets.map({name: index for index, name in enumerate(classes)}).fillna(-1).to_numpy(dtype=np.int64)
    selection = select(light_curves, experiment.bands, experiment.selection)
    usable = selection.passes & (labels >= 0)
    n_unknown = int((selection.passes & (labels < 0)).sum())
    cuts = [*selection.counts, *([("class unknown", n_unknown)] if n_unknown else [])]
    if len(np.unique(labels[usable])) < 2:
        found = sorted(set(targets[usable]))
        raise ValueError(f"training needs objects of at least two of the classes {list(classes)}; found only {found}")
    rows = np.flatnonzero(usable)
    chosen = light_curves.take(rows)
    split = split_objects(list(chosen.objects["SNID"]), experiment.split, kept)
    return Sample(
        chosen, labels[rows].astype(np.int64), split, cuts, name_kinds(known.iloc[rows], experiment.fit.learns)
    )


def training_data(sample: Sample, experiment: Experiment, teacher: Teacher | None = None) -> TrainingData:
    """Resample the training and validation parts, and fit the normaliser on the former, or take over the teacher's."""
    classes = CLASS_SETS[experiment.classes]
    rows = sample.rows(sample.split.train)
    kinds = list_kinds(sample.kinds[rows], sample.labels[rows], len(classes))
    train, validation = (
        labelled(sample, part, experiment, kinds) for part in (sample.split.train, sample.split.validation)
    )
    if teacher is None:
        normaliser = build_normaliser(experiment.bands, experiment.normaliser)
        normaliser.fit(train.resampled)
    else:
        normaliser = teacher.checkpoint.normaliser
    return TrainingData(
        train=train,
        validation=validation,
        normaliser=normaliser,
        n_classes=len(classes),
        fingerprint=fingerprint(sample, experiment, teacher),
        teacher=teacher,
        kinds=kinds,
    )


def labelled(sample: Sample, snids: tuple[str, ...], experiment: Experiment, kinds: Kinds) -> LabelledObjects:
    """Resample some objects, and say what they are."""
    light_curves, labels = sample.part(snids)
    names = sample.kinds[sample.rows(snids)]
    return LabelledObjects(prepare_photometry(light_curves, experiment), labels, places_of_kinds(names, labels, kinds))


def fingerprint(sample: Sample, experiment: Experiment, teacher: Teacher | None = None) -> str:
    """Hash all that decides the weights: procedure, settings, teacher, and what is learnt from; no test object."""
    digest = hashlib.blake2b(digest_size=16)
    are_unseen = teacher is None and classes_are_unseen(sample, experiment)
    unseen = {"classes": True} if are_unseen else {}
    digest.update(f"{PROCEDURE} ".encode())
    digest.update(experiment.model_dump_json(exclude={**SAYS_NOTHING_OF_WEIGHTS, **unseen}).encode())
    for snids in (sample.split.train, sample.split.validation):
        light_curves, labels = sample.part(snids)
        digest.update(f"{len(snids)} {data_hash(light_curves)}".encode())
        if not are_unseen:
            digest.update(labels.tobytes())
        if experiment.fit.learns != "classes":
            digest.update("\n".join(sample.kinds[sample.rows(snids)]).encode())
    if teacher is not None:
        digest.update(f"{teacher.hash} {experiment.fit.teacher_weight!r}".encode())
    return digest.hexdigest()


def classes_are_unseen(sample: Sample, experiment: Experiment) -> bool:
    """Whether the weights are the same whatever the classes: the kind of each object is known, and no other is asked.

    Then one training answers for several sets of classes.
    """
    rows = sample.rows(sample.split.train)
    fit, n_classes = experiment.fit, len(CLASS_SETS[experiment.classes])
    return (
        fit.keep == "last"
        and fit.class_weight == "none"
        and bool((sample.kinds[rows] != UNKNOWN).all())
        and bool(list_kinds(sample.kinds[rows], sample.labels[rows], n_classes))
    )


def data_hash(light_curves: LightCurves) -> str:
    """16 hexadecimal digits over the SNID and photometry of all objects, whatever their order."""
    objects = light_curves.objects
    lines = sorted(
        f"{snid} {photometry}" for snid, photometry in zip(objects["SNID"], objects["PHOTOMETRY_HASH"], strict=True)
    )
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=8).hexdigest()


def kept_row(history: list[Row], experiment: Experiment) -> Row:
    """Return the history's row of the epoch whose weights are kept."""
    return history[-1] if experiment.fit.keep == "last" else min(history, key=lambda row: row["VALID_LOSS"])


def calibrated_checkpoint(
    sample: Sample, data: TrainingData, experiment: Experiment, states: list[TrainingState]
) -> Checkpoint:
    """Put the kept weights of each member together, and calibrate them on the validation part."""
    best_epochs = [int(kept_row(state.history, experiment)["EPOCH"]) for state in states]
    experiment, taught = named_teacher(experiment, data)
    train, train_labels = sample.part(sample.split.train)
    validation, _ = sample.part(sample.split.validation)
    checkpoint = Checkpoint(
        experiment=experiment,
        normaliser=data.normaliser,
        weights=[state.part("best") for state in states],
        kinds=data.kinds,
        trees=fit_trees(train, train_labels, experiment, data.n_classes) if experiment.fit.trees else None,
        calibration=UNCALIBRATED,
        thresholds={},
        accepts=acceptance(sample, data.train.resampled, experiment),
        card={
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "data_hash": data_hash(sample.light_curves),
            "split_hash": sample.split.hash,
            "split": sample.split.counts,
            "fingerprint": data.fingerprint,
            "seeds": {"split": experiment.split.seed, "fit": experiment.fit.seed},
            "surveys": list(sample.light_curves.objects["SURVEY"].dropna().unique()),
            "versions": versions(),
            **taught,
            "best_epochs": best_epochs,
        },
    )
    device = choose_device(experiment.fit.device)
    preparation = Preparation(experiment.resampler, data.normaliser)
    valid = data.validation
    alone = ensemble_logits(checkpoint.networks(device), valid.resampled, preparation, device).astype(np.float64)
    logits = with_opinion(alone, checkpoint.opinion(validation))
    calibration, kind = fit_calibration(logits, valid.labels, checkpoint.classes, experiment.fit.calibration)
    before, after = (ensemble_probabilities(logits, one).mean(axis=0) for one in (UNCALIBRATED, calibration))
    with threads(experiment.fit.threads):
        novelty = fit_novelty(
            train, validation, partial(prepare_photometry, experiment=experiment), experiment.fit.seed
        )
    calibrated = replace(
        checkpoint,
        calibration=calibration,
        thresholds=choose_thresholds(after[:, 0], valid.labels == 0),
        card={
            **checkpoint.card,
            **validation_card(alone, valid.labels),
            "calibration": calibration_card(kind, before, after, valid.labels),
        },
        novelty=novelty,
        reference=make_reference(
            train,
            train_labels,
            experiment.bands,
            CLASS_SETS[experiment.classes],
            experiment.fit.seed,
            partial(unlike_supernovae, experiment=experiment, score=novelty),
        ),
    )
    with threads(experiment.fit.threads):
        return with_answers(calibrated)


def validation_card(logits: FloatArray, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Say how well each network's (network, n, class) logits answer the validation part."""
    losses = [float(F.cross_entropy(torch.from_numpy(one), torch.from_numpy(labels))) for one in logits]
    accuracies = [float((one.argmax(axis=1) == labels).mean()) for one in logits]
    return {
        "validation_loss": [round(value, 5) for value in losses],
        "validation_accuracy": [round(value, 5) for value in accuracies],
    }


def calibration_card(kind: str, before: FloatArray, after: FloatArray, labels: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Say what calibration has done for (n, class) probabilities of the validation part."""
    rounded = [{name: round(value, 5) for name, value in quality(one, labels).items()} for one in (before, after)]
    return {"kind": kind, "on validation, before": rounded[0], "on validation, after": rounded[1]}


def named_teacher(experiment: Experiment, data: TrainingData) -> tuple[Experiment, dict[str, Any]]:
    """Name the teacher by what it is and not by where it stood, in the settings and on the card of its student."""
    if data.teacher is None:
        return experiment, {}
    fit = experiment.fit.model_copy(update={"teacher": data.teacher.checkpoint.name})
    told = data.teacher.provenance(fit.teacher_weight, data.kinds)
    return experiment.model_copy(update={"fit": fit}), {"teacher": told}


def acceptance(sample: Sample, train: Resampled, experiment: Experiment) -> Accepts:
    """Write down the range of the training objects."""
    light_curves, _ = sample.part(sample.split.train)
    snr = np.where(train.observed, train.flux / np.where(train.observed, train.flux_err, 1), -np.inf).max(axis=1)
    best = np.maximum.reduceat(snr, train.offsets[:-1])
    n_epochs = np.add.reduceat(train.observed.sum(axis=1), train.offsets[:-1])
    photoz = light_curves.objects["PHOTOZ"].dropna()
    low, high = np.percentile(best, [1, 99])
    return Accepts(
        redshift="photoz" if experiment.normaliser.use_redshift else "none",
        surveys=tuple(sorted(light_curves.objects["SURVEY"].dropna().unique())),
        epochs=(int(n_epochs.min()), int(n_epochs.max())),
        best_snr=(float(low), float(high)),
        photoz=(float(photoz.min()), float(photoz.max())) if len(photoz) else None,
    )
