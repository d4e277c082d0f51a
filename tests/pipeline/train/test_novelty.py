from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from pipeline.evaluate.trust import novelty_auroc
from pipeline.prepare.imitations import IMITATIONS, imitate
from pipeline.prepare.resample import Resampled, group_epochs
from pipeline.prepare.summary import summary_units
from pipeline.schema import LightCurves
from pipeline.train.experiment import Experiment
from pipeline.train.novelty import NoveltyScore, fit_novelty
from pipeline.train.reference import MAX_VALUES, Reference, make_reference
from pipeline.train.unlike import unlike_supernovae
from tests.builders import make_light_curves, make_survey

BANDS = ("g", "r", "i", "z")


def prepare(light_curves: LightCurves) -> Resampled:
    return group_epochs(light_curves, BANDS, 0.5)


@pytest.fixture(scope="module")
def survey() -> LightCurves:
    return make_survey(300)[0]


@pytest.fixture(scope="module")
def score(survey: LightCurves) -> NoveltyScore:
    return fit_novelty(survey.take(np.arange(200)), survey.take(np.arange(200, 300)), prepare, seed=1)


@pytest.mark.parametrize("kind", IMITATIONS)
def test_curves_that_are_no_supernovae_are_novel(kind: str, score: NoveltyScore) -> None:
    fresh = make_survey(150, seed=9)[0]
    made = score(prepare(imitate(fresh, kind, np.random.default_rng(3))))
    # A toy supernova is a symmetric bump, cut off early or late: it resembles a slow wave, and
    # only its cut tells it from its mirror image.
    least = {"reversed": 0.7, "sinusoidal": 0.9}.get(kind, 0.97)
    assert novelty_auroc(made, score(prepare(fresh))) > least


def test_few_objects_that_it_was_not_fitted_on_are_novel(score: NoveltyScore) -> None:
    fresh = score(prepare(make_survey(200, seed=9)[0]))
    assert (fresh > score.threshold).mean() < 0.05
    assert ((fresh >= 0) & (fresh <= 1)).all()


def test_company_and_order_do_not_change_the_score(score: NoveltyScore, survey: LightCurves) -> None:
    order = np.random.default_rng(0).permutation(len(survey))
    whole = score(prepare(survey))
    np.testing.assert_allclose(score(prepare(survey.take(order))), whole[order], atol=1e-9)
    np.testing.assert_allclose(score(prepare(survey.take(order[:1]))), whole[order[:1]], atol=1e-9)


def test_the_same_seed_gives_the_same_score_and_leaves_torch_alone(survey: LightCurves) -> None:
    few = survey.take(np.arange(40))
    before = torch.get_rng_state()
    first, second, other = (fit_novelty(few, few, prepare, seed).tensors for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["weight.0"], other["weight.0"])


def test_extreme_curves_have_a_finite_score(score: NoveltyScore) -> None:
    odd = {
        "huge": [(100.0 + day, band, 1e12, 1e-6) for day in range(9) for band in "griz"],
        "negative": [(100.0 + day, band, -50.0, 4.0) for day in range(9) for band in "griz"],
        "one": [(100.0, "g", 9.0, 1.0)],
        "century": [(100.0 + 4000 * day, "r", 9.0, 1.0) for day in range(9)],
    }
    assert np.isfinite(score(prepare(make_light_curves(odd)))).all()


def test_only_what_was_detected_and_followed_long_enough_is_told_to_be_no_supernova(score: NoveltyScore) -> None:
    experiment = Experiment.model_validate({"name": "x", "resampler": {"kind": "nightly"}})
    fresh = make_survey(100, seed=9)[0]
    made = unlike_supernovae(imitate(fresh, "sinusoidal", np.random.default_rng(3)), experiment, score)
    supernovae = unlike_supernovae(fresh, experiment, score)
    assert np.nanmean(supernovae) < 0.05
    assert np.nanmean(made) > 0.5
    known = fresh.epochs["FLUXCAL"].to_numpy()
    faint = replace(fresh, epochs=fresh.epochs.assign(FLUXCAL=known * 1e-3))
    assert np.isnan(unlike_supernovae(faint, experiment, score)).all()
    three = {f"{n}": [(100.0 + day, band, 90.0, 4.0) for day in range(3) for band in "griz"] for n in range(4)}
    assert np.isnan(unlike_supernovae(make_light_curves(three), experiment, score)).all()


def test_a_reference_is_a_small_sample_without_names_or_classes(survey: LightCurves) -> None:
    labels = (np.arange(300) % 3 == 0).astype(np.int64)
    reference = make_reference(survey, labels, BANDS, ("Ia", "nonIa"), seed=1)
    assert list(reference.summary.columns) == list(summary_units(BANDS))
    assert reference.class_shares == pytest.approx({"Ia": 2 / 3, "nonIa": 1 / 3})
    assert MAX_VALUES * 4 <= 200_000
    restored = Reference.restore(reference.tensors, reference.description())
    assert restored.summary.equals(reference.summary)
    again = partial(make_reference, survey, labels, BANDS, ("Ia", "nonIa"))
    assert again(seed=1).summary.equals(reference.summary)
