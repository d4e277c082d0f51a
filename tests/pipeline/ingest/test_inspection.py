"""Looking into the quarantine, and reading its files again."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from pipeline.ingest.inspection import (
    count_kinds,
    entries_of,
    entries_of_kind,
    lines_around,
    quarantined_sources,
    write_quarantine,
)
from pipeline.schema import QUARANTINE_SCHEMA
from pipeline.settings import SettingsError
from pipeline.store import IngestSettings, Store, ingest, retry_quarantined
from tests.pipeline.ingest.snana_files import ROWS, Written, write_survey

LENIENT = IngestSettings(max_bad_fraction=1)
BAD_ROW = Written("103").text().replace("20.0", "2o.0")


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    bad = tuple((mjd, band, flux, error * (mjd != ROWS[1][0])) for mjd, band, flux, error in ROWS)
    folder = write_survey(tmp_path / "survey", 8, sn01="", sn03=BAD_ROW, sn05=Written("105", bad).text())
    (folder / "sn07.dat").write_text(Written("100").text())
    return folder


@pytest.fixture
def store(survey: Path, tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "store")
    ingest([survey], store, LENIENT)
    return store


def test_entries_are_counted_by_reason_and_found_by_file_snid_or_reason(store: Store):
    entries = store.quarantine()
    assert count_kinds(entries) == {
        "FLUXCALERR is not positive": 1,
        "damaged row": 1,
        "duplicate SNID": 1,
        "empty": 1,
    }
    assert entries_of(entries, "103")["FILE"].tolist() == entries_of(entries, "sn03.dat")["FILE"].tolist()
    assert entries_of_kind(entries, "empty")["FILE"].tolist() == ["sn01.dat"]
    with pytest.raises(SettingsError, match=r"nothing in quarantine has the file name or the SNID 'sn02\.dat'"):
        entries_of(entries, "sn02.dat")
    with pytest.raises(SettingsError, match=r"there are: .*damaged row"):
        entries_of_kind(entries, "damage")


def test_the_line_to_blame_is_shown_with_its_neighbours_from_folder_file_and_archive(survey: Path, tmp_path: Path):
    (survey / "sn03.dat").write_text(BAD_ROW.replace("2o.0", "2o.0\x1b[31m"))
    with tarfile.open(tmp_path / "survey.tar.gz", "w:gz") as archive:
        archive.add(survey, "survey")
    line = next(number for number, text in enumerate(BAD_ROW.split("\n"), 1) if "2o.0" in text)
    expected = None
    sources = (str(survey), "sn03.dat"), (str(survey / "sn03.dat"), "sn03.dat")
    for source, file in (*sources, (str(tmp_path / "survey.tar.gz"), "survey/sn03.dat")):
        lines = lines_around(source, file, line)
        assert lines is not None
        assert [number for number, _ in lines] == list(range(line - 2, line + 3))
        assert dict(lines)[line].startswith("OBS:  56000.5  r  2o.0\\x1b[31m  2.0")
        assert expected in (None, lines)
        expected = lines


def test_what_is_gone_cannot_be_shown(survey: Path):
    assert lines_around(str(survey), "sn03.dat", 1000) is None
    assert lines_around(str(survey), "nothing.dat", 1) is None
    assert lines_around(str(survey / "nowhere"), "sn03.dat", 1) is None
    assert lines_around("", "sn03.dat", 1) is None


def test_retry_reads_the_quarantined_files_alone_and_keeps_what_is_still_bad(
    survey: Path, store: Store, monkeypatch: pytest.MonkeyPatch
):
    (survey / "sn03.dat").write_text(Written("103").text())
    (survey / "sn02.dat").write_text("changed, but nobody asked to read it")
    (survey / "new.dat").write_text(Written("999").text())
    summary, gone = retry_quarantined(store, IngestSettings(max_bad_fraction=0))
    assert (summary.n_files, summary.n_ingested, summary.n_unchanged, summary.n_quarantined) == (4, 1, 1, 2)
    assert (gone, summary.n_ignored) == ([], 0)
    assert store.quarantine()["FILE"].tolist() == ["sn01.dat", "sn05.dat", "sn07.dat"]
    assert "103" in store.snids()
    assert "999" not in store.snids()
    again, _ = retry_quarantined(store, IngestSettings(duplicates="merge"))
    assert (again.n_ingested, again.n_unchanged, again.n_quarantined) == (1, 1, 1)
    assert set(store.quarantine()["SCOPE"]) == {"file", "epoch"}


def test_retry_names_what_is_gone_and_leaves_its_entry(survey: Path, store: Store):
    ingest([write_survey(survey.parent / "other", 1, sn00="")], store, LENIENT)
    (survey / "sn01.dat").unlink()
    (survey.parent / "other" / "sn00.dat").unlink()
    (survey.parent / "other").rmdir()
    before = store.quarantine()
    summary, gone = retry_quarantined(store, LENIENT)
    assert summary.n_files == 3
    assert gone == [str(survey.parent / "other" / "sn00.dat"), str(survey / "sn01.dat")]
    assert store.quarantine().equals(before)


def test_retry_with_nothing_left_to_read_says_so_without_failing(survey: Path, store: Store, tmp_path: Path):
    for name in ("sn01", "sn03", "sn05", "sn07"):
        (survey / f"{name}.dat").rename(tmp_path / name)
    summary, gone = retry_quarantined(store, LENIENT)
    assert (summary.n_files, len(gone)) == (0, 4)
    (survey / "sn01.dat").write_text("now a note\n")
    summary, gone = retry_quarantined(store, LENIENT)
    assert (summary.n_files, summary.n_ignored, len(gone)) == (0, 1, 3)
    assert "sn01.dat" not in set(store.quarantine()["FILE"])


def test_retry_reads_a_repaired_archive_whole_and_otherwise_its_bad_members_alone(survey: Path, tmp_path: Path):
    path = tmp_path / "survey.tar.gz"

    def pack() -> bytes:
        with tarfile.open(path, "w:gz") as archive:
            archive.add(survey, "survey")
        return path.read_bytes()

    whole = pack()
    path.write_bytes(whole[: len(whole) // 2])
    store = Store.create(tmp_path / "store")
    ingest([path], store, LENIENT)
    assert "survey.tar.gz" in set(store.quarantine()["FILE"])
    path.write_bytes(whole)
    summary, _ = retry_quarantined(store, LENIENT)
    assert summary.n_files == 8
    assert "survey.tar.gz" not in set(store.quarantine()["FILE"])
    (survey / "sn03.dat").write_text(Written("103").text())
    pack()
    summary, _ = retry_quarantined(store, LENIENT)
    assert (summary.n_files, summary.n_ingested) == (4, 1)


def test_a_file_that_is_again_as_it_was_has_no_entry_any_more(survey: Path, store: Store):
    good = (survey / "sn02.dat").read_text()
    (survey / "sn02.dat").write_text(good[:-30])
    ingest([survey], store, LENIENT)
    assert "sn02.dat" in set(store.quarantine()["FILE"])
    (survey / "sn02.dat").write_text(good)
    assert ingest([survey], store, LENIENT).n_unchanged == 5
    assert store.quarantine()["FILE"].tolist() == ["sn01.dat", "sn03.dat", "sn05.dat", "sn07.dat"]


def test_conflicts_are_not_read_again(survey: Path, tmp_path: Path):
    store = Store.create(tmp_path / "merged")
    ingest([survey], store, IngestSettings(max_bad_fraction=1, duplicates="newest"))
    entries = store.quarantine()
    assert "conflict" in set(entries["SCOPE"])
    sources, gone = quarantined_sources(entries[entries["SCOPE"] != "conflict"])
    assert ([source.name for source in sources], gone) == ([str(survey)], [])


def test_the_quarantine_survives_csv_and_parquet(store: Store, tmp_path: Path):
    for name in ("q.csv", "q.parquet"):
        write_quarantine(store.quarantine(), tmp_path / "deep" / name)
    from_parquet = pd.read_parquet(tmp_path / "deep" / "q.parquet")
    assert from_parquet.columns.tolist() == QUARANTINE_SCHEMA.names
    assert from_parquet["REASON"].tolist() == store.quarantine()["REASON"].tolist()
    text = pd.read_csv(tmp_path / "deep" / "q.csv", dtype=str)
    assert text["LINE"].dropna().str.isdigit().all()
    assert len(text) == 4
    with pytest.raises(SettingsError, match=r"ends in \.csv or \.parquet"):
        write_quarantine(store.quarantine(), tmp_path / "q.txt")


def test_retry_finds_packed_files_and_members_of_archives_inside_a_folder(tmp_path: Path):
    folder = write_survey(tmp_path / "survey", 3)
    good = Written("77", ROWS).text().encode()
    packed, inner = folder / "packed.dat.gz", folder / "inner.tar"
    packed.write_bytes(gzip.compress(b"SNID: 77\nNOBS: 9\n"))
    with tarfile.open(inner, "w") as archive:
        add(archive, "damaged.dat", b"SNID: 78\nNOBS: 9\n")
    store = Store.create(tmp_path / "store")
    ingest([folder], store, LENIENT)
    assert set(store.quarantine()["FILE"]) == {"packed.dat", "inner.tar/damaged.dat"}
    packed.write_bytes(gzip.compress(good))
    with tarfile.open(inner, "w") as archive:
        add(archive, "damaged.dat", good.replace(b"77", b"78"))
    summary, gone = retry_quarantined(store, LENIENT)
    assert (summary.n_files, summary.n_ingested, gone) == (2, 2, [])
    assert store.quarantine().empty
    assert {"77", "78"} <= set(store.snids())


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))
