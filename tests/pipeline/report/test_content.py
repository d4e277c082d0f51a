"""Facts about report.json: it gives back what went in, and its schema tells what may stand in it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import jsonschema
import pandas as pd
import pytest
from pydantic import ValidationError

from pipeline.report.collect import bin_redshifts, describe_history, describe_quarantine
from pipeline.report.content import Report, ReportContent, json_schema, read_content, write_content
from pipeline.report.draw import ReportError, draw_report
from pipeline.schema import QUARANTINE_SCHEMA

from .report_builder import HOSTILE, make_curve


def test_what_is_written_is_read_back(report, tmp_path):
    write_content(report.content, tmp_path / "report.json")
    found = read_content(tmp_path / "report.json")
    assert found.to_dict() == report.content.to_dict()
    assert found.gallery == report.content.gallery


def test_undefined_numbers_are_null_and_nan_again(tmp_path):
    curve = make_curve(1, HOSTILE, novelty=float("nan"))
    write_content(ReportContent(HOSTILE, True, gallery=(curve,)), tmp_path / "report.json")
    assert '"novelty":null' in (tmp_path / "report.json").read_text(encoding="utf-8")
    (found,) = read_content(tmp_path / "report.json").gallery
    assert found.novelty != found.novelty
    assert found.snid == HOSTILE


def test_the_schema_accepts_a_report_and_refuses_another_type(report):
    schema = json_schema()
    values = json.loads(json.dumps(report.content.to_dict()))
    jsonschema.validate(values, schema)
    jsonschema.validate(json.loads(json.dumps(ReportContent("Nothing", False).to_dict())), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**values, "gallery": 3}, schema)
    assert "light curves to look at" in schema["properties"]["gallery"]["description"]


def test_a_file_that_is_no_report_is_refused():
    with pytest.raises(ValidationError, match="is_simulated"):
        ReportContent.from_dict({"format_version": 1, "title": "x"})


def test_two_evaluations_of_one_name_are_refused(report):
    with pytest.raises(ValueError, match="different names"):
        replace(report, content=replace(report.content, beside=(report.headline,)))


def test_drawing_anew_needs_neither_store_nor_torch(folder):
    before = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    code = (
        "import sys; from pathlib import Path; from pipeline.report.draw import draw_report\n"
        "draw_report(Path(sys.argv[1])); print({'torch', 'deltalake', 'prefect'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code, str(folder)]
    assert subprocess.run(words, check=True, timeout=120, capture_output=True, text=True).stdout == "set()\n"
    assert (folder / "report.html").read_bytes() == before


def test_a_folder_without_report_json_says_what_was_expected(tmp_path):
    with pytest.raises(ReportError, match=r"has no report\.json"):
        draw_report(tmp_path)


def test_without_metrics_json_there_is_a_page_all_the_same(report, tmp_path):
    write_content(report.content, tmp_path / "report.json")
    assert "there is no metrics.json" in draw_report(tmp_path).read_text(encoding="utf-8")


def test_the_quarantine_is_counted_whole_and_kept_in_part():
    rows = [("run", f"bad{i}.DAT", i or None, None, "file", "expected 10 fields, came 7", "ab") for i in range(205)]
    found = describe_quarantine(pd.DataFrame(rows, columns=QUARANTINE_SCHEMA.names))
    assert (found.n_entries, len(found.first), sum(found.by_reason.values())) == (205, 200, 205)
    assert (found.first[0].line, found.first[1].line) == (None, 1)
    assert describe_quarantine(pd.DataFrame(columns=QUARANTINE_SCHEMA.names)).n_entries == 0


def test_a_redshift_on_an_edge_belongs_to_the_bin_above_it_and_the_highest_is_not_lost():
    found = bin_redshifts({"train": [0.05, 0.15], "test": [float("nan")]})
    assert found.edges == (0.0, 0.05, 0.1, 0.15, 0.2)
    assert found.counts == {"train": (0, 1, 0, 1)}


def test_the_history_is_kept_row_by_row():
    names = ["MEMBER", "EPOCH", "TRAIN_LOSS", "VALID_LOSS", "VALID_ACCURACY", "LEARNING_RATE", "SECONDS"]
    (row,) = describe_history(pd.DataFrame([(0, 1, 0.5, 0.6, 0.7, 1e-3, 2.0)], columns=names))
    assert (row.member, row.epoch, row.valid_loss) == (0, 1, 0.6)


def test_every_report_has_a_headline_or_says_none():
    assert Report(ReportContent("Nothing", False)).headline is None


def test_the_model_before_calibration_and_the_control_are_found_by_name(report):
    assert report.uncalibrated.name == "uncalibrated"
    assert report.control.name == "control"
    assert "uncalibrated" not in [evaluation.name for evaluation in report.evaluations]
