"""Recurrent classifiers: rnn, gru or lstm, one or both directions, with a choice of merging and pooling."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, cast

import torch
from torch import Tensor, nn

from models.base import FrozenConfig, Inputs, LightCurveBatch, LightCurveClassifier
from models.parts import Attention, Dropout, last_step, make_head, masked_mean, needs_no_mask, with_context

CELLS: Final[dict[str, Callable[..., nn.RNNBase]]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
RUN: Final[dict[str, Callable[..., tuple[Tensor, ...]]]] = {
    "rnn": torch.rnn_tanh,
    "gru": torch.gru,
    "lstm": torch.lstm,
}
"""What runs a cell with given weights, over both directions at once."""


class RecurrentConfig(FrozenConfig):
    """A stack of recurrent layers, pooled over time."""

    kind: Literal["recurrent"] = "recurrent"
    cell: Literal["rnn", "gru", "lstm"] = "lstm"
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units per direction, layer by layer."""
    bidirectional: bool = True
    merge: Literal["concat", "sum"] = "concat"
    """How the two directions of a layer become one output."""
    pooling: Literal["last", "mean", "consensus", "attention"] = "attention"
    """`consensus`: class scores at each step, averaged (Charnock & Moss 2017); `attention`: learned weighted means."""
    attention_heads: int = 4
    """Weighted means over time, each with weights of its own."""
    embedding_size: int = 64
    """Units of the linear layer before the first recurrent one; 0: none."""
    head_size: int = 64
    """Units of the hidden layer after pooling; 0: none."""
    dropout: float = 0.1
    """Share of units dropped after each recurrent layer and before the head's last layer, in training."""
    dropout_at: Literal["all_steps", "each_step"] = "all_steps"
    """Whether a unit is dropped at all steps of a light curve (Gal & Ghahramani 2016), or at each step by chance."""


class RecurrentLayer(nn.Module):
    """One recurrent layer whose backward direction starts at each sequence's own last step, never in the padding."""

    def __init__(self, config: RecurrentConfig, input_size: int, hidden_size: int) -> None:
        super().__init__()
        cell = CELLS[config.cell]
        self.forwards = cell(input_size, hidden_size, batch_first=True)
        self.backwards = cell(input_size, hidden_size, batch_first=True) if config.bidirectional else None
        self.cell = config.cell
        self.merge = config.merge
        self.output_size = hidden_size * (2 if config.bidirectional and config.merge == "concat" else 1)

    def forward(self, steps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map (batch, time, input) to outputs of each step, and to what the directions say last, (batch, output)."""
        ahead: Tensor = self.forwards(steps)[0]
        if self.backwards is None:
            return ahead, last_step(ahead, mask)
        reversal = reversed_steps(mask)
        back: Tensor = self.backwards(take_steps(steps, reversal))[0]
        outputs = self.join(ahead, take_steps(back, reversal))
        return outputs, self.join(last_step(ahead, mask), last_step(back, mask))

    def without_padding(self, steps: Tensor, embedding: nn.Module | None = None) -> tuple[Tensor, Tensor]:
        """Do what `forward` does in one call for both directions, where every step exists.

        Args:
            steps: (batch, time, input), before the embedding if there is one.
            embedding: a linear layer, which becomes one with the layer's own weights: they meet fewer inputs so.
        """
        cells = [self.forwards] if self.backwards is None else [self.forwards, self.backwards]
        size = self.forwards.hidden_size
        start = steps.new_zeros(len(cells), len(steps), size)
        weights = [weight for cell in cells for weight in embedded(cell, embedding)]
        state = (start, start) if self.cell == "lstm" else start
        outputs = RUN[self.cell](steps, state, weights, True, 1, 0.0, False, len(cells) == 2, True)[0]
        ahead, back = outputs[..., :size], outputs[..., size:]
        if self.backwards is None:
            return ahead, ahead[:, -1]
        both = outputs if self.merge == "concat" else ahead + back
        return both, self.join(ahead[:, -1], back[:, 0])

    def join(self, ahead: Tensor, back: Tensor) -> Tensor:
        """Merge the two directions."""
        return torch.cat([ahead, back], dim=-1) if self.merge == "concat" else ahead + back


class RecurrentClassifier(LightCurveClassifier):
    """Embedding, recurrent layers, pooling, head."""

    def __init__(self, config: RecurrentConfig, inputs: Inputs, n_classes: int) -> None:
        super().__init__()
        self.pooling = config.pooling
        size = inputs.n_features + inputs.n_context
        self.embedding: nn.Module = nn.Identity()
        if config.embedding_size:
            self.embedding = nn.Linear(size, config.embedding_size)
            size = config.embedding_size
        layers = []
        for hidden_size in config.hidden_sizes:
            layers.append(RecurrentLayer(config, size, hidden_size))
            size = layers[-1].output_size
        self.layers = nn.ModuleList(layers)
        whole = config.dropout_at == "all_steps"
        self.dropouts = nn.ModuleList(Dropout(config.dropout, layer.output_size, whole) for layer in layers)
        self.attention = Attention(size, config.attention_heads) if config.pooling == "attention" else None
        size = self.attention.output_size if self.attention is not None else size
        self.head = make_head(size, config.head_size, n_classes, config.dropout)

    def forward(self, batch: LightCurveBatch) -> Tensor:
        """Return logits of shape (batch, n_classes)."""
        mask = None if needs_no_mask(batch) else batch.mask
        steps = with_context(batch)
        steps, last = self.read(steps, mask) if mask is not None else self.read_whole(steps)
        if self.pooling == "consensus":
            return masked_mean(self.head(steps), mask)
        if self.attention is not None:
            pooled = self.attention(steps, mask)
        else:
            pooled = masked_mean(steps, mask) if self.pooling == "mean" else self.dropouts[-1](last)
        logits: Tensor = self.head(pooled)
        return logits

    def read(self, steps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Run embedding and layers: outputs of each step, and what the last layer says last."""
        steps = self.embedding(steps * mask[..., None])
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            outputs, last = layer(steps, mask)
            steps = dropout(outputs)
        return steps, last

    def read_whole(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Do what `read` does where every step exists, faster."""
        embedding = self.embedding if isinstance(self.embedding, nn.Linear) else None
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            outputs, last = layer.without_padding(steps, embedding)  # type: ignore[operator]
            steps, embedding = dropout(outputs), None
        return steps, last


def embedded(cell: nn.RNNBase, embedding: nn.Module | None) -> list[Tensor]:
    """Return the weights of a cell that reads what has not been through the embedding."""
    inputs, hidden, bias, hidden_bias = cast("list[Tensor]", cell._flat_weights)
    if not isinstance(embedding, nn.Linear):
        return [inputs, hidden, bias, hidden_bias]
    exact = inputs.double()  # one rounding instead of one a term
    both = (exact @ embedding.weight.double()).to(inputs.dtype)
    return [both, hidden, (bias + exact @ embedding.bias.double()).to(bias.dtype), hidden_bias]


def reversed_steps(mask: Tensor) -> Tensor:
    """For each step, the one that stands at its place when each sequence is reversed within its own length."""
    steps = torch.arange(mask.shape[1], device=mask.device)
    mirrored = mask.sum(dim=1, keepdim=True) - 1 - steps
    return torch.where(mirrored >= 0, mirrored, steps)


def take_steps(values: Tensor, index: Tensor) -> Tensor:
    """Reorder (batch, time, size) along time by an index of shape (batch, time)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))
