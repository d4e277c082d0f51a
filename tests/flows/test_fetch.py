from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from flows.cli import app
from tests.pipeline.ingest.file_server import FileServer, serve

README = "DES-SN5YR_DES.README"


def invoke(*words: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with serve({README: b"DOCUMENTATION:\n" * 9, "SIMGEN_PUBLIC_DES.tar.gz": b"<html>not here</html>"}) as served:
        yield served


def test_help_of_fetch_shows_an_example():
    assert "snflow fetch" in invoke("fetch", "--help").output


@pytest.mark.parametrize("words", [("fetch",), ("fetch", "--list"), ("fetch", "spcc", "--list")])
def test_the_list_needs_no_server_and_names_doi_and_folder(words: tuple[str, ...], tmp_path: Path):
    said = invoke(*words, "--out", tmp_path).stdout
    for part in ("10.5281/zenodo.13883296", "10.5281/zenodo.2539456", f"0 of 4 files are in {tmp_path / 'des-sn5yr'}"):
        assert part in said
    found = json.loads(invoke(*words, "--out", tmp_path, "--json").stdout)["datasets"]
    assert [dataset["name"] for dataset in found] == ["spcc", "plasticc", "des-sn5yr"]


def test_looking_at_the_datasets_imports_no_prefect():
    import subprocess
    import sys

    script = (
        "import sys; from typer.testing import CliRunner; from flows.cli import app;"
        "code = CliRunner().invoke(app, ['fetch', '--list']).exit_code; sys.exit(code or 'prefect' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_wrong_words_exit_with_2_before_a_server_starts(tmp_path: Path):
    assert "did you mean spcc" in invoke("fetch", "spc", code=2).output
    assert "no such file" in invoke("fetch", "spcc", "--archive", tmp_path / "nowhere", code=2).output


@pytest.mark.usefixtures("prefect_server")
class TestThroughPrefect:
    def test_a_passing_failure_is_retried_and_the_last_line_is_the_next_command(
        self, server: FileServer, tmp_path: Path
    ):
        server.failures = [("status", 500)]
        words = ("fetch", "des-sn5yr", "--only", "*.README", "--mirror", server.url, "--out", tmp_path)
        result = invoke(*words)
        folder = tmp_path / "des-sn5yr"
        assert (folder / README).read_bytes() == server.files[README]
        assert "the server answered 500 Internal Server Error; trying again" in result.stderr
        assert "no checksum is known: only its format (text) was checked" in result.stdout
        assert result.stdout.splitlines()[-1] == f"Next: snflow ingest {folder} --store catalogue"
        assert len(server.seen) == 2
        record = json.loads((tmp_path / "fetch-des-sn5yr.json").read_text())
        assert record["configuration"]["items"][0]["url"] == f"{server.url}/{README}"
        again = json.loads(invoke(*words, "--json").stdout)
        assert (again["files"][0]["source"], again["n_bytes_received"], len(server.seen)) == ("present", 0, 2)

    def test_what_would_fail_again_is_not_retried(self, server: FileServer, tmp_path: Path):
        words = ("fetch", "spcc", "--out", tmp_path, "--mirror")
        expected = hashlib.md5(b"<html>not here</html>").hexdigest()
        wrong = invoke(*words, server.url, code=1).output
        assert f"md5 is {expected}, expected 3ed2c475" in wrong
        del server.files["SIMGEN_PUBLIC_DES.tar.gz"]
        gone = invoke(*words, server.url, code=1).output
        assert "404 Not Found" in gone
        assert "trying again" not in wrong + gone
        assert len(server.seen) == 2
