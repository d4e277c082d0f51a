from __future__ import annotations

from dataclasses import fields
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.prepare.augment import AugmentConfig, augment
from pipeline.prepare.batches import (
    PhotometryBatch,
    brightest_point,
    equal_length_batches,
    shuffled_batches,
    shuffled_pools,
)
from pipeline.prepare.resample import (
    RESAMPLERS,
    Grid,
    Nightly,
    RandomFill,
    complete,
    completions,
    group_epochs,
    neighbour_fill,
    on_grid,
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


COARSE = Grid(step_days=10.0, steps_before=2, steps_after=3)


def on_coarse_grid(curve: list[tuple[float, str, float, float]], config: Grid = COARSE) -> PhotometryBatch:
    return on_grid(group_epochs(make_light_curves({"a": curve}), BANDS, 0.5).batch(np.array([0])), config)


def test_the_grid_interpolates_between_measurements_and_never_extrapolates() -> None:
    curve = [(80.0, "g", 10.0, 1.0), (95.0, "g", 40.0, 4.0), (100.0, "r", 90.0, 2.0), (115.0, "g", 20.0, 2.0)]
    grid = on_coarse_grid(curve)
    assert grid.days.tolist() == [[0, 10, 20, 30, 40, 50]]
    torch.testing.assert_close(grid.flux[0, :, 0], torch.tensor([10, 30, 35, 25, 20, 0.0]))
    torch.testing.assert_close(grid.flux_err[0, :, 0], torch.tensor([1, 3, 3.5, 2.5, 2, 0]))
    assert grid.observed[0, :, 0].tolist() == [True, True, True, True, True, False]
    assert grid.flux[0, :, 1].tolist() == [0, 0, 90, 0, 0, 0]
    assert not grid.flux[0, :, 2:].any()
    assert grid.mask.all()


def test_a_light_curve_of_one_epoch_stands_alone_on_the_grid() -> None:
    grid = on_coarse_grid([(57000.0, "i", 7.0, 2.0)])
    assert grid.flux[0, :, 2].tolist() == [0, 0, 7, 0, 0, 0]
    assert grid.observed.sum() == 1
    assert grid.mask.all()


def test_a_long_gap_is_bridged_and_not_called_observed() -> None:
    grid = on_coarse_grid([(0.0, "g", 90.0, 1.0), (30.0, "g", 60.0, 1.0)])
    assert grid.flux[0, :, 0].tolist() == [0, 0, 90, 80, 70, 60]
    assert grid.observed[0, :, 0].tolist() == [False, False, True, False, False, True]


measured = st.lists(
    st.tuples(st.integers(0, 400), st.sampled_from(BANDS), st.floats(-50, 500), st.floats(0.5, 20)),
    min_size=1,
    max_size=25,
    unique_by=lambda epoch: epoch[:2],
).map(lambda curve: [(day / 2, *rest) for day, *rest in curve])


@settings(max_examples=60, deadline=None)
@given(measured, st.floats(0.7, 20), st.integers(0, 6), st.integers(0, 9))
def test_the_grid_equals_numpys_interpolation(
    curve: list[tuple[float, str, float, float]], step: float, before: int, after: int
) -> None:
    config = Grid(step_days=step, steps_before=before, steps_after=after, gap_days=0.4)
    nights = group_epochs(make_light_curves({"a": curve}), BANDS, config.gap_days).batch(np.array([0]))
    grid = on_grid(nights, config)
    assert grid.flux.shape == (1, config.n_steps, 4)
    points = (brightest_point(nights)[1] + step * (torch.arange(config.n_steps) - before)).double().numpy()
    for place in range(4):
        seen = nights.observed[0, :, place].numpy()
        days = nights.days[0].double().numpy()[seen]
        if not len(days):
            assert not grid.flux[0, :, place].any()
            continue
        distance = np.abs(points[:, None] - days).min(axis=1)
        is_between = (points >= days[0]) & (points <= days[-1])
        is_sure = np.abs(distance - step / 2) > 1e-3
        has_value = is_between | (distance <= step / 2)
        for found, values in ((grid.flux, nights.flux), (grid.flux_err, nights.flux_err)):
            expected = np.interp(points, days, values[0, :, place].numpy()[seen])
            close = np.isclose(found[0, :, place].numpy(), np.where(has_value, expected, 0), rtol=1e-3, atol=1e-2)
            assert (close | (~is_sure & ~is_between)).all()
        np.testing.assert_array_equal(grid.observed[0, :, place].numpy()[is_sure], (distance <= step / 2)[is_sure])


@settings(max_examples=60, deadline=None)
@given(measured)
def test_the_brightest_measurement_is_on_the_grid_as_it_is(curve: list[tuple[float, str, float, float]]) -> None:
    nights = group_epochs(make_light_curves({"a": curve}), BANDS, 0.4).batch(np.array([0]))
    grid = on_grid(nights, Grid(gap_days=0.4))
    torch.testing.assert_close(brightest_point(grid)[0], brightest_point(nights)[0], rtol=1e-4, atol=1e-4)


def test_company_in_the_batch_does_not_change_the_grid() -> None:
    light_curves, _ = make_survey(12)
    steps = group_epochs(light_curves, BANDS, 0.5)
    together = on_grid(steps.batch(np.arange(12)), Grid())
    for row in range(12):
        (alone,) = completions(steps.batch(np.array([row])), Grid())
        assert torch.equal(alone.flux[0], together.flux[row])
        assert torch.equal(alone.observed[0], together.observed[row])


def test_the_grid_is_laid_after_the_changes_of_training() -> None:
    light_curves, _ = make_survey(12)
    batch = group_epochs(light_curves, BANDS, 0.5).batch(np.arange(12))
    changed = augment(batch, AugmentConfig(truncate=1.0), torch.Generator().manual_seed(3))
    grid = complete(changed, Grid(), torch.Generator())
    assert torch.equal(grid.flux, on_grid(changed, Grid()).flux)
    assert grid.observed.any(dim=2).any(dim=1).all()


def test_every_resampler_names_itself() -> None:
    assert {name: kind().kind for name, kind in RESAMPLERS.items()} == {name: name for name in RESAMPLERS}


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 5))
def test_batches_hold_every_object_once(lengths: list[int], batch_size: int, seed: int) -> None:
    array = np.array(lengths)
    equal = list(equal_length_batches(array, batch_size))
    assert sorted(np.concatenate([*equal, np.zeros(0, int)]).tolist()) == np.flatnonzero(array).tolist()
    assert all(len(set(array[rows])) == 1 and len(rows) <= batch_size for rows in equal)
    shuffled = shuffled_batches(array, batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(shuffled).tolist()) == list(range(len(array)))
    assert len(shuffled) == -(-len(array) // batch_size)
    ranges = sorted((array[rows].min(), array[rows].max()) for rows in shuffled)
    assert all(longest <= shortest for (_, longest), (shortest, _) in pairwise(ranges))
    pools = shuffled_pools(len(array), batch_size, np.random.default_rng(seed))
    assert sorted(np.concatenate(pools).tolist()) == list(range(len(array)))
    assert [len(rows) for rows in pools[:-1]] == [batch_size] * (len(pools) - 1)


def test_some_objects_of_a_batch_are_as_if_they_were_alone() -> None:
    light_curves, _ = make_survey(12)
    resampled = group_epochs(light_curves, BANDS, 0.5)
    rows = np.array([7, 2, 9])
    some, alone = resampled.batch(np.arange(12)).take(rows), resampled.batch(rows)
    for field in fields(PhotometryBatch):
        assert torch.equal(torch.nan_to_num(getattr(some, field.name)), torch.nan_to_num(getattr(alone, field.name)))
