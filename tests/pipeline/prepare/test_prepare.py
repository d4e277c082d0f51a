from __future__ import annotations

import numpy as np
import pytest
import torch
from astropy.constants import c
from astropy.cosmology import FlatLambdaCDM

from pipeline.prepare.augment import AugmentConfig, augment, drop_measurements, scatter_redshift, truncate
from pipeline.prepare.extinction import correct_extinction
from pipeline.prepare.normalise import (
    NORMALISERS,
    GlobalScale,
    NormaliserConfig,
    NotFittedError,
    ObjectScale,
    build_normaliser,
    luminosity_distance,
)
from pipeline.prepare.resample import Resampled, group_epochs
from pipeline.prepare.selection import SelectionSettings, best_snr, select
from pipeline.prepare.split import Split, SplitSettings, split_objects
from tests.builders import BANDS, make_light_curves, make_survey

CONFIGS: dict[str, NormaliserConfig] = {"per_object": ObjectScale(), "global": GlobalScale()}
VARIANTS: dict[str, NormaliserConfig] = {
    **CONFIGS,
    "rest-frame": ObjectScale(rest_frame=True),
    "per_object-floor": ObjectScale(error_floor=0.05),
    "per_object-no-scale": ObjectScale(use_scale=False),
    "global-raw": GlobalScale(scale="none"),
    "global-gaps": GlobalScale(time="gaps"),
    "global-flux": GlobalScale(include_errors=False, include_observed=False),
}


@pytest.fixture(scope="module")
def steps() -> Resampled:
    return group_epochs(make_survey(30)[0], BANDS, 0.5)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_normaliser_is_in_this_suite() -> None:
    assert set(CONFIGS) == set(NORMALISERS)


@pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)
class TestNormalisers:
    def test_features_have_names(self, config: NormaliserConfig, steps: Resampled) -> None:
        normaliser = build_normaliser(BANDS, config)
        normaliser.fit(steps)
        batch = normaliser(steps.batch(np.arange(30)))
        assert batch.sequence.shape[2] == len(normaliser.feature_names)
        assert batch.context.shape[1] == len(normaliser.context_names)
        assert torch.isfinite(batch.sequence).all()
        assert not batch.sequence[~batch.mask].any()

    def test_the_inverse_gives_the_photometry_back(self, config: NormaliserConfig, steps: Resampled) -> None:
        normaliser = build_normaliser(BANDS, config)
        normaliser.fit(steps)
        photometry = steps.batch(np.arange(30))
        flux, flux_err = normaliser.inverse(normaliser(photometry))
        if config == ObjectScale(use_scale=False):
            assert flux.isnan().all()
            return
        torch.testing.assert_close(
            flux[photometry.observed], photometry.flux[photometry.observed], rtol=1e-4, atol=1e-3
        )
        if "flux_err_g" not in normaliser.feature_names:
            assert flux_err.isnan().all()
            return
        torch.testing.assert_close(
            flux_err[photometry.observed], photometry.flux_err[photometry.observed], rtol=1e-4, atol=1e-3
        )

    def test_a_network_is_told_where_the_time_is_and_how_many_days_it_stands_for(
        self, config: NormaliserConfig, steps: Resampled
    ) -> None:
        normaliser = build_normaliser(BANDS, config)
        normaliser.fit(steps)
        photometry = steps.batch(np.arange(30))
        batch = normaliser(photometry)
        inputs = normaliser.inputs
        assert (inputs.n_features, inputs.n_context) == (batch.sequence.shape[2], batch.context.shape[1])
        if inputs.time_feature is None:
            assert config == GlobalScale(time="gaps")
            return
        days = inputs.days(batch)
        torch.testing.assert_close(
            (days - days[:, :1]) * batch.mask, photometry.days * batch.mask, rtol=1e-4, atol=1e-3
        )

    def test_what_was_fitted_survives_as_state(self, config: NormaliserConfig, steps: Resampled) -> None:
        fitted, loaded = build_normaliser(BANDS, config), build_normaliser(BANDS, config)
        fitted.fit(steps)
        loaded.load_state(fitted.state())
        photometry = steps.batch(np.arange(30))
        torch.testing.assert_close(fitted(photometry).sequence, loaded(photometry).sequence)

    def test_company_does_not_change_the_features(self, config: NormaliserConfig, steps: Resampled) -> None:
        normaliser = build_normaliser(BANDS, config)
        normaliser.fit(steps)
        together, alone = normaliser(steps.batch(np.arange(30))), normaliser(steps.batch(np.array([7])))
        torch.testing.assert_close(together.sequence[7, : alone.sequence.shape[1]], alone.sequence[0])
        torch.testing.assert_close(together.context[7], alone.context[0])


