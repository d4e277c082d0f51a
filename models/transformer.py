"""A transformer encoder: every step looks at every other, and knows when each was observed."""

from __future__ import annotations

import math
from typing import Final, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from models.base import FrozenConfig, Inputs, LightCurveBatch, LightCurveClassifier
from models.parts import Dropout, Pooling, make_head, needs_no_mask, with_context

PERIODS: Final = (2.0, 1000.0)
"""Shortest and longest period of the waves that encode time [d]."""


class TransformerConfig(FrozenConfig):
    """A stack of self-attention layers, pooled over time."""

    kind: Literal["transformer"] = "transformer"
    width: int = Field(default=64, ge=1)
    """Units of each step; a multiple of `heads`."""
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    """Ways in which a step looks at others, each with `width` / `heads` units."""
    feedforward: int = Field(default=128, ge=1)
    """Units of the hidden layer that follows each attention."""
    waves: int = Field(default=16, ge=1)
    """Sines and as many cosines of time, of periods from 2 to 1000 days, which are added to each step."""
    pooling: Literal["mean", "attention"] = "attention"
    attention_heads: int = 4
    """Weighted means over time, each with weights of its own."""
    head_size: int = 64
    """Units of the hidden layer after pooling; 0: none."""
    dropout: float = 0.1
    """Share of units dropped on each way beside the straight one and before the head's last layer, in training."""

    @model_validator(mode="after")
    def heads_share_the_width(self) -> TransformerConfig:
        """Refuse a width that the heads cannot share."""
        if self.width % self.heads:
            raise ValueError(f"expected a width that {self.heads} heads can share, came {self.width}")
        return self


class TimeEncoding(nn.Module):
    """Waves of many periods, weighted: a place in time of any size, not only whole numbers of steps."""

    def __init__(self, n_waves: int, width: int) -> None:
        super().__init__()
        low, high = (math.log(2 * math.pi / period) for period in PERIODS)
        self.register_buffer("frequencies", torch.linspace(low, high, n_waves).exp())
        self.weights = nn.Linear(2 * n_waves, width)

    def forward(self, days: Tensor) -> Tensor:
        """Map times (batch, time) [d] to (batch, time, width)."""
        angles = days[..., None] * self.get_buffer("frequencies")
        encoded: Tensor = self.weights(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return encoded


class Layer(nn.Module):
    """Self-attention and a hidden layer, each beside a way straight through, each normalised before."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.looks = nn.Linear(width, 3 * width)
        self.seen = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, config.feedforward), nn.GELU(), nn.Linear(config.feedforward, width)
        )
        self.dropouts = nn.ModuleList([Dropout(config.dropout, width), Dropout(config.dropout, width)])

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """Map (batch, time, width) to the same shape; steps that do not exist are not looked at."""
        steps = steps + self.dropouts[0](self.look(self.norms[0](steps), mask))
        changed: Tensor = steps + self.dropouts[1](self.feedforward(self.norms[1](steps)))
        return changed

    def look(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """Mean of what the steps offer, weighted by how much each is asked for."""
        asked, offered, values = self.looks(steps).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        exists = None if mask is None else mask[:, None, None, :]
        found = F.scaled_dot_product_attention(asked, offered, values, attn_mask=exists)
        mixed: Tensor = self.seen(found.transpose(1, 2).flatten(2))
        return mixed


class TransformerClassifier(LightCurveClassifier):
    """Embedding and time, self-attention layers, pooling, head."""

    def __init__(self, config: TransformerConfig, inputs: Inputs, n_classes: int) -> None:
        super().__init__()
        inputs.require_time()
        self.inputs = inputs
        self.embedding = nn.Linear(inputs.n_features + inputs.n_context, config.width)
        self.time = TimeEncoding(config.waves, config.width)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.pooling = Pooling(config.pooling, config.width, config.attention_heads)
        self.head = make_head(self.pooling.output_size, config.head_size, n_classes, config.dropout)

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        mask = None if needs_no_mask(batch) else batch.mask
        steps = self.embedding(with_context(batch)) + self.time(self.inputs.days(batch))
        for layer in self.layers:
            steps = layer(steps, mask)
        logits: Tensor = self.head(self.pooling(self.norm(steps), mask))
        return logits
