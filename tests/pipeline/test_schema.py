from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.schema import (
    EPOCH_COLUMNS,
    LIGHT_CURVE_SCHEMA,
    LightCurves,
    Predictions,
    _row_hashes,
    photometry_hashes,
    prediction_columns,
)
from tests.builders import make_light_curves, make_survey, make_truth

CURVE = [(100.0, "g", 10.0, 1.0), (101.0, "r", 20.0, 2.0)]
epochs = st.lists(
    st.tuples(st.floats(5e4, 6e4), st.sampled_from("griz"), st.floats(-1e4, 1e4), st.floats(1e-3, 1e3)), max_size=8
)


@settings(max_examples=50, deadline=None)
@given(st.lists(epochs, max_size=5))
def test_light_curves_survive_arrow(curves: list[list[tuple[float, str, float, float]]]) -> None:
    before = make_light_curves({str(number): curve for number, curve in enumerate(curves)})
    table = before.to_arrow()
    assert table.schema.equals(LIGHT_CURVE_SCHEMA)
    after = LightCurves.from_arrow(table)
    assert after.offsets.tolist() == before.offsets.tolist()
    assert after.epochs["BAND"].tolist() == before.epochs["BAND"].tolist()
    for name in ("MJD", "FLUXCAL", "FLUXCALERR"):
        np.testing.assert_array_equal(after.epochs[name], before.epochs[name])


def test_taking_objects_takes_their_epochs() -> None:
    light_curves, _ = make_survey(9)
    taken = light_curves.take(np.array([7, 2]))
    for place, row in enumerate((7, 2)):
        mine = taken.epochs.iloc[taken.offsets[place] : taken.offsets[place + 1]]["FLUXCAL"].tolist()
        rows = slice(light_curves.offsets[row], light_curves.offsets[row + 1])
        assert mine == light_curves.epochs["FLUXCAL"].iloc[rows].tolist()


def test_an_unknown_snid_is_an_error() -> None:
    with pytest.raises(KeyError, match="nobody"):
        make_light_curves({"a": CURVE}).select(["nobody"])


def test_simulated_truth_cannot_enter_light_curves() -> None:
    light_curves = make_light_curves({"a": CURVE})
    with pytest.raises(ValueError, match="must not enter light curves"):
        replace(light_curves, epochs=light_curves.epochs.assign(SIM_MAG=20.0))
    with pytest.raises(ValueError, match="must not enter light curves"):
        replace(light_curves, objects=light_curves.objects.assign(SIM_REDSHIFT=0.3))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("FLUXCAL", np.nan, "must be finite"),
        ("FLUXCALERR", 0.0, "positive"),
        ("FLUXCALERR", -1.0, "positive"),
        ("MJD", np.inf, "must be finite"),
    ],
)
def test_measurements_that_are_none_are_refused(column: str, value: float, message: str) -> None:
    light_curves = make_light_curves({"a": CURVE})
    with pytest.raises(ValueError, match=message):
        replace(light_curves, epochs=light_curves.epochs.assign(**{column: [10.0, value]}))


def test_epochs_out_of_order_are_refused_within_an_object_only() -> None:
    make_light_curves({"a": [(200.0, "g", 1.0, 1.0)], "b": [(100.0, "g", 1.0, 1.0)]})
    light_curves = make_light_curves({"a": CURVE})
    with pytest.raises(ValueError, match="time order"):
        replace(light_curves, epochs=light_curves.epochs.assign(MJD=[101.0, 100.0]))


def test_offsets_must_cover_the_epochs() -> None:
    light_curves = make_light_curves({"a": CURVE, "b": CURVE})
    for offsets in ([0, 2], [0, 2, 3], [0, 5, 4], [1, 2, 4]):
        with pytest.raises(ValueError, match="offsets"):
            replace(light_curves, offsets=np.array(offsets))


def test_times_may_differ_by_more_than_the_largest_number() -> None:
    light_curves = make_light_curves({"a": [(-1.7e308, "g", 1.0, 1.0), (1.7e308, "g", 1.0, 1.0)]})
    assert light_curves.epochs["MJD"].tolist() == [-1.7e308, 1.7e308]


def test_an_snid_may_appear_once() -> None:
    light_curves = make_light_curves({"a": CURVE, "b": CURVE})
    with pytest.raises(ValueError, match="more than once"):
        replace(light_curves, objects=light_curves.objects.assign(SNID=["a", "a"]))


def test_the_hash_ignores_the_order_of_rows_and_sees_every_change() -> None:
    light_curves = make_light_curves({"a": CURVE, "b": CURVE[::-1], "c": [(100.0, "g", 10.0, 1.001), CURVE[1]]})
    shuffled = light_curves.epochs.iloc[[1, 0, 2, 3, 4, 5]]
    hashes = photometry_hashes(light_curves.objects, light_curves.epochs, light_curves.offsets)
    assert photometry_hashes(light_curves.objects, shuffled, light_curves.offsets) == hashes
    same_snid = light_curves.objects.assign(SNID="x")
    first, second, third = photometry_hashes(same_snid, light_curves.epochs, light_curves.offsets)
    assert first == second != third
    assert (
        photometry_hashes(light_curves.objects.assign(PHOTOZ=0.5), light_curves.epochs, light_curves.offsets) != hashes
    )


