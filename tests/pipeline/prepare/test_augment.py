"""Changes of training light curves that imitate another survey."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from models import LightCurveBatch
from pipeline.prepare.augment import AugmentConfig, augment, mix
from pipeline.prepare.batches import PhotometryBatch
from pipeline.prepare.resample import group_epochs
from tests.builders import BANDS, make_light_curves, make_survey

OFF: dict[str, Any] = {"drop": 0, "noise": 0, "truncate": 0, "photoz": 0, "hide_redshift": 0}
STRENGTHS = {
    "truncate_start": 1.0,
    "cut_end_days": 30.0,
    "drop_night": 0.9,
    "drop_band": 0.5,
    "band_noise": 3.0,
    "error_scale": 1.0,
    "brightness": 1.0,
    "zeropoint": 0.1,
    "stretch": 0.2,
}
N = 2000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def batch() -> PhotometryBatch:
    return group_epochs(make_survey(30)[0], BANDS, 0.5).batch(np.arange(30))


@pytest.fixture(scope="module")
def alike() -> PhotometryBatch:
    """Many copies of one light curve with its highest S/N on the third of six nights."""
    peak = (20.0, 60.0, 100.0, 80.0, 60.0, 40.0)
    curve = [(5.0 * night, band, flux, 5.0) for night, flux in enumerate(peak) for band in "griz"]
    light_curves = make_light_curves({str(number): curve for number in range(N)})
    return group_epochs(light_curves, BANDS, 0.5).batch(np.arange(N))


def changed(batch: PhotometryBatch, seed: int = 0, **strengths: float) -> PhotometryBatch:
    return augment(batch, AugmentConfig(**{**OFF, **strengths}), seeded(seed))


@pytest.mark.parametrize("name", STRENGTHS)
class TestEveryChange:
    def test_is_off_by_default(self, name: str) -> None:
        assert getattr(AugmentConfig(), name) == 0

    def test_is_a_function_of_its_generator(self, name: str, batch: PhotometryBatch) -> None:
        first, again, other = (changed(batch, seed, **{name: STRENGTHS[name]}) for seed in (1, 1, 2))
        for part in ("days", "flux", "flux_err", "observed"):
            assert torch.equal(getattr(first, part), getattr(again, part))
        assert any(
            getattr(first, part).shape != getattr(other, part).shape
            or not torch.equal(getattr(first, part), getattr(other, part))
            for part in ("days", "flux", "flux_err", "observed")
        )

    def test_leaves_the_batch_that_came_as_it_was(self, name: str, batch: PhotometryBatch) -> None:
        before = {part: getattr(batch, part).clone() for part in ("days", "flux", "flux_err", "observed", "mask")}
        changed(batch, **{name: STRENGTHS[name]})
        assert all(torch.equal(getattr(batch, part), value) for part, value in before.items())

    def test_keeps_every_object_with_a_step_and_nothing_in_the_padding(self, name: str, batch: PhotometryBatch) -> None:
        after = changed(batch, **{name: STRENGTHS[name]})
        assert after.mask.any(dim=1).all()
        assert not after.days[~after.mask].any()
        assert not after.flux[~after.observed].any()
        assert not after.flux_err[~after.observed].any()
        assert (after.days[:, 0] == 0).all()

    def test_is_refused_with_a_negative_strength(self, name: str) -> None:
        with pytest.raises(ValidationError, match="greater than or equal to 0"):
            AugmentConfig(**{name: -0.1})


def test_an_object_found_late_keeps_its_highest_snr_and_all_after_it(alike: PhotometryBatch) -> None:
    after = changed(alike, truncate_start=1.0)
    lengths = after.mask.sum(dim=1)
    assert set(lengths.tolist()) == {4, 5}
    last = after.flux.gather(1, (lengths - 1)[:, None, None].expand(-1, 1, 4))
    assert (last == 40).all()
    assert (after.flux.amax(dim=(1, 2)) == 100).all()


def test_a_dropped_night_is_dropped_in_all_bands(alike: PhotometryBatch) -> None:
    after = changed(alike, drop_night=0.5)
    assert (after.observed.sum(dim=2)[after.mask] == 4).all()
    assert after.mask.sum() / alike.mask.sum() == pytest.approx(0.75, abs=0.02)


def test_a_dropped_band_is_dropped_in_all_nights(alike: PhotometryBatch) -> None:
    nights = changed(alike, drop_band=0.2).observed.sum(dim=1)
    assert set(nights.unique().tolist()) == {0, 6}
    assert (nights == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)


def test_noise_of_each_band_has_the_size_that_its_errors_then_say(alike: PhotometryBatch) -> None:
    after = changed(alike, band_noise=3.0)
    assert (after.flux_err[:, 0] == after.flux_err[:, 5]).all()
    assert not torch.equal(after.flux_err[..., 0], after.flux_err[..., 1])
    added = (after.flux_err.double() ** 2 - 25).clamp(min=0).sqrt()
    pull = ((after.flux - alike.flux) / added)[added > 0.5]
    assert pull.std().item() == pytest.approx(1.0, abs=0.02)


def test_scaled_errors_leave_the_fluxes(alike: PhotometryBatch) -> None:
    after = changed(alike, error_scale=0.5)
    assert torch.equal(after.flux, alike.flux)
    assert (after.flux_err[:, 0, 0] / 5).log().std().item() == pytest.approx(0.5, abs=0.03)


def test_another_brightness_leaves_snr_and_colours(alike: PhotometryBatch) -> None:
    after = changed(alike, brightness=0.5)
    torch.testing.assert_close(after.flux / after.flux_err, alike.flux / alike.flux_err)
    torch.testing.assert_close(after.flux[..., 0] / after.flux[..., 3], torch.ones(N, 6))
    magnitudes = -2.5 * (after.flux[:, 2, 0] / 100).log10()
    assert magnitudes.std().item() == pytest.approx(0.5, abs=0.03)


def test_other_zeropoints_change_colours_and_leave_snr(alike: PhotometryBatch) -> None:
    after = changed(alike, zeropoint=0.1)
    torch.testing.assert_close(after.flux / after.flux_err, alike.flux / alike.flux_err)
    colours = -2.5 * (after.flux[:, 2, 0] / after.flux[:, 2, 1]).log10()
    assert colours.std().item() == pytest.approx(0.1 * 2**0.5, abs=0.01)
    torch.testing.assert_close(after.flux[:, 0, 0] / after.flux[:, 2, 0], torch.full((N,), 0.2))


def test_stretching_changes_all_times_of_an_object_alike(alike: PhotometryBatch) -> None:
    after = changed(alike, stretch=0.1)
    torch.testing.assert_close(after.days[:, 5] / after.days[:, 1], torch.full((N,), 5.0))
    assert (after.days[:, 5] / 25).log().std().item() == pytest.approx(0.1, abs=0.01)


def padded_sequences() -> LightCurveBatch:
    """Three objects of one, two and three steps, which hold 1, 2 and 3."""
    mask = torch.tensor([[True, False, False], [True, True, False], [True, True, True]])
    values = torch.tensor([1.0, 2.0, 3.0])
    return LightCurveBatch(values[:, None, None] * mask[..., None], mask, values[:, None])


def test_a_mixed_object_stays_mostly_itself_and_has_no_more_steps() -> None:
    batch = padded_sequences()
    mixed, mixture = mix(batch, 0.4, np.random.default_rng(1))
    assert sorted(mixture.partner.tolist()) == [0, 1, 2]
    assert ((mixture.share >= 0.5) & (mixture.share <= 1)).all()
    assert torch.equal(mixed.mask, batch.mask)
    assert not mixed.sequence[~batch.mask].any()
    own, other = batch.context[:, 0], batch.context[mixture.partner, 0]
    torch.testing.assert_close(mixed.context[:, 0], mixture.share * own + (1 - mixture.share) * other)
    torch.testing.assert_close(mixed.sequence[:, 0, 0], mixed.context[:, 0])
    assert not torch.equal(mixed.context, batch.context)


def test_what_is_to_be_answered_is_mixed_by_the_same_shares() -> None:
    _, mixture = mix(padded_sequences(), 0.4, np.random.default_rng(1))
    losses, of_partner = torch.tensor([1.0, 2.0, 3.0]), torch.zeros(3)
    torch.testing.assert_close(mixture.of(losses, of_partner), losses * mixture.share)


def test_mixing_is_a_function_of_its_generator() -> None:
    first, again, other = (mix(padded_sequences(), 0.4, np.random.default_rng(seed))[0] for seed in (1, 1, 2))
    assert torch.equal(first.sequence, again.sequence)
    assert not torch.equal(first.sequence, other.sequence)


def test_a_shift_moves_all_steps_of_an_object_alike_and_no_padding(batch: PhotometryBatch) -> None:
    after = changed(batch, shift_days=40)
    moved = (after.days - batch.days)[:, :1]
    assert (moved.abs() <= 40).all()
    assert moved.std() > 10
    torch.testing.assert_close(after.days, (batch.days + moved) * batch.mask)


def test_the_days_that_are_cut_off_the_end_are_as_many_as_asked(alike: PhotometryBatch) -> None:
    last = changed(alike, cut_end_days=12).days.amax(dim=1)
    shares = [float((last == day).double().mean()) for day in (25, 20, 15, 10)]
    assert shares == pytest.approx([0, 5 / 12, 5 / 12, 2 / 12], abs=0.05)


def test_noise_that_does_not_vary_has_its_size(batch: PhotometryBatch) -> None:
    after = changed(batch, noise=1.0, noise_varies=False)
    torch.testing.assert_close(after.flux_err, batch.flux_err * 2**0.5)
