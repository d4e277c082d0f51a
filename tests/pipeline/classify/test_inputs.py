from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table

from pipeline.classify.inputs import InputError, take_input, to_light_curves
from pipeline.classify.predict import Classifier, ClassifySettings
from pipeline.schema import LightCurves
from tests.builders import make_survey
from tests.small_model import small_classifier

SURVEY = make_survey(12, seed=5)[0].take(np.array([3, 0, 7, 11]))
HEADER = ["SNID", "RA", "DEC", "MWEBV", "PHOTOZ", "PHOTOZ_ERR"]
EPOCHS = ["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]


def long_table() -> pd.DataFrame:
    epochs = SURVEY.epochs[EPOCHS].assign(BAND=SURVEY.epochs["BAND"].astype("str"))
    header = SURVEY.objects[HEADER].iloc[SURVEY.object_index].reset_index(drop=True)
    return pd.concat([header, epochs], axis=1)


def pieces() -> list[pd.DataFrame]:
    table = long_table()
    return [table[table["SNID"] == snid] for snid in SURVEY.objects["SNID"]]


def with_tables_in_cells() -> pd.DataFrame:
    frame = SURVEY.objects[HEADER].copy()
    frame["lightcurve"] = pd.Series([piece[EPOCHS] for piece in pieces()], dtype=object)
    return frame


def with_lists_in_cells() -> pd.DataFrame:
    frame = SURVEY.objects[HEADER].copy()
    for name in EPOCHS:
        frame[name] = pd.Series([piece[name].to_numpy() for piece in pieces()], dtype=object)
    return frame


def masked_table() -> Table:
    table = Table.from_pandas(long_table())
    table["SNID"] = np.char.encode(np.asarray(table["SNID"], dtype="U8"), "ascii")
    return table


FORMS: dict[str, Any] = {
    "LightCurves": lambda: SURVEY,
    "long pandas table": long_table,
    "long table, SNIDs as numbers": lambda: long_table().astype({"SNID": int}),
    "long table, bands as categories": lambda: long_table().astype({"BAND": "category"}),
    "rows from the last to the first": lambda: pd.concat([pieces()[0][:1], long_table()[1:][::-1]])[HEADER + EPOCHS],
    "astropy table": lambda: Table.from_pandas(long_table()),
    "astropy table of bytes": masked_table,
    "tables in cells": with_tables_in_cells,
    "lists in cells": with_lists_in_cells,
    "lists in cells, SNIDs as index": lambda: with_lists_in_cells().set_index("SNID"),
    "list of tables": pieces,
    "list of astropy tables": lambda: [Table.from_pandas(piece) for piece in pieces()],
    "tables by SNID": lambda: dict(zip(SURVEY.objects["SNID"], pieces(), strict=True)),
}


@pytest.mark.parametrize("form", list(FORMS))
def test_every_form_gives_the_same_light_curves(form: str) -> None:
    found = to_light_curves(FORMS[form]())
    order = [SURVEY.objects["SNID"].tolist().index(snid) for snid in found.objects["SNID"]]
    expected = SURVEY.take(np.array(order))
    if form != "rows from the last to the first":
        assert order == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(found.objects[HEADER], expected.objects[HEADER], check_dtype=False)
    pd.testing.assert_frame_equal(
        found.epochs[EPOCHS].astype({"BAND": "str"}), expected.epochs[EPOCHS].astype({"BAND": "str"})
    )
    assert found.objects["PHOTOMETRY_HASH"].tolist() == expected.objects["PHOTOMETRY_HASH"].tolist()


def test_a_table_is_classified_as_its_light_curves_are() -> None:
    classifier = small_classifier()
    expected = classifier.classify(SURVEY)
    found = classifier.classify(long_table().sample(frac=1, random_state=0))
    by_snid = found.table.set_index("SNID").loc[expected.table["SNID"]]
    np.testing.assert_allclose(by_snid["P_Ia"], expected.table["P_Ia"], atol=1e-5)


def test_unknown_names_are_an_error_that_lists_what_is_expected_and_a_mapping_mends_it() -> None:
    theirs = {"SNID": "name", "MJD": "time", "BAND": "filter", "FLUXCAL": "f", "FLUXCALERR": "df"}
    table = long_table().rename(columns=theirs)
    with pytest.raises(InputError, match=r"expected SNID, MJD, BAND, FLUXCAL, FLUXCALERR.*columns="):
        to_light_curves(table)
    assert to_light_curves(table, columns=theirs).bands == SURVEY.bands
    with pytest.raises(InputError, match="'time', which is none of ours"):
        to_light_curves(table, columns={"time": "MJD"})
    with pytest.raises(InputError, match="missing columns: MJD \\(tyme\\)"):
        to_light_curves(table, columns={**theirs, "MJD": "tyme"})
    with pytest.raises(InputError, match="columns= names redshift"):
        to_light_curves(long_table(), columns={"PHOTOZ": "redshift"})
    with pytest.raises(InputError, match="cannot read light curves from int"):
        to_light_curves(3)


def test_plasticc_names_need_no_mapping() -> None:
    theirs = {"SNID": "object_id", "MJD": "mjd", "BAND": "passband", "FLUXCAL": "flux", "FLUXCALERR": "flux_err"}
    table = long_table().rename(columns=theirs)
    table["passband"] = table["passband"].map({"g": 1, "r": 2, "i": 3, "z": 4})
    assert to_light_curves(table).bands == SURVEY.bands


def test_rows_without_a_number_are_dropped_and_an_object_of_only_such_is_rejected(
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = long_table()
    first, second = SURVEY.objects["SNID"][:2]
    table.loc[table["SNID"] == first, "FLUXCAL"] = np.nan
    is_second = np.flatnonzero(table["SNID"] == second)
    table.loc[is_second[0], "FLUXCALERR"] = 0.0
    n_bad = int((table["SNID"] == first).sum()) + 1
    with caplog.at_level(logging.WARNING):
        taken = take_input(table)
    assert taken.n_dropped == n_bad
    assert f"{n_bad} of {len(table)} measurements left out" in caplog.text
    found = small_classifier().classify(table).table
    assert found["SNID"].tolist() == SURVEY.objects["SNID"].tolist()
    assert found["STATUS"].tolist()[:1] == ["rejected"]
    assert found["REASON"][0] == f"no usable measurement: of all {n_bad - 1} the time, flux or error is no number"


def test_an_empty_table_of_an_object_keeps_its_row() -> None:
    tables = {"a": pieces()[0], "b": pieces()[1][:0]}
    found = small_classifier().classify(tables).table
    assert found["SNID"].tolist() == ["a", "b"]
    assert found["REASON"][1] == "no measurement"
    assert found["STATUS"][1] == "rejected"


def test_fluxes_at_another_zeropoint_are_brought_to_ours() -> None:
    scale = 10 ** (0.4 * (31.4 - 27.5))
    table = long_table()
    scaled = table.assign(FLUXCAL=table["FLUXCAL"] * scale, FLUXCALERR=table["FLUXCALERR"] * scale)
    for found in (to_light_curves(scaled, zeropoint=31.4), to_light_curves(scaled.assign(ZP_FLUXCAL=31.4))):
        np.testing.assert_allclose(found.epochs["FLUXCAL"], SURVEY.epochs["FLUXCAL"], rtol=1e-12)
    checkpoint = small_classifier().checkpoint
    found = Classifier(checkpoint, ClassifySettings(zeropoint=31.4)).classify(scaled)
    np.testing.assert_allclose(found.probabilities, small_classifier().classify(SURVEY).probabilities, atol=1e-5)


def test_bands_are_renamed_by_a_map() -> None:
    table = long_table()
    table["BAND"] = "DES-" + table["BAND"]
    found = to_light_curves(table, band_map={f"DES-{band}": band for band in "griz"})
    assert found.bands == SURVEY.bands


def test_tables_that_do_not_name_one_object_are_refused() -> None:
    with pytest.raises(InputError, match="table 2 is of several objects"):
        to_light_curves([pieces()[0], long_table()])
    with pytest.raises(InputError, match="table 1 does not name its object"):
        to_light_curves([pieces()[0].drop(columns="SNID")])
    with pytest.raises(InputError, match="names more than one object"):
        to_light_curves([pieces()[0], pieces()[0]])
    with pytest.raises(InputError, match="does not name its object"):
        to_light_curves(long_table().assign(SNID=None))
    uneven = with_lists_in_cells()
    uneven["MJD"] = pd.Series([[1.0]] * len(uneven), dtype=object)
    with pytest.raises(InputError, match="lists of different lengths"):
        to_light_curves(uneven)


def test_simulated_truth_does_not_enter_light_curves() -> None:
    found = to_light_curves(long_table().assign(SIM_REDSHIFT=0.1, SNTYPE=1))
    assert isinstance(found, LightCurves)
    assert "SIM_REDSHIFT" not in found.objects
