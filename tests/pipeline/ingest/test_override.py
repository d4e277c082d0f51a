"""Values of a table that replace those of the files."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.ingest.override import Override, OverrideError, read_override
from pipeline.schema import light_curve_hashes
from pipeline.settings import SettingsError
from pipeline.store import IngestSettings, IngestSummary, Store, ingest
from tests.pipeline.ingest.snana_files import Written, write_survey


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    header = {"FILTERS": "griz", "SNTYPE": "1", "MWEBV": "0.01", "HOSTGAL_PHOTOZ": "0.5 +- 0.1"}
    return write_survey(tmp_path / "survey", 4, sn00=Written("100", header=header).text())


def take(survey: Path, store: Path, override: Path | None = None, **others: object) -> IngestSummary:
    return ingest([survey], Store.create(store), IngestSettings.model_validate({"override": override, **others}))


def table(folder: Path, text: str, name: str = "table.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def everything(store: Path) -> list[str]:
    opened = Store.open(store)
    return [str(opened.light_curves().to_arrow().to_pylist()), opened.truth().table.to_csv()]


def test_cells_that_are_not_empty_replace_values_and_others_leave_them(survey: Path, tmp_path: Path):
    path = table(tmp_path, "SNID,PHOTOZ,MWEBV,REDSHIFT,PEAKMJD\n100,0.25,,0.3,56003\n102,0.75,0.02,,\n")
    take(survey, tmp_path / "store", path)
    objects = Store.open(tmp_path / "store").light_curves().objects.set_index("SNID")
    assert objects.loc["100", ["PHOTOZ", "PHOTOZ_ERR", "MWEBV"]].tolist() == [0.25, 0.1, 0.01]
    assert objects.loc["102", ["PHOTOZ", "MWEBV"]].tolist() == [0.75, 0.02]
    assert objects["PHOTOZ"].isna().tolist() == [False, True, False, True]
    truth = Store.open(tmp_path / "store").truth().table.set_index("SNID")
    assert truth.loc["100", ["REDSHIFT", "PEAKMJD", "CLASS"]].tolist() == [0.3, 56003.0, "Ia"]
    assert truth["REDSHIFT"].notna().sum() == 1


@pytest.mark.parametrize(
    ("columns", "cells", "expected"),
    [
        ("TYPE", "22", ["II", "IIP", "IIP"]),
        ("TYPE", "22.0", ["II", "IIP", "IIP"]),
        ("TYPE", "-9", ["Ia", "Ia", "Ia"]),
        ("CLASS", "Ibc", ["Ibc", "Ibc", "Ia"]),
        ("SUBCLASS", "IIn", ["II", "IIn", "Ia"]),
        ("CLASS,SUBCLASS,TYPE", "II,IIn,2", ["II", "IIn", "II"]),
    ],
)
def test_types_go_to_the_truth_alone(columns: str, cells: str, expected: list[str], survey: Path, tmp_path: Path):
    before = take(survey, tmp_path / "plain")
    take(survey, tmp_path / "store", table(tmp_path, f"SNID,{columns}\n100,{cells}\n"))
    assert before.n_ingested == 4
    store = Store.open(tmp_path / "store")
    assert store.truth().table.loc[0, ["CLASS", "SUBCLASS", "SPECTYPE"]].tolist() == expected
    assert store.content_hash() == Store.open(tmp_path / "plain").content_hash()


def test_the_hash_of_an_object_follows_its_observed_values(survey: Path, tmp_path: Path):
    take(survey, tmp_path / "plain")
    take(survey, tmp_path / "store", table(tmp_path, "SNID,SPECZ\n101,0.2\n"))
    before, after = (Store.open(tmp_path / name).light_curves() for name in ("plain", "store"))
    changed = before.objects["PHOTOMETRY_HASH"] != after.objects["PHOTOMETRY_HASH"]
    assert changed.tolist() == [False, True, False, False]
    assert light_curve_hashes(after.to_arrow()) == after.objects["PHOTOMETRY_HASH"].tolist()
    other = write_survey(tmp_path / "other", 0)
    header = {"FILTERS": "griz", "SNTYPE": "-9", "REDSHIFT_SPEC": "0.2"}
    text = Written("101", tuple((m, b, f + 1, e) for m, b, f, e in Written().rows), header).text()
    (other / "sn01.dat").write_text(text)
    take(other, tmp_path / "said_by_the_file")
    told = Store.open(tmp_path / "said_by_the_file").light_curves().objects["PHOTOMETRY_HASH"].tolist()
    assert told == [after.objects["PHOTOMETRY_HASH"][1]]


def test_the_same_again_changes_nothing_another_changes_its_objects_and_none_restores_the_files(
    survey: Path, tmp_path: Path
):
    take(survey, tmp_path / "store")
    plain = everything(tmp_path / "store")
    path = table(tmp_path, "SNID,PHOTOZ\n100,0.25\n102,0.75\n")
    assert take(survey, tmp_path / "store", path).n_ingested == 2
    with_table = everything(tmp_path / "store")
    versions = Store.open(tmp_path / "store").versions()
    again = take(survey, tmp_path / "store", path)
    assert (again.n_ingested, again.n_unchanged) == (0, 4)
    assert Store.open(tmp_path / "store").versions() == versions
    table(tmp_path, "SNID,PHOTOZ\n102,0.75\n100,0.35\n")
    other = take(survey, tmp_path / "store", path)
    assert (other.n_ingested, other.n_unchanged) == (1, 3)
    assert everything(tmp_path / "store") != with_table
    assert take(survey, tmp_path / "store").n_ingested == 2
    assert everything(tmp_path / "store") == plain


def test_the_summary_names_the_table_its_hash_and_the_ids_that_matched_nothing(survey: Path, tmp_path: Path):
    path = table(tmp_path, "SNID,PHOTOZ\n100,0.25\n555,0.75\n444,0.1\n103,\n")
    for n_ingested in (4, 0):
        summary = take(survey, tmp_path / "store", path)
        assert summary.n_ingested == n_ingested
        found = json.loads(json.dumps(summary.to_dict()))["override"]
        assert (found["n_rows"], found["n_matched"], found["n_unmatched"]) == (3, 1, 2)
        assert (found["file"], found["unmatched"]) == (str(path), ["444", "555"])
        assert found["hash"] == read_override(path).digest != ""


def test_csv_ecsv_and_parquet_say_the_same(tmp_path: Path):
    from astropy.table import MaskedColumn, Table

    csv = table(tmp_path, "\ufeffSNID, PHOTOZ ,SUBCLASS\n100, 0.25 ,\n101,,IIn\n")
    masked = MaskedColumn([0.25, 0.0], name="PHOTOZ", mask=[False, True])
    Table([[100, 101], masked, ["", "IIn"]], names=["SNID", "PHOTOZ", "SUBCLASS"]).write(
        tmp_path / "table.txt", format="ascii.ecsv"
    )
    columns = {"SNID": ["100", "101"], "PHOTOZ": [0.25, None], "SUBCLASS": [None, "IIn"]}
    pq.write_table(pa.table(columns), tmp_path / "table")
    expected = {"100": {"PHOTOZ": 0.25}, "101": {"SUBCLASS": "IIn", "CLASS": "II"}}
    for path in (csv, tmp_path / "table.txt", tmp_path / "table"):
        assert read_override(path).rows == expected
    assert {read_override(path).mark("101") for path in tmp_path.iterdir()} == {Override(rows=expected).mark("101")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SNID,PHOTO_Z\n1,2\n", "unknown column PHOTO_Z; the nearest valid one is PHOTOZ"),
        ("SNID,redshift\n1,2\n", "unknown column redshift; the nearest valid one is REDSHIFT"),
        ("ID,PHOTOZ\n1,2\n", "no column SNID among ID, PHOTOZ"),
        ("SNID,PHOTOZ,PHOTOZ\n1,2,3\n", "a column stands twice"),
        ("SNID,PHOTOZ\n1,2\n\n3,4\n1,5\n", "line 5: SNID 1 stands here again, first in line 2"),
        ("SNID,PHOTOZ\n1,2\n2,high\n", "line 3: PHOTOZ is not a number: 'high'"),
        ("SNID,PHOTOZ\n1,inf\n", "line 2: PHOTOZ is not a number: 'inf'"),
        ("SNID,PHOTOZ_ERR\n1,-0.1\n", "line 2: PHOTOZ_ERR is negative: -0.1"),
        ("SNID,PHOTOZ\n1,2,3\n", "line 2 has 3 cells, the header 2"),
        ("SNID,PHOTOZ\n,0.2\n", "line 2: expected an SNID"),
        ("SNID,CLASS\n1,IIP\n", "unknown CLASS IIP; known are Ia, II, Ibc"),
        ("SNID,CLASS\n1,kilonova\n", "unknown CLASS kilonova"),
        ("SNID,SUBCLASS\n1,kilonova\n", "unknown SUBCLASS kilonova; known are Ia, II"),
        ("SNID,TYPE\n1,77\n", "unknown TYPE 77; known are 1 Ia, 2 II"),
        ("SNID,CLASS,SUBCLASS\n1,Ia,IIP\n", "the types contradict each other: CLASS Ia, SUBCLASS IIP"),
        ("", "no column SNID"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_its_line_before_anything_is_read(
    text: str, message: str, survey: Path, tmp_path: Path
):
    with pytest.raises(OverrideError, match=message):
        take(survey, tmp_path / "store", table(tmp_path, text))
    assert issubclass(OverrideError, SettingsError)
    assert Store.open(tmp_path / "store").snids() == []


def test_a_table_that_is_missing_or_no_table_is_refused(tmp_path: Path):
    with pytest.raises(OverrideError, match="cannot be read"):
        read_override(tmp_path / "nothing.csv")
    for content in (b"PAR1 and no more", b"\xff\xfe\x00", b"# %ECSV 1.0\n# ---\n# nothing\n", b'SNID\n"a\n'):
        (tmp_path / "table").write_bytes(content)
        with pytest.raises(OverrideError, match="not a table in CSV, ECSV or Parquet"):
            read_override(tmp_path / "table")
    pd.DataFrame({"SNID": [1.0, 2.0]}).to_parquet(tmp_path / "floats")
    with pytest.raises(OverrideError, match=r"row 1: expected an SNID.*came 1\.0"):
        read_override(tmp_path / "floats")


def test_minus_nine_is_an_unknown_redshift_and_a_legal_declination(tmp_path: Path):
    path = table(tmp_path, "SNID,PHOTOZ,SPECZ,PEAKMJD,RA,DEC\n1,-9,-99.0,-999,10,-9\n")
    assert read_override(path).rows == {"1": {"RA": 10.0, "DEC": -9.0}}


@pytest.mark.parametrize("policy", ["newest", "merge"])
def test_a_shared_object_is_overridden_whichever_of_its_files_is_newest(policy: str, survey: Path, tmp_path: Path):
    path = table(tmp_path, "SNID,PHOTOZ,SUBCLASS\n101,0.25,IIn\n")
    (survey / "x.dat").write_text(Written("101", ((56000.0, "g", 1.0, 1.0),)).text())
    take(survey, tmp_path / "plain", duplicates=policy)
    take(survey, tmp_path / "store", path, duplicates=policy)
    store = Store.open(tmp_path / "store")
    with_table = everything(tmp_path / "store")
    assert store.light_curves(["101"]).objects["PHOTOZ"].tolist() == [0.25]
    assert store.truth().select(["101"]).table["SUBCLASS"].tolist() == ["IIn"]
    assert (
        light_curve_hashes(store.light_curves().to_arrow()) == store.light_curves().objects["PHOTOMETRY_HASH"].tolist()
    )
    assert take(survey, tmp_path / "store", path, duplicates=policy).n_unchanged == 5
    take(survey, tmp_path / "store", duplicates=policy)
    assert everything(tmp_path / "store") == everything(tmp_path / "plain")
    for name in ("sn01.dat", "x.dat"):
        part = tmp_path / name.partition(".")[0] / name
        part.parent.mkdir()
        part.write_bytes((survey / name).read_bytes())
        take(part, tmp_path / "one_by_one", path if name == "x.dat" else None, duplicates=policy)
    found = Store.open(tmp_path / "one_by_one").light_curves().objects["PHOTOZ"].tolist()
    assert found == [0.25]
    take(survey, tmp_path / "one_by_one", path, duplicates=policy)
    assert everything(tmp_path / "one_by_one") == with_table
