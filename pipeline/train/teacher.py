"""A trained classifier as the teacher of a smaller one, which learns its probabilities beside the true classes.

Both see the same tensors of each batch: augmented, cut off, filled and without redshift alike (knowledge distillation,
Hinton, Vinyals & Dean 2015, arXiv:1503.02531). A teacher that tells the student's kinds apart teaches these.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd
import torch
from torch import Tensor

from models import LightCurveBatch, LightCurveClassifier, MergedClassifier
from pipeline.prepare.split import Split
from pipeline.settings import SettingsError
from pipeline.train.checkpoint import Checkpoint, CheckpointError
from pipeline.train.experiment import Experiment, check_window
from pipeline.train.kinds import Kinds
from pipeline.train.registry import OBJECTS, UnknownModelError, find_model

__all__ = ["Teacher", "TeacherError", "known_parts", "load_teacher", "settings_of_student"]

SAME_AS_TEACHER: Final = ("bands", "classes", "deredden", "resampler", "normaliser")
"""Settings that decide what the networks read and answer: another value is refused."""

TAKEN_OVER: Final = (*SAME_AS_TEACHER, "selection", "split", "augment")
"""Settings that a student takes over where its experiment says nothing of them."""


class TeacherError(SettingsError):
    """A teacher that cannot teach this student; the message says why and what to do."""


@dataclass(frozen=True)
class Teacher:
    """A trained classifier that teaches.

    Attributes:
        checkpoint: the classifier.
        parts: the SNIDs of its training and validation parts, by part; None where nothing says who they were.
    """

    checkpoint: Checkpoint
    parts: dict[str, frozenset[str]] | None

    @property
    def hash(self) -> str:
        """32 hexadecimal digits over all that decides its answers."""
        checkpoint, fit = self.checkpoint, self.checkpoint.experiment.fit
        settings = checkpoint.experiment.model_dump(mode="json", include=set(SAME_AS_TEACHER))
        temperature, *vector = checkpoint.calibration.description().values()
        content = [checkpoint.weights_sha256, temperature, checkpoint.normaliser.state(), settings, *vector]
        if fit.dropout_samples:
            content.append({"dropout_samples": fit.dropout_samples, "seed": fit.seed})
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()

    def settings_for(self, experiment: Experiment) -> Experiment:
        """Return the settings of a student, with what it takes over from its teacher.

        Raises:
            TeacherError: one list of the settings that the two must share and do not.
            SettingsError: if its network cannot read all that the teacher's resampler gives.
        """
        own = self.checkpoint.experiment
        if self.checkpoint.trees is not None:
            raise TeacherError(
                f"the teacher {self.checkpoint.name} answers by trees beside its networks, and these read no batches: "
                "train a teacher with --set fit.trees=0 (the student may have trees of its own)"
            )
        differing = [
            f"{name} is {_shown(own, name)}, the experiment says {_shown(experiment, name)}"
            for name in SAME_AS_TEACHER
            if name in experiment.model_fields_set and getattr(experiment, name) != getattr(own, name)
        ]
        if differing:
            raise TeacherError(
                f"the teacher {self.checkpoint.name} and its student must read and answer the same: of the teacher "
                f"{'; '.join(differing)}. Leave these settings out, and the student takes over its teacher's"
            )
        missing = [name for name in TAKEN_OVER if name not in experiment.model_fields_set]
        whole = experiment.model_copy(update={name: getattr(own, name) for name in missing})
        if "learns" not in experiment.fit.model_fields_set:
            whole = whole.model_copy(update={"fit": whole.fit.model_copy(update={"learns": own.fit.learns})})
        check_window(whole)
        return whole

    def check_split(self, split: Split) -> None:
        """Make sure that its answers tell nothing of the student's test and validation objects.

        Raises:
            TeacherError: if it has learnt from some of them, or nothing says whether it has.
        """
        card, name = self.checkpoint.card, self.checkpoint.name
        if card.get("split_hash") == split.hash:
            return
        advice = (
            "the student's catalogue and [split] should be the teacher's: leave [split] out to take it over, or train "
            "a teacher on this split"
        )
        if self.parts is None:
            raise TeacherError(
                f"nothing says which objects the teacher {name} has learnt from, and its split is not its student's "
                f"({card.get('split_hash')}, {split.hash}): give the folder of its run, or promote it from there; "
                f"or {advice}"
            )
        learnt, seen = self.parts["train"], self.parts["train"] | self.parts["validation"]
        n_test, n_validation = len(seen.intersection(split.test)), len(learnt.intersection(split.validation))
        if n_test or n_validation:
            raise TeacherError(
                f"the teacher {name} has learnt from {n_test} of the {len(split.test)} test objects of its student and "
                f"from {n_validation} of the {len(split.validation)} for validation, whose numbers would be too good; "
                f"{advice}"
            )

    def teaches(self, kinds: Kinds) -> str:
        """Say whether a student that tells these kinds apart learns kinds from it: "kinds", or "classes"."""
        return "kinds" if kinds and kinds == self.checkpoint.kinds else "classes"

    def answering(
        self, device: torch.device, kinds: Kinds = (), uses_bfloat16: bool = False
    ) -> Callable[[LightCurveBatch], Tensor]:
        """Return a function from a batch to calibrated probabilities that no gradient follows.

        Args:
            device: where it answers.
            kinds: that its student tells apart.
            uses_bfloat16: multiply matrices so, as its student does.

        Returns:
            From a batch to probabilities (batch, n_kinds) if it teaches those kinds, else (batch, n_classes).
        """
        networks, calibrated = self.checkpoint.networks(device), self.checkpoint.calibration.apply_to_tensor
        teaches_kinds = self.teaches(kinds) == "kinds"

        def answer_of(network: LightCurveClassifier, batch: LightCurveBatch) -> Tensor:
            if not teaches_kinds or not isinstance(network, MergedClassifier):
                return calibrated(network(batch).float()).softmax(1)
            finer = network.network(batch).float()
            return network.shared(finer, calibrated(network.merged(finer)).softmax(1))

        def answer(batch: LightCurveBatch) -> Tensor:
            with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16):
                return torch.stack([answer_of(network, batch) for network in networks]).mean(0)

        return answer

    def provenance(self, weight: float, kinds: Kinds) -> dict[str, Any]:
        """Return what the card of a student that tells these kinds apart says of its teacher."""
        name, _, version = self.checkpoint.name.rpartition("@")
        return {
            "name": name,
            "version": version,
            "weights_sha256": self.checkpoint.weights_sha256,
            "hash": self.hash,
            "split_hash": self.checkpoint.card.get("split_hash"),
            "weight": weight,
            "teaches": self.teaches(kinds),
        }


def load_teacher(experiment: Experiment) -> Teacher | None:
    """Load the classifier that `fit.teacher` means; None for an experiment without one.

    Raises:
        TeacherError: if there is none, or it cannot be read.
    """
    if not experiment.fit.teacher:
        return None
    try:
        folder = find_model(experiment.fit.teacher)
        checkpoint = Checkpoint.load(folder)
    except (UnknownModelError, CheckpointError) as error:
        advice = "such as --set fit.teacher=runs/spcc; --set fit.teacher= trains without a teacher"
        raise TeacherError(f"fit.teacher: {error}; {advice}") from None
    return Teacher(checkpoint, known_parts(folder, checkpoint))


def settings_of_student(experiment: Experiment) -> Experiment:
    """Return an experiment with what it takes over from its teacher; as it is where it has none.

    Raises:
        TeacherError: if there is no such teacher, or it reads or answers something else.
    """
    teacher = load_teacher(experiment)
    return experiment if teacher is None else teacher.settings_for(experiment)


def known_parts(folder: Path, checkpoint: Checkpoint) -> dict[str, frozenset[str]] | None:
    """Tell from which objects a classifier has learnt, train and validation: beside it, or in the run of its folder.

    None where nothing says it, and for one that knows other objects besides, through a teacher of its own.
    """
    split_hash = checkpoint.card.get("split_hash")
    if checkpoint.card.get("teacher", {}).get("split_hash", split_hash) != split_hash:
        return None
    promoted, run = folder / OBJECTS, folder.parent / "split.parquet"
    if promoted.exists():
        table = pd.read_parquet(promoted)
    elif run.exists() and Split.from_table(found := pd.read_parquet(run)).hash == split_hash:
        table = found
    else:
        return None
    return {part: frozenset(table.loc[table["PART"] == part, "SNID"]) for part in ("train", "validation")}


def _shown(experiment: Experiment, name: str) -> str:
    return json.dumps(experiment.model_dump(mode="json")[name], ensure_ascii=False)
