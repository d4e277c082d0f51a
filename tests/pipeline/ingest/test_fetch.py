from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlparse

import pytest

from pipeline.ingest.datasets import DATASETS, RemoteFile, default_folder, describe
from pipeline.ingest.download import DownloadError, NetworkError
from pipeline.ingest.fetching import FetchItem, WrongFileError, fetch, fetch_file, plan_fetch, summarise, verify
from pipeline.ingest.sources import SourceError
from pipeline.settings import SettingsError
from tests.pipeline.ingest.file_server import FileServer, serve

NAME = "SIMGEN_PUBLIC_DES.tar.gz"
CONTENT = gzip.compress(random.Random(7).randbytes(700_000), mtime=0)
MD5 = hashlib.md5(CONTENT).hexdigest()
OTHER = gzip.compress(b"something else", mtime=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with serve({NAME: CONTENT, "notes.txt": b"Some notes.\n"}) as served:
        yield served


def item_of(
    server: FileServer, folder: Path, name: str = NAME, checksum: str | None = f"md5:{MD5}", size: int | None = None
) -> FetchItem:
    file = RemoteFile(name, checksum, size, "gzip" if name.endswith("gz") else "text")
    return FetchItem("spcc", file, f"{server.url}/files/{name}", folder)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_downloaded_verified_and_alone_in_its_folder(server: FileServer, tmp_path: Path):
    seen: list[tuple[int, int | None]] = []
    fetched = fetch_file(item_of(server, tmp_path / "spcc"), lambda done, total: seen.append((done, total)))
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.source, fetched.size, fetched.n_bytes_received) == ("downloaded", len(CONTENT), len(CONTENT))
    assert fetched.check == f"md5 {MD5} agrees"
    assert names(tmp_path / "spcc") == [NAME]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_what_is_present_and_verified_is_not_downloaded_again(server: FileServer, tmp_path: Path):
    fetch_file(item_of(server, tmp_path))
    again = fetch_file(item_of(server, tmp_path))
    assert (again.source, again.n_bytes_received, len(server.seen)) == ("present", 0, 1)


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_cut_download_goes_on_and_no_byte_comes_twice(server: FileServer, tmp_path: Path, size: int | None):
    server.failures = [("cut", 300_000), ("cut", 100_000)]
    item = item_of(server, tmp_path, size=size)
    for kept in ("300,000", "400,000"):
        with pytest.raises(NetworkError, match=f"{kept} bytes are kept in .*{NAME}.partial.*same command again"):
            fetch_file(item)
    fetched = fetch_file(item)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.source, fetched.n_bytes_received) == ("resumed", len(CONTENT) - 400_000)
    assert [seen.range for seen in server.seen] == [None, "bytes=300000-", "bytes=400000-"]
    assert sum(seen.n_sent for seen in server.seen) == len(CONTENT)
    assert names(tmp_path) == [NAME]


def test_a_server_that_cannot_resume_sends_the_file_anew(server: FileServer, tmp_path: Path):
    server.ranges = False
    server.failures = [("cut", 300_000)]
    with pytest.raises(NetworkError):
        fetch_file(item_of(server, tmp_path))
    assert fetch_file(item_of(server, tmp_path)).path.read_bytes() == CONTENT
    assert [seen.range for seen in server.seen] == [None, "bytes=300000-"]


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_a_download_that_was_whole_but_not_yet_in_place_is_taken(server: FileServer, tmp_path: Path, size: int | None):
    (tmp_path / f"{NAME}.partial").write_bytes(CONTENT)
    fetched = fetch_file(item_of(server, tmp_path, size=size))
    assert (fetched.path.read_bytes(), fetched.n_bytes_received) == (CONTENT, 0)
    assert len(server.seen) == (0 if size else 1)