def test_the_hash_of_rows_is_that_of_pandas_whatever_holds_the_columns() -> None:
    light_curves = make_light_curves({"a": CURVE, "b": CURVE[:1]}, PHOTOZ=[0.5, np.nan])
    names = ["SNID", "MWEBV", "PHOTOZ", "PHOTOZ_ERR", "SPECZ", "SPECZ_ERR"]
    of_rows = pd.util.hash_pandas_object(light_curves.epochs, index=False).to_numpy()
    of_objects = pd.util.hash_pandas_object(light_curves.objects[names], index=False).to_numpy()
    sums = np.array([of_rows[:2].sum(), of_rows[2]]) * np.uint64(0x9E3779B97F4A7C15)
    expected = [f"{value:016x}" for value in (sums ^ of_objects).tolist()]
    assert photometry_hashes(light_curves.objects, light_curves.epochs, light_curves.offsets) == expected
    objects = {name: light_curves.objects[name].to_numpy() for name in names}
    epochs = {name: light_curves.epochs[name].to_numpy() for name in ("MJD", "FLUXCAL", "FLUXCALERR", "PHOTFLAG")}
    epochs["BAND"] = pa.array(light_curves.epochs["BAND"].tolist()).dictionary_encode()
    assert photometry_hashes(objects, epochs, light_curves.offsets) == expected


def test_truth_of_an_unknown_object_is_a_row_of_nulls() -> None:
    light_curves = make_light_curves({"a": CURVE, "b": CURVE})
    selected = make_truth(light_curves, ["Ia", "IIP"]).select(["b", "nobody"]).table
    assert selected["SNID"].tolist() == ["b", "nobody"]
    assert selected["SUBCLASS"].isna().tolist() == [False, True]


def test_predictions_must_sum_to_one_where_there_is_a_class_and_be_nan_elsewhere() -> None:
    table = pd.DataFrame([["a", "classified", "", 0.7, 0.3, *[np.nan] * 2, np.nan, 5, 1.0, "m", "h", "t"]])
    table.columns = pd.Index(prediction_columns(("Ia", "nonIa")))
    assert len(Predictions(table, ("Ia", "nonIa"))) == 1
    with pytest.raises(ValueError, match="sum to 1"):
        Predictions(table.assign(P_Ia=0.8), ("Ia", "nonIa"))
    with pytest.raises(ValueError, match="sum to 1"):
        Predictions(table.assign(STATUS="rejected"), ("Ia", "nonIa"))
    with pytest.raises(ValueError, match="unknown STATUS"):
        Predictions(table.assign(STATUS="perhaps"), ("Ia", "nonIa"))


def test_rows_are_hashed_as_pandas_hashes_them_so_that_stores_keep_their_hashes():
    light_curves, _ = make_survey(20)
    epochs, objects = light_curves.epochs, light_curves.objects.assign(SPECZ=[0.1, np.nan] * 10)
    for table, columns in ((epochs, EPOCH_COLUMNS), (objects, ("SNID", "MWEBV", "SPECZ")), (objects[:0], ("SNID",))):
        expected = pd.util.hash_pandas_object(table[list(columns)], index=False)
        assert _row_hashes(table, columns).tolist() == expected.tolist()


def test_hashes_are_those_of_pandas_whatever_the_number_of_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.schema._HASHED_TOGETHER", 64)
    rng = np.random.default_rng(3)
    for n in (0, 1, 64, 1000):
        numbers = {name: rng.normal(0, 1e3, n) for name in ("MJD", "FLUXCAL", "FLUXCALERR")}
        for values in numbers.values():
            values[rng.random(n) < 0.1] = 0.0
            values[rng.random(n) < 0.1] = np.nan
        bands = pd.Categorical.from_codes(rng.integers(-1, 3, n), categories=["r", "g", "DES-z"])
        epochs = pd.DataFrame({**numbers, "BAND": bands, "PHOTFLAG": rng.integers(-9, 9999, n).astype(np.int32)})
        epochs = epochs[["MJD", "BAND", "FLUXCAL", "FLUXCALERR", "PHOTFLAG"]]
        objects = pd.DataFrame({"SNID": [str(place) for place in range(n)], "MWEBV": 0.1})
        objects = objects.assign(PHOTOZ=np.nan, PHOTOZ_ERR=np.nan, SPECZ=0.5, SPECZ_ERR=0.0)
        header = pd.util.hash_pandas_object(objects, index=False).to_numpy()
        rows = pd.util.hash_pandas_object(epochs, index=False).to_numpy()
        expected = rows * np.uint64(0x9E3779B97F4A7C15) ^ header
        assert photometry_hashes(objects, epochs, np.arange(n + 1)) == [f"{value:016x}" for value in expected]


def test_an_object_without_measurements_has_the_hash_of_its_header() -> None:
    light_curves = make_light_curves({"a": [(1.0, "g", 2.0, 1.0)], "b": [(1.0, "g", 2.0, 1.0)]})
    offsets = np.array([0, 0, 2])
    none, both = photometry_hashes(light_curves.objects, light_curves.epochs, offsets)
    assert photometry_hashes(light_curves.objects[:1], light_curves.epochs[:0], offsets[:2]) == [none]
    assert both != none
