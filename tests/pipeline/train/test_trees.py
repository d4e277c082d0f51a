from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.classify.predict import Classifier
from pipeline.classify.settings import ClassifySettings
from pipeline.schema import LightCurves, Truth
from pipeline.train.calibration import Opinion
from pipeline.train.checkpoint import Checkpoint, CheckpointError, card_text
from pipeline.train.experiment import Experiment
from pipeline.train.export import ExportError, export_onnx
from pipeline.train.fit import TrainingResult, train_classifier
from pipeline.train.teacher import TeacherError, settings_of_student
from pipeline.train.trees import LOWEST_PROBABILITY, BoostedTrees, as_arrays, fit_trees
from pipeline.train.verify import verify_checkpoint
from tests.builders import make_light_curves, make_survey

Survey = tuple[LightCurves, Truth]


def experiment(trees: float = 0.3, **fit: object) -> Experiment:
    values = {"epochs": 2, "batch_size": 16, "learning_rate": 0.02, "trees": trees, **fit}
    model = {"hidden_sizes": [4], "embedding_size": 0, "head_size": 0}
    return Experiment.model_validate({"name": "few", "model": model, "fit": values})


@pytest.fixture(scope="module")
def survey() -> Survey:
    light_curves, truth = make_survey(120)
    finer = truth.table["SUBCLASS"].where(truth.table.index % 2 == 0, truth.table["SUBCLASS"].replace("IIP", "IIn"))
    return light_curves, Truth(truth.table.assign(SUBCLASS=finer))


@pytest.fixture(scope="module")
def run(survey: Survey, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingResult, Path]:
    folder = tmp_path_factory.mktemp("trees")
    return train_classifier(*survey, experiment(), folder), folder / "model"


def table(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, 5))
    values[rng.random(values.shape) < 0.2] = np.nan
    return pd.DataFrame(values, columns=list("abcde"))


@given(n_classes=st.integers(2, 4), n=st.integers(60, 200), seed=st.integers(0, 99))
def test_trees_kept_as_arrays_answer_as_scikit_learn_does(n_classes: int, n: int, seed: int) -> None:
    features = table(n, seed)
    labels = np.random.default_rng(seed).integers(0, n_classes, n)
    labels[:n_classes] = np.arange(n_classes)
    trees = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=3, early_stopping=False).fit(features, labels)
    others = table(40, seed + 1)[list("ecdab")]  # in whatever order the columns come
    expected = np.maximum(trees.predict_proba(others[list("abcde")]), LOWEST_PROBABILITY)
    found = as_arrays(trees, tuple("abcde"), n_classes)
    np.testing.assert_allclose(np.exp(found.log_probabilities(others)), expected, rtol=1e-9)
    alone = [found.log_probabilities(others.iloc[[row]])[0] for row in range(3)]
    np.testing.assert_array_equal(alone, found.log_probabilities(others)[:3])
    assert found.log_probabilities(others.iloc[:0]).shape == (0, n_classes)


def test_a_class_that_no_training_object_is_of_keeps_a_little() -> None:
    features, labels = table(60, 0), np.arange(60) % 2 * 2
    trees = HistGradientBoostingClassifier(max_iter=3).fit(features, labels)
    answers = np.exp(as_arrays(trees, tuple("abcde"), 3).log_probabilities(features))
    np.testing.assert_allclose(answers[:, 1], LOWEST_PROBABILITY)


def test_trees_have_learnt_objects_without_a_redshift_and_early_ones(survey: Survey) -> None:
    light_curves, truth = survey
    labels = (truth.table["SUBCLASS"] != "Ia").to_numpy(np.int64)
    chosen = experiment()
    without = {"augment": {"hide_redshift": 0, "truncate": 0}}
    plain = fit_trees(light_curves, labels, Experiment.model_validate({**chosen.model_dump(), **without}), 2)
    copied = fit_trees(light_curves, labels, chosen, 2)
    again = fit_trees(light_curves, labels, chosen, 2)
    assert all(np.array_equal(copied.tensors[name], again.tensors[name]) for name in copied.tensors)
    assert not np.array_equal(copied.tensors["value"], plain.tensors["value"])


def test_trees_have_their_share_in_every_answer(run: tuple[TrainingResult, Path], survey: Survey) -> None:
    checkpoint, light_curves = Checkpoint.load(run[1]), survey[0]
    trees = checkpoint.trees
    assert trees is not None
    assert "have a share of 0.3" in card_text(checkpoint)
    opinion = checkpoint.opinion(light_curves)
    assert opinion is not None
    networks_alone = replace(
        checkpoint, trees=None, experiment=experiment(0.0).model_copy(update={"split": checkpoint.experiment.split})
    )
    alone, both = (np.log(Classifier(one).predict(light_curves).probabilities) for one in (networks_alone, checkpoint))
    temperature = checkpoint.calibration.temperature
    odds = 0.7 * (alone[:, 0] - alone[:, 1]) + 0.3 / temperature * (opinion.log_probabilities @ [1, -1])
    np.testing.assert_allclose(both[:, 0] - both[:, 1], odds, atol=1e-4)
    assert checkpoint.name != networks_alone.name
    assert verify_checkpoint(run[1]).is_same