@pytest.mark.parametrize("size", [None, len(CONTENT)])
@pytest.mark.parametrize("left_over", [b"x" * 1000, b"x" * (len(CONTENT) + 5)])
def test_a_rest_of_another_file_does_not_spoil_the_download(
    server: FileServer, tmp_path: Path, left_over: bytes, size: int | None
):
    (tmp_path / f"{NAME}.partial").write_bytes(left_over)
    assert fetch_file(item_of(server, tmp_path, size=size)).path.read_bytes() == CONTENT
    assert names(tmp_path) == [NAME]


def test_a_wrong_checksum_names_both_and_the_file_is_kept_aside(server: FileServer, tmp_path: Path):
    server.files[NAME] = OTHER
    with pytest.raises(WrongFileError, match=f"md5 is {hashlib.md5(OTHER).hexdigest()}, expected {MD5}.*kept as"):
        fetch_file(item_of(server, tmp_path))
    assert names(tmp_path) == [f"{NAME}.wrong"]
    server.files[NAME] = CONTENT
    assert fetch_file(item_of(server, tmp_path)).path.read_bytes() == CONTENT


def test_a_web_page_in_the_place_of_a_file_is_recognised(server: FileServer, tmp_path: Path):
    server.files |= {
        NAME: b"<!DOCTYPE html>\n<p>Log in first</p>\n",
        "notes.txt": b"version https://git-lfs.github.com",
    }
    with pytest.raises(WrongFileError, match=r"expected .*; it is a web page"):
        fetch_file(item_of(server, tmp_path))
    with pytest.raises(WrongFileError, match="a Git LFS pointer"):
        fetch_file(item_of(server, tmp_path, "notes.txt", checksum=None))


def test_a_file_of_another_size_is_refused_before_it_is_downloaded(server: FileServer, tmp_path: Path):
    with pytest.raises(DownloadError, match=f"the server's file has {len(CONTENT):,} bytes, expected 9"):
        fetch_file(item_of(server, tmp_path, size=9))
    assert names(tmp_path) == []


def test_a_file_here_that_is_damaged_is_kept_aside_and_fetched_again(server: FileServer, tmp_path: Path):
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    fetched = fetch_file(item_of(server, tmp_path))
    assert fetched.path.read_bytes() == CONTENT
    assert f"the file that was here is kept as {NAME}.wrong" in fetched.check
    assert names(tmp_path) == [NAME, f"{NAME}.wrong"]


def test_without_a_checksum_the_output_says_what_was_checked(server: FileServer, tmp_path: Path):
    notes = fetch_file(item_of(server, tmp_path, "notes.txt", checksum=None))
    assert notes.check == "no checksum is known: only its format (text) was checked"
    sized = fetch_file(item_of(server, tmp_path, checksum=None, size=len(CONTENT)))
    assert (
        sized.check == f"no checksum is known: only its size ({len(CONTENT):,} bytes) and its format (gzip) was checked"
    )
    damaged = tmp_path / "damaged.gz"
    damaged.write_bytes(CONTENT[:5000] + b"\0" + CONTENT[5001:])
    with pytest.raises(WrongFileError, match="it is not gzip"):
        verify(damaged, RemoteFile("damaged.gz"))


def test_a_missing_file_is_not_a_passing_failure_and_says_what_to_do(server: FileServer, tmp_path: Path):
    with pytest.raises(DownloadError, match=r"404 Not Found\. Get the file another way.*snflow fetch spcc --archive"):
        fetch_file(item_of(server, tmp_path, "gone.tar.gz"))
    assert names(tmp_path) == []


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_a_passing_failure(server: FileServer, tmp_path: Path, status: int):
    server.failures = [("status", status)]
    with pytest.raises(NetworkError, match=f"the server answered {status}"):
        fetch_file(item_of(server, tmp_path))
    assert fetch_file(item_of(server, tmp_path)).path.read_bytes() == CONTENT


