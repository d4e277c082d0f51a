"""Facts about what is handed to a report, and about which light curves it shows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline.report.inputs import ReportInputs, choose_gallery
from pipeline.schema import Truth

from .conftest import make_light_curves, make_predictions


def make_truth(subclasses) -> Truth:
    table = pd.DataFrame({"SNID": [str(i) for i in range(len(subclasses))], "SUBCLASS": subclasses})
    return Truth(table.assign(CLASS=None, TEMPLATE=None, SPECTYPE=None, REDSHIFT=np.nan, PEAKMJD=np.nan))


def test_the_gallery_shows_the_surest_right_and_wrong_and_the_least_sure():
    predictions = make_predictions([str(i) for i in range(6)], np.array([0.99, 0.9, 0.02, 0.97, 0.52, np.nan]))
    light_curves = make_light_curves([str(i) for i in range(6)])
    truth = make_truth(["Ia", "Ia", "IIP", "IIn", "Ia", "Ia"])
    shown = {item.snid: item.kind for item in choose_gallery(light_curves, predictions, truth, 1)}
    assert shown == {"0": "most confident and right", "3": "most confident and wrong", "4": "most uncertain"}


def test_a_gallery_item_carries_its_own_epochs_and_true_subclass():
    light_curves = make_light_curves(["0", "1"])
    predictions = make_predictions(["1"], np.array([0.9]))
    (item,) = choose_gallery(light_curves, predictions, make_truth([None, "IIn"]), 3)
    assert (item.true_class, item.probabilities["Ia"], item.kind) == ("IIn", 0.9, "most confident and wrong")
    assert item.epochs["FLUXCAL"].tolist() == light_curves.epochs["FLUXCAL"].iloc[12:].tolist()


def test_without_truth_the_gallery_shows_the_most_confident_and_the_most_uncertain():
    predictions = make_predictions(["0", "1", "2"], np.array([0.99, 0.01, 0.5]))
    items = choose_gallery(make_light_curves(["0", "1", "2"]), predictions, None, 2)
    assert [(item.snid, item.kind) for item in items] == [
        ("0", "most confident"),
        ("1", "most confident"),
        ("2", "most uncertain"),
    ]


def test_objects_without_photometry_are_passed_over():
    predictions = make_predictions(["0", "elsewhere"], np.array([0.9, 0.8]))
    assert [item.snid for item in choose_gallery(make_light_curves(["0"]), predictions, None)] == ["0"]


def test_nothing_to_show_is_an_empty_gallery():
    assert choose_gallery(make_light_curves(["0"]), make_predictions(["0"], np.array([np.nan])), None) == []


def test_two_evaluations_of_one_name_are_refused(inputs):
    with pytest.raises(ValueError, match="different names"):
        replace(inputs, evaluations=[inputs.headline, inputs.headline])


def test_a_history_without_its_columns_is_refused():
    with pytest.raises(ValueError, match="VALID_LOSS"):
        ReportInputs(title="x", is_simulated=False, history=pd.DataFrame({"EPOCH": [1]}))