def test_an_opinion_pools_logits() -> None:
    logits = np.array([[[2.0, 0.0]], [[0.0, 2.0]]])
    np.testing.assert_allclose(Opinion(np.array([[0.0, -4.0]]), 0.25).pooled(logits), [[[1.5, -1]], [[0, 0.5]]])


def test_the_redshift_that_is_read_is_the_one_that_the_trees_read(
    run: tuple[TrainingResult, Path], survey: Survey
) -> None:
    light_curves = survey[0]
    hidden = Classifier(Checkpoint.load(run[1]), ClassifySettings(redshift="none")).predict(light_curves)
    nothing = light_curves.objects.assign(PHOTOZ=np.nan, PHOTOZ_ERR=np.nan)
    without = replace(light_curves, objects=nothing)
    expected = Classifier(Checkpoint.load(run[1])).predict(without)
    np.testing.assert_array_equal(hidden.probabilities, expected.probabilities)


def test_objects_that_are_rejected_are_no_trouble_for_the_trees(
    run: tuple[TrainingResult, Path], survey: Survey
) -> None:
    one_measurement = make_light_curves({"1": [(56000.0, "g", 5.0, 1.0)]})
    classifier = Classifier(Checkpoint.load(run[1]))
    assert classifier.predict(one_measurement).table["STATUS"].tolist() == ["rejected"]
    assert classifier.predict(survey[0].take(np.zeros(0, np.int64))).table.empty


def test_no_network_is_trained_anew_for_another_share(run: tuple[TrainingResult, Path], survey: Survey) -> None:
    folder = run[1].parent
    other = train_classifier(*survey, experiment(0.5), folder)
    assert other.history["SECONDS"].tolist() == run[0].history["SECONDS"].tolist()
    assert other.checkpoint.weights_sha256 == run[0].checkpoint.weights_sha256
    assert train_classifier(*survey, experiment(), folder).checkpoint.name == run[0].checkpoint.name


def test_finer_classes_add_up_to_those_that_the_trees_know(survey: Survey, tmp_path: Path) -> None:
    train_classifier(*survey, experiment(learns="subtypes"), tmp_path)
    checkpoint = Checkpoint.load(tmp_path / "model")
    own = Classifier(checkpoint).predict(survey[0]).probabilities
    types = Classifier(checkpoint, ClassifySettings(classes="types")).predict(survey[0]).probabilities
    np.testing.assert_allclose(types[:, 0], own[:, 0], atol=1e-12)
    np.testing.assert_allclose(types[:, 1:].sum(axis=1), own[:, 1], atol=1e-12)


def test_what_has_no_trees_refuses_them_in_a_sentence(run: tuple[TrainingResult, Path], tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"answers by trees.*fit\.trees=0"):
        settings_of_student(experiment(0.0, teacher=str(run[1])))
    pytest.importorskip("onnx")
    with pytest.raises(ExportError, match=r"boosted trees beside its networks.*fit\.trees=0"):
        export_onnx(run[1], tmp_path / "graph.onnx")


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("left", lambda values: values * 0, "leads back"),
        ("right", lambda values: values + len(values), "no whole number"),
        ("feature", lambda values: values - 1, "no whole number"),
        ("feature", lambda values: values.astype(np.float64), "no whole number"),
        ("value", lambda values: values[:-1], "expected one length"),
        ("root", lambda values: np.hstack([values, values]), "outputs"),
        ("baseline", lambda values: values[:0], "outputs"),
        ("classes", lambda values: values + 1, "no whole number"),
    ],
)
def test_arrays_that_are_no_trees_are_refused(
    run: tuple[TrainingResult, Path], name: str, change: object, message: str
) -> None:
    trees = Checkpoint.load(run[1]).trees
    assert trees is not None
    assert callable(change)
    with pytest.raises(ValueError, match=message):
        BoostedTrees({**trees.tensors, name: change(trees.tensors[name])}, trees.columns, trees.n_classes)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text["experiment"]["fit"].update(trees=0.0),
        lambda text: text.pop("trees"),
        lambda text: text["trees"].update(n_classes=3),
        lambda text: text["trees"].update(columns=["N_g"]),
        lambda text: text["trees"].pop("columns"),
    ],
    ids=["no share", "no trees", "classes", "columns", "no columns"],
)
def test_a_folder_whose_trees_do_not_belong_to_it_is_refused(
    run: tuple[TrainingResult, Path], change: object, tmp_path: Path
) -> None:
    run[0].checkpoint.save(tmp_path / "model")
    file = tmp_path / "model" / "model.json"
    text = json.loads(file.read_text())
    assert callable(change)
    change(text)
    file.write_text(json.dumps(text))
    with pytest.raises(CheckpointError, match=r"does not describe a classifier"):
        Checkpoint.load(tmp_path / "model")
