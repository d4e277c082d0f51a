"""Calibrated probabilities and thresholds, both from validation objects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "UNCALIBRATED",
    "Calibration",
    "CalibrationKind",
    "Opinion",
    "choose_thresholds",
    "ensemble_probabilities",
    "fit_calibration",
    "fit_temperature",
    "fit_vector",
    "halfway_below",
    "quality",
    "with_opinion",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
CalibrationKind = Literal["temperature", "vector", "none"]

PSEUDO_PURITY_WEIGHT: Final = 3.0
"""W of the SPCC figure of merit (Kessler et al. 2010, arXiv:1008.1024)."""

SCALES: Final = (0.1, 10.0)
"""Smallest and largest scale, and temperature, that is looked for."""

LARGEST_SHIFT: Final = 10.0
LOSS_FLOOR: Final = 1e-12
"""Below it, the loss that a calibration minimises sees no difference between probabilities."""

N_BINS: Final = 15
"""Of equal width, over P(Ia)."""


@dataclass(frozen=True)
class Calibration:
    """Makes logits honest: logits / temperature or, for vector scaling, logits × scale + shift.

    Attributes:
        temperature: divides the logits of every class.
        scale, shift: (class,), if there are any; the temperature is then what they were found from, and not applied.

    Raises:
        ValueError: if a number is not finite, the temperature or a scale is not positive, or one class lacks a number.
    """

    temperature: float = 1.0
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}, expected a positive number")
        if len(self.scale) != len(self.shift) or not all(0 < value < math.inf for value in self.scale):
            raise ValueError(f"scale is {self.scale}, expected a positive number for each of {len(self.shift)} shifts")
        if not all(math.isfinite(value) for value in self.shift):
            raise ValueError(f"shift is {self.shift}, expected finite numbers")

    @classmethod
    def restore(cls, description: Mapping[str, Any], n_classes: int) -> Calibration:
        """Return what `description` has described; without `vector` it is a temperature alone.

        Raises:
            ValueError: if it is none for so many classes.
        """
        temperature = float(description["temperature"])
        if "vector" not in description:
            return cls(temperature)
        vector = description["vector"]
        scale, shift = (tuple(float(value) for value in vector[name]) for name in ("scale", "shift"))
        if len(scale) != n_classes:
            raise ValueError(f"vector has {len(scale)} scales, expected one for each of {n_classes} classes")
        return cls(temperature, scale, shift)

    def description(self) -> dict[str, Any]:
        """Return everything, as JSON holds it."""
        vector = {"vector": {"scale": list(self.scale), "shift": list(self.shift)}} if self.scale else {}
        return {"temperature": self.temperature, **vector}

    def apply(self, logits: FloatArray) -> FloatArray:
        """Return calibrated logits of any shape (…, class)."""
        if not self.scale:
            return np.asarray(logits / self.temperature)
        return np.asarray(logits * self.scale + self.shift)

    def apply_to_tensor(self, logits: Tensor) -> Tensor:
        """Do what `apply` does, on a tensor."""
        if not self.scale:
            return logits / self.temperature
        return logits * logits.new_tensor(self.scale) + logits.new_tensor(self.shift)


@dataclass(frozen=True)
class Opinion:
    """What another classifier says of the same objects, which has a share in the answers.

    Attributes:
        log_probabilities: (n, class).
        share: from 0 to 1, in the logits (a logarithmic opinion pool).
    """

    log_probabilities: FloatArray
    share: float

    def pooled(self, logits: FloatArray) -> FloatArray:
        """Return the logits (…, n, class) of networks with this opinion in them, to be calibrated together."""
        return np.asarray((1 - self.share) * logits + self.share * self.log_probabilities)


def with_opinion(logits: FloatArray, opinion: Opinion | None) -> FloatArray:
    """Return the logits (…, n, class) of networks with an opinion in them, if there is one."""
    return logits if opinion is None else opinion.pooled(logits)


UNCALIBRATED: Final = Calibration()
"""Leaves logits as they are."""


def ensemble_probabilities(logits: FloatArray, calibration: Calibration = UNCALIBRATED) -> FloatArray:
    """Return (member, n, class) probabilities from logits of that shape."""
    return softmax(calibration.apply(logits))


def softmax(logits: FloatArray) -> FloatArray:
    """Return probabilities (…, class) from logits of that shape."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def fit_calibration(
    logits: FloatArray, labels: IntArray, classes: tuple[str, ...], kind: CalibrationKind
) -> tuple[Calibration, str]:
    """Calibrate the mean of an ensemble on validation objects.

    A vector that cannot be fitted, or is no better than the temperature alone, gives way to it.

    Args:
        logits: (member, n, class) of validation objects.
        labels: (n) index of the true class.
        classes: names.
        kind: what is asked for.

    Returns:
        The calibration, and its kind in words, with why it is not the one that was asked for.
    """
    if kind == "none":
        return UNCALIBRATED, kind
    alone = Calibration(fit_temperature(logits, labels))
    if kind == "temperature":
        return alone, kind
    absent = [name for place, name in enumerate(classes) if not (labels == place).any()]
    if absent:
        return alone, f"temperature, not vector: no validation object is {' or '.join(absent)}"
    vector = fit_vector(logits, labels, alone.temperature)
    before, after = (log_loss(ensemble_probabilities(logits, one).mean(axis=0), labels) for one in (alone, vector))
    return (vector, kind) if after < before else (alone, "temperature, not vector: a vector is no better on validation")


