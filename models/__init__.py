"""Networks that classify light curves. `MODELS` is the list of architectures: a new one is one file and one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from models.base import FrozenConfig, LightCurveBatch, LightCurveClassifier
from models.recurrent import RecurrentClassifier, RecurrentConfig

__all__ = [
    "MODELS",
    "PRESETS",
    "FrozenConfig",
    "LightCurveBatch",
    "LightCurveClassifier",
    "ModelConfig",
    "build_model",
]

ModelConfig = RecurrentConfig
"""Configuration of any architecture; a union discriminated by `kind` as soon as there are two."""

MODELS: Final[dict[str, Callable[[ModelConfig, int, int, int], LightCurveClassifier]]] = {
    "recurrent": RecurrentClassifier,
}

PRESETS: Final[dict[str, ModelConfig]] = {
    "default": RecurrentConfig(),
    # Charnock & Moss 2017, arXiv:1606.07442: unidirectional LSTM, dropout 0.5 between layers, consensus over time.
    "charnock17": RecurrentConfig(
        hidden_sizes=(16, 16), bidirectional=False, pooling="consensus", embedding_size=0, head_size=0, dropout=0.5
    ),
    "charnock17-4": RecurrentConfig(
        hidden_sizes=(4,), bidirectional=False, pooling="consensus", embedding_size=0, head_size=0, dropout=0.5
    ),
}


def build_model(config: ModelConfig, n_features: int, n_context: int, n_classes: int) -> LightCurveClassifier:
    """Build an untrained network; its initial weights come from torch's current random state."""
    return MODELS[config.kind](config, n_features, n_context, n_classes)
