"""Answers in other classes than a classifier's own: sums of these, or finer ones by the kinds that it has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from models import LightCurveClassifier, MergedClassifier
from pipeline.settings import SettingsError
from pipeline.taxonomy import CLASS_SETS, ClassSet, target_classes
from pipeline.train.calibration import Opinion, ensemble_probabilities, with_opinion
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.kinds import UNKNOWN

__all__ = ["OtherClasses", "other_classes"]

FloatArray = npt.NDArray[np.float64]

FROM_COARSE: Final[tuple[ClassSet, ...]] = ("ia", "types", "subtypes")
"""Class sets, each finer than the one before."""


@dataclass(frozen=True)
class OtherClasses:
    """How the answers of a classifier become those in another set of classes; P(Ia) stays as it is.

    Attributes:
        classes: of the answers.
        own: (output,) index of the classifier's own class of each output of its networks: a class, or a kind.
        other: (output,) index in `classes` of each output.
        is_finer: whether the networks' outputs are kinds.
    """

    classes: tuple[str, ...]
    own: npt.NDArray[np.int64]
    other: npt.NDArray[np.int64]
    is_finer: bool

    def networks(self, networks: Sequence[LightCurveClassifier]) -> list[LightCurveClassifier]:
        """Return networks with the outputs that are needed."""
        if not self.is_finer:
            return list(networks)
        return [network.network for network in networks if isinstance(network, MergedClassifier)]

    def probabilities(self, logits: FloatArray, checkpoint: Checkpoint, opinion: Opinion | None) -> FloatArray:
        """Return (member, n, class) probabilities of the other classes from (member, n, output) logits.

        The classifier's own classes are calibrated; each then shares its probability out among its kinds.

        Args:
            logits: of the networks.
            checkpoint: the classifier.
            opinion: what its trees say of its own classes, if it has any.
        """
        added = np.stack(
            [np.logaddexp.reduce(logits[..., self.own == index], axis=-1) for index in range(len(checkpoint.classes))],
            axis=-1,
        )
        own = ensemble_probabilities(with_opinion(added, opinion), checkpoint.calibration)
        of_outputs = own[..., self.own] * np.exp(logits - added[..., self.own])
        sums = [of_outputs[..., self.other == index].sum(axis=-1) for index in range(len(self.classes))]
        return np.stack(sums, axis=-1)


def other_classes(checkpoint: Checkpoint, asked: ClassSet | None) -> OtherClasses | None:
    """Tell how a classifier answers in a set of classes; None where that is its own.

    Raises:
        SettingsError: if it has not learnt to tell these apart.
    """
    own = checkpoint.experiment.classes
    if asked is None or asked == own:
        return None
    classes = CLASS_SETS[asked]
    if FROM_COARSE.index(asked) < FROM_COARSE.index(own):
        outputs, is_finer = tuple(enumerate(checkpoint.classes)), False
    else:
        outputs, is_finer = checkpoint.kinds, True
    if not outputs or UNKNOWN in {name for _, name in outputs}:
        raise SettingsError(
            f"{checkpoint.name} has learnt to tell {', '.join(checkpoint.classes)} apart and nothing finer, came "
            f"classes {asked!r}; train one with --set fit.learns=templates, or with --set classes={asked}"
        )
    subclasses = [name.partition(" ")[0] for _, name in outputs]
    places = [classes.index(str(target_classes(name, asked))) for name in subclasses]
    return OtherClasses(classes, np.array([label for label, _ in outputs]), np.array(places), is_finer)
