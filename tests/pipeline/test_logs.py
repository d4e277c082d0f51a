from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import pytest

from pipeline.logs import JsonLines, LogSettings, logging_to

OURS = logging.getLogger("pipeline.anything")


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(
    "text", ["two\nlines", "line\u2028separator", "\x1b[31mred", "\ud800 alone", '"quoted" \\', "%s %d"]
)
def test_a_record_is_one_line_whatever_it_says(tmp_path: Path, text: str) -> None:
    with logging_to(tmp_path / "log.jsonl", {"run_id": "7"}):
        OURS.info("%s", text)
    (found,) = records(tmp_path / "log.jsonl")
    assert (found["message"], found["run_id"], found["level"], found["logger"]) == (
        text,
        "7",
        "info",
        "pipeline.anything",
    )
    assert found["time"].endswith("+00:00")


def test_a_traceback_stands_in_a_field_and_a_message_that_does_not_fit_its_arguments_is_kept(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log.jsonl", {}):
        try:
            raise ValueError("no\nsuch thing")
        except ValueError:
            OURS.exception("failed")
    (failed,) = records(tmp_path / "log.jsonl")
    assert failed["traceback"].startswith("Traceback")
    assert failed["traceback"].endswith("ValueError: no\nsuch thing\n")
    misfit = JsonLines({}).format(logging.makeLogRecord({"msg": "%d objects", "args": ("many",)}))
    assert "'%d objects' with ('many',)" in json.loads(misfit)["message"]


def test_warnings_and_other_libraries_warnings_are_kept_but_not_their_chatter(tmp_path: Path) -> None:
    other = logging.getLogger("somebody.else")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *_args, **_more: None
        with logging_to(tmp_path / "log.jsonl", {}):
            warnings.warn("mind the gap", RuntimeWarning, stacklevel=1)
            other.warning("careful")
            other.info("chatter")
    assert [(found["logger"], found["level"]) for found in records(tmp_path / "log.jsonl")] == [
        ("py.warnings", "warning"),
        ("somebody.else", "warning"),
    ]
    assert "RuntimeWarning: mind the gap" in records(tmp_path / "log.jsonl")[0]["message"]


def test_what_a_terminal_shows_stays_as_it_was_and_so_do_the_levels(tmp_path: Path) -> None:
    shown: list[str] = []

    class Terminal(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            shown.append(record.getMessage())

    terminal, root, quiet = Terminal(), logging.getLogger(), logging.getLogger("runs")
    quiet.setLevel(logging.CRITICAL)
    root.addHandler(terminal)
    try:
        with logging_to(tmp_path / "log.jsonl", {}, others=("runs",)):
            quiet.info("for the file")
            OURS.info("for the file, too")
            OURS.error("for both")
    finally:
        root.removeHandler(terminal)
    assert shown == ["for both"]
    assert len(records(tmp_path / "log.jsonl")) == 3
    assert (quiet.level, logging.getLogger("pipeline").level) == (logging.CRITICAL, logging.NOTSET)


def test_files_stay_small_and_the_oldest_go(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log.jsonl", {}, LogSettings(file_bytes=1000, files=2)):
        for number in range(50):
            OURS.info("record %d", number)
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["log.jsonl", "log.jsonl.1", "log.jsonl.2"]
    assert all(file.stat().st_size <= 1000 for file in files)
    assert records(tmp_path / "log.jsonl")[-1]["message"] == "record 49"


def test_a_secret_is_not_written(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log.jsonl", {}, secrets=["hunter2", ""]):
        OURS.error("https://example.org/hunter2 is gone", exc_info=ValueError("hunter2"))
    text = (tmp_path / "log.jsonl").read_text()
    assert "hunter2" not in text
    assert text.count("***") == 2
