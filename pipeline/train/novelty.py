"""How little a light curve resembles a supernova: a small network on its shape, taught with curves that are none.

The network learns to tell the training objects, as observed and observed worse, from curves made of them that are no
supernovae (`prepare.imitations`). Its answer does not depend on brightness, redshift, or what the classifier thinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from pipeline.prepare.imitations import IMITATIONS, VARIANTS, disturb
from pipeline.prepare.resample import Resampled
from pipeline.prepare.shape import describe_shapes
from pipeline.schema import LightCurves

__all__ = ["NoveltyScore", "fit_novelty"]

Floats = npt.NDArray[np.float64]
Prepare = Callable[[LightCurves], Resampled]

MAX_OBJECTS: Final = 5000
"""Training objects that curves are made of; more make it slower, and hardly better."""

WANTED_CURVES: Final = 10_000
"""Real curves wanted; of fewer training objects each is disturbed several times."""

MAX_ROUNDS: Final = 4
HIDDEN: Final = (64, 32)
EPOCHS: Final = 15
BATCH_SIZE: Final = 512
LEARNING_RATE: Final = 3e-3
WEIGHT_DECAY: Final = 0.02
INPUT_DROPOUT: Final = 0.1
"""Share of the inputs hidden in training, so that no single one decides."""

LARGEST_INPUT: Final = 5.0
"""Standardised inputs are kept within this, so that nothing unheard of leads the network far from what it learnt."""

NOVEL_SHARE: Final = 0.01
"""Of the validation objects, called novel at most."""

SCORED_TOGETHER: Final = 500
"""Objects described at a time: what stays in the processor's cache is twice as fast."""

LOWEST_THRESHOLD: Final = 0.5
"""Below it a curve is more like a supernova than not, however clean the training data are."""


@dataclass(frozen=True)
class NoveltyScore:
    """A fitted novelty score.

    Attributes:
        tensors: float32: `mean`, `scale` of the shape features, and `weight.<i>`, `bias.<i>` of the layers.
        threshold: NOVELTY above which an object is called novel: at most 1 % of the validation objects are, and 0.5
            or more.
    """

    tensors: dict[str, npt.NDArray[np.float32]]
    threshold: float

    def description(self) -> dict[str, Any]:
        """Return what is not in the tensors, as JSON holds it."""
        return {"threshold": self.threshold}

    @classmethod
    def restore(cls, tensors: dict[str, npt.NDArray[np.float32]], description: dict[str, Any]) -> NoveltyScore:
        """Read `tensors` and `description` back."""
        return cls(tensors, float(description["threshold"]))

    def __call__(self, resampled: Resampled) -> Floats:
        """Score light curves.

        Args:
            resampled: n objects, each with at least one step, in the bands it was fitted with.

        Returns:
            (n,) from 0, like the training objects, to 1; it is the probability that the curve is no supernova, were
            half of all curves none, and these like the ones it was taught with.
        """
        pieces = [self._score(piece) for piece in resampled.pieces(SCORED_TOGETHER)]
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def _score(self, resampled: Resampled) -> Floats:
        values = standardise(describe_shapes(resampled), self.tensors["mean"], self.tensors["scale"])
        n_layers = len(HIDDEN) + 1
        for layer in range(n_layers):
            weight, bias = (self.tensors[f"{name}.{layer}"].astype(np.float64) for name in ("weight", "bias"))
            values = values @ weight.T + bias
            if layer < n_layers - 1:
                values = np.maximum(values, 0)
        return np.asarray(1 / (1 + np.exp(-np.clip(values[:, 0], -30, 30))))


def fit_novelty(train: LightCurves, validation: LightCurves, prepare: Prepare, seed: int) -> NoveltyScore:
    """Fit on training objects, choose the threshold on validation objects.

    Args:
        train: objects that passed the cuts, in an order that does not depend on that of the files.
        validation: the same.
        prepare: from light curves to steps, as the classifier does it.
        seed: of everything random; the same gives the same score.
    """
    rng = np.random.default_rng([seed, 0x6E6F76])
    features, is_made_up = teaching_curves(train, prepare, rng)
    mean, scale = moments(features)
    network = teach(standardise(features, mean, scale), is_made_up, int(rng.integers(2**62)))
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    tensors = {"mean": mean.astype(np.float32), "scale": scale.astype(np.float32)}
    for place, layer in enumerate(layers):
        tensors[f"weight.{place}"] = layer.weight.detach().numpy()
        tensors[f"bias.{place}"] = layer.bias.detach().numpy()
    score = NoveltyScore(tensors, math.nan)
    usual = float(np.quantile(score(prepare(validation)), 1 - NOVEL_SHARE, method="higher"))
    return replace(score, threshold=max(usual, LOWEST_THRESHOLD))


def teaching_curves(
    train: LightCurves, prepare: Prepare, rng: np.random.Generator
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Shape features of real curves and of made-up ones, and which are which."""
    chosen = train.take(np.sort(rng.permutation(len(train))[:MAX_OBJECTS]))
    parts = [(describe_shapes(prepare(chosen)), False)]
    for _ in range(min(MAX_ROUNDS, -(-WANTED_CURVES // len(chosen)))):
        real = disturb(chosen, rng)
        parts.append((describe_shapes(prepare(real)), False))
        parts += [(describe_shapes(prepare(make(real, rng))), True) for make in (*IMITATIONS.values(), *VARIANTS)]
    return np.concatenate([part for part, _ in parts]), np.concatenate(
        [np.full(len(part), made) for part, made in parts]
    )


def moments(features: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each feature where it is known; 0 and 1 where it never is."""
    known = np.isfinite(features)
    count = known.sum(axis=0)
    mean = np.where(known, features, 0).sum(axis=0) / np.maximum(count, 1)
    variance = (np.where(known, features - mean, 0) ** 2).sum(axis=0) / np.maximum(count, 1)
    return mean, np.where(count > 0, np.maximum(np.sqrt(variance), 1e-3), 1.0)


def standardise(features: Floats, mean: npt.NDArray[np.floating], scale: npt.NDArray[np.floating]) -> Floats:
    """Shift and scale features, and keep them within LARGEST_INPUT; what is unknown becomes the mean."""
    scaled = np.nan_to_num((features - mean) / scale, nan=0.0)
    return np.asarray(np.clip(scaled, -LARGEST_INPUT, LARGEST_INPUT), dtype=np.float64)


def teach(inputs: Floats, is_made_up: npt.NDArray[np.bool_], seed: int) -> nn.Sequential:
    """Train the network; real and made-up curves weigh the same together."""
    x, y = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(is_made_up.astype(np.float32))
    weight = torch.where(y > 0, 0.5 / y.mean(), 0.5 / (1 - y.mean()))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(x.shape[1])
        optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        steps = EPOCHS * -(-len(x) // BATCH_SIZE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps + 1)
        for _ in range(EPOCHS):
            for rows in torch.split(torch.randperm(len(x)), BATCH_SIZE):
                logits = network(x[rows])[:, 0]
                loss = F.binary_cross_entropy_with_logits(logits, y[rows], weight[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return network


def build_network(n_inputs: int) -> nn.Sequential:
    """Build layers of HIDDEN units, and one for the answer."""
    sizes = (n_inputs, *HIDDEN)
    hidden = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Dropout(INPUT_DROPOUT), *hidden, nn.Linear(HIDDEN[-1], 1))
