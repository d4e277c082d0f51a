"""A causal convolutional network: what it says at a step depends on that step and earlier ones only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from models.base import FrozenConfig, Inputs, LightCurveBatch, LightCurveClassifier
from models.parts import Dropout, Pooling, PoolingKind, make_head, needs_no_mask, with_context


class ConvolutionConfig(FrozenConfig):
    """Residual blocks of dilated causal convolutions, pooled over time."""

    kind: Literal["convolution"] = "convolution"
    channels: int = Field(default=64, ge=1)
    """Units of each step."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Distance of the steps that a convolution joins, block by block; it sees 1 + 2 (kernel − 1) Σ dilations steps."""
    kernel_size: int = Field(default=3, ge=1)
    """Steps that a convolution joins."""
    pooling: PoolingKind = "attention"
    attention_heads: int = 4
    """Weighted means over time, each with weights of its own."""
    head_size: int = 64
    """Units of the hidden layer after pooling; 0: none."""
    dropout: float = 0.1
    """Share of units dropped in each block and before the head's last layer, in training."""


class CausalConvolution(nn.Conv1d):
    """A convolution over each step and earlier ones; before the first step is 0."""

    def __init__(self, channels: int, kernel_size: int, dilation: int) -> None:
        super().__init__(channels, channels, kernel_size, dilation=dilation)
        self.reach = dilation * (kernel_size - 1)

    def forward(self, steps: Tensor) -> Tensor:
        """Map (batch, time, channel) to the same shape."""
        earlier = F.pad(steps.transpose(1, 2), (self.reach, 0))
        return super().forward(earlier).transpose(1, 2)


class Block(nn.Module):
    """Two convolutions beside a way straight through; each step is normalised by itself, whoever shares the batch."""

    def __init__(self, config: ConvolutionConfig, dilation: int) -> None:
        super().__init__()
        size = config.channels
        self.norms = nn.ModuleList([nn.LayerNorm(size), nn.LayerNorm(size)])
        self.convolutions = nn.ModuleList([CausalConvolution(size, config.kernel_size, dilation) for _ in range(2)])
        self.dropout = Dropout(config.dropout, size)

    def forward(self, steps: Tensor) -> Tensor:
        """Map (batch, time, channel) to the same shape."""
        change = steps
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            change = convolution(F.relu(norm(change)))
        dropped: Tensor = self.dropout(change)
        return steps + dropped


class ConvolutionClassifier(LightCurveClassifier):
    """Embedding, blocks, pooling, head. Padding comes last, so nothing of it reaches a step that exists."""

    def __init__(self, config: ConvolutionConfig, inputs: Inputs, n_classes: int) -> None:
        super().__init__()
        self.embedding = nn.Linear(inputs.n_features + inputs.n_context, config.channels)
        self.layers = nn.Sequential(*(Block(config, dilation) for dilation in config.dilations))
        self.pooling = Pooling(config.pooling, config.channels, config.attention_heads)
        self.head = make_head(self.pooling.output_size, config.head_size, n_classes, config.dropout)

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        mask = None if needs_no_mask(batch) else batch.mask
        steps = self.layers(self.embedding(with_context(batch)))
        logits: Tensor = self.head(self.pooling(steps, mask))
        return logits
