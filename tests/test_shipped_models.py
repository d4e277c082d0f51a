"""What ships must work as it did when it was made, be small, and say what it has learnt from."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.taxonomy import CLASS_SETS, ClassSet
from pipeline.train.verify import verify_checkpoint
from tests.builders import make_survey

SHIPPED = sorted(path.parent for path in (Path(__file__).parents[1] / "data" / "pretrained").glob("*/model.json"))


def test_two_classifiers_ship():
    assert [folder.name for folder in SHIPPED] == ["spcc-ia", "spcc-types"]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
@pytest.mark.parametrize("classes", CLASS_SETS)
def test_a_shipped_model_answers_in_all_sets_of_classes(folder: Path, classes: ClassSet):
    table = Classifier.load(folder, ClassifySettings(classes=classes)).classify(make_survey(4)[0]).table
    assert table[[f"P_{name}" for name in CLASS_SETS[classes]]].sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_answers_as_it_did_when_it_was_made(folder: Path):
    assert verify_checkpoint(folder).is_same


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_is_small_and_says_what_it_has_learnt_from(folder: Path):
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5_000_000
    card = Classifier.load(folder).checkpoint.card
    assert {"leakage", "data_hash", "split_hash", "seeds", "versions", "judged_by"} <= card.keys()
    assert "/" not in str(card["training_data"]), "no path of the machine that trained it"


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_a_shipped_model_answers_for_every_object_with_and_without_redshift(folder: Path):
    light_curves, _ = make_survey(12)
    for photoz in (0.3, math.nan):
        objects = light_curves.objects.assign(PHOTOZ=photoz, PHOTOZ_ERR=photoz / 10)
        table = Classifier.load(folder).classify(replace(light_curves, objects=objects)).table
        assert table["SNID"].tolist() == objects["SNID"].tolist()
        assert table["STATUS"].isin(["classified", "abstained"]).all()
