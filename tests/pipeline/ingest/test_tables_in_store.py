from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.ingest.archives import Member
from pipeline.ingest.readers.base import START_BYTES
from pipeline.ingest.reading import ChunkReader, read_chunk
from pipeline.store import IngestSettings, IngestSummary, Store, TooManyBadFilesError, ingest
from tests.pipeline.ingest.snana_files import write_survey
from tests.pipeline.ingest.table_files import LAYOUTS, Curve, long_frame, write_fits, write_parquet, write_plasticc

REPOSITORY = Path(__file__).parents[3]
ROWS = ((56000.0, "g", 10.0, 1.0), (56000.5, "r", 20.0, 2.0), (56007.0, "g", 30.0, 3.0))
CURVES = tuple(Curve(str(number), ROWS) for number in range(6))


def ingest_into(store: Path, *sources: Path, **settings: object) -> IngestSummary:
    found = ingest(sources, Store.create(store), IngestSettings.model_validate({"max_bad_fraction": 1, **settings}))
    assert found.n_files == found.n_ingested + found.n_unchanged + found.n_quarantined
    assert found.n_objects == found.n_objects_ingested + found.n_objects_unchanged + found.n_objects_quarantined
    return found


def files(summary: IngestSummary) -> tuple[int, int, int]:
    return summary.n_ingested, summary.n_unchanged, summary.n_quarantined


def objects(summary: IngestSummary) -> tuple[int, int, int]:
    return summary.n_objects_ingested, summary.n_objects_unchanged, summary.n_objects_quarantined


def reasons(store: Path) -> dict[str, str]:
    table = Store.open(store).quarantine()
    return dict(zip(table["FILE"], table["REASON"], strict=True))


