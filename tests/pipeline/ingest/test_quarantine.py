from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ingest.quarantine import FileRead, quarantine_rows, update_quarantine
from pipeline.ingest.readers import ReadOptions, ReadResult, Rejection
from pipeline.schema import QUARANTINE_SCHEMA
from pipeline.store import IngestSettings, IngestSummary, Store, TooManyBadFilesError, ingest
from tests.pipeline.ingest.snana_files import ROWS, Dialect, Written, read_texts, write_survey

GOOD = Written().text()


def only_rejection(text: str | bytes, options: ReadOptions | None = None) -> Rejection:
    """The one rejection of a bad file read between two good ones, which are not harmed."""
    result = read_texts(Written("1").text(), text, Written("2").text(), options=options)
    assert result.light_curves["SNID"].to_pylist() == result.truth["SNID"].to_pylist() == ["1", "2"]
    (rejection,) = result.rejections
    assert (rejection.file, rejection.scope) == ("1.dat", "file")
    return rejection


def line_of(text: str, start: str, occurrence: int = 0) -> int:
    return [number for number, line in enumerate(text.split("\n"), 1) if line.startswith(start)][occurrence]


def with_row(index: int, **values: float | str) -> str:
    """A file in which one row has other values of mjd, band, flux or error."""
    rows = list(ROWS)
    rows[index] = tuple({**dict(zip(("mjd", "band", "flux", "error"), rows[index], strict=True)), **values}.values())
    return Written(rows=tuple(rows)).text().replace("'", "")


def ingest_folder(folder: Path, store: Path, **settings: object) -> IngestSummary:
    return ingest([folder], Store.create(store), IngestSettings.model_validate({"max_bad_fraction": 1, **settings}))


def test_a_row_cut_short_rejects_the_file_with_its_line():
    text = GOOD[: GOOD.index("30.0") + 2]
    rejection = only_rejection(text)
    assert rejection.reason == "damaged row: expected 6 values, came 3"
    assert (rejection.line, rejection.snid) == (line_of(GOOD, "OBS:", 2), "7")


def test_a_row_with_a_word_for_a_number_rejects_the_file_with_its_line():
    text = GOOD.replace("20.0", "2o.0")
    rejection = only_rejection(text)
    assert rejection.reason == "damaged row: '2o.0' is not a number"
    assert rejection.line == line_of(GOOD, "OBS:", 1)


def test_a_line_that_is_no_row_among_the_rows_rejects_the_file():
    text = GOOD.replace("OBS:  56000.5", "56000.5", 1)
    assert only_rejection(text).reason.startswith("damaged row: expected OBS:, came '56000.5")


def test_fewer_rows_than_announced_is_a_truncated_file():
    text = GOOD[: GOOD.index("OBS:  56007.0")]
    assert only_rejection(text).reason == "truncated: NOBS announces 3 rows, the file has 2"


def test_rows_without_an_end_line_are_a_whole_file():
    assert read_texts(Written().text(Dialect(has_end=False))).rejections == []


def test_a_header_without_rows_is_rejected():
    rejection = only_rejection(GOOD[: GOOD.index("\nOBS:")])
    assert rejection.reason == "no measurements: the file ends before the first OBS: row"


def test_missing_columns_are_named():
    rejection = only_rejection(GOOD.replace("FLUXCALERR", "WHATERR"))
    assert rejection.reason.startswith("missing columns: FLUXCALERR (VARLIST: MJD FLT FLUXCAL WHATERR")
    assert rejection.line == line_of(GOOD, "VARLIST:")
    assert only_rejection(GOOD.replace("VARLIST:", "VARS:")).reason.startswith("no VARLIST")


def test_a_file_without_an_snid_is_rejected():
    assert only_rejection(GOOD.replace("SNID:", "CID:")).reason.startswith("no SNID")


def test_a_repeated_key_is_rejected_at_its_second_line():
    text = GOOD.replace("SNTYPE:", "SNID: 8\nSNTYPE:")
    rejection = only_rejection(text)
    assert rejection.reason == "duplicated key: SNID occurs 2 times"
    assert rejection.line == line_of(text, "SNID:", 1)


@pytest.mark.parametrize("value", ["n/a", "", "inf", "1.2.3"])
def test_a_header_value_that_is_no_number_is_rejected_with_its_line(value: str):
    text = Written(header={"RA": "10", "MWEBV": value}).text()
    rejection = only_rejection(text)
    assert rejection.reason == f"not a number: MWEBV is {value!r}"
    assert rejection.line == line_of(text, "MWEBV:")


