from __future__ import annotations

import random
import warnings

import numpy as np
import pandas as pd
import pytest
import sncosmo
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.ingest.readers import ReadOptions, SourceFile
from pipeline.ingest.readers.snana_lines import read_lines
from pipeline.ingest.readers.snana_text import recognises
from pipeline.schema import LightCurves
from tests.pipeline.ingest.snana_files import EXAMPLES, ROWS, Dialect, Row, Written, read_texts


def light_curves(*texts: str | bytes, options: ReadOptions | None = None) -> LightCurves:
    result = read_texts(*texts, options=options)
    assert result.rejections == []
    return LightCurves.from_arrow(result.light_curves)


def one_object(text: str | bytes) -> pd.Series:
    return light_curves(text).objects.iloc[0]


def truth_of(**header: str) -> pd.Series:
    return read_texts(Written(header=header).text()).truth.to_pandas().iloc[0]


def rows_of(curves: LightCurves) -> list[Row]:
    epochs = curves.epochs
    columns = (epochs["MJD"], epochs["BAND"].astype(str), epochs["FLUXCAL"], epochs["FLUXCALERR"])
    return list(zip(*(column.tolist() for column in columns), strict=True))


@pytest.fixture
def simulated() -> bytes:
    return (EXAMPLES / "simulated.DAT").read_bytes()


def test_a_simulated_file_gives_header_photometry_and_truth(simulated: bytes):
    result = read_texts(simulated)
    curves = LightCurves.from_arrow(result.light_curves)
    found = curves.objects.iloc[0]
    assert (found["SNID"], found["SURVEY"], found["RA"], found["DEC"]) == ("1042", "DES", 52.25, -28.5)
    assert (found["MWEBV"], found["PHOTOZ"], found["PHOTOZ_ERR"]) == (0.021, 0.3125, 0.04)
    assert len(curves.epochs) == 8
    assert rows_of(curves)[1] == (56190.25, "r", -9.0, 3.0)
    truth = result.truth.to_pandas().iloc[0]
    assert truth.tolist() == ["1042", "II", "IIP", "NUGENT2P", "IIP", 0.33, 56200.5]


def test_a_flux_of_minus_nine_is_a_flux_and_a_redshift_of_minus_nine_is_unknown(simulated: bytes):
    curves = light_curves(simulated)
    assert -9.0 in curves.epochs["FLUXCAL"].tolist()
    assert curves.objects[["SPECZ", "SPECZ_ERR"]].isna().all(axis=None)


def test_the_detection_line_among_the_rows_is_the_last_time_before_it(simulated: bytes):
    assert one_object(simulated)["DETECTION_MJD"] == 56198.375
    assert np.isnan(one_object(Written().text())["DETECTION_MJD"])


def test_a_detection_line_before_all_rows_marks_nothing():
    text = Written().text().replace("\nOBS:", "\nDETECTION:  here\nOBS:", 1)
    first = light_curves(text)
    assert len(first.epochs) == len(ROWS)
    assert np.isnan(first.objects["DETECTION_MJD"][0])


def test_a_detection_line_after_all_rows_marks_the_last():
    text = Written().text().replace("END:", "DETECTION: here\nEND:")
    assert one_object(text)["DETECTION_MJD"] == ROWS[-1][0]


def test_the_mark_is_the_latest_time_before_it_even_when_rows_are_out_of_order():
    text = Written(rows=ROWS[::-1]).text().replace("END:", "DETECTION: here\nEND:")
    assert one_object(text)["DETECTION_MJD"] == ROWS[-1][0]


def test_tabs_comments_the_name_band_and_disorder_do_not_matter():
    curves = light_curves((EXAMPLES / "tabs_and_bands.snana").read_bytes())
    assert curves.epochs["MJD"].is_monotonic_increasing
    assert curves.epochs["BAND"].tolist() == ["g", "r", "i", "g", "r"]
    assert curves.epochs["PHOTFLAG"].tolist() == [0, 0, 12288, 4096, 4096]
    assert curves.objects["SNID"].tolist() == ["1248990"]


def test_fluxes_at_another_zeropoint_are_brought_to_27_5():
    curves = light_curves((EXAMPLES / "tabs_and_bands.snana").read_bytes())
    np.testing.assert_allclose(curves.epochs["FLUXCAL"], [10.0, -2.0, 100.0, 20.0, 30.0])
    np.testing.assert_allclose(curves.epochs["FLUXCALERR"], [1.0, 1.0, 4.0, 2.0, 3.0])


