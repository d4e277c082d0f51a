from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.prepare.batches import equal_length_batches, shuffled_batches
from pipeline.prepare.resample import (
    RESAMPLERS,
    Nightly,
    RandomFill,
    complete,
    completions,
    group_epochs,
    neighbour_fill,
)
from tests.builders import BANDS, make_light_curves, make_survey

epochs = st.lists(
    st.tuples(st.floats(0, 30), st.sampled_from(BANDS), st.floats(-50, 500), st.floats(0.5, 20)),
    min_size=0,
    max_size=25,
)


def test_epochs_of_a_night_merge_by_inverse_variance() -> None:
    night = [(100.1, "g", 10.0, 1.0), (100.3, "g", 40.0, 2.0), (100.2, "r", 7.0, 3.0), (101.1, "g", 5.0, 1.0)]
    steps = group_epochs(make_light_curves({"a": night}), BANDS, gap_days=0.5)
    assert steps.lengths.tolist() == [2]
    assert steps.flux[0, :2].tolist() == pytest.approx([(10 + 40 / 4) / 1.25, 7.0])
    assert steps.flux_err[0, :2].tolist() == pytest.approx([1.25**-0.5, 3.0])
    assert steps.observed.tolist() == [[True, True, False, False], [True, False, False, False]]
    assert steps.days.tolist() == pytest.approx([0, 0.9], abs=1e-4)


def test_a_long_chain_of_close_epochs_is_cut_into_pieces_of_the_gap() -> None:
    minutes = [(100 + 0.02 * number, "g", 1.0, 1.0) for number in range(200)]
    steps = group_epochs(make_light_curves({"a": minutes}), BANDS, gap_days=0.5)
    assert steps.lengths.tolist() == [8]


def test_objects_do_not_merge_with_their_neighbours() -> None:
    curves = {"a": [(100.0, "g", 1.0, 1.0)], "b": [], "c": [(100.1, "g", 3.0, 1.0)]}
    steps = group_epochs(make_light_curves(curves), BANDS, gap_days=0.5)
    assert steps.lengths.tolist() == [1, 0, 1]
    assert steps.flux[:, 0].tolist() == [1.0, 3.0]


def test_bands_that_the_model_does_not_know_are_left_out() -> None:
    steps = group_epochs(make_light_curves({"a": [(1.0, "g", 1.0, 1.0), (9.0, "Y", 1.0, 1.0)]}), BANDS, 0.5)
    assert steps.lengths.tolist() == [1]


@settings(max_examples=60, deadline=None)
@given(st.lists(epochs, min_size=1, max_size=4), st.floats(0.05, 3))
def test_grouping_equals_a_plain_loop(curves: list[list[tuple[float, str, float, float]]], gap: float) -> None:
    light_curves = make_light_curves({str(number): curve for number, curve in enumerate(curves)})
    steps = group_epochs(light_curves, BANDS, gap)
    for number, curve in enumerate(curves):
        flux, error = grouped_by_loop(sorted(curve), gap)
        rows = slice(steps.offsets[number], steps.offsets[number + 1])
        np.testing.assert_allclose(steps.flux[rows], flux, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(steps.flux_err[rows], error, rtol=1e-4, atol=1e-4)


def grouped_by_loop(curve: list[tuple[float, str, float, float]], gap: float) -> tuple[np.ndarray, np.ndarray]:
    groups: list[list[tuple[float, str, float, float]]] = []
    previous = chain_start = -np.inf
    piece = 0.0
    for epoch in curve:
        if epoch[0] - previous > gap or not groups:
            chain_start, piece = epoch[0], 0.0
            groups.append([])
        elif np.floor((epoch[0] - chain_start) / gap) != piece:
            piece = np.floor((epoch[0] - chain_start) / gap)
            groups.append([])
        groups[-1].append(epoch)
        previous = epoch[0]
    flux, error = np.zeros((len(groups), 4)), np.zeros((len(groups), 4))
    for row, group in enumerate(groups):
        for column, band in enumerate(BANDS):
            weights = [err**-2 for _, name, _, err in group if name == band]
            values = [value for _, name, value, _ in group if name == band]
            if weights:
                flux[row, column], error[row, column] = np.average(values, weights=weights), sum(weights) ** -0.5
    return flux, error


def test_a_missing_band_is_filled_between_its_neighbours() -> None:
    curve = [(0.0, "g", 10.0, 1.0), (5.0, "r", 1.0, 1.0), (10.0, "g", 30.0, 3.0), (15.0, "r", 2.0, 1.0)]
    batch = group_epochs(make_light_curves({"a": curve}), BANDS, 0.5).batch(np.array([0]))
    mean = neighbour_fill(batch, torch.tensor(0.5))
    assert mean.flux[0, :, 0].tolist() == [10, 20, 30, 30]
    assert mean.flux_err[0, :, 0].tolist() == [1, 2, 3, 3]
    assert mean.flux[0, :, 1].tolist() == [1, 1, 1.5, 2]
    assert mean.flux[0, :, 2].tolist() == [0, 0, 0, 0]


def test_random_fills_lie_between_the_neighbours_and_differ_from_draw_to_draw() -> None:
    light_curves, _ = make_survey(12)
    batch = group_epochs(light_curves, BANDS, 1 / 24).batch(np.arange(12))
    low, high = neighbour_fill(batch, torch.tensor(0.0)).flux, neighbour_fill(batch, torch.tensor(1.0)).flux
    draws = [complete(batch, RandomFill(), torch.Generator().manual_seed(seed)).flux for seed in (1, 2)]
    assert not torch.equal(*draws)
    for draw in draws:
        assert (draw >= torch.minimum(low, high) - 1e-4).all()
        assert (draw <= torch.maximum(low, high) + 1e-4).all()
        assert torch.equal(draw[batch.observed], batch.flux[batch.observed])


def test_several_fills_at_test_time_are_the_same_whoever_shares_the_batch() -> None:
    light_curves, _ = make_survey(12)
    steps = group_epochs(light_curves, BANDS, 1 / 24)
    config = RandomFill(test_draws=3)
    together = [filled.flux for filled in completions(steps.batch(np.arange(12)), config)]
    alone = [filled.flux for filled in completions(steps.batch(np.array([5])), config)]
    assert len(together) == 3
    for mine, ours in zip(alone, together, strict=True):
        torch.testing.assert_close(mine[0], ours[5, : mine.shape[1]])


def test_nightly_leaves_missing_bands_missing() -> None:
    light_curves, _ = make_survey(4)
    batch = group_epochs(light_curves, BANDS, 0.5).batch(np.arange(4))
    assert complete(batch, Nightly(), torch.Generator()) is batch
    assert not batch.flux[~batch.observed].any()


def test_every_resampler_names_itself() -> None:
    assert {name: kind().kind for name, kind in RESAMPLERS.items()} == {name: name for name in RESAMPLERS}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 5))
def test_batches_hold_every_object_once(lengths: list[int], batch_size: int, seed: int) -> None:
    array = np.array(lengths)
    equal = list(equal_length_batches(array, batch_size))
    assert sorted(np.concatenate([*equal, np.zeros(0, int)]).tolist()) == np.flatnonzero(array).tolist()
    assert all(len(set(array[rows])) == 1 and len(rows) <= batch_size for rows in equal)
    shuffled = shuffled_batches(array, batch_size, np.random.default_rng(seed), pool=2)
    assert sorted(np.concatenate(shuffled).tolist()) == list(range(len(array)))
