from __future__ import annotations

import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.ingest import reading
from pipeline.ingest.readers import READERS
from pipeline.ingest.reading import ChunkReader, read_chunks
from pipeline.ingest.sources import open_sources
from pipeline.store import IngestSettings, IngestSummary, SourceError, Store, ingest
from tests.pipeline.ingest.snana_files import Written, write_survey

GOOD = Written().text()
ARCHIVES = ("survey.tar.gz", "survey.tgz", "survey.tar.xz", "survey.tar.bz2", "survey.tar", "survey.zip")


def pack(folder: Path, archive: Path) -> Path:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = [str(path.relative_to(folder.parent)) for path in files]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
            for path, name in zip(files, names, strict=True):
                packed.write(path, name)
        return archive
    mode = {".tgz": "gz", ".tar": ""}.get(archive.suffix, archive.suffix[1:])
    with tarfile.open(archive, f"w:{mode}") as packed:  # type: ignore[call-overload]
        for path, name in zip(files, names, strict=True):
            packed.add(path, name)
    return archive


def ingest_into(store: Path, *sources: Path, **settings: object) -> IngestSummary:
    return ingest(sources, Store.create(store), IngestSettings.model_validate({"max_bad_fraction": 1, **settings}))


def reasons(store: Path) -> dict[str, str]:
    table = Store.open(store).quarantine()
    return dict(zip(table["FILE"], table["REASON"], strict=True))


@pytest.fixture
def survey(tmp_path: Path) -> Path:
    folder = write_survey(tmp_path / "survey", 12)
    (folder / "sub").mkdir()
    (folder / "sn11.dat").rename(folder / "sub" / "sn11.dat")
    (folder / "README").write_text("Twelve objects.\n")
    return folder


@pytest.mark.parametrize("name", ARCHIVES)
def test_an_archive_gives_what_its_folder_gives(name: str, survey: Path, tmp_path: Path):
    from_folder = ingest_into(tmp_path / "one", survey)
    from_archive = ingest_into(tmp_path / "two", pack(survey, tmp_path / name))
    assert from_folder.n_ingested == from_archive.n_ingested == 12
    assert from_folder.n_ignored == from_archive.n_ignored == 1
    one, two = Store.open(tmp_path / "one"), Store.open(tmp_path / "two")
    assert one.content_hash() == two.content_hash()
    assert two.light_curves().objects["SOURCE"][11] == "survey/sub/sn11.dat"


def test_a_folder_and_its_archive_are_the_same_objects(survey: Path, tmp_path: Path):
    summary = ingest_into(tmp_path / "store", survey, pack(survey, tmp_path / "survey.zip"))
    assert (summary.n_ingested, summary.n_unchanged, summary.n_quarantined) == (12, 12, 0)


def test_nothing_is_written_beside_an_archive(survey: Path, tmp_path: Path):
    archive = pack(survey, tmp_path / "survey.tar.gz")
    before = sorted(tmp_path.rglob("*"))
    sum(len(chunk.light_curves) for chunk in read_chunks(open_sources([archive])[0], ChunkReader(), 1))
    assert sorted(tmp_path.rglob("*")) == before


def test_a_single_file_is_a_source(survey: Path, tmp_path: Path):
    assert ingest_into(tmp_path / "store", survey / "sn03.dat").n_ingested == 1
    assert Store.open(tmp_path / "store").snids() == ["103"]


def test_a_single_file_is_never_taken_for_a_companion(survey: Path, tmp_path: Path):
    summary = ingest_into(tmp_path / "store", survey / "README")
    assert (summary.n_quarantined, summary.n_ignored) == (1, 0)
    assert reasons(tmp_path / "store") == {
        "README": f"unknown format: none of {', '.join(READERS)} recognises its content"
    }


def test_a_missing_path_is_refused_before_anything_is_read(survey: Path, tmp_path: Path):
    store = Store.create(tmp_path / "store")
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        ingest([survey, tmp_path / "nowhere"], store)
    assert store.snids() == []


def test_an_empty_folder_and_a_folder_without_light_curves_are_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="the folder is empty"):
        ingest_into(tmp_path / "store", tmp_path / "empty")
    (tmp_path / "empty" / "README").write_text("Nothing here.\n")
    with pytest.raises(SourceError, match=r"no light curve in .*: 1 other files"):
        ingest_into(tmp_path / "store", tmp_path / "empty")
    with pytest.raises(SourceError, match="no source given"):
        ingest_into(tmp_path / "store")


@pytest.mark.parametrize("name", [name for name in ARCHIVES if not name.endswith((".xz", ".bz2"))])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_an_archive_cut_short_gives_what_is_readable_and_is_itself_quarantined(name: str, share: float, tmp_path: Path):
    folder = tmp_path / "survey"
    folder.mkdir()
    for number in range(12):  # incompressible, so that half of the archive holds about half of the files
        (folder / f"{number:02d}.dat").write_text(f"# {os.urandom(4000).hex()}\n" + Written(str(number)).text())
    archive = pack(folder, tmp_path / name)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    summary = ingest_into(tmp_path / "store", archive)
    assert abs(summary.n_ingested - 12 * share) <= 1.5
    assert summary.reasons == {"archive cut short or damaged": 1}
    assert summary.n_files == summary.n_ingested + 1
    assert list(reasons(tmp_path / "store")) == [name]