def test_the_zeropoint_column_of_the_images_does_not_rescale_fluxcal():
    text = (EXAMPLES / "real_by_band.dat").read_text()
    table = pd.DataFrame([line.split()[1:] for line in text.splitlines() if line.startswith("OBS:")])
    magnitudes = table[6].astype(float)[table[3].astype(float) > 0]
    fluxes = light_curves(text).epochs.query("FLUXCAL > 0")["FLUXCAL"]
    np.testing.assert_allclose(np.sort(27.5 - 2.5 * np.log10(fluxes)), np.sort(magnitudes), atol=0.002)


def test_rows_grouped_by_band_come_out_in_time_order():
    curves = light_curves((EXAMPLES / "real_by_band.dat").read_bytes())
    assert curves.epochs["MJD"].is_monotonic_increasing
    assert curves.epochs["BAND"].tolist() == ["g", "r", "i", "i", "g", "r"]


def test_real_data_without_a_type_has_no_class():
    truth = read_texts((EXAMPLES / "real_by_band.dat").read_bytes()).truth.to_pandas()
    assert truth.drop(columns="SNID").isna().all(axis=None)


@pytest.mark.parametrize(
    ("header", "specz"),
    [
        ({"REDSHIFT_SPEC": "0.5 +- 0.01", "REDSHIFT_HELIO": "0.4 +- 0.1"}, (0.5, 0.01)),
        ({"REDSHIFT_SPEC": "-9.0 +- 9.0", "REDSHIFT_HELIO": "0.4 +- 0.1 (z_best)"}, (np.nan, np.nan)),
        ({"HOSTGAL_SPECZ": "0.3 +- 0.001", "REDSHIFT_HELIO": "0.4 +- 0.1"}, (0.3, 0.001)),
        ({"HOSTGAL_SPECZ": "-9.0", "REDSHIFT_HELIO": "0.4 +- 0.002 (Helio)"}, (0.4, 0.002)),
        ({"REDSHIFT_HELIO": "0.4", "REDSHIFT_HELIO_ERR": "0.01"}, (0.4, 0.01)),
        ({"REDSHIFT_HELIO": "0.4 +- -9"}, (0.4, np.nan)),
        ({"HOSTGAL_PHOTOZ": "0.4002 +- 0.05", "REDSHIFT_HELIO": "0.4 +- 0.05"}, (np.nan, np.nan)),
        ({}, (np.nan, np.nan)),
    ],
)
def test_specz_is_the_best_spectroscopic_redshift_and_never_a_photometric_one(
    header: dict[str, str], specz: tuple[float, float]
):
    found = one_object(Written(header=header).text())
    np.testing.assert_equal((found["SPECZ"], found["SPECZ_ERR"]), specz)


@pytest.mark.parametrize(
    "header",
    [
        {"HOSTGAL_PHOTOZ": "0.3 +- 0.05"},
        {"HOSTGAL_PHOTOZ": "0.3", "HOSTGAL_PHOTOZ_ERR": "0.05 # mag"},
        {"HOST_GALAXY_PHOTO-Z": "0.3000  +- 0.0500"},
    ],
)
def test_photoz_comes_under_old_and_new_names(header: dict[str, str]):
    found = one_object(Written(header=header).text())
    assert (found["PHOTOZ"], found["PHOTOZ_ERR"]) == (0.3, 0.05)


def test_truth_comes_from_the_simulation_first_and_from_a_spectrum_otherwise():
    sim = truth_of(
        SIM_COMMENT="SN Type = Ic , MODEL = SDSS-004012", SNTYPE="-9", SIM_REDSHIFT="0.2", SIM_PEAKMJD="1.5 d"
    )
    assert (sim["CLASS"], sim["SUBCLASS"], sim["TEMPLATE"]) == ("Ibc", "Ic", "SDSS-004012")
    assert (sim["REDSHIFT"], sim["PEAKMJD"], pd.isna(sim["SPECTYPE"])) == (0.2, 1.5, True)
    spectrum = truth_of(SNTYPE="32   # Ib")
    assert (spectrum["CLASS"], spectrum["SUBCLASS"], spectrum["SPECTYPE"]) == ("Ibc", "Ib", "Ib")
    assert truth_of(TYPE="1")["CLASS"] == "Ia"
    assert truth_of(SIM_NON1a="0 (non1a index)")["CLASS"] == "Ia"
    assert pd.isna(truth_of(SNTYPE="-9")["CLASS"])
    assert pd.isna(truth_of(TYPE="119")["CLASS"])


def test_an_snid_of_digits_stays_a_string_with_its_zeros():
    assert one_object(Written("007").text())["SNID"] == "007"


def test_the_band_map_renames_bands_and_announced_filters():
    rows = tuple((mjd, f"DES-{band}", flux, error) for mjd, band, flux, error in ROWS)
    text = Written(rows=rows, header={"FILTERS": "DES-g,DES-r"}).text()
    options = ReadOptions({"DES-g": "g", "DES-r": "r"})
    assert light_curves(text, options=options).bands == ("g", "r")
    assert light_curves(text).bands == ("DES-g", "DES-r")