def test_a_global_normaliser_refuses_use_before_fit(steps: Resampled) -> None:
    with pytest.raises(NotFittedError, match="call fit"):
        build_normaliser(BANDS, GlobalScale())(steps.batch(np.array([0])))


def test_the_scale_is_the_brightest_point_that_is_well_measured() -> None:
    curve = [(0.0, "g", 100.0, 5.0), (5.0, "g", 400.0, 390.0), (9.0, "r", 50.0, 1.0)]
    batch = group_epochs(make_light_curves({"a": curve}), BANDS, 0.5).batch(np.array([0]))
    features = build_normaliser(BANDS, ObjectScale())(batch)
    assert 10 ** features.context[0, 0].item() == pytest.approx(100.0)
    assert features.sequence[0, :, 0].tolist() == pytest.approx([1.0, 4.0, 0.0])


def test_an_error_floor_hides_how_deep_a_survey_is_and_keeps_fluxes() -> None:
    flux = [(0.0, "g", 50.0), (5.0, "g", 100.0), (9.0, "r", 20.0)]
    shallow, deep = ([(day, band, value, error) for day, band, value in flux] for error in (0.2, 0.01))
    batch = group_epochs(make_light_curves({"shallow": shallow, "deep": deep}), BANDS, 0.5).batch(np.arange(2))
    normaliser = build_normaliser(BANDS, ObjectScale(error_floor=0.05))
    sequence = normaliser(batch).sequence
    torch.testing.assert_close(sequence[0], sequence[1], rtol=0, atol=1e-3)
    assert sequence[0, 1, normaliser.feature_names.index("flux_err_g")].item() == pytest.approx(0.05, abs=1e-4)
    assert sequence[0, 1, normaliser.feature_names.index("snr_g")].item() == pytest.approx(np.arcsinh(20), abs=1e-3)
    assert not sequence[0, :2, normaliser.feature_names.index("flux_err_r")].any()


def test_without_the_scale_a_change_of_brightness_changes_no_feature() -> None:
    curves = {name: [(0.0, "g", 50.0 * size, 5.0 * size)] for name, size in (("bright", 4.0), ("faint", 1.0))}
    normaliser = build_normaliser(BANDS, ObjectScale(use_scale=False))
    features = normaliser(group_epochs(make_light_curves(curves), BANDS, 0.5).batch(np.arange(2)))
    torch.testing.assert_close(features.sequence[0], features.sequence[1])
    torch.testing.assert_close(features.context[0], features.context[1])
    assert "log_scale" not in normaliser.context_names


def test_an_all_negative_light_curve_has_a_positive_scale() -> None:
    curve = [(0.0, "g", -30.0, 5.0), (5.0, "g", -80.0, 6.0)]
    batch = group_epochs(make_light_curves({"a": curve}), BANDS, 0.5).batch(np.array([0]))
    features = build_normaliser(BANDS, ObjectScale())(batch)
    assert 10 ** features.context[0, 0].item() == pytest.approx(5.0)
    assert torch.isfinite(features.sequence).all()


def test_a_hidden_redshift_and_a_missing_one_look_alike() -> None:
    curve = [(0.0, "g", 30.0, 5.0)]
    light_curves = make_light_curves({"a": curve, "b": curve}, PHOTOZ=[0.4, np.nan], PHOTOZ_ERR=[0.1, np.nan])
    batch = group_epochs(light_curves, BANDS, 0.5).batch(np.array([0, 1]))
    hidden = scatter_redshift(batch, 0.0, 1.0, seeded())
    context = build_normaliser(BANDS, ObjectScale())(hidden).context
    torch.testing.assert_close(context[0], context[1])


def test_luminosity_distances_are_those_of_astropy() -> None:
    cosmology = FlatLambdaCDM(H0=70, Om0=0.3)
    redshift = np.geomspace(0.01, 3, 50)
    hubble_distance = (c / cosmology.H0).to_value("Mpc")
    ours = luminosity_distance(torch.from_numpy(redshift)).numpy() * hubble_distance
    np.testing.assert_allclose(ours, cosmology.luminosity_distance(redshift).to_value("Mpc"), rtol=0.004)


