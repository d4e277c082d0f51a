"""What codes of types mean: by convention, by a list that a simulation is known to use, or as the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.ingest.readers import ReadOptions
from pipeline.settings import SettingsError, load_settings
from pipeline.store import IngestSettings, Store, ingest
from pipeline.taxonomy import ELASTICC_CODES
from tests.pipeline.ingest.snana_files import Written, read_texts, write_survey
from tests.pipeline.ingest.table_files import Curve, read_paths, write_fits, write_supernnova

CURVES = [Curve("8", ((56000.0, "g", 10.0, 1.0), (56003.0, "r", 12.0, 1.0)))]
LATER = Written("7", header={"FILTERS": "griz", "SNTYPE": "32", "SIM_REDSHIFT_HELIO": "0.3"}).text()


def types_of(result: object) -> list[tuple[str | None, str | None]]:
    rows = result.truth.to_pylist()  # type: ignore[attr-defined]
    return [(row["CLASS"], row["SUBCLASS"]) for row in rows]


def test_a_simulation_of_elasticc_has_codes_of_its_own(tmp_path: Path):
    assert types_of(read_paths(write_fits(tmp_path, CURVES))) == [("II", "IIL")]
    paths = write_fits(tmp_path, CURVES, VERSION="ELASTICC2_TRAIN_02_SNIb-Templates")
    assert types_of(read_paths(paths)) == [(None, None)], "22 is IIL in DES, and nothing in ELAsTiCC"


@pytest.mark.parametrize(("code", "expected"), [(20, ("Ibc", "Ib")), (32, ("II", "II")), (27, ("Ibc", "Ic-BL"))])
def test_codes_that_mean_something_else_elsewhere_are_read_as_the_user_says(
    tmp_path: Path, code: int, expected: tuple[str, str]
):
    curves, options = write_supernnova(tmp_path, CURVES), ReadOptions(type_codes=ELASTICC_CODES)
    head = curves[0].read_text().replace("122", str(code))
    curves[0].write_text(head.replace("SIM_REDSHIFT_CMB", "SIM_PEAKMJD"))
    assert types_of(read_paths(curves, options)) == [expected]
    assert types_of(read_texts(LATER.replace("32", str(code)), options=options)) == [expected]


def test_a_code_with_100_added_is_one_without_spectrum_unless_it_is_given_itself():
    text = LATER.replace("32", "132")
    told = [
        read_texts(text, options=ReadOptions(type_codes=codes)).truth.to_pylist()[0] for codes in ({}, {132: "IIn"})
    ]
    assert [(row["SUBCLASS"], row["SPECTYPE"]) for row in told] == [("Ib", None), ("IIn", "IIn")]


def test_lists_have_names_and_other_names_are_refused():
    assert load_settings(IngestSettings, {"type_codes": "elasticc"}, "test").type_codes == ELASTICC_CODES
    assert load_settings(IngestSettings, {"type_codes": {"20": "IIP"}}, "test").type_codes == {20: "IIP"}
    for wrong in ("elastic", {"x": "Ia"}):
        with pytest.raises(SettingsError, match="type_codes"):
            load_settings(IngestSettings, {"type_codes": wrong}, "test")


def test_the_same_files_read_in_another_way_are_read_again_and_then_known(tmp_path: Path):
    survey = write_survey(tmp_path / "survey", 3, sn00=LATER)
    store = Store.create(tmp_path / "store")
    ways = [{}, {}, {"type_codes": "elasticc"}, {"type_codes": "elasticc"}, {"band_map": {"g": "x"}}, {}]
    outcomes = []
    for way in ways:
        summary = ingest([survey], store, IngestSettings.model_validate(way))
        truth = store.truth().table.set_index("SNID")
        bands = set(store.light_curves().to_arrow()["BAND"].combine_chunks().flatten().to_pylist())
        outcomes.append((summary.n_ingested, truth.loc["7", "SUBCLASS"], "x" in bands))
        assert summary.n_files == summary.n_ingested + summary.n_unchanged == 3
    assert outcomes == [
        (3, "Ib", False), (0, "Ib", False), (3, "II", False), (0, "II", False), (3, "Ib", True), (3, "Ib", False),
    ]  # fmt: skip
