"""What strangers send: each is refused with a reason, holds little memory, and costs the others nothing."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.ingest import archives, zips
from pipeline.ingest.archives import archive_members
from pipeline.ingest.names import printable
from pipeline.ingest.packing import PackedError, unpack
from pipeline.store import SourceError, Store
from tests.pipeline.ingest.snana_files import Written
from tests.pipeline.ingest.table_files import read_damaged
from tests.pipeline.ingest.test_containers import ARCHIVERS, Files, light_curve, put, tar, zipped
from tests.pipeline.ingest.test_sources import ingest_into, reasons

MIB = 1 << 20
GOOD: Files = {"good.dat": light_curve("1")}


def refused(store: Path, source: Path, n_good: int = 1, **options: object) -> dict[str, str]:
    """Ingest, check that the good ones are there and all is accounted for, and return the reasons."""
    summary = ingest_into(store, source, **options)
    assert summary.n_ingested == n_good
    found = reasons(store)
    assert summary.n_files == summary.n_ingested + summary.n_unchanged + len(found)
    return found


@pytest.fixture
def few_bytes() -> Iterator[Callable[[], int]]:
    """Tells how many bytes Python held at most since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


def gzip_zeros(n_mib: int) -> bytes:
    """A gzip file of zeros, made without holding them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(n_mib)) + packer.flush()


def tar_of_zeros(n_mib: int) -> bytes:
    """A tar.gz archive with one large member, then a good one."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    info = tarfile.TarInfo("zeros.dat")
    info.size = n_mib * MIB
    parts = [packer.compress(info.tobuf()), *(packer.compress(bytes(MIB)) for _ in range(n_mib))]
    return b"".join([*parts, packer.compress(tar(GOOD, "w")), packer.flush()])


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("inside", ["folder", "o.tar", "o.zip"])
def test_a_packed_bomb_is_not_unpacked_beyond_the_limit(
    pack: Callable[[bytes], bytes], inside: str, tmp_path: Path, few_bytes: Callable[[], int]
):
    bomb = pack(bytes(24 * MIB))
    tracemalloc.reset_peak()
    source = put(tmp_path / "folder", {"bomb.dat.gz": bomb, **GOOD})
    if inside != "folder":
        files = {"bomb.dat.gz": bomb, **GOOD}
        source = put(tmp_path, {inside: tar(files) if inside == "o.tar" else zipped(files)}) / inside
    found = refused(tmp_path / "store", source, max_file_bytes=2 * MIB, workers=1)
    assert found["bomb.dat.gz"].startswith("too large: more than 2097152 bytes when unpacked")
    assert few_bytes() < 16 * MIB


def test_a_packed_bomb_in_a_packed_bomb_is_opened_once(tmp_path: Path):
    source = put(tmp_path / "folder", {"bomb.dat.gz": gzip.compress(gzip_zeros(8)), **GOOD})
    assert refused(tmp_path / "store", source)["bomb.dat"].startswith("packed twice: ")


def test_a_member_that_unpacks_to_more_than_allowed_is_passed_over_or_ends_the_archive(
    tmp_path: Path, few_bytes: Callable[[], int]
):
    put(tmp_path, {"small.tar.gz": tar_of_zeros(6), "large.tar.gz": tar_of_zeros(40)})
    limit = {"max_file_bytes": 2 * MIB, "workers": 1}
    found = refused(tmp_path / "one", tmp_path / "small.tar.gz", **limit)
    assert set(found) == {"zeros.dat"}
    told = "too large: 6291456 bytes, at most 2097152 are read of a file in an archive; unpack it"
    assert found["zeros.dat"].startswith(told)
    tracemalloc.reset_peak()
    found = refused(tmp_path / "two", tmp_path / "large.tar.gz", n_good=0, **limit)
    assert found["large.tar.gz"] == "decompression bomb: more than 200 bytes for every packed one"
    assert few_bytes() < 16 * MIB


@pytest.mark.parametrize(("inner", "outer"), [*product(["a.tar.gz", "a.zip"], ["folder", "o.tar.gz", "o.zip"])])
def test_a_bomb_in_a_nested_archive_ends_that_archive(
    inner: str, outer: str, tmp_path: Path, few_bytes: Callable[[], int]
):
    many = {f"zeros{number}.dat": bytes(2 * MIB) for number in range(20)}
    files = {**GOOD, inner: ARCHIVERS[inner](many)}
    source = put(tmp_path / "folder", files)
    if outer != "folder":
        source = put(tmp_path, {outer: zipped(files) if outer == "o.zip" else tar(files)}) / outer
    many.clear()
    tracemalloc.reset_peak()
    found = refused(tmp_path / "store", source, max_file_bytes=2 * MIB, workers=1)
    assert found[inner] == "decompression bomb: more than 200 bytes for every packed one"
    assert few_bytes() < 48 * MIB


