"""Overrides, duplicates and second tries, of objects in tables of many."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import pytest

from pipeline.ingest.inspection import lines_around
from pipeline.ingest.readers.base import TableError, TableFile
from pipeline.store import IngestSettings, Store, ingest, retry_quarantined
from tests.pipeline.ingest.snana_files import Written
from tests.pipeline.ingest.table_files import Curve, long_frame, write_csv, write_fits, write_parquet
from tests.pipeline.ingest.test_tables_in_store import CURVES, ROWS, files, ingest_into, make, objects, reasons

LATER = ((56100.0, "g", 70.0, 1.0),)


@pytest.fixture
def night(tmp_path: Path) -> Path:
    folder = make(tmp_path / "night")
    write_fits(folder, CURVES)
    return folder


def photoz(store: Path) -> dict[str, float]:
    found = Store.open(store).light_curves().objects
    return dict(zip(found["SNID"], found["PHOTOZ"], strict=True))


def n_epochs(store: Path) -> dict[str, int]:
    curves = Store.open(store).light_curves()
    return dict(zip(curves.objects["SNID"], (curves.offsets[1:] - curves.offsets[:-1]).tolist(), strict=True))


def test_an_override_reads_a_known_table_again_and_writes_its_objects_alone(night: Path, tmp_path: Path):
    store, table = tmp_path / "store", tmp_path / "z.csv"
    before = ingest_into(store, night)
    plain = Store.open(store).light_curves().objects
    table.write_text("SNID,PHOTOZ,CLASS\n3,0.77,Ia\nnobody,0.1,Ia\n")
    summary = ingest_into(store, night, override=table)
    assert (objects(before), objects(summary)) == ((6, 0, 0), (1, 5, 0))
    assert (summary.override["n_matched"], summary.override["unmatched"]) == (1, ["nobody"])
    assert photoz(store)["3"] == pytest.approx(0.77)
    assert Store.open(store).truth().table.set_index("SNID").loc["3", "CLASS"] == "Ia"
    versions = Store.open(store).versions()
    assert objects(ingest_into(store, night, override=table)) == (0, 6, 0)
    assert Store.open(store).versions() == versions
    assert objects(ingest_into(store, night)) == (1, 5, 0)
    assert Store.open(store).light_curves().objects.equals(plain)


def test_an_override_that_repeats_what_a_table_says_is_remembered(night: Path, tmp_path: Path, monkeypatch):
    store, table = tmp_path / "store", tmp_path / "z.csv"
    ingest_into(store, night)
    table.write_text(f"SNID,PHOTOZ\n3,{photoz(store)['3']!r}\n")
    ingest_into(store, night, override=table)
    monkeypatch.setattr("pipeline.ingest.tables_ahead.read_bundle", None)
    assert objects(ingest_into(store, night, override=table)) == (0, 6, 0)


@pytest.mark.parametrize("tables_first", [True, False])
@pytest.mark.parametrize(("policy", "expected"), [("newest", 1), ("merge", 4)])
def test_tables_may_share_an_object_in_any_order(policy: str, expected: int, tables_first: bool, tmp_path: Path):
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    write_fits(one, CURVES[:3])
    write_parquet(two, [Curve("2", LATER), Curve("p", LATER)])
    store = tmp_path / "store"
    for folder in (one, two) if tables_first else (two, one):
        ingest_into(store, folder, duplicates=policy)
    assert n_epochs(store) == {"0": 3, "1": 3, "2": expected, "p": 1}
    versions = Store.open(store).versions()
    again = ingest_into(store, one, two, duplicates=policy)
    assert (again.n_ingested, again.n_objects_ingested) == (0, 0)
    assert Store.open(store).versions() == versions
    together = tmp_path / "together"
    ingest_into(together, one, two, duplicates=policy)
    assert Store.open(together).light_curves().to_arrow().equals(Store.open(store).light_curves().to_arrow())


@pytest.mark.parametrize("files_first", [True, False])
def test_a_table_and_a_file_of_one_object_may_share_it(files_first: bool, tmp_path: Path):
    (make(tmp_path / "file") / "sn2.dat").write_text(Written("2").text())
    write_fits(make(tmp_path / "table"), [Curve("2", LATER), CURVES[3]])
    order = ("file", "table") if files_first else ("table", "file")
    store = tmp_path / "store"
    for name in order:
        summary = ingest_into(store, tmp_path / name)
    assert (summary.n_objects_quarantined, summary.reasons) == (1, {"duplicate SNID": 1})
    alone = n_epochs(store)["2"]
    summary, _ = retry_quarantined(Store.open(store), IngestSettings(duplicates="merge"))
    assert (summary.n_quarantined, reasons(store)) == (0, {})
    assert n_epochs(store)["2"] == (alone + 1 if files_first else alone + len(Written("2").rows))


def test_a_changed_table_changes_its_part_of_a_shared_object(tmp_path: Path):
    one, two = make(tmp_path / "one"), make(tmp_path / "two")
    write_fits(one, CURVES[:3])
    write_parquet(two, [Curve("2", LATER)])
    store = tmp_path / "store"
    ingest_into(store, one, two, duplicates="merge")
    write_fits(one, [*CURVES[:2], Curve("2", ROWS[:1])])
    ingest_into(store, one, two, duplicates="merge")
    assert n_epochs(store) == {"0": 3, "1": 3, "2": 2}
    table = tmp_path / "z.csv"
    table.write_text("SNID,PHOTOZ\n2,0.77\n")
    ingest_into(store, one, two, duplicates="merge", override=table)
    assert photoz(store)["2"] == pytest.approx(0.77)
    versions = Store.open(store).versions()
    ingest_into(store, one, two, duplicates="merge", override=table)
    assert Store.open(store).versions() == versions


def test_retry_finds_the_other_half_of_a_repaired_table(night: Path, tmp_path: Path):
    store = Store.create(tmp_path / "store")
    whole = (night / "S_PHOT.FITS").read_bytes()
    (night / "S_PHOT.FITS").write_bytes(whole[: len(whole) - 2880])
    ingest_into(store.path, night)
    assert set(store.quarantine()["FILE"]) == {"S_HEAD.FITS"}
    (night / "S_PHOT.FITS").write_bytes(whole)
    summary, gone = retry_quarantined(store, IngestSettings())
    assert (files(summary), gone, len(store.quarantine()), len(store.snids())) == ((2, 0, 0), [], 0, 6)


def test_retry_finds_a_packed_file_by_the_name_it_has_unpacked(tmp_path: Path):
    folder, store = make(tmp_path / "night"), Store.create(tmp_path / "store")
    packed = folder / "sn1.dat.gz"
    packed.write_bytes(gzip.compress(Written("1").text().replace("VARLIST", "WARLIST").encode()))
    ingest_into(store.path, folder)
    assert store.quarantine()["FILE"].tolist() == ["sn1.dat"]
    packed.write_bytes(gzip.compress(Written("1").text().encode()))
    summary, gone = retry_quarantined(store, IngestSettings())
    assert (summary.n_ingested, gone, len(store.quarantine())) == (1, [], 0)


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("xz", lzma.compress)])
def test_a_packed_table_is_what_it_unpacks_to(suffix: str, pack, tmp_path: Path):
    folder = make(tmp_path / "night")
    long_frame(CURVES).to_csv(folder / "n.csv", index=False)
    ingest_into(tmp_path / "store", folder)
    (folder / f"n.csv.{suffix}").write_bytes(pack((folder / "n.csv").read_bytes()))
    (folder / "n.csv").unlink()
    assert objects(ingest_into(tmp_path / "store", folder)) == (0, 6, 0)
    assert objects(ingest_into(tmp_path / "small", folder, max_file_bytes=100)) == (6, 0, 0)


def test_a_table_beside_its_packed_copy_is_two_files_of_which_one_is_quarantined(tmp_path: Path):
    (plain,) = write_csv(tmp_path, CURVES)
    plain.with_name(plain.name + ".gz").write_bytes(gzip.compress(plain.read_bytes()))
    store = Store.create(tmp_path.parent / f"{tmp_path.name}-store")
    first = ingest([tmp_path], store, IngestSettings(max_bad_fraction=1))
    assert (first.n_files, first.n_ingested, first.n_quarantined) == (2, 1, 1)
    again = ingest([tmp_path], store, IngestSettings(max_bad_fraction=1))
    assert (again.n_files, again.n_unchanged, again.n_quarantined) == (2, 1, 1)


def test_a_table_that_unpacks_to_more_than_light_curves_can_is_refused(tmp_path: Path):
    path = tmp_path / "bomb.csv.xz"
    path.write_bytes(lzma.compress(b"SNID,MJD,BAND,FLUXCAL,FLUXCALERR\n" + bytes(80 << 20)))
    with TableFile(path.name, str(path)).open() as handle, pytest.raises(TableError, match="decompression bomb"):
        handle.read()


def test_rows_of_a_table_are_not_shown_as_lines(tmp_path: Path):
    write_parquet(tmp_path, [Curve("a", ((1.0, "g", float("nan"), 1.0), *ROWS))])
    summary = ingest(
        [tmp_path / "Npix=7.parquet"], Store.create(tmp_path / "store"), IngestSettings(max_bad_fraction=1)
    )
    entry = Store.open(tmp_path / "store").quarantine().iloc[0]
    assert (summary.n_epochs_dropped, entry["SCOPE"]) == (1, "epoch")
    assert lines_around(entry["SOURCE"], entry["FILE"], 1) is None
