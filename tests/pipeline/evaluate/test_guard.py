"""Facts about the drift guard: nights like the training data pass, whole or growing, and others say what to look at."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluate.guard import GuardSettings, NightVerdict, guard_night
from pipeline.prepare.truncate import truncate_at_random
from pipeline.schema import LightCurves
from pipeline.settings import SettingsError, load_settings
from pipeline.train.reference import Reference, Unlike, make_reference
from tests.benchmarks.guarding import kept, magnitudes, noisier
from tests.builders import make_survey

BANDS = ("g", "r", "i", "z")


@pytest.fixture(scope="module")
def reference() -> Reference:
    light_curves = make_survey(600, seed=1)[0]
    return make_reference(light_curves, np.zeros(600, np.int64), BANDS, ("all",), seed=1)


def night(seed: int, growing: bool = True) -> LightCurves:
    light_curves, rng = make_survey(120, seed=seed)[0], np.random.default_rng(seed)
    return truncate_at_random(light_curves, rng) if growing else light_curves


def judged(light_curves: LightCurves, reference: Reference | None, **settings: float) -> NightVerdict:
    return guard_night(light_curves, reference, BANDS, GuardSettings.model_validate(settings))


def test_nights_like_the_training_data_are_green_growing_or_whole(reference: Reference):
    for growing in (True, False):
        found = Counter(judged(night(seed, growing), reference).status for seed in range(100, 125))
        assert found["red"] == 0
        assert found["green"] >= 24


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        (kept(lambda light_curves: light_curves.epochs["BAND"] != "z"), "band z was observed"),
        (magnitudes(1.0), "zeropoint"),
        (noisier(3.0), "seeing"),
    ],
)
def test_a_shifted_night_is_red_and_says_what_to_look_at(reference: Reference, shift, words: str):
    verdict = judged(shift(night(7), np.random.default_rng(7)), reference)
    assert verdict.status == "red"
    assert words in " ".join(one.look_at for one in verdict.differences)
    assert verdict.sentence().startswith("red: ")
    assert [one.p_value for one in verdict.differences if one.status == "red"] == sorted(
        one.p_value for one in verdict.differences if one.status == "red"
    )


def test_light_curves_longer_than_any_learnt_from_hide_no_difference(reference: Reference):
    whole = make_survey(120, seed=3)[0]
    epochs = pd.concat([whole.epochs, whole.epochs.assign(MJD=whole.epochs["MJD"] + 400)], ignore_index=True)
    order = np.lexsort((epochs["MJD"].to_numpy(), np.tile(whole.object_index, 2)))
    longer = LightCurves(whole.objects.assign(MWEBV=0.9), epochs.iloc[order].reset_index(drop=True), whole.offsets * 2)
    verdict = judged(longer, reference)
    assert verdict.status == "red"
    assert "reddening map" in " ".join(one.look_at for one in verdict.differences)


@pytest.mark.parametrize(("share", "status"), [(0.02, "green"), (0.2, "red"), (math.nan, "green")])
def test_a_night_with_more_that_are_no_supernovae_says_so(share: float, status: str):
    def unlike(share: float) -> Unlike:
        return lambda light_curves: np.where(np.arange(len(light_curves)) < share * len(light_curves), 1.0, 0.0 * share)

    learnt = make_survey(600, seed=1)[0]
    reference = make_reference(learnt, np.zeros(600, np.int64), BANDS, ("all",), 1, unlike(0.01))
    verdict = guard_night(night(7), reference, BANDS, unlike=unlike(share))
    assert verdict.status == status
    assert ("no supernovae" in verdict.sentence()) == (status == "red")


def test_a_difference_must_be_improbable_and_large(reference: Reference):
    shifted = magnitudes(1.0)(night(7), np.random.default_rng(7))
    assert judged(shifted, reference, red_distance=1.0, amber_distance=1.0).status == "green"
    assert judged(shifted, reference, red_distance=1.0).status == "amber"
    assert judged(shifted, reference, red_p=1e-300, amber_p=1e-300).status == "green"


def test_what_cannot_be_judged_is_unknown_and_says_why(reference: Reference):
    few = night(7).take(np.arange(19))
    assert judged(few, reference) == NightVerdict(
        "unknown", 19, note="19 changed objects, 20 are needed for a judgement"
    )
    assert judged(night(7), None).status == "unknown"


def test_a_classifier_that_remembers_whole_light_curves_only_says_so(reference: Reference):
    older = Reference.restore({"summary": reference.tensors["summary"]}, reference.description())
    assert not len(older.growing)
    verdict = judged(night(7, growing=False), older)
    assert (verdict.status, verdict.note) == ("green", "the classifier remembers whole light curves only")


def test_a_verdict_is_json_without_nan_even_where_a_property_is_missing(reference: Reference):
    objects = night(7).objects.assign(MWEBV=np.nan)
    told = json.dumps(judged(replace(night(7), objects=objects), reference).to_dict(), allow_nan=False)
    assert "NaN" not in told


def test_the_order_of_objects_does_not_matter_to_what_is_found(reference: Reference):
    shifted = magnitudes(0.3)(night(9), np.random.default_rng(9))
    turned = shifted.take(np.arange(len(shifted))[::-1])
    assert judged(shifted, reference).status == judged(turned, reference).status


def test_red_must_be_further_than_amber():
    with pytest.raises(SettingsError, match="red must be at least as improbable"):
        load_settings(GuardSettings, {"red_p": 0.5}, "site.toml")
