"""What each survey's way of writing SNANA text means, by the example files and by small changes of one file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.readers import READERS, ReadOptions, ReadResult
from pipeline.ingest.readers.snana_columns import to_fluxcal
from pipeline.schema import LightCurves
from tests.pipeline.ingest.snana_files import DIALECTS, EXAMPLES, ROWS, Row, Written, read_texts

GOOD = Written().text()


def example(name: str) -> tuple[LightCurves, pd.Series, pd.Series]:
    """Light curve, header and truth of an example file."""
    result = read_texts((EXAMPLES / name).read_bytes())
    assert result.rejections == []
    curves = LightCurves.from_arrow(result.light_curves)
    return curves, curves.objects.iloc[0], result.truth.to_pandas().iloc[0]


def with_header(**header: str) -> ReadResult:
    return read_texts(Written(header={"FILTERS": "griz", **header}).text())


def truth_of(**header: str) -> pd.Series:
    return with_header(**header).truth.to_pandas().iloc[0]


def magnitudes(*rows: str) -> ReadResult:
    """A file without fluxes whose rows are MJD, band, MAG, MAGERR."""
    lines = ["SNID: 5", "VARLIST: MJD FLT MAG MAGERR", *(f"OBS: {row}" for row in rows), "END:"]
    return read_texts("\n".join(lines))


def test_a_des_sn3yr_file_gives_all_that_a_survey_knows_and_nothing_of_its_private_keys():
    curves, found, truth = example("des_sn3yr.dat")
    assert (found["SNID"], found["PHOTOZ"], found["PHOTOZ_ERR"]) == ("1300901", 0.4375, 0.0625)
    assert (found["SPECZ"], found["SPECZ_ERR"], found["MWEBV"]) == (0.4125, 0.0005, 0.0275)
    assert curves.epochs["BAND"].tolist() == ["g", "r", "g", "z", "i"]
    assert curves.epochs["PHOTFLAG"].tolist() == [0, 4096, 4096, 1056, 4096]
    assert (truth["CLASS"], truth["SPECTYPE"]) == ("Ia", "Ia")


def test_the_peak_that_a_survey_estimates_is_neither_truth_nor_part_of_a_light_curve():
    curves, found, truth = example("des_sn3yr.dat")
    assert pd.isna(truth["PEAKMJD"])
    assert 57010.5 not in [*found.tolist(), *curves.epochs["MJD"]]
    assert pd.isna(truth_of(SEARCH_PEAKMJD="56000.0")["PEAKMJD"])
    assert truth_of(SIM_PEAKMJD="56001.0", PEAKMJD="56000.0")["PEAKMJD"] == 56001.0


def test_tabs_around_an_error_lose_no_redshift():
    _, found, _ = example("full_band_names.txt")
    assert (found["SPECZ"], found["SPECZ_ERR"]) == (0.125, 0.005)
    assert (found["PHOTOZ"], found["PHOTOZ_ERR"]) == (0.25, 0.0625)


def test_full_band_names_stay_as_they_are_and_the_trigger_line_is_the_early_epoch():
    curves, found, truth = example("full_band_names.txt")
    assert curves.bands == ("DES-g", "DES-r")
    assert found["DETECTION_MJD"] == 59005.125
    assert (truth["CLASS"], truth["SUBCLASS"], truth["PEAKMJD"]) == ("II", "IIP", 59010.25)


def test_windows_line_ends_a_byte_order_mark_latin_remarks_and_nan_do_not_matter():
    curves, found, _ = example("windows_and_nan.dat")
    assert (found["SNID"], found["SURVEY"], found["RA"]) == ("PSc990001", "PS1MD", 52.5)
    assert curves.epochs["FLUXCAL"].tolist() == [-24.0, -6.0, 13.5, 1380.0]


@pytest.mark.parametrize("key", ["REDSHIFT_FINAL", "REDSHIFT_CMB"])
def test_a_redshift_corrected_to_another_frame_is_no_specz(key: str):
    found = LightCurves.from_arrow(with_header(**{key: "0.5 +- 0.01"}).light_curves).objects.iloc[0]
    assert pd.isna(found["SPECZ"])
    assert pd.isna(found["PHOTOZ"])


@pytest.mark.parametrize("value", ["0.3+-0.05", "0.3\t+-\t0.05", "0.3 +_ 0.05", "0.3 +-0.05 (host)"])
def test_an_error_may_be_written_in_several_ways(value: str):
    found = LightCurves.from_arrow(with_header(HOSTGAL_PHOTOZ=value, MWEBV=value).light_curves).objects.iloc[0]
    assert (found["PHOTOZ"], found["PHOTOZ_ERR"], found["MWEBV"]) == (0.3, 0.05, 0.3)


def test_keys_that_only_begin_like_ours_and_private_keys_are_left_alone():
    result = with_header(NOBS_BEFORE_PEAK="99", SNID_OLD="8", TYPE_PHOT="1", **{"PRIVATE(SNID)": "9"})
    assert result.light_curves["SNID"].to_pylist() == ["7"]
    assert result.truth["CLASS"].to_pylist() == [None]


def test_a_name_that_is_not_utf8_is_read_as_latin_1():
    result = read_texts(GOOD.replace("SNID:  7", "SNID:  Caf\xe9").encode("latin-1"))
    assert result.light_curves["SNID"].to_pylist() == ["Caf\xe9"]


def test_one_wrong_byte_in_a_comment_of_the_simulation_stops_nothing():
    bad = GOOD.encode().replace(b"SNTYPE:", b"SIM_COMMENT: SN Type = \xffIIP , MODEL = NU\xc9\nSNTYPE:")
    result = read_texts(Written("1").text(), bad)
    assert (result.rejections, len(result.light_curves)) == ([], 2)


@pytest.mark.parametrize("filters", ["griz", "g,r,i,z", "g r i z", "griz  # DES", "DES-g,DES-r", "DES-g DES-r"])
def test_bands_may_be_announced_in_several_ways(filters: str):
    band = "DES-" if "DES-" in filters else ""
    rows = tuple((mjd, band + name, flux, error) for mjd, name, flux, error in ROWS)
    assert read_texts(Written(rows=rows, header={"FILTERS": filters}).text()).rejections == []
    rows = ((56000.0, band + "y", 1.0, 1.0), *rows)
    (rejection,) = read_texts(Written(rows=rows, header={"FILTERS": filters}).text()).rejections
    assert rejection.reason.startswith(f"unknown band: {band}y; known are")


def test_a_full_band_name_is_known_by_its_last_letter_and_still_not_renamed():
    rows = tuple((mjd, f"DES-{name}", flux, error) for mjd, name, flux, error in ROWS)
    text = Written(rows=rows).text()
    assert LightCurves.from_arrow(read_texts(text).light_curves).bands == ("DES-g", "DES-r")
    strict = read_texts(text, options=ReadOptions({"DES-g": "g", "DES-r": "r"}, ("g", "r")))
    assert LightCurves.from_arrow(strict.light_curves).bands == ("g", "r")


@pytest.mark.parametrize(
    ("code", "spcc", "later"),
    [(1, "Ia", "Ia"), (21, "IIn", "IIn"), (22, "IIP", "IIL"), (23, "IIL", "IIL"), (20, None, "IIP"), (33, "Ic", "Ic")],
)
def test_type_codes_are_those_of_the_spcc_or_of_later_simulations(code: int, spcc: str | None, later: str):
    of_spcc = truth_of(SNTYPE=str(code), **{"HOST_GALAXY_PHOTO-Z": "0.3 +- 0.1"})
    assert (None if pd.isna(of_spcc["SPECTYPE"]) else of_spcc["SPECTYPE"]) == spcc
    assert truth_of(SNTYPE=str(code))["SPECTYPE"] == truth_of(TYPE=f"{code}  # remark")["SPECTYPE"] == later


def test_a_code_above_100_is_the_truth_of_a_simulation_and_only_an_opinion_on_real_data():
    simulated = truth_of(SNTYPE="101", SIM_REDSHIFT_HELIO="0.5")
    assert (simulated["CLASS"], pd.isna(simulated["SPECTYPE"])) == ("Ia", True)
    assert truth_of(SNTYPE="-9", TYPE="120", SIM_REDSHIFT="0.5")["SUBCLASS"] == "IIP"
    assert pd.isna(truth_of(SNTYPE="101")["CLASS"])
    assert pd.isna(truth_of(SNTYPE="180", SIM_REDSHIFT="0.5")["CLASS"])


def test_magnitudes_without_fluxes_become_fluxes_at_27_5():
    curves, _, _ = example("magnitudes_only.dat")
    np.testing.assert_allclose(curves.epochs["FLUXCAL"], [1000.0, 10_000.0, 100.0, 1.0])
    expected = curves.epochs["FLUXCAL"] * np.array([0.1, 0.05, 0.2, 0.4]) * 0.4 * np.log(10)
    np.testing.assert_allclose(curves.epochs["FLUXCALERR"], expected)


@pytest.mark.parametrize("mag", ["99.000", "128.000", "666.000", "-9.000", "nan", "1e9"])
def test_a_magnitude_that_stands_for_none_is_left_out_and_listed(mag: str):
    result = magnitudes("56000.0 g 20.0 0.1", f"56001.0 g {mag} 0.1", "56002.0 r 21.0 0.1")
    (rejection,) = result.rejections
    assert (rejection.scope, rejection.line, rejection.snid) == ("epoch", 4, "5")
    assert rejection.reason == f"MAG is not measured: {float(mag):g}"
    assert result.light_curves["MJD"].to_pylist() == [[56000.0, 56002.0]]


def test_a_magnitude_without_an_error_is_left_out_and_listed():
    result = magnitudes("56000.0 g 20.0 0.1", "56001.0 g 21.0 -9.0")
    assert [rejection.reason for rejection in result.rejections] == ["MAGERR is not positive: -9.0"]


def test_magnitudes_beside_fluxes_are_not_used():
    assert to_fluxcal(np.array([10.0]), np.array([1.0]), 27.5, is_mag=False)[0] == 10.0
    rows = LightCurves.from_arrow(read_texts(Written().text(DIALECTS["ps1"])).light_curves).epochs
    assert rows["FLUXCAL"].tolist() == [10.0, 20.0, 30.0]


BAD = {
    "not a zeropoint: ZP_FLUXCAL is 1e+09 mag, expected 0 to 50": GOOD.replace("SNTYPE:", "ZP_FLUXCAL: 1e9\nSNTYPE:"),
    "not a number of rows: NOBS is 1e+300": GOOD.replace("NOBS:  3", "NOBS: 1e300"),
    "not a number: RA is 'NULL'": GOOD.replace("SNTYPE:", "RA: NULL\nSNTYPE:"),
    "repeated columns: FLUXCAL (VARLIST: MJD FLT FLUXCAL FLUXCALERR FIELD FLUXCAL)": GOOD.replace("SIM_MAG", "FLUXCAL"),
    "missing columns: FLUXCALERR (VARNAMES: MJD FLT FLUXCAL MAGERR FIELD SIM_MAG)": GOOD.replace(
        "VARLIST:", "VARNAMES:"
    ).replace("FLUXCALERR", "MAGERR"),
    "more than one object: after the end of the first came 'SURVEY: TEST'": GOOD + GOOD,
    "more than one object: after the end of the first came 'OBS: 1 g 1 1 N 25'": GOOD + "OBS: 1 g 1 1 N 25\n",
    "damaged row: PHOTFLAG 4294967296.0 is not a 32-bit integer": GOOD.replace("SIM_MAG", "PHOTFLAG").replace(
        "25.000", "4294967296"
    ),
    "no usable measurement: all 3 rows are bad, first: FLUXCAL is not finite: 1e+308": GOOD.replace(
        "SNTYPE:", "ZP_FLUXCAL: 1\nSNTYPE:"
    )
    .replace("10.0", "1e308")
    .replace("20.0", "1e308")
    .replace("30.0", "1e308"),
}
"""Message by input: what a damaged file is told."""


@pytest.mark.parametrize("reason", sorted(BAD))
def test_a_damaged_file_is_told_what_is_wrong(reason: str):
    result = read_texts(Written("1").text(), BAD[reason], Written("2").text())
    said = [rejection.reason for rejection in result.rejections if rejection.scope == "file"]
    assert [text.replace("  ", " ") for text in said] == [reason.replace("SURVEY: TEST", "SNID: 7")]
    assert result.light_curves["SNID"].to_pylist() == ["1", "2"]


def test_a_first_row_that_is_indented_is_not_lost():
    text = GOOD.replace("\nOBS:", "\n  OBS:", 1).replace("NOBS:  3\n", "")
    assert len(LightCurves.from_arrow(read_texts(text).light_curves).epochs) == 3


def test_a_digit_that_one_bit_made_a_control_character_is_not_taken_for_a_space():
    good = read_texts("SNID: 5\nVARLIST: MJD FLT MAG MAGERR\nOBS: 56000.0 g 20.0 0.1\nEND:\n")
    assert good.rejections == []
    (rejection,) = magnitudes("56000.0 g \x120.0 0.1").rejections
    assert rejection.reason.startswith("damaged row: ")


def test_the_end_inside_a_header_is_not_passed_over():
    (rejection,) = read_texts(GOOD.replace("VARLIST:", "END:\nVARLIST:")).rejections
    assert rejection.reason.startswith("more than one object: ")


def test_the_keys_of_another_case_are_not_snana():
    assert not READERS["snana_text"].recognises(GOOD.lower().encode())


rows = st.lists(
    st.tuples(st.floats(0, 1e5), st.sampled_from("griz"), st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)),
    min_size=1,
    max_size=6,
)


@pytest.mark.parametrize("name", sorted(DIALECTS))
@settings(max_examples=40, deadline=None)
@given(rows)
def test_a_light_curve_written_in_the_way_of_any_survey_is_read_back(name: str, rows: list[Row]):
    result = read_texts(Written(rows=tuple(rows)).text(DIALECTS[name]))
    assert result.rejections == []
    epochs = LightCurves.from_arrow(result.light_curves).epochs
    expected = pd.DataFrame(rows, columns=["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]).sort_values(
        ["MJD", "BAND", "FLUXCAL", "FLUXCALERR"]
    )
    tolerance = 1e-12 if DIALECTS[name].is_mag else 0
    assert epochs["MJD"].tolist() == expected["MJD"].tolist()
    if not DIALECTS[name].is_mag:
        assert epochs["BAND"].tolist() == expected["BAND"].tolist()
    for column in ("FLUXCAL", "FLUXCALERR"):
        np.testing.assert_allclose(np.sort(epochs[column]), np.sort(expected[column]), rtol=tolerance)