def test_a_zip_that_understates_its_sizes_is_damaged(tmp_path: Path, few_bytes: Callable[[], int]):
    data = zipped({"liar.dat": bytes(40 * MIB), **GOOD})
    understated = data.replace(struct.pack("<I", 40 * MIB), struct.pack("<I", 1000))
    tracemalloc.reset_peak()
    found = refused(tmp_path / "store", put(tmp_path, {"a.zip": understated}) / "a.zip")
    assert found["liar.dat"].startswith("damaged in the archive: Bad CRC-32")
    assert few_bytes() < 16 * MIB


@pytest.mark.parametrize("name", ["../sn.dat", "a/../../sn.dat", "/etc/sn.dat", "..\\sn.dat", "C:\\sn.dat"])
@pytest.mark.parametrize("archive", ["a.tar.gz", "a.zip"])
def test_a_name_that_points_out_of_its_archive_is_refused(name: str, archive: str, tmp_path: Path):
    (tmp_path / "deep").mkdir()
    put(tmp_path / "deep", {archive: ARCHIVERS[archive]({name: light_curve("9"), **GOOD})})
    found = refused(tmp_path / "store", tmp_path / "deep" / archive)
    assert list(found.values()) == ["unsafe name: it is absolute, or climbs out of the archive by .."]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "store"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        special = tarfile.TarInfo("special.dat")
        special.type, special.linkname = kind, "good.dat"
        info = tarfile.TarInfo("good.dat")
        info.size = len(GOOD["good.dat"])
        archive.addfile(info, io.BytesIO(GOOD["good.dat"]))
        archive.addfile(special)
    found = refused(tmp_path / "store", put(tmp_path, {"a.tar": packed.getvalue()}) / "a.tar")
    assert found == {"special.dat": "not a plain file: links and devices in archives are not followed"}


def zip_with(name: str, change: Callable[[zipfile.ZipInfo], None], method: int = zipfile.ZIP_STORED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.compress_type = method
        archive.writestr(info, light_curve("9"))
        change(info)
        archive.writestr("good.dat", GOOD["good.dat"])
    return packed.getvalue()


def make_link(info: zipfile.ZipInfo) -> None:
    info.external_attr = 0o120777 << 16


def make_encrypted(info: zipfile.ZipInfo) -> None:
    info.flag_bits |= 1


@pytest.mark.parametrize(
    ("change", "method", "reason"),
    [
        (make_link, zipfile.ZIP_STORED, "not a plain file: links"),
        (make_encrypted, zipfile.ZIP_STORED, "encrypted: a member that needs a password is not read"),
        (lambda info: None, zipfile.ZIP_BZIP2, "packing method: 12 is not read"),
        (lambda info: None, zipfile.ZIP_LZMA, "packing method: 14 is not read"),
    ],
)
def test_links_passwords_and_unbounded_methods_in_a_zip_are_refused(
    change: Callable[[zipfile.ZipInfo], None], method: int, reason: str, tmp_path: Path
):
    put(tmp_path, {"a.zip": zip_with("odd.dat", change, method)})
    assert refused(tmp_path / "store", tmp_path / "a.zip")["odd.dat"].startswith(reason)


def test_links_to_folders_loops_pipes_and_devices_in_a_folder_are_refused(tmp_path: Path):
    folder = put(tmp_path / "survey", GOOD)
    (folder / "loop").symlink_to(folder)
    (folder / "round.dat").symlink_to(folder / "round.dat")
    (folder / "null.dat").symlink_to("/dev/null")
    os.mkfifo(folder / "pipe.dat")
    (folder / "pipe-link.dat").symlink_to(folder / "pipe.dat")
    os.mkfifo(folder / "pipe.tar.gz")
    assert refused(tmp_path / "store", folder) == {
        "loop": "not a plain file: a link to a folder in a folder is not read",
        "null.dat": "not a plain file: a device in a folder is not read",
        "pipe-link.dat": "not a plain file: a pipe in a folder is not read",
        "pipe.dat": "not a plain file: a pipe in a folder is not read",
        "pipe.tar.gz": "not a plain file: a pipe in a folder is not read",
        "round.dat": "cannot be opened: Too many levels of symbolic links",
    }


def test_a_pipe_is_no_source(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="pipe: neither a plain file nor a folder"):
        ingest_into(tmp_path / "store", tmp_path / "pipe")


def test_a_link_to_a_plain_file_is_read(tmp_path: Path):
    folder = put(tmp_path / "survey", GOOD)
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "sn.dat").symlink_to(folder / "good.dat")
    assert refused(tmp_path / "store", tmp_path / "night") == {}


