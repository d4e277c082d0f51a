"""A catalogue from a stranger reads nothing outside its own folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from deltalake import write_deltalake

from pipeline.store import Store
from tests.builders import make_survey


@pytest.mark.parametrize(
    "prefix", ["{outside}/", "file://{outside}/", "../../mine/light_curves/", "http://127.0.0.1:1/"]
)
def test_a_log_that_names_a_file_elsewhere_reads_none(tmp_path: Path, prefix: str) -> None:
    light_curves, _ = make_survey(6)
    mine, theirs = Store.create(tmp_path / "mine"), Store.create(tmp_path / "theirs")
    for store, rows in ((mine, range(3)), (theirs, range(3, 6))):
        write_deltalake(str(store.path / "light_curves"), light_curves.take(list(rows)).to_arrow(), mode="append")
    outside = next((mine.path / "light_curves").glob("*.parquet"))
    log = max((theirs.path / "light_curves" / "_delta_log").glob("*.json"))
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "add" in line:
            line["add"]["path"] = prefix.format(outside=outside.parent) + outside.name
            line["add"]["size"] = outside.stat().st_size
    log.write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(FileNotFoundError, match="not found"):
        theirs.snids()