def test_without_a_network_the_message_says_what_was_tried_and_what_to_do(server: FileServer, tmp_path: Path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/{NAME}"
        with pytest.raises(NetworkError) as caught:
            fetch_file(replace(item_of(server, tmp_path), url=url))
    for part in (
        url,
        "Connection refused",
        "HTTPS_PROXY",
        "doi.org/10.5281/zenodo.13883296",
        f"--archive FOLDER/{NAME}",
    ):
        assert part in str(caught.value)


def test_a_proxy_of_the_environment_is_used(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", server.url)
    monkeypatch.setenv("http_proxy", server.url)
    item = replace(item_of(server, tmp_path), url=f"http://data.invalid/{NAME}")
    assert fetch_file(item).path.read_bytes() == CONTENT
    assert server.seen[0].path == f"http://data.invalid/{NAME}"


def test_a_file_whose_length_the_server_does_not_tell_is_taken(server: FileServer, tmp_path: Path):
    server.tells_length = False
    seen: list[tuple[int, int | None]] = []
    item = item_of(server, tmp_path)
    assert fetch_file(item, lambda done, total: seen.append((done, total))).path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), None)


def test_two_fetches_at_once_download_once(server: FileServer, tmp_path: Path):
    item = item_of(server, tmp_path / "spcc")
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(fetch_file, [item, item]))
    assert {fetched.source for fetched in both} == {"downloaded", "present"}
    assert len(server.seen) == 1
    assert names(item.folder) == [NAME]


KILLED = """
import sys
from pathlib import Path
from pipeline.ingest.datasets import RemoteFile
from pipeline.ingest.fetching import FetchItem, fetch_file
url, folder, name, checksum = sys.argv[1:]
fetch_file(FetchItem("spcc", RemoteFile(name, checksum), url, Path(folder)))
"""


def test_after_kill_minus_9_the_download_goes_on_and_equals_an_uninterrupted_one(server: FileServer, tmp_path: Path):
    item = item_of(server, tmp_path)
    server.stalled = {NAME}
    words = [sys.executable, "-c", KILLED, item.url, str(tmp_path), NAME, f"md5:{MD5}"]
    partial, half = item.beside(".partial"), len(CONTENT) // 2
    with subprocess.Popen(words) as process:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and not (partial.exists() and partial.stat().st_size > half - (1 << 16)):
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [f"{NAME}.partial"]
    kept = partial.stat().st_size
    assert kept > half - (1 << 16)
    server.stalled = set()
    fetched = fetch_file(item)
    assert (fetched.path.read_bytes(), fetched.source) == (CONTENT, "resumed")
    assert server.seen[-1].range == f"bytes={kept}-"


def test_a_copy_at_hand_is_verified_and_copied_without_a_network(tmp_path: Path):
    archive = tmp_path / "downloads" / "my-copy.tgz"
    archive.parent.mkdir()
    archive.write_bytes(CONTENT)
    item = FetchItem("spcc", RemoteFile(NAME, f"md5:{MD5}"), "http://data.invalid/", tmp_path / "spcc", archive)
    fetched = fetch_file(item)
    assert (fetched.source, fetched.path.read_bytes(), names(tmp_path / "spcc")) == ("copied", CONTENT, [NAME])
    assert archive.read_bytes() == CONTENT


def test_a_wrong_copy_at_hand_is_refused_and_left_as_it_is(tmp_path: Path):
    archive = tmp_path / NAME
    archive.write_bytes(OTHER)
    item = FetchItem("spcc", RemoteFile(NAME, f"md5:{MD5}"), "http://data.invalid/", tmp_path / "spcc", archive)
    with pytest.raises(WrongFileError, match=f"{NAME} is not .* as published: its md5 is .*, expected {MD5}"):
        fetch_file(item)
    assert (archive.read_bytes(), names(tmp_path / "spcc")) == (OTHER, [])
    in_place = replace(item, folder=tmp_path)
    with pytest.raises(WrongFileError, match="is not the published file"):
        fetch_file(in_place)
    assert archive.read_bytes() == OTHER


