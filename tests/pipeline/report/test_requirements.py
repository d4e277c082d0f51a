"""Facts about what is asked of a run, and how it is judged."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.evaluate.findings import Comparison, Difference
from pipeline.report.content import Report, ReportContent, Verdict
from pipeline.report.requirements import Requirement, Requirements, judge, load_requirements
from pipeline.report.verdict import overall, verdict_markdown
from pipeline.settings import SettingsError

from .report_builder import HOSTILE, with_checks


def statuses(report, requirements=None):
    return {check.name: check.status for check in judge(report, requirements or Requirements())}


def test_a_ceiling_is_green_up_to_it_amber_up_to_the_margin_and_red_beyond():
    ceiling = Requirement(at_most=0.1, margin=0.02)
    assert [ceiling.judge(value) for value in (0.1, 0.12, 0.13)] == ["good", "marginal", "bad"]


def test_both_limits_hold_together():
    between = Requirement(at_least=0.4, at_most=0.6, margin=0)
    assert [between.judge(value) for value in (0.3, 0.5, 0.7)] == ["bad", "good", "bad"]


def test_a_lost_light_curve_is_red(report):
    verdict = replace(report.content.verdict, n_outputs=report.content.verdict.n_inputs - 1)
    assert statuses(replace(report, content=replace(report.content, verdict=verdict)))["Nothing lost"] == "bad"
    assert statuses(report)["Nothing lost"] == "good"


def test_a_control_that_does_well_is_red(report):
    good = replace(report.control, metrics=report.control.metrics | {"auc": report.headline.metrics["auc"]})
    evaluations = tuple(good if e.name == "control" else e for e in report.findings.evaluations)
    leaking = replace(report, findings=replace(report.findings, evaluations=evaluations))
    assert statuses(leaking)["AUC of the control"] == "bad"
    assert statuses(report)["AUC of the control"] == "good"


def test_requirements_come_from_a_file_or_its_section(report, tmp_path):
    path = tmp_path / "asked.toml"
    path.write_text("[metrics.accuracy]\nat_least = 0.999\nmargin = 0.001\n[domain_auc]\nat_most = 0.9\n")
    found = statuses(report, load_requirements(path))
    assert (found["Accuracy"], found["Drift (domain AUC)"]) == ("bad", "good")
    path.write_text("name = 'spcc'\n[requirements.metrics.accuracy]\nat_least = 0.1\n")
    assert statuses(report, load_requirements(path))["Accuracy"] == "good"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[metrics.acuracy]\nat_least = 0.9", "acuracy"),
        ("[control_aux]\nat_most = 0.9", "nearest valid key is control_auc"),
        ("[domain_auc]\nmargin = 0.9", "at_least, at_most or both"),
        ("requirements = 3", "not a section"),
    ],
)
def test_a_requirement_that_asks_for_what_is_not_there_is_refused(text, words, tmp_path):
    path = tmp_path / "asked.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=words):
        load_requirements(path)


def make_comparison(metric, difference, p_value):
    found = Difference(metric, 0.5 + difference, 0.5, difference, -1.0, 1.0, p_value)
    return Comparison("before", 100, 0, 0, 5, 1, 4, (found,))


@pytest.mark.parametrize(
    ("metric", "difference", "p_value", "status"),
    [
        ("accuracy", -0.02, 0.001, "bad"),
        ("accuracy", -0.02, 0.4, "good"),
        ("accuracy", 0.02, 0.001, "good"),
        ("log_loss", 0.02, 0.001, "bad"),
        ("log_loss", -0.02, 0.001, "good"),
    ],
)
def test_a_run_significantly_worse_than_another_is_red(metric, difference, p_value, status):
    comparison = make_comparison(metric, difference, p_value)
    report = Report(ReportContent("Now", False, comparisons=(comparison,)))
    assert statuses(report) == {"Against before": status}


def test_the_whole_is_as_bad_as_its_worst_check(report):
    assert overall(report.content.verdict.checks)[0] == "bad"
    fine = tuple(check for check in report.content.verdict.checks if check.status == "good")
    assert overall(fine)[0] == "good"


def test_the_verdict_as_markdown_cannot_be_broken_by_a_name(report):
    comparison = replace(make_comparison("accuracy", 0.1, 0.5), other=HOSTILE + "|")
    content = replace(report.content, comparisons=(comparison,), verdict=Verdict())
    text = verdict_markdown(with_checks(replace(report, content=content)).content)
    assert "<script" not in text
    assert "**Verdict: ✗ red.**" in text
    row = next(line for line in text.splitlines() if "Against" in line)
    assert row.replace("\\|", "").count("|") == 5
