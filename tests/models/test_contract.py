"""One suite over every architecture: whatever is in MODELS must pass it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import cast

import pytest
import torch

from models import MODELS, PRESETS, LightCurveBatch, LightCurveClassifier, ModelConfig, build_model
from models.recurrent import RecurrentClassifier, RecurrentConfig, RecurrentLayer
from tests.builders import make_batch

VARIANTS: dict[str, list[ModelConfig]] = {
    "recurrent": [
        *(
            RecurrentConfig(cell=cell, hidden_sizes=(5, 4), bidirectional=both, pooling=pooling, embedding_size=3)
            for cell, both, pooling in itertools.product(
                ("rnn", "gru", "lstm"), (False, True), ("last", "mean", "consensus", "attention")
            )
        ),
        RecurrentConfig(merge="sum", hidden_sizes=(4,), embedding_size=0, head_size=0),
        *PRESETS.values(),
    ]
}
CONFIGS = [config for configs in VARIANTS.values() for config in configs]


def label(config: ModelConfig) -> str:
    directions = "both" if config.bidirectional else "one"
    return f"{config.cell}-{directions}-{config.merge}-{config.pooling}-{'x'.join(map(str, config.hidden_sizes))}"


@pytest.fixture(params=CONFIGS, ids=label)
def classifier(request: pytest.FixtureRequest) -> LightCurveClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return build_model(request.param, n_features=6, n_context=2, n_classes=3).eval()


def take(batch: LightCurveBatch, rows: list[int]) -> LightCurveBatch:
    steps = int(batch.lengths[rows].max())
    return LightCurveBatch(batch.sequence[rows, :steps], batch.mask[rows, :steps], batch.context[rows])


def test_every_architecture_brings_variants_to_this_suite() -> None:
    assert set(VARIANTS) == set(MODELS)


def test_logits_have_one_column_a_class(classifier: LightCurveClassifier) -> None:
    logits = classifier(make_batch())
    assert logits.shape == (4, 3)
    assert torch.isfinite(logits).all()


def test_padding_does_not_change_the_logits(classifier: LightCurveClassifier) -> None:
    batch = make_batch()
    garbage = torch.where(batch.mask[..., None], batch.sequence, torch.tensor(99.0))
    torch.testing.assert_close(classifier(batch), classifier(replace(batch, sequence=garbage)))


def test_company_in_the_batch_does_not_change_the_logits(classifier: LightCurveClassifier) -> None:
    batch = make_batch()
    alone = torch.cat([classifier(take(batch, [row])) for row in range(len(batch))])
    torch.testing.assert_close(classifier(batch), alone, atol=1e-5, rtol=1e-5)


def test_a_batch_without_padding_is_answered_as_one_with(classifier: LightCurveClassifier) -> None:
    padded = make_batch()
    steps = int(padded.lengths.min())
    full = LightCurveBatch(padded.sequence[:, :steps], padded.mask[:, :steps], padded.context)
    cut = replace(padded, mask=padded.mask & (torch.arange(padded.mask.shape[1]) < steps))
    with torch.inference_mode():
        torch.testing.assert_close(classifier(full), classifier(cut), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(classifier(full), classifier(cut), atol=1e-6, rtol=1e-6)


def test_order_in_the_batch_does_not_matter(classifier: LightCurveClassifier) -> None:
    batch = make_batch()
    shuffled = take(batch, [2, 0, 3, 1])
    torch.testing.assert_close(classifier(batch)[[2, 0, 3, 1]], classifier(shuffled), atol=1e-5, rtol=1e-5)


def test_gradient_reaches_every_parameter(classifier: LightCurveClassifier) -> None:
    classifier(make_batch()).square().sum().backward()
    without = [name for name, value in classifier.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


def test_evaluation_is_deterministic(classifier: LightCurveClassifier) -> None:
    torch.testing.assert_close(classifier(make_batch()), classifier(make_batch()), atol=0, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_saved_weights_make_another_network_answer_the_same(config: ModelConfig) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        first, second = (build_model(config, 6, 2, 3).eval() for _ in range(2))
    assert not torch.equal(first(make_batch()), second(make_batch()))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(make_batch()), second(make_batch()), atol=0, rtol=0)


def test_training_without_dropout_equals_evaluation(classifier: LightCurveClassifier) -> None:
    for module in classifier.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = classifier(make_batch())
    torch.testing.assert_close(classifier.train()(make_batch()), expected)


def test_a_bidirectional_layer_equals_torchs_own_on_packed_sequences() -> None:
    config = RecurrentConfig(hidden_sizes=(5,), embedding_size=0, pooling="last", head_size=0)
    ours = build_model(config, 6, 0, 3)
    layer = cast("RecurrentLayer", cast("RecurrentClassifier", ours).layers[0])
    assert layer.backwards is not None
    theirs = torch.nn.LSTM(6, 5, batch_first=True, bidirectional=True)
    backwards = layer.backwards.state_dict().items()
    weights = dict(layer.forwards.state_dict()) | {f"{name}_reverse": value for name, value in backwards}
    theirs.load_state_dict(weights)
    batch = make_batch(n_context=0)
    packed = torch.nn.utils.rnn.pack_padded_sequence(batch.sequence, batch.lengths, True, enforce_sorted=False)
    packed_outputs, (last_states, _) = theirs(packed)
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_outputs, batch_first=True)
    outputs, last = layer(batch.sequence, batch.mask)
    torch.testing.assert_close(outputs * batch.mask[..., None], expected)
    torch.testing.assert_close(last, torch.cat([last_states[0], last_states[1]], dim=-1))


def test_a_batch_whose_shapes_do_not_belong_together_is_refused() -> None:
    batch = make_batch()
    with pytest.raises(ValueError, match="expected sequence"):
        LightCurveBatch(batch.sequence, batch.mask[:, :-1], batch.context)
    with pytest.raises(ValueError, match="rows of context"):
        LightCurveBatch(batch.sequence, batch.mask, batch.context[:-1])
    with pytest.raises(ValueError, match="at least one step"):
        LightCurveBatch(batch.sequence, torch.zeros_like(batch.mask), batch.context)