@pytest.mark.parametrize("name", ["survey.zip", "survey.tar.xz", "survey.tar.gz", "survey.tar"])
def test_the_entry_of_a_damaged_archive_is_gone_when_the_whole_one_is_read(name: str, survey: Path, tmp_path: Path):
    archive = pack(survey, tmp_path / name)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert ingest_into(tmp_path / "store", archive).n_quarantined == 1
    archive.write_bytes(whole)
    summary = ingest_into(tmp_path / "store", archive)
    assert summary.n_ingested + summary.n_unchanged == 12
    assert reasons(tmp_path / "store") == {}


def test_a_tar_cut_between_two_members_is_noticed(survey: Path, tmp_path: Path):
    archive = pack(survey, tmp_path / "survey.tar")
    with tarfile.open(archive) as packed:
        third = packed.getmembers()[3]
    archive.write_bytes(archive.read_bytes()[: third.offset])
    summary = ingest_into(tmp_path / "store", archive)
    assert (summary.n_ingested, summary.reasons) == (2, {"archive cut short or damaged": 1})


def test_a_file_that_is_no_archive_in_spite_of_its_name_is_quarantined(tmp_path: Path):
    for name in ("not.zip", "not.tar.gz", "not.tar"):
        (tmp_path / name).write_text(GOOD)
        ingest_into(tmp_path / "store", tmp_path / name)
    assert sorted(reasons(tmp_path / "store")) == ["not.tar", "not.tar.gz", "not.zip"]


def test_one_damaged_member_of_a_zip_is_quarantined_alone(survey: Path, tmp_path: Path):
    archive = tmp_path / "survey.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("bad.dat", GOOD)
        packed.writestr("good.dat", Written("8").text())
    archive.write_bytes(archive.read_bytes().replace(b"20.0", b"29.9", 1))
    summary = ingest_into(tmp_path / "store", archive)
    assert (summary.n_ingested, summary.reasons) == (1, {"damaged in the archive": 1})


def add_link(packed: tarfile.TarFile) -> None:
    link = tarfile.TarInfo("link.dat")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    packed.addfile(link)


def add_climber(packed: tarfile.TarFile) -> None:
    data = Written("9").text().encode()
    climber = tarfile.TarInfo("../../climber.dat")
    climber.size = len(data)
    packed.addfile(climber, io.BytesIO(data))


def add_bomb(packed: tarfile.TarFile) -> None:
    bomb = tarfile.TarInfo("bomb.dat")
    bomb.size = 3_000_000
    packed.addfile(bomb, io.BytesIO(bytes(bomb.size)))


@pytest.mark.parametrize(
    ("add", "expected"), [(add_link, "not a plain file"), (add_climber, "unsafe name"), (add_bomb, "too large")]
)
def test_a_hostile_archive_reads_and_writes_nothing_outside(
    add: Callable[[tarfile.TarFile], None], expected: str, tmp_path: Path
):
    archive = tmp_path / "deep" / "deeper" / "hostile.tar.gz"
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as packed:
        add(packed)
        info = tarfile.TarInfo("good.dat")
        info.size = len(GOOD)
        packed.addfile(info, io.BytesIO(GOOD.encode()))
    before = sorted(tmp_path.rglob("*"))
    summary = ingest_into(tmp_path / "store", archive, max_file_bytes=2_000_000)
    assert (summary.n_ingested, summary.reasons) == (1, {expected: 1})
    assert sorted(path for path in tmp_path.rglob("*") if "store" not in path.parts) == before


def test_a_zip_bomb_and_a_large_file_on_disk_are_not_read(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("bomb.dat", bytes(3_000_000))
    folder = write_survey(tmp_path / "survey", 1)
    (folder / "large.dat").write_bytes(bytes(3_000_000))
    summary = ingest_into(tmp_path / "store", tmp_path / "bomb.zip", folder, max_file_bytes=2_000_000)
    assert (summary.n_ingested, summary.reasons) == (1, {"too large": 2})
    assert reasons(tmp_path / "store")["large.dat"] == "too large: 3000000 bytes, at most 2000000 are read"


def test_a_dangling_link_in_a_folder_is_quarantined(survey: Path, tmp_path: Path):
    (survey / "gone.dat").symlink_to(tmp_path / "nowhere.dat")
    assert ingest_into(tmp_path / "store", survey).n_quarantined == 1
    assert reasons(tmp_path / "store") == {"gone.dat": "cannot be opened: No such file or directory"}


def test_a_broken_xz_stream_is_recorded(tmp_path: Path):
    (tmp_path / "bad.tar.xz").write_bytes(lzma.compress(os.urandom(100_000))[:50_000])
    assert ingest_into(tmp_path / "store", tmp_path / "bad.tar.xz").reasons == {"archive cut short or damaged": 1}


def test_the_number_of_workers_and_the_size_of_chunks_do_not_change_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = write_survey(tmp_path / "survey", 40, sn07=GOOD[:150], sn21=Written("104").text())
    ingest_into(tmp_path / "one", folder, workers=1)
    monkeypatch.setattr(reading, "CHUNK_FILES", 3)
    ingest_into(tmp_path / "two", folder, workers=2, objects_per_commit=7)
    one, two = Store.open(tmp_path / "one"), Store.open(tmp_path / "two")
    assert one.light_curves().to_arrow().equals(two.light_curves().to_arrow())
    assert one.truth().table.equals(two.truth().table)
    assert one.quarantine().equals(two.quarantine())
    assert two.version() > one.version() == 1


def test_progress_counts_every_file_and_knows_the_total_of_folders(survey: Path, tmp_path: Path):
    seen: list[tuple[int, int | None]] = []
    ingest([survey], Store.create(tmp_path / "a"), progress=lambda done, total: seen.append((done, total)))
    ingest(
        [pack(survey, tmp_path / "survey.tar")],
        Store.create(tmp_path / "b"),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(13, 13), (13, None)]