def test_two_bands_may_become_one():
    curves = light_curves(Written().text(), options=ReadOptions({"g": "x", "r": "x"}, ("x",)))
    assert curves.bands == ("x",)


def test_files_of_several_layouts_are_read_together_in_their_order():
    files = [Written(str(number)).text(Dialect(band=band)) for number, band in enumerate(["FLT", "BAND"] * 3)]
    assert light_curves(*files).objects["SNID"].tolist() == [str(number) for number in range(6)]


def test_prose_that_mentions_keys_is_not_recognised():
    assert not recognises(b"The files start with SNID: and OBS: lines\n")


def test_epochs_of_one_time_do_not_depend_on_the_order_of_rows():
    rows = ((1.0, "r", 2.0, 1.0), (1.0, "g", 3.0, 1.0), (1.0, "g", 1.0, 1.0))
    there, back = light_curves(Written(rows=rows).text()), light_curves(Written(rows=rows[::-1]).text())
    assert rows_of(there) == rows_of(back) == sorted(rows)
    assert there.objects["PHOTOMETRY_HASH"].tolist() == back.objects["PHOTOMETRY_HASH"].tolist()


finite = st.floats(-1e6, 1e6, allow_nan=False, width=64)
a_row = st.tuples(st.floats(0, 1e5), st.sampled_from("griz"), finite, st.floats(1e-3, 1e6))
dialects = st.builds(
    Dialect,
    band=st.sampled_from(["FLT", "BAND"]),
    separator=st.sampled_from([" ", "   ", "\t", " \t "]),
    line_end=st.sampled_from(["\n", "\r\n", "  \n", "\n\n", "\n# remark\n"]),
    comment=st.sampled_from(["", "  # remark", "   "]),
    has_end=st.booleans(),
    has_nobs=st.booleans(),
    extra_columns=st.sampled_from([(), ("FIELD",), ("FIELD", "SNR", "MAG"), ("PHOTPROB", "SIM_MAG")]),
    columns_key=st.sampled_from(["VARLIST", "VARNAMES"]),
    end=st.sampled_from(["END:", "END_PHOTOMETRY:", "END_PHOTOMETRY:\n\nSPEC: 4000 1 1\nEND:"]),
    byte_order_mark=st.sampled_from(["", "\ufeff"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.lists(a_row, min_size=1, max_size=6), dialects), min_size=1, max_size=3), st.randoms())
def test_what_is_written_in_any_dialect_is_what_is_read(files: list[tuple[list[Row], Dialect]], rng: random.Random):
    texts = []
    for number, (rows, dialect) in enumerate(files):
        shuffled = rng.sample(rows, len(rows))
        texts.append(Written(str(number), tuple(shuffled)).text(dialect))
    curves = light_curves(*texts)
    expected = [row for rows, _ in files for row in sorted(rows)]
    assert rows_of(curves) == expected
    assert np.diff(curves.offsets).tolist() == [len(rows) for rows, _ in files]


@settings(max_examples=60, deadline=None)
@given(st.lists(a_row, min_size=1, max_size=6), dialects)
def test_reading_by_columns_and_line_by_line_agree(rows: list[Row], dialect: Dialect):
    text = Written(rows=tuple(rows)).text(dialect)
    by_columns = light_curves(text)
    source = read_texts(text).light_curves
    assert len(source) == 1
    lines = read_lines(0, SourceFile("0.dat", text.encode(), ""), ReadOptions())
    assert lines.found is not None
    _, epochs, _ = lines.found
    found = zip(epochs.mjd, epochs.band.to_pylist(), epochs.fluxcal, epochs.fluxcal_err, strict=True)
    assert sorted(found) == rows_of(by_columns)


@pytest.mark.parametrize("name", ["simulated.DAT", "real_by_band.dat"])
def test_photometry_agrees_with_sncosmo(name: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meta, tables = sncosmo.read_snana_ascii(str(EXAMPLES / name), default_tablename="OBS")
    theirs = tables["OBS"].to_pandas().sort_values("MJD")
    curves = light_curves((EXAMPLES / name).read_bytes())
    assert str(meta["SNID"]) == curves.objects["SNID"][0]
    np.testing.assert_array_equal(curves.epochs["MJD"], theirs["MJD"])
    np.testing.assert_array_equal(curves.epochs["FLUXCAL"], theirs["FLUXCAL"])
    np.testing.assert_array_equal(curves.epochs["FLUXCALERR"], theirs["FLUXCALERR"])
    assert curves.epochs["BAND"].tolist() == theirs["FLT"].tolist()
