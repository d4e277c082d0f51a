from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.classify.catalogue import read_predictions, write_predictions
from pipeline.classify.contract import ContractError, check_contract, ignore_bands, rename_bands
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.schema import LightCurves, Predictions
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_light_curves, make_survey

EXPERIMENT = {
    "name": "small",
    "model": {"hidden_sizes": [6, 5], "embedding_size": 4},
    "fit": {"epochs": 3, "members": 1, "learning_rate": 0.02},
    "selection": {"min_epochs": 2},
}


@pytest.fixture(scope="module", params=["nightly", "random_fill"])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    draws = {"test_draws": 2} if request.param == "random_fill" else {}
    values = {**EXPERIMENT, "resampler": {"kind": request.param, **draws}}
    folder = tmp_path_factory.mktemp("model")
    return train_classifier(*make_survey(60), Experiment.model_validate(values), folder).checkpoint


@pytest.fixture(scope="module")
def light_curves() -> LightCurves:
    return make_survey(40, seed=5)[0]


def odd_ones() -> LightCurves:
    night = [(100.0, "g", 9.0, 1.0), (100.01, "r", 9.0, 1.0), (100.02, "i", 9.0, 1.0)]
    return make_light_curves(
        {
            "empty": [],
            "one epoch": night[:1],
            "one night": night,
            "negative": [(100.0 + day, band, -50.0, 4.0) for day in range(9) for band in "griz"],
            "constant": [(100.0 + day, band, 50.0, 4.0) for day in range(9) for band in "griz"],
            "huge": [(100.0 + day, band, 1e12, 1e-6) for day in range(9) for band in "griz"],
        }
    )


