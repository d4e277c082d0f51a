"""One suite over every architecture: whatever is in MODELS must pass it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import cast

import pytest
import torch

from models import (
    MODELS,
    PRESETS,
    Inputs,
    LightCurveBatch,
    LightCurveClassifier,
    MergedClassifier,
    ModelConfig,
    build_model,
)
from models.convolution import CausalConvolution, ConvolutionClassifier, ConvolutionConfig
from models.parts import Dropout, thin_out
from models.phased import PhasedClassifier, PhasedConfig, PhasedLayer, TimeGate
from models.recurrent import RecurrentClassifier, RecurrentConfig, RecurrentLayer
from models.transformer import TransformerConfig
from models.window import WindowConfig
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
    ],
    "phased": [
        *(PhasedConfig(hidden_sizes=(5, 4), pooling=pooling) for pooling in ("last", "mean", "attention")),
        PhasedConfig(hidden_sizes=(4,), embedding_size=0, head_size=0, open_ratio=0.1),
    ],
    "transformer": [
        *(TransformerConfig(width=8, heads=heads, pooling="attention") for heads in (1, 4)),
        TransformerConfig(width=6, heads=2, layers=1, pooling="mean", head_size=0),
    ],
    "convolution": [
        *(ConvolutionConfig(channels=5, pooling=pooling) for pooling in ("last", "mean", "attention")),
        ConvolutionConfig(channels=4, kernel_size=1, dilations=(1,), head_size=0),
    ],
    "window": [WindowConfig(steps=steps, hidden_sizes=sizes) for steps, sizes in ((4, (6,)), (60, (6, 5)), (7, ()))],
}
CONFIGS = [*(config for configs in VARIANTS.values() for config in configs), *PRESETS.values()]
INPUTS = Inputs(n_features=6, n_context=2, time_feature=4, days_per_unit=30.0)


def label(config: ModelConfig) -> str:
    """Kind, and what differs from the defaults."""
    changes = config.model_dump(exclude_defaults=True).values()
    return "-".join([config.kind, *("x".join(map(str, several(value))) for value in changes)])


def several(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else (value,)


@pytest.fixture(params=CONFIGS, ids=label)
def classifier(request: pytest.FixtureRequest) -> LightCurveClassifier:
    return build(request.param)


def build(config: ModelConfig, inputs: Inputs = INPUTS, seed: int = 1) -> LightCurveClassifier:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_model(config, inputs, n_classes=3).eval()


def drops(config: ModelConfig) -> bool:
    return any(isinstance(module, Dropout) for module in build(config).modules())


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
    first, second = build(config, seed=1), build(config, seed=2)
    assert not torch.equal(first(make_batch()), second(make_batch()))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(make_batch()), second(make_batch()), atol=0, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_the_same_seed_builds_the_same_network(config: ModelConfig) -> None:
    torch.testing.assert_close(build(config)(make_batch()), build(config)(make_batch()), atol=0, rtol=0)


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_a_network_made_of_saved_weights_draws_none(config: ModelConfig) -> None:
    trained = build(config)
    with torch.device("meta"):
        restored = build_model(config, INPUTS, 3).eval()
    restored.load_state_dict(trained.state_dict(), assign=True)
    torch.testing.assert_close(restored(make_batch()), trained(make_batch()), atol=0, rtol=0)


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_light_curves_of_one_step_and_of_many_have_an_answer(classifier: LightCurveClassifier, steps: int) -> None:
    batch = make_batch((steps, steps))
    logits = classifier(batch)
    assert torch.isfinite(logits).all()
    assert not torch.equal(logits[0], logits[1])
    with torch.inference_mode():
        torch.testing.assert_close(classifier(batch), logits, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", ["phased", "transformer"])
def test_what_reads_the_time_needs_to_know_where_it_is(kind: str) -> None:
    with pytest.raises(ValueError, match="reads the time of each step"):
        build(VARIANTS[kind][0], Inputs(n_features=6, n_context=2))


def test_training_without_dropout_equals_evaluation(classifier: LightCurveClassifier) -> None:
    for module in classifier.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    expected = classifier(make_batch())
    torch.testing.assert_close(classifier.train()(make_batch()), expected)


def thinned(config: ModelConfig, seed: int = 1) -> LightCurveClassifier:
    network = build(config)
    thin_out(network, seed)
    return network


WITH_DROPOUT = pytest.mark.parametrize("config", [one for one in CONFIGS if one.dropout and drops(one)], ids=label)


@WITH_DROPOUT
def test_a_thinned_network_answers_alone_as_in_company_and_padding(config: ModelConfig) -> None:
    network, batch = thinned(config), make_batch()
    expected = network(batch)
    torch.testing.assert_close(network(batch), expected, atol=0, rtol=0)
    garbage = torch.where(batch.mask[..., None], batch.sequence, torch.tensor(99.0))
    torch.testing.assert_close(network(replace(batch, sequence=garbage)), expected)
    with torch.inference_mode():
        alone = torch.cat([network(take(batch, [row])) for row in range(len(batch))])
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)


@WITH_DROPOUT
def test_the_seed_says_which_units_a_thinned_network_does_without(config: ModelConfig) -> None:
    answers = torch.stack([thinned(config, seed)(make_batch()) for seed in (1, 1, *range(2, 12))])
    assert torch.equal(answers[0], answers[1])
    assert len(answers[1:].unique(dim=0)) > 1
    assert not torch.allclose(answers[1:].mean(dim=0), build(config)(make_batch()))


@WITH_DROPOUT
def test_thinning_a_network_changes_neither_its_weights_nor_its_training(config: ModelConfig) -> None:
    plain, thin = build(config).train(), thinned(config).train()
    assert plain.state_dict().keys() == thin.state_dict().keys()
    torch.manual_seed(3)
    expected = plain(make_batch())
    torch.manual_seed(3)
    assert torch.equal(thin(make_batch()), expected)


def test_a_network_without_dropout_cannot_be_thinned_out() -> None:
    with pytest.raises(ValueError, match=r"set fit\.dropout_samples=0"):
        thin_out(build(WindowConfig(hidden_sizes=())), 1)


def test_a_fixed_dropout_drops_the_same_share_of_units_everywhere_and_keeps_their_mean() -> None:
    dropout = Dropout(0.25, 10_000).eval()
    values = torch.ones(2, 3, 10_000)
    assert torch.equal(dropout(values), values)
    dropout.fix(torch.Generator().manual_seed(1))
    dropped = dropout(values)
    assert torch.equal(dropped, dropped[:1, :1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)


def test_a_bidirectional_layer_equals_torchs_own_on_packed_sequences() -> None:
    config = RecurrentConfig(hidden_sizes=(5,), embedding_size=0, pooling="last", head_size=0)
    ours = build_model(config, Inputs(6, 0), 3)
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


def test_a_time_gate_opens_linearly_to_one_closes_and_leaks_until_its_period_is_over() -> None:
    gate = TimeGate(PhasedConfig(periods=(10.0, 10.0), open_ratio=0.4, leak=0.01), 1)
    gate.shift.data.zero_()
    days = torch.tensor([[0.0, 1.0, 2.0, 3.0, 5.0, 9.0, 11.0, -9.0]])
    expected = [0, 0.5, 1, 0.5, 0.005, 0.009, 0.5, 0.5]
    torch.testing.assert_close(gate(days)[0, :, 0], torch.tensor(expected), atol=1e-4, rtol=1e-4)


def test_a_phased_layer_whose_gates_stand_open_is_an_lstm(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build(PhasedConfig(hidden_sizes=(5,), embedding_size=0), Inputs(6, 0, 4))
    layer = cast("PhasedLayer", cast("PhasedClassifier", network).layers[0])
    monkeypatch.setattr(TimeGate, "forward", lambda gate, days: torch.ones(*days.shape, 5))
    theirs = torch.nn.LSTM(6, 5, batch_first=True)
    order = [*range(10), *range(15, 20), *range(10, 15)]  # enter, keep, candidate, leave
    theirs.load_state_dict(
        {
            "weight_ih_l0": layer.inputs.weight[order],
            "bias_ih_l0": layer.inputs.bias[order],
            "weight_hh_l0": layer.hidden.weight[order],
            "bias_hh_l0": torch.zeros(20),
        }
    )
    batch = make_batch((7, 7))
    torch.testing.assert_close(layer(batch.sequence, batch.sequence[..., 4], None), theirs(batch.sequence)[0])


def test_a_convolution_joins_a_step_with_earlier_ones_at_the_dilations_distance() -> None:
    convolution = CausalConvolution(channels=1, kernel_size=3, dilation=2)
    convolution.weight.data = torch.tensor([[[100.0, 10.0, 1.0]]])
    torch.nn.init.constant_(convolution.bias, 0.5)
    steps = torch.tensor([1.0, 2, 3, 4, 5, 6])[None, :, None]
    assert convolution(steps)[0, :, 0].tolist() == [1.5, 2.5, 13.5, 24.5, 135.5, 246.5]


def test_what_a_convolutional_network_says_at_a_step_does_not_know_the_future() -> None:
    network = cast("ConvolutionClassifier", build(ConvolutionConfig(channels=5)))
    steps = torch.randn(1, 9, 5)
    future = torch.where(torch.arange(9)[:, None] > 5, 99.0, steps)
    torch.testing.assert_close(network.layers(steps)[:, :6], network.layers(future)[:, :6])


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a width that 4 heads can share, came 30"):
        TransformerConfig(width=30, heads=4)


def test_a_batch_whose_shapes_do_not_belong_together_is_refused() -> None:
    batch = make_batch()
    with pytest.raises(ValueError, match="expected sequence"):
        LightCurveBatch(batch.sequence, batch.mask[:, :-1], batch.context)
    with pytest.raises(ValueError, match="rows of context"):
        LightCurveBatch(batch.sequence, batch.mask, batch.context[:-1])
    with pytest.raises(ValueError, match="at least one step"):
        LightCurveBatch(batch.sequence, torch.zeros_like(batch.mask), batch.context)


def test_a_class_is_as_probable_as_its_kinds_together() -> None:
    torch.manual_seed(0)
    config = RecurrentConfig(hidden_sizes=(4,), embedding_size=0)
    network = build_model(config, INPUTS, 3, class_of_kind=(0, 2, 1, 2)).eval()
    assert isinstance(network, MergedClassifier)
    batch = make_batch()
    merged, kinds = network(batch).softmax(dim=1), network.network(batch).softmax(dim=1)
    expected = torch.stack([kinds[:, 0], kinds[:, 2], kinds[:, 1] + kinds[:, 3]], dim=1)
    torch.testing.assert_close(merged, expected)


def test_training_drops_a_unit_at_all_steps_of_a_light_curve_or_at_each_by_chance() -> None:
    torch.manual_seed(0)
    ones = torch.ones(5, 40, 8)
    whole, single = (Dropout(0.5, 8, at_all_steps=whole).train()(ones) for whole in (True, False))
    assert set(whole.unique().tolist()) == set(single.unique().tolist()) == {0.0, 2.0}
    assert (whole == whole[:, :1]).all()
    assert not (single == single[:, :1]).all()
    assert not (whole == whole[:1]).all(), "each light curve loses others"
    assert (Dropout(0.5, 8, at_all_steps=True).eval()(ones) == 1).all()
