"""What several architectures are made of: pooling over time, heads, dropout, and what keeps padding out."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.base import LightCurveBatch

PoolingKind = Literal["last", "mean", "attention"]
"""`last`: what is said at the last step; `attention`: learned weighted means, beside the plain one."""


class Dropout(nn.Dropout):
    """Drops units in training; in evaluation none, or, once fixed, always the same ones.

    A network all of whose dropouts are fixed is a sample of the posterior of networks that training with dropout
    stands for (Gal & Ghahramani 2016, arXiv:1506.02142).

    Args:
        share: of the units that is dropped.
        size: units, the last dimension of what comes.
        at_all_steps: a unit that training drops of a light curve is dropped at all its steps, not at each by chance.
    """

    kept: Tensor | None

    def __init__(self, share: float, size: int, at_all_steps: bool = False) -> None:
        super().__init__(share)
        self.size = size
        self.at_all_steps = at_all_steps
        self.register_buffer("kept", None, persistent=False)

    def fix(self, generator: torch.Generator) -> None:
        """Choose the units that evaluation drops, for every light curve and step; the others make up for them."""
        is_kept = torch.rand(self.size, generator=generator) >= self.p
        self.kept = is_kept / (1 - self.p)

    def forward(self, values: Tensor) -> Tensor:
        """Map (…, size) to the same shape."""
        if self.training and self.at_all_steps and values.dim() == 3:
            return values * F.dropout(torch.ones_like(values[:, :1]), self.p)
        if self.training or self.kept is None:
            return super().forward(values)
        return values * self.kept


def thin_out(network: nn.Module, seed: int) -> None:
    """Fix every dropout of a network, the same way for the same seed.

    Raises:
        ValueError: if it has none.
    """
    dropouts = [module for module in network.modules() if isinstance(module, Dropout)]
    if not dropouts:
        raise ValueError("it has no layer that drops units, and cannot be thinned out: set fit.dropout_samples=0")
    generator = torch.Generator().manual_seed(seed)
    for dropout in dropouts:
        dropout.fix(generator)


class Attention(nn.Module):
    """Means over time with learned weights, one per head, and the plain mean beside them."""

    def __init__(self, input_size: int, heads: int) -> None:
        super().__init__()
        self.scores = nn.Linear(input_size, heads)
        self.output_size = input_size * (heads + 1)

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """Map (batch, time, input) to (batch, input × (heads + 1))."""
        scores = self.scores(steps)
        weights = (scores if mask is None else scores.masked_fill(~mask[..., None], float("-inf"))).softmax(dim=1)
        heads = torch.einsum("bth,btd->bhd", weights, steps).flatten(1)
        return torch.cat([heads, masked_mean(steps, mask)], dim=-1)


class Pooling(nn.Module):
    """From outputs of each step to one vector per light curve."""

    def __init__(self, kind: PoolingKind, input_size: int, heads: int) -> None:
        super().__init__()
        self.kind = kind
        self.attention = Attention(input_size, heads) if kind == "attention" else None
        self.output_size = input_size if self.attention is None else self.attention.output_size

    def forward(self, steps: Tensor, mask: Tensor | None) -> Tensor:
        """Map (batch, time, input) to (batch, output_size); without a mask every step exists."""
        if self.attention is not None:
            pooled: Tensor = self.attention(steps, mask)
            return pooled
        if self.kind == "mean":
            return masked_mean(steps, mask)
        return steps[:, -1] if mask is None else last_step(steps, mask)


def with_context(batch: LightCurveBatch) -> Tensor:
    """(batch, time, feature) with what is known of the object as a whole repeated at each step."""
    context = batch.context[:, None].expand(-1, batch.mask.shape[1], -1)
    return torch.cat([batch.sequence, context], dim=-1)


def make_head(input_size: int, hidden_size: int, n_classes: int, dropout: float) -> nn.Module:
    """One linear layer, or two with a rectifier between."""
    if not hidden_size:
        return nn.Linear(input_size, n_classes)
    return nn.Sequential(
        nn.Linear(input_size, hidden_size), nn.ReLU(), Dropout(dropout, hidden_size), nn.Linear(hidden_size, n_classes)
    )


def is_traced() -> bool:
    """Whether what is done now becomes a graph, for light curves of any number and length."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def needs_no_mask(batch: LightCurveBatch) -> bool:
    """Whether only answers are wanted, on the CPU, and there is no padding that would have to be kept out."""
    is_answering = torch.is_inference_mode_enabled() and not is_traced()
    return is_answering and batch.mask.device.type == "cpu" and bool(batch.mask.all())


def last_step(values: Tensor, mask: Tensor) -> Tensor:
    """(batch, size) of (batch, time, size) at the last step that exists."""
    return values[torch.arange(values.shape[0], device=values.device), mask.sum(dim=1) - 1]


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Average (batch, time, size) over the steps that exist; without a mask all do."""
    if mask is None:
        return values.mean(dim=1)
    weights = mask[..., None].to(values.dtype)
    return (values * weights).sum(dim=1) / weights.sum(dim=1)
