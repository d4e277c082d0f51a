from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.prepare.summary import summarise_light_curves, summary_units
from tests.builders import make_light_curves, make_survey

BANDS = ("g", "r", "i")


def test_a_summary_can_be_checked_by_hand() -> None:
    curve = [
        (100.0, "g", 10.0, 1.0),
        (100.1, "r", 25.0, 1.0),
        (100.2, "i", 1.0, 2.0),
        (103.0, "g", -4.0, 3.0),
        (110.0, "r", 2.0, 2.0),
        (110.1, "z", 999.0, 1.0),
    ]
    row = summarise_light_curves(make_light_curves({"a": curve}, PHOTOZ=[0.4], MWEBV=[0.03]), BANDS).iloc[0]
    assert row["best S/N"] == 25
    assert row["brightest magnitude"] == pytest.approx(27.5 - 2.5 * math.log10(25))
    assert (row["measurements"], row["nights"], row["bands"]) == (5, 3, 3)
    assert row["time span"] == pytest.approx(10)
    assert row["days between nights"] == pytest.approx((2.9 + 7.0) / 2, abs=0.01)
    assert row["share with S/N > 5"] == pytest.approx(2 / 5)
    assert row["share of negative fluxes"] == pytest.approx(1 / 5)
    assert row["g − r at maximum"] == pytest.approx(-2.5 * math.log10(10 / 25), abs=1e-6)
    assert math.isnan(row["r − i at maximum"])
    assert (row["photo-z"], row["Milky Way E(B−V)"]) == (0.4, 0.03)
    assert math.isnan(row["photo-z error"])
    assert (row["median error in g"], row["median error in r"], row["median error in i"]) == (2.0, 1.5, 2.0)


def test_what_a_light_curve_does_not_have_is_nan() -> None:
    table = summarise_light_curves(make_light_curves({"none": [], "one": [(5.0, "g", 1.0, 1.0)]}), BANDS)
    assert list(table.columns) == list(summary_units(BANDS))
    assert table[["measurements", "nights", "bands"]].to_numpy().tolist() == [[0, 0, 0], [1, 1, 1]]
    assert table.loc[0, ["best S/N", "time span", "share with S/N > 5", "median error in g"]].isna().all()
    assert table.loc[1, ["days between nights", "brightest magnitude", "median error in r"]].isna().all()
    assert table.loc[1, "time span"] == 0


def test_company_does_not_change_a_summary() -> None:
    light_curves, _ = make_survey(20)
    rows = np.array([7, 3, 11])
    whole, some = (summarise_light_curves(found, BANDS) for found in (light_curves, light_curves.take(rows)))
    np.testing.assert_array_equal(whole.iloc[rows].to_numpy(), some.to_numpy())


def test_no_light_curves_have_no_rows() -> None:
    nothing = make_survey(2)[0].take(np.zeros(0, dtype=np.int64))
    assert summarise_light_curves(nothing, BANDS).shape == (0, len(summary_units(BANDS)))
