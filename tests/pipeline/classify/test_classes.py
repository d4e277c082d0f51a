"""Answers in other classes than a classifier's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from deltalake import write_deltalake

from pipeline.classify.incremental import classify_store
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.evaluate.evaluation import evaluate
from pipeline.schema import LightCurves, Predictions, Truth
from pipeline.settings import SettingsError
from pipeline.store import Store
from pipeline.taxonomy import CLASS_SETS, ClassSet
from pipeline.train.checkpoint import Checkpoint
from pipeline.train.experiment import Experiment
from pipeline.train.fit import train_classifier
from tests.builders import make_survey
from tests.small_model import small_classifier

SUBTYPES = {"II": ("IIn", "IIP", "IIL", "II"), "Ibc": ("Ib", "Ic", "Ibc")}


@pytest.fixture(scope="module")
def survey() -> tuple[LightCurves, Truth]:
    light_curves, truth = make_survey(120)
    kinds = pd.Series(["Ia", "IIn", "IIP", "IIP", "Ib", "Ic"] * 20, index=truth.table.index)
    return light_curves, Truth(truth.table.assign(SUBCLASS=kinds, TEMPLATE=["one", "two"] * 60))


@pytest.fixture(scope="module")
def alone(survey: tuple[LightCurves, Truth], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Checkpoint]:
    """A classifier of each class set, of one network that has learnt templates."""
    values = {
        "name": "toy",
        "model": {"hidden_sizes": [6], "embedding_size": 4},
        "fit": {"epochs": 2, "members": 1, "learns": "templates", "learning_rate": 0.02},
    }
    return {
        classes: train_classifier(
            *survey, Experiment.model_validate({**values, "classes": classes}), tmp_path_factory.mktemp(classes)
        ).checkpoint
        for classes in CLASS_SETS
    }


@pytest.fixture(params=[1, 2], ids=["one network", "two"])
def learnt(request: pytest.FixtureRequest, alone: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
    """The same, or beside it a second network, whose weights are some other ones."""
    if request.param == 1:
        return alone
    return {
        classes: replace(one, weights=[one.weights[0], {name: value * 0.9 for name, value in one.weights[0].items()}])
        for classes, one in alone.items()
    }


def answers(checkpoint: Checkpoint, light_curves: LightCurves, classes: ClassSet | None) -> Predictions:
    return Classifier(checkpoint, ClassifySettings(classes=classes, members=True)).predict(light_curves)


@pytest.mark.parametrize("own", CLASS_SETS)
@pytest.mark.parametrize("asked", CLASS_SETS)
def test_all_class_sets_say_the_same_of_ia_and_of_what_they_share(
    own: ClassSet, asked: ClassSet, learnt: dict[str, Checkpoint], survey: tuple[LightCurves, Truth]
) -> None:
    light_curves, truth = survey
    usual, other = (answers(learnt[own], light_curves, classes) for classes in (None, asked))
    assert other.classes == CLASS_SETS[asked]
    np.testing.assert_allclose(other.probabilities.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(other.table["P_Ia"], usual.table["P_Ia"], atol=1e-6)
    assert other.table["STATUS"].tolist() == usual.table["STATUS"].tolist()
    coarse, fine = sorted((usual, other), key=lambda one: len(one.classes))
    if coarse.classes == CLASS_SETS["types"] and fine.classes == CLASS_SETS["subtypes"]:
        for name, subtypes in SUBTYPES.items():
            total = fine.table[[f"P_{subtype}" for subtype in subtypes]].sum(axis=1)
            np.testing.assert_allclose(total, coarse.table[f"P_{name}"], atol=1e-6)
    assert evaluate(other, truth, name="toy", n_resamples=0).counts.n_evaluated == len(light_curves)


def test_a_subtype_that_was_never_seen_has_no_probability(
    learnt: dict[str, Checkpoint], survey: tuple[LightCurves, Truth]
) -> None:
    table = answers(learnt["ia"], survey[0], "subtypes").table
    assert not table[["P_IIL", "P_II", "P_Ibc"]].to_numpy().any()
    assert (table[["P_IIn", "P_IIP", "P_Ib", "P_Ic"]] > 0).all(axis=None)


def test_members_and_their_spread_are_of_the_classes_asked_for(
    learnt: dict[str, Checkpoint], survey: tuple[LightCurves, Truth]
) -> None:
    table = answers(learnt["ia"], survey[0], "types").table
    n_members = len(learnt["ia"].weights)
    members = table[[f"P_Ibc_{member}" for member in range(n_members)]].to_numpy()
    np.testing.assert_allclose(members.mean(axis=1), table["P_Ibc"], atol=1e-12)
    if n_members > 1:
        np.testing.assert_allclose(members.std(axis=1), table["P_Ibc_STD"], atol=1e-12)


def test_what_was_not_learnt_is_refused_with_what_to_do() -> None:
    checkpoint = small_classifier().checkpoint
    with pytest.raises(SettingsError, match="Ia, nonIa apart and nothing finer, came classes 'types'; train one with"):
        Classifier(checkpoint, ClassifySettings(classes="types"))
    assert Classifier(checkpoint, ClassifySettings(classes="ia")).classes == ("Ia", "nonIa")


def test_a_catalogue_keeps_answers_in_other_classes_apart(
    learnt: dict[str, Checkpoint], survey: tuple[LightCurves, Truth], tmp_path: Path
) -> None:
    store, model = Store.create(tmp_path / "store"), tmp_path / "model"
    write_deltalake(str(tmp_path / "store" / "light_curves"), survey[0].to_arrow(), mode="overwrite")
    learnt["ia"].save(model)
    for classes, n_new in ((None, 120), ("types", 120), (None, 0), ("types", 0)):
        renewed = classify_store(store, model, ClassifySettings.model_validate({"classes": classes}))
        assert renewed.n_new == n_new
        assert renewed.predictions.classes == CLASS_SETS[classes or "ia"]
