"""Patterns, packed files, and archives inside folders and archives."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.ingest import reading
from pipeline.store import SourceError, Store
from tests.pipeline.ingest.snana_files import Written, write_survey
from tests.pipeline.ingest.test_sources import ingest_into, pack, reasons

PACKERS: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}
Files = dict[str, bytes]


def light_curve(snid: str) -> bytes:
    return Written(snid).text().encode()


def tar(files: Files, mode: str = "w:gz") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return packed.getvalue()


def zipped(files: Files) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


ARCHIVERS: dict[str, Callable[[Files], bytes]] = {
    "a.tar": lambda files: tar(files, "w"),
    "a.tar.gz": tar,
    "a.tar.xz": lambda files: tar(files, "w:xz"),
    "a.tbz2": lambda files: tar(files, "w:bz2"),
    "a.zip": zipped,
}


def put(folder: Path, files: Files) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def sources_of(store: Path) -> list[str]:
    names: list[str] = Store.open(store).light_curves().objects["SOURCE"].tolist()
    return names


@pytest.mark.parametrize("suffix", PACKERS)
def test_a_packed_file_is_a_light_curve_by_the_name_without_the_suffix(suffix: str, tmp_path: Path):
    packed = PACKERS[suffix](light_curve("7"))
    put(tmp_path / "folder", {f"DES_SN7.DAT{suffix}": packed})
    put(tmp_path, {"night.tar.gz": tar({f"DES_SN7.DAT{suffix}": packed})})
    for number, source in enumerate(
        (tmp_path / "folder", tmp_path / "folder" / f"DES_SN7.DAT{suffix}", tmp_path / "night.tar.gz")
    ):
        assert ingest_into(tmp_path / str(number), source).n_ingested == 1
        assert sources_of(tmp_path / str(number)) == ["DES_SN7.DAT"]


def test_a_packed_file_and_the_plain_one_are_the_same_object(tmp_path: Path):
    put(tmp_path / "plain", {"sn.dat": light_curve("7")})
    put(tmp_path / "packed", {"sn.dat.gz": gzip.compress(light_curve("7"))})
    summary = ingest_into(tmp_path / "store", tmp_path / "plain", tmp_path / "packed")
    assert (summary.n_ingested, summary.n_unchanged, summary.n_quarantined) == (1, 1, 0)
    assert ingest_into(tmp_path / "store", tmp_path / "packed").n_unchanged == 1


def test_a_packed_companion_is_left_alone(tmp_path: Path):
    folder = put(tmp_path / "survey", {"sn.dat": light_curve("7"), "README.md.gz": gzip.compress(b"Read me.\n")})
    summary = ingest_into(tmp_path / "store", folder)
    assert (summary.n_ingested, summary.ignored) == (1, ("README.md",))


@pytest.mark.parametrize("name", ARCHIVERS)
@pytest.mark.parametrize("outer", ["folder", "o.tar.gz", "o.zip"])
def test_an_archive_inside_a_folder_or_archive_is_opened(name: str, outer: str, tmp_path: Path):
    inner = ARCHIVERS[name]({"b/sn2.dat": light_curve("2"), "sn3.dat.gz": gzip.compress(light_curve("3"))})
    files = {"sn1.dat": light_curve("1"), f"deep/{name}": inner, "sn4.dat": light_curve("4")}
    source = put(tmp_path / "folder", files)
    if outer != "folder":
        source = put(tmp_path, {outer: zipped(files) if outer == "o.zip" else tar(files)}) / outer
    summary = ingest_into(tmp_path / "store", source)
    assert (summary.n_files, summary.n_ingested, summary.n_ignored) == (4, 4, 0)
    assert sources_of(tmp_path / "store") == ["sn1.dat", f"deep/{name}/b/sn2.dat", f"deep/{name}/sn3.dat", "sn4.dat"]
    assert ingest_into(tmp_path / "store", source).n_unchanged == 4


@pytest.mark.parametrize("name", ARCHIVERS)
@pytest.mark.parametrize("outer", ["folder", "o.tar.gz", "o.zip"])
def test_what_is_nested_deeper_is_quarantined_and_the_rest_read(name: str, outer: str, tmp_path: Path):
    third = ARCHIVERS[name]({"sn3.dat": light_curve("3")})
    second = ARCHIVERS[name]({f"third-{name}": third, "sn2.dat": light_curve("2")})
    source = put(tmp_path / "folder", {name: second})
    if outer != "folder":
        source = put(tmp_path, {outer: zipped({name: second}) if outer == "o.zip" else tar({name: second})}) / outer
    summary = ingest_into(tmp_path / "store", source)
    assert (summary.n_ingested, summary.reasons) == (1, {"nested too deep": 1})
    assert list(reasons(tmp_path / "store")) == [f"{name}/third-{name}"]


def test_a_file_packed_twice_and_an_archive_under_another_name_are_quarantined(tmp_path: Path):
    files = {
        "twice.dat.gz": gzip.compress(gzip.compress(light_curve("1"))),
        "hidden.dat": tar({"sn.dat": light_curve("2")}, "w"),
        "hidden.txt.gz": tar({"sn.dat": light_curve("3")}),
        "table.xlsx": zipped({"sheet.xml": b"<a/>"}),
        "sn.dat": light_curve("4"),
    }
    summary = ingest_into(tmp_path / "store", put(tmp_path / "survey", files))
    assert summary.reasons == {"packed twice": 1, "archive": 2}
    assert (summary.n_ingested, summary.ignored) == (1, ("table.xlsx",))


def test_a_source_of_its_own_is_known_for_an_archive_by_its_content(tmp_path: Path):
    files = {"sn.dat": light_curve("4")}
    for number, data in enumerate((tar(files), tar(files, "w"), tar(files, "w:xz"), zipped(files))):
        put(tmp_path, {f"download-{number}": data})
        assert ingest_into(tmp_path / f"store{number}", tmp_path / f"download-{number}").n_ingested == 1


def test_a_damaged_archive_in_a_folder_costs_itself_alone_and_its_entry_goes_when_it_is_whole(tmp_path: Path):
    whole = tar({"sn1.dat": light_curve("1"), "sn2.dat": light_curve("2")}, "w")
    folder = put(tmp_path / "survey", {"a.tar": whole[:700], "b.dat": light_curve("3"), "c.dat.gz": b"\x1f\x8b\x08"})
    summary = ingest_into(tmp_path / "store", folder)
    assert (summary.n_ingested, summary.n_files) == (1, 3)
    assert sorted(reasons(tmp_path / "store")) == ["a.tar", "c.dat.gz"]
    put(folder, {"a.tar": whole, "c.dat.gz": gzip.compress(light_curve("4"))})
    assert ingest_into(tmp_path / "store", folder).n_ingested == 3
    assert reasons(tmp_path / "store") == {}


def test_a_pattern_gives_what_the_shell_would_have_given(tmp_path: Path):
    folder = write_survey(tmp_path / "night", 6)
    (folder / "README.md").write_text("Six objects.\n")
    pattern = ingest_into(tmp_path / "one", folder / "sn0[0-3].dat", folder / "sn05*")
    files = ingest_into(tmp_path / "two", *(folder / f"sn0{number}.dat" for number in (0, 1, 2, 3, 5)))
    assert pattern.n_ingested == files.n_ingested == 5
    assert Store.open(tmp_path / "one").content_hash() == Store.open(tmp_path / "two").content_hash()


def test_a_pattern_may_match_folders_and_archives_and_look_below(tmp_path: Path):
    for number in range(2):
        written = write_survey(tmp_path / f"night{number}", 3)
        for path in written.iterdir():
            path.write_text(path.read_text().replace("SNID:  ", f"SNID:  {number}"))
    pack(tmp_path / "night1", tmp_path / "night2.tar.gz")
    shutil.rmtree(tmp_path / "night1")
    assert ingest_into(tmp_path / "one", tmp_path / "night*").n_ingested == 6
    assert ingest_into(tmp_path / "two", tmp_path / "**" / "*.dat").n_ingested == 3


def test_a_pattern_that_matches_nothing_is_named(tmp_path: Path):
    with pytest.raises(SourceError, match=r"night/\*\.DAT: nothing matches this pattern"):
        ingest_into(tmp_path / "store", tmp_path / "night" / "*.DAT")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path):
    put(tmp_path, {"sn[1].dat": light_curve("1"), "sn1.dat": light_curve("2")})
    ingest_into(tmp_path / "store", tmp_path / "sn[1].dat")
    assert Store.open(tmp_path / "store").snids() == ["1"]


def test_packed_files_are_read_a_few_at_a_time_with_the_same_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = {f"sn{number}.dat.gz": gzip.compress(light_curve(str(number))) for number in range(9)}
    folder = put(tmp_path / "survey", files)
    ingest_into(tmp_path / "one", folder)
    monkeypatch.setattr(reading, "CHUNK_BYTES", 500)
    assert ingest_into(tmp_path / "two", folder).n_ingested == 9
    assert Store.open(tmp_path / "one").content_hash() == Store.open(tmp_path / "two").content_hash()