def test_what_is_alike_in_the_rest_frame_looks_alike_there_at_every_redshift() -> None:
    near, far = 0.1, 0.5
    ratio = luminosity_distance(torch.tensor([near, far]))
    fainter = float(ratio[0] / ratio[1]) ** 2
    curve = [(day, "r", flux, 1.0) for day, flux in ((0.0, 20.0), (10.0, 80.0), (40.0, 30.0))]
    stretched = [(day * (1 + far) / (1 + near), band, flux * fainter, 1.0 * fainter) for day, band, flux, _ in curve]
    light_curves = make_light_curves({"a": curve, "b": stretched}, PHOTOZ=[near, far], PHOTOZ_ERR=[0.01, 0.01])
    features = build_normaliser(BANDS, ObjectScale(rest_frame=True))(
        group_epochs(light_curves, BANDS, 0.5).batch(np.array([0, 1]))
    )
    torch.testing.assert_close(features.sequence[0, :, -2:], features.sequence[1, :, -2:])
    torch.testing.assert_close(features.context[0, -1], features.context[1, -1])
    assert not torch.allclose(features.sequence[0, :, -4:-2], features.sequence[1, :, -4:-2])


@pytest.mark.parametrize("photoz", [np.nan, -0.2, 0.0])
def test_a_redshift_that_says_nothing_of_distance_gives_finite_features(photoz: float) -> None:
    curve = [(0.0, "g", 30.0, 5.0), (9.0, "g", 20.0, 5.0)]
    light_curves = make_light_curves({"a": curve}, PHOTOZ=[photoz], PHOTOZ_ERR=[0.1])
    batch = group_epochs(light_curves, BANDS, 0.5).batch(np.array([0]))
    normaliser = build_normaliser(BANDS, ObjectScale(rest_frame=True))
    features = normaliser(batch)
    assert torch.isfinite(features.sequence).all()
    assert torch.isfinite(features.context).all()
    assert (features.context[0, -1] == 0) == np.isnan(photoz)


def test_without_a_redshift_there_is_no_rest_frame() -> None:
    with_rest = build_normaliser(BANDS, ObjectScale(use_redshift=False, rest_frame=True))
    assert with_rest.inputs == build_normaliser(BANDS, ObjectScale(use_redshift=False)).inputs


def test_augmentation_of_strength_zero_changes_nothing(steps: Resampled) -> None:
    batch = steps.batch(np.arange(30))
    nothing = AugmentConfig(drop=0, noise=0, truncate=0, photoz=0, hide_redshift=0)
    changed = augment(batch, nothing, seeded())
    for name in ("days", "flux", "flux_err", "observed", "mask", "header"):
        torch.testing.assert_close(getattr(changed, name), getattr(batch, name), equal_nan=True)