def make(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_folder_of_many_formats_is_counted_per_file_and_per_object(tmp_path: Path):
    folder = write_survey(tmp_path / "night", 3)
    write_fits(folder, CURVES)
    write_parquet(folder, [Curve("p1", ROWS), Curve("p2", ())])
    (folder / "survey.LIST").write_text("S_HEAD.FITS\n")
    (folder / "zoo.csv").write_text("animal,legs\nnewt,4\n")
    summary = ingest_into(tmp_path / "store", folder)
    assert files(summary) == (6, 0, 0)
    assert objects(summary) == (10, 0, 1)
    assert summary.ignored == ("survey.LIST", "zoo.csv")
    entry = Store.open(tmp_path / "store").quarantine().iloc[0]
    assert (entry["FILE"], entry["LINE"], entry["SNID"], entry["SCOPE"]) == ("Npix=7.parquet", 2, "p2", "object")
    again = ingest_into(tmp_path / "store", folder)
    assert (files(again), objects(again), again.reasons) == ((0, 6, 0), (0, 10, 1), summary.reasons)


def test_a_table_that_is_known_is_not_even_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_fits(make(tmp_path / "night"), CURVES)
    ingest_into(tmp_path / "store", tmp_path / "night")
    versions = Store.open(tmp_path / "store").versions()
    monkeypatch.setattr("pipeline.ingest.tables_ahead.read_bundle", None)
    assert objects(ingest_into(tmp_path / "store", tmp_path / "night")) == (0, 6, 0)
    assert Store.open(tmp_path / "store").versions() == versions


def test_of_a_changed_table_only_the_changed_objects_are_written(tmp_path: Path):
    folder = make(tmp_path / "night")
    write_fits(folder, CURVES)
    ingest_into(tmp_path / "store", folder)
    before = Store.open(tmp_path / "store").light_curves().objects
    changed = (*CURVES[:2], Curve("2", ROWS[:2]), *CURVES[3:], Curve("new", ROWS))
    write_fits(folder, changed)
    summary = ingest_into(tmp_path / "store", folder)
    assert (files(summary), objects(summary), summary.n_epochs) == ((2, 0, 0), (2, 5, 0), 5)
    after = Store.open(tmp_path / "store").light_curves().objects
    is_same = after["SOURCE_HASH"].isin(before["SOURCE_HASH"])
    assert after["SNID"][~is_same].tolist() == ["2", "new"]
    write_fits(folder, CURVES)
    assert objects(ingest_into(tmp_path / "store", folder)) == (1, 5, 0)


def test_another_way_of_reading_is_read_again(tmp_path: Path):
    write_fits(make(tmp_path / "night"), CURVES)
    ingest_into(tmp_path / "store", tmp_path / "night")
    renamed = ingest_into(tmp_path / "store", tmp_path / "night", band_map={"g": "DES-g"})
    assert objects(renamed) == (6, 0, 0)


@pytest.mark.parametrize("order", [("HEAD", "PHOT"), ("PHOT", "HEAD")])
def test_an_archive_gives_what_the_folder_gives_whichever_half_comes_first(order: tuple[str, str], tmp_path: Path):
    folder = make(tmp_path / "night")
    paths = {path.name: path for path in write_fits(folder, CURVES, packed=True)}
    with zipfile.ZipFile(tmp_path / "night.zip", "w") as packed:
        for half in order:
            packed.write(paths[f"S_{half}.FITS.gz"], f"night/S_{half}.FITS.gz")
    ingest_into(tmp_path / "one", folder)
    assert files(ingest_into(tmp_path / "two", tmp_path / "night.zip")) == (2, 0, 0)
    assert Store.open(tmp_path / "one").content_hash() == Store.open(tmp_path / "two").content_hash()
    assert objects(ingest_into(tmp_path / "two", folder)) == (0, 6, 0)


@pytest.mark.parametrize("half", ["S_HEAD.FITS", "S_PHOT.FITS"])
def test_one_half_given_alone_finds_the_other_beside_it(half: str, tmp_path: Path):
    write_fits(tmp_path, CURVES)
    assert files(ingest_into(tmp_path / "store", tmp_path / half)) == (2, 0, 0)
    assert len(Store.open(tmp_path / "store").snids()) == 6


def test_a_list_names_the_files_that_are_read(tmp_path: Path):
    write_fits(tmp_path, CURVES[:2], stem="A", packed=True)
    write_fits(tmp_path, CURVES[2:], stem="B")
    (tmp_path / "V.LIST").write_text("A_HEAD.FITS\nC_HEAD.FITS\n")
    summary = ingest_into(tmp_path / "store", tmp_path / "V.LIST")
    assert Store.open(tmp_path / "store").snids() == ["0", "1"]
    assert (files(summary), set(reasons(tmp_path / "store"))) == ((2, 0, 2), {"C_HEAD.FITS", "C_PHOT.FITS"})


def test_one_metadata_file_serves_many_tables_of_light_curves(tmp_path: Path):
    folder = make(tmp_path / "plasticc")
    _, whole = write_plasticc(folder, CURVES)
    whole.unlink()
    long = long_frame(CURVES)[["SNID", "MJD", "BAND", "FLUXCAL", "FLUXCALERR"]]
    long.columns = ["object_id", "mjd", "passband", "flux", "flux_err"]
    long["passband"] = long["passband"].map("ugrizy".index)
    for number in range(2):
        part = long[long["object_id"].astype(int) % 2 == number]
        part.to_csv(folder / f"plasticc_train_lightcurves_{number}.csv", index=False)
    summary = ingest_into(tmp_path / "store", folder)
    assert (files(summary), objects(summary)) == ((3, 0, 0), (6, 0, 0))
    assert Store.open(tmp_path / "store").truth().table["CLASS"].tolist() == ["II"] * 6
    assert objects(ingest_into(tmp_path / "store", folder)) == (0, 6, 0)


def test_a_hats_catalogue_is_its_partitions_without_its_side_files(tmp_path: Path):
    dataset = make(tmp_path / "cat" / "dataset")
    for pixel in range(2):
        folder = make(dataset / "Norder=1" / "Dir=0" / f"{pixel}")
        write_parquet(folder, CURVES[3 * pixel : 3 * pixel + 3], "struct")
    (dataset / "_metadata").write_bytes(next(dataset.rglob("Npix*")).read_bytes())
    (dataset / "data_thumbnail.parquet").write_bytes(next(dataset.rglob("Npix*")).read_bytes())
    (tmp_path / "cat" / "partition_info.csv").write_text("Norder,Npix\n1,7\n")
    summary = ingest_into(tmp_path / "store", tmp_path / "cat")
    assert (files(summary), objects(summary), summary.n_ignored) == ((2, 0, 0), (6, 0, 0), 3)


def cut(path: Path, share: float = 0.5) -> None:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def test_bad_tables_are_quarantined_with_a_reason_and_spoil_nothing(tmp_path: Path):
    folder = make(tmp_path / "night")
    write_fits(folder, CURVES)
    curves = [Curve(f"x{number}", ROWS) for number in range(500)]
    write_fits(folder, curves, stem="nophot")[1].unlink()
    write_fits(folder, curves, stem="nohead")[0].unlink()
    cut(write_fits(folder, curves, stem="cut")[1], 0.9)
    cut(write_fits(folder, curves, stem="zcut", packed=True)[1], 0.9)
    cut(write_fits(folder, curves, stem="hcut")[0], 0.02)
    cut(write_parquet(folder, curves)[0])
    (folder / "fake.parquet").write_text("no")
    (folder / "empty.csv").write_text("")
    (folder / "names.csv").write_text("SNID,MJD,BAND,FLUXCAL,FLUXCALERR\n")
    (folder / "lacks.csv").write_text("SNID,time,BAND,FLUXCAL\n1,2,g,3\n")
    summary = ingest_into(tmp_path / "store", folder)
    told = reasons(tmp_path / "store")
    assert told["nophot_HEAD.FITS"] == "no PHOT: nophot_PHOT.FITS is not beside it"
    assert told["nohead_PHOT.FITS"].startswith("no HEAD: ")
    assert told["cut_HEAD.FITS"].startswith("truncated: NAXIS2 announces 2000 rows, the file ends in row")
    assert told["zcut_HEAD.FITS"].startswith("damaged: Compressed file ended")
    assert told["hcut_HEAD.FITS"].startswith("damaged: it is called HEAD or PHOT")
    assert told["Npix=7.parquet"].startswith("damaged: ")
    assert told["fake.parquet"].startswith("damaged: it is called Parquet")
    assert told["empty.csv"] == "empty: the file has no content"
    assert told["names.csv"] == "empty: the table has no object"
    assert told["lacks.csv"].startswith("missing columns: MJD, FLUXCALERR; came SNID, time, BAND, FLUXCAL")
    assert Store.open(tmp_path / "store").snids() == [curve.snid for curve in CURVES]
    assert (summary.n_ingested, summary.n_quarantined) == (2, 13)


def test_a_single_table_without_the_columns_is_told_which_and_how_to_name_them(tmp_path: Path):
    (tmp_path / "mine.csv").write_text("who,time,filter,f,df\n1,2,g,3,1\n")
    assert ingest_into(tmp_path / "store", tmp_path / "mine.csv", max_bad_fraction=1).n_quarantined == 1
    assert reasons(tmp_path / "store")["mine.csv"] == (
        "missing columns: SNID, MJD, BAND, FLUXCAL, FLUXCALERR; came who, time, filter, f, df; name them by --column"
    )
    columns = {"SNID": "who", "MJD": "time", "BAND": "filter", "FLUXCAL": "f", "FLUXCALERR": "df"}
    assert ingest_into(tmp_path / "store", tmp_path / "mine.csv", columns=columns).n_objects_ingested == 1
    assert reasons(tmp_path / "store") == {}
    with pytest.raises(ValueError, match="no column FLUX; those that can be named are SNID, MJD"):
        IngestSettings(columns={"FLUX": "f"})


def test_a_table_from_a_folder_may_be_larger_than_a_file_of_one_object(tmp_path: Path):
    write_fits(make(tmp_path / "night"), CURVES)
    assert objects(ingest_into(tmp_path / "store", tmp_path / "night", max_file_bytes=1000)) == (6, 0, 0)


@pytest.mark.parametrize("layout", ["arrow_file", "snana_fits_packed", "parquet_lists"])
def test_a_binary_table_is_recognised_by_its_start_and_not_held_in_memory(layout: str, tmp_path: Path):
    rng = np.random.default_rng(1)
    epochs = [tuple((float(mjd), "g", flux, 1.0) for mjd, flux in enumerate(rng.normal(size=500))) for _ in range(60)]
    paths = LAYOUTS[layout][1](tmp_path, [Curve(str(number), rows) for number, rows in enumerate(epochs)])
    large = max(paths, key=lambda path: path.stat().st_size)
    assert large.stat().st_size > START_BYTES
    chunk = read_chunk([Member(large.name, path=str(large))], ChunkReader())
    assert [(table.file.path, table.file.data) for table in chunk.tables] == [(str(large), None)]
    assert chunk.opened == ([large.name] if large.suffix == ".gz" else [])


def test_an_object_that_another_file_has_is_quarantined_alone(tmp_path: Path):
    folder = make(tmp_path / "night")
    write_fits(folder, CURVES[:3], stem="a")
    write_fits(folder, CURVES[2:], stem="b")
    for expected in ((6, 0, 1), (0, 6, 1)):
        assert objects(ingest_into(tmp_path / "store", folder)) == expected
        assert reasons(tmp_path / "store") == {"b_HEAD.FITS": "duplicate SNID: 2 is already that of a_HEAD.FITS"}


def test_more_bad_objects_than_allowed_fail_the_run_after_the_good_ones_are_stored(tmp_path: Path):
    write_fits(tmp_path, [*CURVES, Curve("empty", ())])
    with pytest.raises(TooManyBadFilesError, match=r"0 of 2 files were quarantined \(1 of 7 objects\)"):
        ingest_into(tmp_path / "store", tmp_path / "S_HEAD.FITS", max_bad_fraction=0.1)
    assert len(Store.open(tmp_path / "store").snids()) == 6


KILL = """
    import os, signal, sys
    from pathlib import Path
    from pipeline import store as room
    from pipeline.ingest.readers import snana_fits

    night, folder, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    snana_fits.CHUNK_OBJECTS = 2

    def killed_at(step):
        left = [step]
        def dying(function):
            def wrapper(*args, **kwargs):
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*args, **kwargs)
            return wrapper
        room.write_deltalake = dying(room.write_deltalake)
        room.write_atomically = dying(room.write_atomically)
        room.Store._upsert = dying(room.Store._upsert)
        settings = room.IngestSettings(workers=1, objects_per_commit=2, max_bad_fraction=1)
        room.ingest([night], room.Store.create(folder / str(step)), settings)

    for step in range(steps):
        child = os.fork()
        if child == 0:
            killed_at(step)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(step, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
"""


def test_killed_at_any_write_and_repeated_a_table_ends_as_if_never_killed(tmp_path: Path):
    night = make(tmp_path / "night")
    write_fits(night, [*CURVES[:5], Curve("empty", ()), Curve("4", ROWS[:1])])
    whole = Store.create(tmp_path / "whole")
    ingest_into(whole.path, night)
    script = [sys.executable, "-c", textwrap.dedent(KILL), str(night), str(make(tmp_path / "killed")), "24"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    told = subprocess.run(script, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    words = told.stdout.split()
    killed = [int(step) for step, end in zip(words[::2], words[1::2], strict=True) if int(end) == signal.SIGKILL]
    assert killed == list(range(len(killed)))
    assert 8 <= len(killed) < 24
    for step in killed:
        store = Store.create(tmp_path / "killed" / str(step))
        ingest_into(store.path, night)
        assert store.light_curves().to_arrow().equals(whole.light_curves().to_arrow()), f"killed before write {step}"
        assert store.truth().table.equals(whole.truth().table)
        assert store.quarantine().equals(whole.quarantine())
        assert store.finished_tables() == whole.finished_tables()
