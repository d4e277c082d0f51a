"""A perceptron on a window of fixed length: the baseline that recurrent networks exist to beat."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import FrozenConfig, Inputs, LightCurveBatch, LightCurveClassifier
from models.parts import Dropout


class WindowConfig(FrozenConfig):
    """Layers on the first `steps` steps, side by side; made for the `grid` resampler, where a place is a phase."""

    kind: Literal["window"] = "window"
    steps: int = Field(default=60, ge=1)
    """Steps of the window: what is missing is 0 and said so, later ones are not read."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units, layer by layer."""
    dropout: float = 0.1
    """Share of units dropped after each layer, in training."""


class WindowClassifier(LightCurveClassifier):
    """Every step of the window with whether it exists, and the context, through linear layers with rectifiers."""

    def __init__(self, config: WindowConfig, inputs: Inputs, n_classes: int) -> None:
        super().__init__()
        self.steps = config.steps
        size = config.steps * (inputs.n_features + 1) + inputs.n_context
        layers: list[nn.Module] = []
        for hidden_size in config.hidden_sizes:
            layers += [nn.Linear(size, hidden_size), nn.ReLU(), Dropout(config.dropout, hidden_size)]
            size = hidden_size
        self.layers = nn.Sequential(*layers, nn.Linear(size, n_classes))

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        exists = batch.mask[..., None].to(batch.sequence.dtype)
        steps = torch.cat([batch.sequence * exists, exists], dim=-1)[:, : self.steps]
        missing = steps.new_zeros(steps.shape[0], self.steps, steps.shape[2])
        window = torch.cat([steps, missing], dim=1)[:, : self.steps]
        logits: Tensor = self.layers(torch.cat([window.flatten(1), batch.context], dim=-1))
        return logits