def test_archives_are_files_of_the_same_name_folders_of_them_or_the_only_file_by_any_name(tmp_path: Path):
    train, test = "plasticc_train_metadata.csv.gz", "plasticc_test_metadata.csv.gz"
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / train).touch()
    (tmp_path / test).touch()
    (tmp_path / "other.gz").touch()
    plan = plan_fetch("plasticc", tmp_path, [tmp_path / "folder", tmp_path / test])
    assert [item.file.name for item in plan if item.archive] == [train, test]
    assert plan_fetch("spcc", tmp_path, [tmp_path / "other.gz"])[0].archive == tmp_path / "other.gz"
    with pytest.raises(SourceError, match="nowhere: no such file or folder"):
        plan_fetch("spcc", tmp_path, [tmp_path / "nowhere"])
    with pytest.raises(SourceError, match=r"other.gz is none of plasticc_train_metadata"):
        plan_fetch("plasticc", tmp_path, [tmp_path / "other.gz"])


def test_the_reduced_spcc_archive_is_not_taken_for_the_published_one(shared_data: Path, tmp_path: Path):
    archive = shared_data / "spcc" / NAME
    if hashlib.md5(archive.read_bytes()).hexdigest() == "3ed2c475512d8c8cf8a2b8907ed21ed0":
        assert fetch("spcc", tmp_path, [archive])[0].source == "copied"
        return
    with pytest.raises(WrongFileError, match=r"expected 3ed2c475512d8c8cf8a2b8907ed21ed0.*given to snflow ingest"):
        fetch("spcc", tmp_path, [archive])


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        fetch_file(item_of(server, tmp_path / "spcc"))


def test_a_folder_that_is_a_file_is_named(server: FileServer, tmp_path: Path):
    (tmp_path / "spcc").touch()
    with pytest.raises(FileExistsError, match=str(tmp_path)):
        fetch_file(item_of(server, tmp_path / "spcc"))


@pytest.mark.parametrize("name", DATASETS)
def test_every_dataset_of_the_registry_is_well_formed(name: str):
    dataset = DATASETS[name]
    assert re.fullmatch(r"[a-z0-9-]+", name)
    assert re.fullmatch(r"10\.\d{4,}/\S+", dataset.doi)
    assert urlparse(dataset.base_url).scheme == "https"
    assert not dataset.base_url.endswith("/")
    assert re.search(r"arXiv:\d{4}\.\d{4,5}", dataset.citation)
    assert dataset.next_command.startswith("snflow ")
    assert len({file.name for file in dataset.files}) == len(dataset.files)
    for file in dataset.files:
        assert re.fullmatch(r"[\w.-]+", file.name)
        assert file.format == ("gzip" if file.name.endswith("gz") else "text")
        assert file.size is None or file.size > 0
        assert file.checksum is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", file.checksum)


def test_an_unknown_name_and_a_pattern_without_files_name_what_there_is(tmp_path: Path):
    with pytest.raises(SettingsError, match="no dataset 'spc'; did you mean spcc"):
        plan_fetch("spc", tmp_path)
    with pytest.raises(SettingsError, match=f"no file matches 'x'; there are {NAME}"):
        plan_fetch("spcc", tmp_path, only="x")


def test_a_mirror_replaces_the_folder_on_the_web(tmp_path: Path):
    assert plan_fetch("spcc", tmp_path, mirror="http://mirror/data/")[0].url == f"http://mirror/data/{NAME}"
    assert plan_fetch("spcc", tmp_path)[0].url == f"https://zenodo.org/records/13883296/files/{NAME}"


def test_the_default_folder_is_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    assert "snflow" in default_folder().parts
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert plan_fetch("spcc")[0].path == tmp_path / "snflow" / "spcc" / NAME


def test_the_list_counts_what_is_here_and_the_summary_says_what_to_type(server: FileServer, tmp_path: Path):
    fetched = fetch_file(item_of(server, tmp_path / "with space" / "spcc"))
    listed = {found["name"]: found for found in describe(tmp_path / "with space")}
    assert [listed[name]["n_present"] for name in ("spcc", "plasticc", "des-sn5yr")] == [1, 0, 0]
    summary = summarise("spcc", [fetched])
    assert summary["next"] == f"snflow run '{fetched.path}' --experiment spcc --out runs/spcc"
    assert json.loads(json.dumps(summary))["n_bytes_received"] == len(CONTENT)