def test_a_band_that_the_header_does_not_announce_rejects_the_file_with_its_line():
    text = with_row(1, band="Y")
    rejection = only_rejection(text)
    assert rejection.reason == "unknown band: Y; known are g i r z"
    assert rejection.line == line_of(text, "OBS:", 1)


def test_a_setting_of_bands_replaces_those_announced():
    result = read_texts(GOOD, with_row(1, band="Y"), options=ReadOptions(bands=("g", "Y")))
    assert [rejection.reason for rejection in result.rejections] == ["unknown band: r; known are Y g"]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"flux": float("nan")}, "FLUXCAL is not finite: nan"),
        ({"error": float("nan")}, "FLUXCALERR is not finite: nan"),
        ({"error": float("inf")}, "FLUXCALERR is not finite: inf"),
        ({"error": 0.0}, "FLUXCALERR is not positive: 0.0"),
        ({"error": -9.0}, "FLUXCALERR is not positive: -9.0"),
        ({"mjd": float("nan")}, "MJD is not finite: nan"),
    ],
)
def test_a_bad_measurement_is_left_out_and_recorded_and_the_object_kept(values: dict[str, float], reason: str):
    text = with_row(1, **values)
    result = read_texts(GOOD.replace("SNID:  7", "SNID:  1"), text)
    assert result.light_curves["SNID"].to_pylist() == ["1", "7"]
    assert result.light_curves["MJD"].to_pylist()[1] == [56000.0, 56007.0]
    (rejection,) = result.rejections
    assert rejection == Rejection("1.dat", reason, line_of(text, "OBS:", 1), "7", "epoch", rejection.digest)


def test_an_object_without_a_good_measurement_is_rejected_as_a_file():
    rows = tuple((mjd, band, flux, -1.0) for mjd, band, flux, _ in ROWS)
    rejection = only_rejection(Written(rows=rows).text())
    assert rejection.reason == "no usable measurement: all 3 rows are bad, first: FLUXCALERR is not positive: -1.0"


def test_the_mark_counts_only_measurements_that_are_kept():
    text = with_row(1, error=0.0).replace("OBS:  56007.0", "DETECTION: here\nOBS:  56007.0")
    assert read_texts(text).light_curves["DETECTION_MJD"].to_pylist() == [56000.0]


def test_every_file_of_a_folder_is_ingested_quarantined_or_named_as_a_companion(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 4, sn01=GOOD[:200], sn03=with_row(0, error=0.0))
    (folder / "empty.dat").write_text("")
    (folder / "binary.DAT").write_bytes(b"\x00\x01" + GOOD.encode())
    (folder / "start.txt").write_text("SURVEY: DES\nSN")
    (folder / "filter_g.dat").write_text("4000 0.0\n4010 0.1\n")
    (folder / "survey.README").write_text("Light curves; SNID: is the key.\n")
    (folder / "survey.IGNORE").write_text("")
    (folder / "more.tar.gz").write_bytes(b"\x1f\x8b")
    summary = ingest_folder(folder, tmp_path / "store")
    assert (summary.n_files, summary.n_ingested, summary.n_quarantined, summary.n_unchanged) == (8, 3, 5, 0)
    assert summary.n_files == summary.n_ingested + summary.n_quarantined + summary.n_unchanged
    assert (summary.n_epochs, summary.n_epochs_dropped) == (8, 1)
    assert summary.ignored == ("filter_g.dat", "survey.IGNORE", "survey.README")
    table = Store.open(tmp_path / "store").quarantine()
    files = table[table["SCOPE"] == "file"].set_index("FILE")["REASON"]
    assert files["empty.dat"] == "empty: the file has no content"
    assert files["binary.DAT"] == "binary: the file is not text"
    assert files["start.txt"].startswith("truncated: ")
    assert files["more.tar.gz"].startswith("archive cut short or damaged: ")
    assert summary.reasons["empty"] == 1
    assert set(table["SOURCE"]) == {str(folder)}


def test_the_first_of_two_files_with_one_snid_is_kept(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 3)
    (folder / "a.dat").write_text(Written("101", ROWS[:1]).text())
    summary = ingest_folder(folder, tmp_path / "store")
    assert (summary.n_ingested, summary.reasons) == (3, {"duplicate SNID": 1})
    entry = Store.open(tmp_path / "store").quarantine().iloc[0]
    assert (entry["FILE"], entry["REASON"]) == ("sn01.dat", "duplicate SNID: 101 is already that of a.dat")
    again = ingest_folder(folder, tmp_path / "store")
    assert (again.n_ingested, again.n_unchanged, again.n_quarantined) == (0, 3, 1)