def test_augmentation_is_a_function_of_its_generator(steps: Resampled) -> None:
    batch = steps.batch(np.arange(30))
    first, again, other = (augment(batch, AugmentConfig(), seeded(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(first.flux, again.flux)
    assert not torch.equal(first.flux, other.flux)


def test_dropped_measurements_vanish_and_steps_left_empty_too(steps: Resampled) -> None:
    batch = steps.batch(np.arange(30))
    dropped = drop_measurements(batch, 0.9, seeded())
    assert dropped.observed.sum() < batch.observed.sum()
    assert torch.equal(dropped.observed.any(dim=2), dropped.mask)
    assert dropped.mask.any(dim=1).all()
    assert not dropped.flux[~dropped.observed].any()
    assert (dropped.days[:, 0] == 0).all()


def test_an_object_that_would_lose_everything_keeps_all(steps: Resampled) -> None:
    light_curves = make_light_curves({"a": [(0.0, "g", 30.0, 5.0)]})
    batch = group_epochs(light_curves, BANDS, 0.5).batch(np.array([0]))
    for seed in range(20):
        assert drop_measurements(batch, 0.99, seeded(seed)).observed.sum() == 1


def test_truncation_keeps_a_beginning_of_the_light_curve(steps: Resampled) -> None:
    batch = steps.batch(np.arange(30))
    cut = truncate(batch, 1.0, seeded())
    for row in range(30):
        length = int(cut.mask[row].sum())
        assert 1 <= length <= int(batch.mask[row].sum())
        torch.testing.assert_close(cut.flux[row, :length], batch.flux[row, :length])


def test_extra_noise_has_the_size_that_the_errors_then_say() -> None:
    curves = {str(number): [(0.0, "g", 100.0, 10.0)] for number in range(20_000)}
    batch = group_epochs(make_light_curves(curves), BANDS, 0.5).batch(np.arange(20_000))
    noisy = augment(batch, AugmentConfig(drop=0, truncate=0, noise=1.0), seeded())
    added = (noisy.flux_err[:, 0, 0].double() ** 2 - 100).sqrt()
    pull = ((noisy.flux[:, 0, 0] - 100) / added)[added > 0.5]
    assert pull.std().item() == pytest.approx(1.0, abs=0.02)


def test_extinction_correction_brightens_by_the_published_coefficients() -> None:
    light_curves = make_light_curves({"a": [(0.0, "g", 10.0, 1.0), (1.0, "z", 10.0, 1.0)]}, MWEBV=[0.1])
    epochs = correct_extinction(light_curves).epochs
    assert epochs["FLUXCAL"].tolist() == pytest.approx([10 * 10 ** (0.4 * 0.3237), 10 * 10 ** (0.4 * 0.1217)])
    assert (epochs["FLUXCAL"] / epochs["FLUXCALERR"]).tolist() == pytest.approx([10, 10])


def test_extinction_correction_refuses_a_band_without_coefficient() -> None:
    with pytest.raises(ValueError, match="no extinction coefficient"):
        correct_extinction(make_light_curves({"a": [(0.0, "w", 10.0, 1.0)]}, MWEBV=[0.1]))


def test_cuts_are_counted_and_leave_nobody_out_silently() -> None:
    curves = {
        "good": [(0.0, "g", 90.0, 5.0), (1.0, "r", 9.0, 5.0)],
        "short": [(0.0, "g", 90.0, 5.0)],
        "faint": [(0.0, "g", 2.0, 5.0), (1.0, "r", 9.0, 5.0)],
        "other": [(0.0, "Y", 90.0, 5.0), (1.0, "Y", 90.0, 5.0)],
        "none": [],
    }
    selection = select(make_light_curves(curves), BANDS, SelectionSettings(min_epochs=2, min_snr=5))
    assert selection.passes.tolist() == [True, False, False, False, False]
    assert selection.counts == [
        ("fewer than 2 measurements in griz", 3),
        ("no measurement in griz with S/N above 5", 1),
    ]


def test_a_split_depends_on_who_there_is_and_not_on_the_order() -> None:
    snids = [str(number) for number in range(100)]
    split = split_objects(snids, SplitSettings(train=40))
    assert split == split_objects(snids[::-1], SplitSettings(train=40))
    assert split.counts == {"train": 36, "validation": 4, "test": 60}
    assert len({*split.train, *split.validation, *split.test}) == 100
    assert Split.from_table(split.to_table()) == split
    assert split.hash != split_objects(snids, SplitSettings(train=40, seed=2)).hash


def test_what_is_kept_for_the_test_is_never_drawn_and_only_the_rest_is_shared_out() -> None:
    snids = [str(number) for number in range(100)]
    kept = [str(number) for number in range(90, 120)]
    split = split_objects(snids, SplitSettings(train=0.5, validation=0.2), kept)
    assert split.counts == {"train": 36, "validation": 9, "test": 55}
    assert set(split.test) >= set(snids[90:])
    everything = split_objects(snids, SplitSettings(train=1.0), kept)
    assert everything.test == tuple(sorted(snids[90:]))
    with pytest.raises(ValueError, match="from 90 objects with a known class, beside 10 that are kept for the test"):
        split_objects(snids, SplitSettings(train=91), kept)


def test_a_split_that_cannot_be_drawn_says_so() -> None:
    with pytest.raises(ValueError, match="cannot draw 400 training objects"):
        split_objects([str(number) for number in range(100)], SplitSettings(train=400))


def test_the_best_signal_to_noise_is_that_of_any_measurement_that_counts():
    curves = {"a": [(1, "g", 10, 2), (2, "r", 9, 1)], "none": [], "b": [(1, "g", -4, 2)], "last": []}
    light_curves = make_light_curves(curves)
    is_green = (light_curves.epochs["BAND"] == "g").to_numpy()
    np.testing.assert_equal(best_snr(light_curves).to_dict(), {"a": 9.0, "none": np.nan, "b": -2.0, "last": np.nan})
    assert best_snr(light_curves, is_green)["a"] == 5
    assert best_snr(make_light_curves({"none": []})).isna().all()


def test_all_objects_can_be_learnt_from_and_none_left_for_a_test() -> None:
    split = split_objects([str(number) for number in range(50)], SplitSettings(train=1.0, validation=0.1))
    assert split.counts == {"train": 45, "validation": 5, "test": 0}
