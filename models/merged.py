"""Networks that tell finer kinds apart and answer with classes: a class is as probable as its kinds together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from models.base import LightCurveBatch, LightCurveClassifier


class MergedClassifier(LightCurveClassifier):
    """A network with one output per kind, whose logits become those of the classes.

    Args:
        network: gives one logit per kind.
        class_of: index of the class of each kind; every class has one at least.
    """

    def __init__(self, network: LightCurveClassifier, class_of: Sequence[int]) -> None:
        super().__init__()
        self.network = network
        self.kinds_of = [
            [kind for kind, of in enumerate(class_of) if of == index] for index in range(max(class_of) + 1)
        ]

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of the classes, of shape (batch, n_classes)."""
        return self.merged(self.network(batch))

    def merged(self, logits: Tensor) -> Tensor:
        """Map logits of the kinds, (batch, n_kinds), to those of the classes; softmax gives the same sums."""
        return torch.stack([logits[:, kinds].logsumexp(dim=1) for kinds in self.kinds_of], dim=1)

    def shared(self, logits: Tensor, of_classes: Tensor) -> Tensor:
        """Share probabilities of classes out among their kinds as the network does.

        Args:
            logits: (batch, n_kinds) of the network.
            of_classes: (batch, n_classes) probabilities.

        Returns:
            (batch, n_kinds) probabilities, whose sums over the kinds of a class are those given.
        """
        of_kinds = torch.empty_like(logits)
        for label, kinds in enumerate(self.kinds_of):
            of_kinds[:, kinds] = of_classes[:, label, None] * logits[:, kinds].softmax(dim=1)
        return of_kinds