def test_a_copy_under_another_name_is_a_duplicate_and_a_copy_elsewhere_is_unchanged(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 2)
    (folder / "sub").mkdir()
    (folder / "sub" / "sn00.dat").write_bytes((folder / "sn00.dat").read_bytes())
    (folder / "copy.dat").write_bytes((folder / "sn01.dat").read_bytes())
    for expected in ((2, 1, 1), (0, 3, 1)):
        summary = ingest_folder(folder, tmp_path / "store")
        assert (summary.n_ingested, summary.n_unchanged, summary.n_quarantined) == expected
    assert len(Store.open(tmp_path / "store").quarantine()) == 1


def test_a_different_file_with_a_stored_snid_is_a_duplicate(tmp_path: Path):
    ingest_folder(write_survey(tmp_path / "survey", 2), tmp_path / "store")
    other = write_survey(tmp_path / "other", 1)
    (other / "sn00.dat").rename(other / "new.dat")
    summary = ingest_folder(other, tmp_path / "store")
    assert (summary.n_ingested, summary.reasons) == (0, {"duplicate SNID": 1})


def test_more_bad_files_than_allowed_fail_the_run_after_the_good_ones_are_stored(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 10, sn04=GOOD[:150])
    assert ingest_folder(folder, tmp_path / "at", max_bad_fraction=0.1).n_quarantined == 1
    with pytest.raises(TooManyBadFilesError, match=r"1 of 10 files were quarantined.*1 damaged row") as caught:
        ingest([folder], Store.create(tmp_path / "above"), IngestSettings(max_bad_fraction=0.09))
    assert caught.value.summary.n_ingested == 9
    assert len(Store.open(tmp_path / "above").light_curves()) == 9


def test_ingesting_bad_files_again_leaves_the_quarantine_as_it_is(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 4, sn01=GOOD[:150], sn03=with_row(0, error=0.0))
    ingest_folder(folder, tmp_path / "store")
    store = Store.open(tmp_path / "store")
    before, versions = store.quarantine(), store.versions()
    again = ingest_folder(folder, tmp_path / "store")
    assert (again.n_ingested, again.n_unchanged, again.n_quarantined) == (0, 3, 1)
    assert store.quarantine().equals(before)
    assert store.versions() == versions


def test_an_entry_is_gone_when_the_repaired_file_is_read(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 4, sn01="", sn03=with_row(0, error=0.0).replace("SNID:  7", "SNID:  8"))
    ingest_folder(folder, tmp_path / "store")
    assert Store.open(tmp_path / "store").quarantine()["FILE"].tolist() == ["sn01.dat", "sn03.dat"]
    write_survey(folder, 4)
    (folder / "sn03.dat").write_text(Written("8").text())
    ingest_folder(folder, tmp_path / "store")
    assert Store.open(tmp_path / "store").quarantine().empty


def test_a_repair_that_comes_by_another_way_settles_the_entry_of_its_object():
    old = quarantine_rows("/a", [Rejection("x/sn.dat", "r: 1", 4, "7"), Rejection("y/sn.dat", "r: 1", 4, "8")])
    stored = pa.Table.from_pylist(old, schema=QUARANTINE_SCHEMA)
    left = update_quarantine(stored, [], [FileRead("/b", "sn.dat", "7")])
    assert left["SNID"].to_pylist() == ["8"]
    assert len(update_quarantine(stored, [], [FileRead("/b", "sn.dat")])) == 2
    assert len(update_quarantine(stored, [], [FileRead("/a", "y/sn.dat")])) == 1


def test_bad_files_in_a_chunk_of_good_ones_cost_only_themselves():
    texts = [Written(str(number)).text() for number in range(50)]
    bad = {3: GOOD[:150], 17: with_row(2, flux=float("nan")), 44: GOOD.replace("20.0", "?")}
    result: ReadResult = read_texts(*[bad.get(number, text) for number, text in enumerate(texts)])
    assert {rejection.file for rejection in result.rejections} == {"3.dat", "17.dat", "44.dat"}
    expected = [str(number) if number != 17 else "7" for number in range(50) if number not in (3, 44)]
    assert result.light_curves["SNID"].to_pylist() == expected
    assert np.all(np.diff([int(name[:-4]) for name in result.light_curves["SOURCE"].to_pylist()]) > 0)
