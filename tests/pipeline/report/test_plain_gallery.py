"""Facts about which light curves a report shows where the model is not at hand."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.report.plain_gallery import choose_plain_gallery
from pipeline.schema import Truth
from tests.builders import make_light_curves

from .report_builder import make_predictions


def light_curves_of(snids, n_epochs=3):
    return make_light_curves({snid: [(56000.0 + i, "r", 10.0 + i, 1.0) for i in range(n_epochs)] for snid in snids})


def truth_of(subclasses) -> Truth:
    table = pd.DataFrame({"SNID": [str(i) for i in range(len(subclasses))], "SUBCLASS": subclasses})
    return Truth(table.assign(CLASS=None, TEMPLATE=None, SPECTYPE=None, REDSHIFT=np.nan, PEAKMJD=np.nan))


def test_the_gallery_shows_the_surest_wrong_the_least_sure_and_the_surest_right():
    predictions = make_predictions([str(i) for i in range(6)], [0.99, 0.9, 0.02, 0.97, 0.52, np.nan])
    truth = truth_of(["Ia", "Ia", "IIP", "IIn", "Ia", "Ia"])
    shown = choose_plain_gallery(light_curves_of([str(i) for i in range(6)]), predictions, truth, 1)
    kinds = {curve.snid: curve.kinds for curve in shown}
    assert kinds == {"3": ("confident and wrong",), "4": ("uncertain",), "0": ("confident and right",)}
    assert [(curve.called, curve.is_right) for curve in shown] == [("Ia", False), ("Ia", True), ("Ia", True)]


def test_a_curve_carries_its_own_measurements_and_true_subclass():
    (curve,) = choose_plain_gallery(
        light_curves_of(["0", "1"]), make_predictions(["1"], [0.9]), truth_of([None, "IIn"])
    )
    assert (curve.true_class, curve.probabilities["Ia"], curve.is_right) == ("IIn", 0.9, False)
    assert (curve.flux, curve.band, curve.n_epochs) == ((10.0, 11.0, 12.0), ("r", "r", "r"), 3)


def test_without_truth_the_most_confident_stand_in_and_no_one_is_right_or_wrong():
    predictions = make_predictions(["0", "1", "2"], [0.99, 0.01, 0.5])
    shown = choose_plain_gallery(light_curves_of(["0", "1", "2"]), predictions, None, 1)
    assert [(curve.snid, curve.kinds, curve.is_right) for curve in shown] == [
        ("0", ("confident",), None),
        ("2", ("uncertain",), None),
    ]


def test_objects_without_photometry_are_passed_over():
    predictions = make_predictions(["0", "elsewhere"], [0.9, 0.8])
    assert [curve.snid for curve in choose_plain_gallery(light_curves_of(["0"]), predictions, None)] == ["0"]


def test_nothing_to_show_is_an_empty_gallery():
    assert choose_plain_gallery(light_curves_of(["0"]), make_predictions(["0"], [np.nan]), None) == ()


def test_long_light_curves_are_thinned_from_end_to_end():
    (curve,) = choose_plain_gallery(light_curves_of(["0"], 1000), make_predictions(["0"], [0.9]), None)
    assert (len(curve.mjd), curve.mjd[0], curve.mjd[-1], curve.n_epochs) == (400, 56000.0, 56999.0, 1000)