def fit_temperature(logits: FloatArray, labels: IntArray) -> float:
    """Find the temperature that minimises the ensemble's log-loss (Guo et al. 2017, arXiv:1706.04599).

    Args:
        logits: (member, n, class) of validation objects.
        labels: (n) index of the true class.
    """

    def loss(log_temperature: float) -> float:
        calibration = Calibration(float(np.exp(log_temperature)))
        return log_loss(ensemble_probabilities(logits, calibration).mean(axis=0), labels)

    found = minimize_scalar(loss, bounds=(np.log(SCALES[0]), np.log(SCALES[1])), method="bounded")
    return float(np.exp(found.x))


def fit_vector(logits: FloatArray, labels: IntArray, temperature: float) -> Calibration:
    """Find a scale and a shift of each class that minimise the ensemble's log-loss (vector scaling, Guo et al. 2017).

    Args:
        logits: (member, n, class) of validation objects.
        labels: (n) index of the true class.
        temperature: where to start from.
    """
    n_members, n_objects, n_classes = logits.shape
    rows, is_true = np.arange(n_objects), np.eye(n_classes)[labels]

    def loss(numbers: FloatArray) -> tuple[float, FloatArray]:
        """Log-loss for logarithms of scales, and shifts; and its gradient."""
        scale, shift = np.exp(numbers[:n_classes]), numbers[n_classes:]
        probabilities = softmax(logits * scale + shift)
        of_true = probabilities[:, rows, labels]
        mean = np.maximum(of_true.mean(axis=0), LOSS_FLOOR)
        slope = (of_true / mean)[..., None] * (probabilities - is_true) / (n_members * n_objects)
        by_scale, by_shift = (slope * logits).sum(axis=(0, 1)) * scale, slope.sum(axis=(0, 1))
        return float(-np.log(mean).mean()), np.concatenate([by_scale, by_shift])

    start = np.concatenate([np.full(n_classes, -np.log(temperature)), np.zeros(n_classes)])
    low, high = np.log(SCALES)
    bounds = [(low, high)] * n_classes + [(-LARGEST_SHIFT, LARGEST_SHIFT)] * n_classes
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    shift = found[n_classes:] - found[n_classes:].mean()  # the same in all classes, it changes nothing
    return Calibration(temperature, tuple(np.exp(found[:n_classes]).tolist()), tuple(shift.tolist()))


def log_loss(probabilities: FloatArray, labels: IntArray, floor: float = LOSS_FLOOR) -> float:
    """Mean of −ln P(true class) over (n, class) probabilities, which are kept above a floor."""
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], floor)).mean())


def quality(probabilities: FloatArray, labels: IntArray) -> dict[str, float]:
    """Say how honest probabilities are, in the words and definitions of the report; P(Ia) is the first column.

    Args:
        probabilities: (n, class).
        labels: (n) index of the true class.
    """
    p_ia, is_ia = probabilities[:, 0], labels == 0
    bins = np.minimum((p_ia * N_BINS).astype(np.int64), N_BINS - 1)
    return {
        "log_loss": log_loss(probabilities, labels, float(np.finfo(np.float64).eps)),
        "brier": float(((p_ia - is_ia) ** 2).mean()),
        "ece": float(np.abs(np.bincount(bins, p_ia - is_ia)).sum() / len(labels)),
    }


def choose_thresholds(p_ia: FloatArray, is_ia: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Choose thresholds above which P(Ia) means Ia: the best figure of merit, 95 % purity, 90 % completeness.

    The figure of merit is the expected one, as if each object were an Ia with its own probability: its best threshold
    hangs on a few objects near the end of the list, which labels of a hundred say little of. Purity and completeness
    are those of the labels. Each threshold stands between two probabilities (`halfway_below`). One that no cut on these
    objects reaches is left out.

    Args:
        p_ia: (n,) calibrated probabilities.
        is_ia: (n,) what the objects are.
    """
    order = np.argsort(-p_ia, kind="stable")
    cuts, hits = p_ia[order], np.cumsum(is_ia[order])
    called = np.arange(1, len(cuts) + 1)
    last_of_tie = np.append(np.diff(cuts) != 0, True)
    completeness, purity = hits / max(int(is_ia.sum()), 1), hits / called
    expected = np.cumsum(cuts)
    weighed = expected + PSEUDO_PURITY_WEIGHT * (called - expected)
    merit = np.where(last_of_tie, expected**2 / weighed, -1)
    thresholds = {"figure_of_merit": halfway_below(cuts, merit.argmax())}
    pure, complete = (np.flatnonzero(last_of_tie & ok) for ok in (purity >= 0.95, completeness >= 0.90))
    if len(pure):
        thresholds["purity95"] = halfway_below(cuts, pure[-1])
    if len(complete):
        thresholds["completeness90"] = halfway_below(cuts, complete[0])
    return thresholds


def halfway_below(probabilities: FloatArray, place: int | np.integer[Any]) -> float:
    """Return the middle between a probability and the next one after it, or 0; never the probability itself.

    Args:
        probabilities: (n,) falling.
        place: of one that is higher than the next.
    """
    lower = float(probabilities[place + 1]) if place + 1 < len(probabilities) else 0.0
    middle = (float(probabilities[place]) + lower) / 2
    return middle if middle < probabilities[place] else lower
