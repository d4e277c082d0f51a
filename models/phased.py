"""Phased LSTM (Neil, Pfeiffer & Liu 2016, arXiv:1610.09513): a gate that time opens decides when a unit changes."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from models.base import FrozenConfig, Inputs, LightCurveBatch, LightCurveClassifier
from models.parts import Dropout, Pooling, PoolingKind, is_traced, make_head, needs_no_mask, with_context


class PhasedConfig(FrozenConfig):
    """A stack of Phased LSTM layers, forwards in time, pooled over time."""

    kind: Literal["phased"] = "phased"
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units, layer by layer."""
    periods: tuple[float, float] = (5.0, 500.0)
    """Shortest and longest period of the gates before training, drawn log-uniformly [d]."""
    open_ratio: float = Field(default=0.3, gt=0, lt=1)
    """Share of its period for which a gate is open before training; 0.05, as Neil et al. have it for thousands of
    steps, learns slowly from some tens of nights."""
    leak: float = Field(default=0.001, ge=0)
    """How far a closed gate lets through, of its phase; the same in training and afterwards."""
    pooling: PoolingKind = "last"
    attention_heads: int = 4
    """Weighted means over time, each with weights of its own."""
    embedding_size: int = 64
    """Units of the linear layer before the first recurrent one; 0: none."""
    head_size: int = 64
    """Units of the hidden layer after pooling; 0: none."""
    dropout: float = 0.1
    """Share of units dropped after each recurrent layer and before the head's last layer, in training."""


class TimeGate(nn.Module):
    """How far each unit is open at a time: it opens and closes once a period, linearly, and leaks in between."""

    def __init__(self, config: PhasedConfig, size: int) -> None:
        super().__init__()
        low, high = (math.log(period) for period in config.periods)
        log_period = low + (high - low) * torch.rand(size)
        self.log_period = nn.Parameter(log_period)
        self.shift = nn.Parameter(torch.rand(size))
        self.open_logit = nn.Parameter(torch.full((size,), math.log(config.open_ratio / (1 - config.open_ratio))))
        self.leak = config.leak

    def forward(self, days: Tensor) -> Tensor:
        """Map times [d] of any shape to openness (…, unit), 0 to 1."""
        turns = days[..., None] * (-self.log_period).exp() - self.shift
        phase = turns - turns.floor()
        share = self.open_logit.sigmoid()
        rise = phase * (2 / share)
        return torch.maximum(torch.minimum(rise, 2 - rise), self.leak * phase)


class PhasedLayer(nn.Module):
    """An LSTM layer whose cells and outputs move only as far as their time gates are open."""

    def __init__(self, config: PhasedConfig, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gate = TimeGate(config, hidden_size)
        self.inputs = nn.Linear(input_size, 4 * hidden_size)
        self.hidden = nn.Linear(hidden_size, 4 * hidden_size, bias=False)

    def forward(self, steps: Tensor, days: Tensor, mask: Tensor | None) -> Tensor:
        """Map (batch, time, input) to outputs of each step, (batch, time, hidden); padding repeats the last one."""
        openness = self.gate(days.t())
        if mask is not None:
            openness = openness * mask.t()[..., None]
        seen = self.inputs(steps.transpose(0, 1))
        recurrent = self.hidden.weight.t()
        if is_traced():
            graph: Tensor = torch.jit.script(any_number_of_steps)(seen, openness, recurrent)
            return graph.transpose(0, 1)
        hidden = cell = torch.zeros_like(openness[0])
        outputs = []
        for now, is_open in zip(seen.unbind(), openness.unbind(), strict=True):
            hidden, cell = advance(now, is_open, hidden, cell, recurrent)
            outputs.append(hidden)
        return torch.stack(outputs).transpose(0, 1)


def advance(now: Tensor, is_open: Tensor, hidden: Tensor, cell: Tensor, recurrent: Tensor) -> tuple[Tensor, Tensor]:
    """Take one step.

    Args:
        now: (batch, 4 × hidden) what the inputs say: to let in, to keep, to let out, and the candidate.
        is_open: (batch, hidden) openness of the time gates.
        hidden, cell: (batch, hidden) outputs and cells of the step before.
        recurrent: (hidden, 4 × hidden) weights by which those outputs say the same.

    Returns:
        Outputs and cells of this step.
    """
    size = hidden.shape[1]
    gates = torch.addmm(now, hidden, recurrent)
    enter, keep, leave = gates[:, : 3 * size].sigmoid().chunk(3, dim=1)
    proposed = keep * cell + enter * gates[:, 3 * size :].tanh()
    return torch.lerp(hidden, leave * proposed.tanh(), is_open), torch.lerp(cell, proposed, is_open)


def any_number_of_steps(seen: Tensor, openness: Tensor, recurrent: Tensor) -> Tensor:
    """Take all steps in a loop that a graph keeps as one; tracing alone would fix their number. Time comes first."""
    hidden = torch.zeros_like(openness[0])
    cell = hidden
    outputs: list[Tensor] = []
    for step in range(seen.shape[0]):
        hidden, cell = advance(seen[step], openness[step], hidden, cell, recurrent)
        outputs.append(hidden)
    return torch.stack(outputs)


class PhasedClassifier(LightCurveClassifier):
    """Embedding, Phased LSTM layers, pooling, head."""

    def __init__(self, config: PhasedConfig, inputs: Inputs, n_classes: int) -> None:
        super().__init__()
        inputs.require_time()
        self.inputs = inputs
        size = inputs.n_features + inputs.n_context
        self.embedding: nn.Module = nn.Identity()
        if config.embedding_size:
            self.embedding = nn.Linear(size, config.embedding_size)
            size = config.embedding_size
        sizes = (size, *config.hidden_sizes)
        self.layers = nn.ModuleList(PhasedLayer(config, before, after) for before, after in itertools.pairwise(sizes))
        self.dropouts = nn.ModuleList(Dropout(config.dropout, size) for size in config.hidden_sizes)
        self.pooling = Pooling(config.pooling, sizes[-1], config.attention_heads)
        self.head = make_head(self.pooling.output_size, config.head_size, n_classes, config.dropout)

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        mask = None if needs_no_mask(batch) else batch.mask
        days = self.inputs.days(batch)
        steps = self.embedding(with_context(batch))
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            steps = dropout(layer(steps, days, mask))
        logits: Tensor = self.head(self.pooling(steps, mask))
        return logits