def test_every_object_gets_one_row_in_input_order(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    rng = np.random.default_rng(0)
    mixed = light_curves.take(rng.permutation(len(light_curves)))
    predictions = Classifier(checkpoint).classify(mixed)
    assert predictions.table["SNID"].tolist() == mixed.objects["SNID"].tolist()
    assert predictions.table["PHOTOMETRY_HASH"].tolist() == mixed.objects["PHOTOMETRY_HASH"].tolist()
    assert (predictions.table["STATUS"] == "classified").sum() == 39
    assert predictions.table["REASON"].str.startswith("novel").sum() == 1


def test_odd_light_curves_get_a_row_with_a_reason(checkpoint: Checkpoint) -> None:
    table = Classifier(checkpoint).classify(odd_ones()).table.set_index("SNID")
    assert table["STATUS"].to_dict() == {
        "empty": "rejected",
        "one epoch": "rejected",
        "one night": "abstained",
        "negative": "rejected",
        "constant": "abstained",
        "huge": "abstained",
    }
    assert (table.loc[table["STATUS"] != "classified", "REASON"] != "").all()
    assert np.isfinite(table.loc[["one night", "constant", "huge"], "P_Ia"]).all()
    assert np.isnan(table.loc["empty", "LAST_MJD"])
    assert table.loc["one night", "LAST_MJD"] == 100.02


def test_whoever_has_a_probability_has_a_novelty(checkpoint: Checkpoint) -> None:
    table = Classifier(checkpoint).classify(odd_ones()).table
    assert table["NOVELTY"].notna().tolist() == table["P_Ia"].notna().tolist()


def test_a_classifier_without_novelty_score_says_so(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    old = replace(checkpoint, novelty=None)
    assert Classifier(old).classify(light_curves).table["NOVELTY"].isna().all()
    assert any("NOVELTY is empty" in note for note in check_contract(light_curves, old))
    assert not any("NOVELTY" in note for note in check_contract(light_curves, checkpoint))


def test_no_light_curves_give_no_rows(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    assert len(Classifier(checkpoint).classify(light_curves.take(np.array([], dtype=int)))) == 0


def test_company_and_order_and_chunks_do_not_change_a_probability(
    checkpoint: Checkpoint, light_curves: LightCurves
) -> None:
    expected = Classifier(checkpoint).classify(light_curves).probabilities
    order = np.random.default_rng(0).permutation(len(light_curves))
    shuffled = Classifier(checkpoint, ClassifySettings(chunk_objects=7)).classify(light_curves.take(order))
    np.testing.assert_allclose(shuffled.probabilities, expected[order], atol=1e-5)
    novelty = Classifier(checkpoint).classify(light_curves).table["NOVELTY"].to_numpy()
    np.testing.assert_allclose(shuffled.table["NOVELTY"], novelty[order], atol=1e-9)
    alone = Classifier(checkpoint).classify(light_curves.take(np.array([3])))
    np.testing.assert_allclose(alone.probabilities[0], expected[3], atol=1e-5)


def test_the_order_of_rows_in_a_night_does_not_change_a_probability(checkpoint: Checkpoint) -> None:
    curve = [(100.0 + day, band, 10.0 + day, 2.0) for day in range(6) for band in "griz"]
    one = make_light_curves({"a": curve})
    epochs = one.epochs.groupby("MJD", sort=False, group_keys=False)[list(one.epochs.columns)].apply(lambda n: n[::-1])
    other = replace(one, epochs=epochs.reset_index(drop=True))
    assert other.epochs["BAND"].tolist() != one.epochs["BAND"].tolist()
    classifier = Classifier(checkpoint)
    np.testing.assert_allclose(
        classifier.classify(one).probabilities, classifier.classify(other).probabilities, atol=1e-5
    )


def test_a_saved_classifier_answers_as_before(
    checkpoint: Checkpoint, light_curves: LightCurves, tmp_path: Path
) -> None:
    checkpoint.save(tmp_path / "model")
    before = Classifier(checkpoint).classify(light_curves)
    after = Classifier.load(tmp_path / "model").classify(light_curves)
    np.testing.assert_array_equal(before.probabilities, after.probabilities)
    assert before.table["MODEL"].tolist() == after.table["MODEL"].tolist()


def test_an_ensemble_says_how_far_its_members_differ(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    assert Classifier(checkpoint).classify(light_curves).table["P_Ia_STD"].isna().all()
    halved = {name: value * 0.5 for name, value in checkpoint.weights[0].items()}
    both = Classifier(replace(checkpoint, weights=[checkpoint.weights[0], halved])).classify(light_curves)
    first, second = (
        Classifier(replace(checkpoint, weights=[weights])).classify(light_curves).probabilities[:, 0]
        for weights in (checkpoint.weights[0], halved)
    )
    np.testing.assert_allclose(both.probabilities[:, 0], (first + second) / 2, atol=1e-9)
    np.testing.assert_allclose(both.table["P_Ia_STD"], np.abs(first - second) / 2, atol=1e-9)


def test_objects_without_redshift_are_classified(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    without = replace(light_curves, objects=light_curves.objects.assign(PHOTOZ=np.nan, PHOTOZ_ERR=np.nan))
    hidden = Classifier(checkpoint, ClassifySettings(redshift="none")).classify(light_curves)
    np.testing.assert_array_equal(Classifier(checkpoint).classify(without).probabilities, hidden.probabilities)
    assert not np.array_equal(Classifier(checkpoint).classify(light_curves).probabilities, hidden.probabilities)


def test_a_spectroscopic_redshift_stands_in_only_when_asked(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    objects = light_curves.objects
    swapped = objects.assign(SPECZ=objects["PHOTOZ"], SPECZ_ERR=objects["PHOTOZ_ERR"], PHOTOZ=np.nan, PHOTOZ_ERR=np.nan)
    asked = Classifier(checkpoint, ClassifySettings(redshift="specz")).classify(replace(light_curves, objects=swapped))
    expected = Classifier(checkpoint).classify(light_curves).probabilities
    np.testing.assert_array_equal(asked.probabilities, expected)


def test_a_band_that_the_model_does_not_know_is_refused_with_what_to_do(checkpoint: Checkpoint) -> None:
    foreign = make_light_curves({"a": [(100.0 + day, band, 9.0, 1.0) for day in range(5) for band in ("DES-g", "r")]})
    with pytest.raises(ContractError, match="--band-map DES-g=") as refusal:
        Classifier(checkpoint).classify(foreign)
    assert len(refusal.value.mismatches) == 1
    Classifier(checkpoint).classify(rename_bands(foreign, {"DES-g": "g"}))
    left = ignore_bands(foreign, ["DES-g"])
    assert left.bands == ("r",)
    assert len(left.epochs) == 5
    Classifier(checkpoint).classify(left)


def test_renaming_a_band_that_is_not_there_is_an_error(light_curves: LightCurves) -> None:
    with pytest.raises(ValueError, match="the data have only"):
        rename_bands(light_curves, {"DES-g": "g"})


def test_what_is_accepted_but_different_is_said(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    assert check_contract(light_curves, checkpoint) == []
    objects = light_curves.objects.assign(SURVEY="ELSEWHERE", PHOTOZ=np.nan)
    notes = check_contract(ignore_bands(replace(light_curves, objects=objects), ["z"]), checkpoint)
    assert any("no measurement in z" in note for note in notes)
    assert any("ELSEWHERE" in note for note in notes)
    assert any("have no photoz" in note for note in notes)


def test_an_unknown_kind_of_file_is_refused_before_any_work(checkpoint: Checkpoint, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.parquet, \.csv, \.ecsv, \.fits, \.vot or \.xml"):
        write_predictions(
            Predictions(Classifier(checkpoint).classify(odd_ones()).table, ("Ia", "nonIa")), tmp_path / "p.txt"
        )
    with pytest.raises(ValueError, match="no predictions at"):
        read_predictions(tmp_path / "none.parquet")


def test_progress_ends_at_the_number_of_objects(checkpoint: Checkpoint, light_curves: LightCurves) -> None:
    calls: list[tuple[int, int]] = []
    Classifier(checkpoint, ClassifySettings(chunk_objects=15)).classify(light_curves, lambda *call: calls.append(call))
    assert calls[-1] == (40, 40)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