def test_a_line_of_a_gigabyte_is_not_read(tmp_path: Path, few_bytes: Callable[[], int]):
    folder = put(tmp_path / "survey", {"line.dat": b"SNID: 7 ", **GOOD, "line.tar.gz": tar_of_zeros(70)})
    os.truncate(folder / "line.dat", 1 << 30)
    tracemalloc.reset_peak()
    found = refused(tmp_path / "store", folder, workers=1)
    assert found["line.dat"].startswith("too large: 1073741824 bytes, at most 67108864 are read")
    assert found["line.tar.gz/zeros.dat"].startswith("too large: ")
    assert few_bytes() < 16 * MIB


def test_too_many_members_end_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 5)
    files = {f"sn{number}.dat": light_curve(str(number)) for number in range(9)}
    for name in ("a.tar.gz", "a.zip"):
        put(tmp_path, {name: ARCHIVERS[name](files)})
        found = refused(tmp_path / f"store-{name}", tmp_path / name, n_good=5)
        assert found == {name: "too many members: more than 5; only so many were read"}


def test_a_zip_whose_table_of_contents_would_fill_the_memory_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(zips, "_MAX_TABLE_BYTES", 500)
    put(tmp_path, {"a.zip": zipped({f"sn{number}.dat": light_curve(str(number)) for number in range(20)})})
    found = refused(tmp_path / "store", tmp_path / "a.zip", n_good=0)
    assert found["a.zip"].startswith("too many members: the table of contents")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_tar_header_that_would_fill_the_memory_ends_the_archive(
    kind: bytes, tmp_path: Path, few_bytes: Callable[[], int]
):
    info = tarfile.TarInfo("long")
    info.type, info.size = kind, 40 * MIB
    data = info.tobuf(tarfile.GNU_FORMAT) + b"n" * (40 * MIB)
    put(tmp_path, {"a.tar": data})
    del data
    tracemalloc.reset_peak()
    found = refused(tmp_path / "store", tmp_path / "a.tar", n_good=0)
    assert found["a.tar"].startswith("header too large: 41943040 bytes")
    assert few_bytes() < 16 * MIB


@pytest.mark.parametrize("cut", ["checksum", "length", "end"])
def test_a_gzip_file_with_a_wrong_trailer_is_refused(cut: str, tmp_path: Path):
    whole = gzip.compress(light_curve("7"))
    damaged = {
        "checksum": whole[:-8] + bytes(4) + whole[-4:],
        "length": whole[:-4] + bytes(4),
        "end": whole[:-3],
    }[cut]
    found = refused(tmp_path / "store", put(tmp_path / "survey", {"sn.dat.gz": damaged, **GOOD}))
    assert found["sn.dat.gz"].startswith("damaged: the packed file cannot be unpacked (")


def test_an_archive_with_a_wrong_checksum_gives_its_members_and_is_itself_quarantined(tmp_path: Path):
    whole = tar(GOOD)
    put(tmp_path, {"a.tar.gz": whole[:-8] + bytes(4) + whole[-4:]})
    found = refused(tmp_path / "store", tmp_path / "a.tar.gz")
    assert found["a.tar.gz"].startswith("archive cut short or damaged: CRC check failed")


