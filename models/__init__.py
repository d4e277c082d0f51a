"""Networks that classify light curves. `MODELS` is the list of architectures: a new one is one file and one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final

from pydantic import Field

from models.base import FrozenConfig, Inputs, LightCurveBatch, LightCurveClassifier
from models.convolution import ConvolutionClassifier, ConvolutionConfig
from models.merged import MergedClassifier
from models.parts import thin_out
from models.phased import PhasedClassifier, PhasedConfig
from models.recurrent import RecurrentClassifier, RecurrentConfig
from models.transformer import TransformerClassifier, TransformerConfig
from models.window import WindowClassifier, WindowConfig

__all__ = [
    "MODELS",
    "PRESETS",
    "FrozenConfig",
    "Inputs",
    "LightCurveBatch",
    "LightCurveClassifier",
    "MergedClassifier",
    "ModelConfig",
    "build_model",
    "thin_out",
]

ModelConfig = Annotated[
    RecurrentConfig | PhasedConfig | TransformerConfig | ConvolutionConfig | WindowConfig, Field(discriminator="kind")
]
"""Configuration of any architecture."""

MODELS: Final[dict[str, Callable[..., LightCurveClassifier]]] = {
    "recurrent": RecurrentClassifier,
    "phased": PhasedClassifier,
    "transformer": TransformerClassifier,
    "convolution": ConvolutionClassifier,
    "window": WindowClassifier,
}
"""Each is made from its own configuration, what its batches hold, and the number of classes."""

PRESETS: Final[dict[str, ModelConfig]] = {
    "default": RecurrentConfig(),
    # Charnock & Moss 2017, arXiv:1606.07442: unidirectional LSTM, dropout 0.5 between layers, consensus over time.
    "charnock17": RecurrentConfig(
        hidden_sizes=(16, 16),
        bidirectional=False,
        pooling="consensus",
        embedding_size=0,
        head_size=0,
        dropout=0.5,
        dropout_at="each_step",
    ),
    "charnock17-4": RecurrentConfig(
        hidden_sizes=(4,),
        bidirectional=False,
        pooling="consensus",
        embedding_size=0,
        head_size=0,
        dropout=0.5,
        dropout_at="each_step",
    ),
    # Moss 2018, arXiv:1810.06441: two layers of Phased LSTM, the last output.
    "moss18": PhasedConfig(hidden_sizes=(128, 128), pooling="last", embedding_size=0, head_size=0, dropout=0.0),
    # Möller & de Boissière 2020, arXiv:1901.06384: the baseline of SuperNNova.
    "moller20": RecurrentConfig(
        hidden_sizes=(32, 32),
        bidirectional=True,
        pooling="mean",
        embedding_size=0,
        head_size=0,
        dropout=0.05,
        dropout_at="each_step",
    ),
}


def build_model(
    config: ModelConfig, inputs: Inputs, n_classes: int, class_of_kind: Sequence[int] = ()
) -> LightCurveClassifier:
    """Build an untrained network; its initial weights come from torch's current random state.

    Args:
        config: of any architecture.
        inputs: what its batches hold.
        n_classes: logits of its answer.
        class_of_kind: index of the class of each kind, where it tells finer kinds apart inside.

    Raises:
        ValueError: if the network needs an input that there is not.
    """
    if not class_of_kind:
        return MODELS[config.kind](config, inputs, n_classes)
    return MergedClassifier(MODELS[config.kind](config, inputs, len(class_of_kind)), class_of_kind)