@pytest.mark.parametrize("archive", ["a.tar", "a.zip"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_members_with_one_name_the_first_is_read_and_each_other_refused(archive: str, tmp_path: Path):
    packed = io.BytesIO()
    if archive == "a.zip":
        with zipfile.ZipFile(packed, "w") as zip_archive:
            for snid in "123":
                zip_archive.writestr("sn.dat", light_curve(snid))
    else:
        parts = [tar({"sn.dat": light_curve(snid)}, "w")[:1024] for snid in "123"]
        packed.write(b"".join(parts) + bytes(1024))
    found = refused(tmp_path / "store", put(tmp_path, {archive: packed.getvalue()}) / archive)
    assert Store.open(tmp_path / "store").snids() == ["1"]
    reason = "repeated name: only the first file of this name was read"
    assert found == {"sn.dat#2": reason, "sn.dat#3": reason}


NASTY = "\x1b]0;owned\x07\x1b[2J\u202edat.\x9b\x7f"


def test_no_name_object_or_reason_in_the_tables_can_command_a_terminal(tmp_path: Path):
    bad_band = Written(NASTY.replace(" ", ""), ((56000.0, "\x1b[31mq", 1.0, 1.0),)).text().encode()
    files = {f"a{NASTY}.dat": b"", f"b{NASTY}.dat": bad_band, f"c{NASTY}.dat": light_curve("3")}
    put(tmp_path, {f"d{NASTY}.tar": tar(files, "w"), "e.zip": zipped(files)})
    put(tmp_path / "folder", files)
    with open(os.fsencode(tmp_path / "folder") + b"/\xff\xfe.dat", "wb") as handle:
        handle.write(b"SNID: \xff\x1b[0m\n")
    for number, source in enumerate((tmp_path / f"d{NASTY}.tar", tmp_path / "e.zip", tmp_path / "folder")):
        ingest_into(tmp_path / str(number), source)
        store = Store.open(tmp_path / str(number))
        table = store.quarantine()
        assert len(table) >= 2
        shown = [*table[["SOURCE", "FILE", "SNID", "REASON"]].fillna("").astype(str).to_numpy().ravel()]
        shown += store.light_curves().objects["SOURCE"].tolist()
        assert all(text.isprintable() for text in shown)
        assert store.snids() == ["3"]


@given(st.text())
def test_what_is_printable_stays_and_the_rest_can_be_read_back(text: str):
    shown = printable(text)
    assert shown.isprintable()
    assert text.isprintable() == (shown == text)


SEEDS = tuple(make({**GOOD, "two.dat": light_curve("2")}) for make in ARCHIVERS.values())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4),
    name=st.sampled_from(["fuzz.zip", "fuzz.tar"]),
)
def test_bytes_changed_anywhere_in_an_archive_raise_nothing(
    seed: bytes, changes: list[tuple[int, bytes]], name: str, tmp_path: Path
):
    data = bytearray(seed)
    for place, new in changes:
        start = place % len(data)
        data[start : start + len(new)] = new
    path = tmp_path / name
    path.write_bytes(data)
    members = list(archive_members(str(path), MIB))
    assert all((member.data is None) != (member.problem is None) or "." not in member.name for member in members)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([gzip.compress, bz2.compress, lzma.compress]), st.binary(max_size=60), st.integers(0, 400))
def test_bytes_changed_anywhere_in_a_packed_file_raise_nothing_but_that_it_is_damaged(
    pack: Callable[[bytes], bytes], new: bytes, place: int
):
    data = bytearray(pack(light_curve("7")))
    data[place : place + len(new)] = new
    with suppress(PackedError):
        assert len(unpack(bytes(data), MIB)) <= MIB


@pytest.mark.parametrize("kind", [b"0", b"x"])
def test_a_tar_header_that_announces_more_than_can_be_does_not_keep_the_ingest_busy(kind: bytes, tmp_path: Path):
    header = bytearray(tarfile.TarInfo("huge.dat").tobuf())
    header[124:136] = b"\x80" + (1 << 62).to_bytes(11, "big")
    header[156:157] = kind
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    put(tmp_path, {"lies.tar.gz": gzip.compress(tar(GOOD, "w")[:1024] + bytes(header) + tar(GOOD, "w"))})
    names = [member.name for member in archive_members(str(tmp_path / "lies.tar.gz"), MIB)]
    assert names[0] == "good.dat"
    assert names[-1] == "lies.tar.gz"


def test_a_votable_whose_rows_announce_more_than_they_hold_is_refused_before_memory_is_taken(tmp_path: Path):
    fields = "".join(f'<FIELD name="{name}" datatype="double" arraysize="9999"/>' for name in ("SNID", "MJD", "x"))
    rows = "<TR/>" * 5000
    (tmp_path / "night.vot").write_text(
        f'<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
        f"{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    (result,) = read_damaged([tmp_path / "night.vot"])
    assert [rejection.reason.partition(":")[0] for rejection in result.rejections] == ["too large"]
