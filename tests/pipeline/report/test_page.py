"""Facts about the page: complete, fetching nothing, safe with strangers' text, and at ease with what is missing."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.findings import Findings, WithoutProbability
from pipeline.report.content import Data, Quarantine, QuarantineEntry, RedshiftHistogram, Report, ReportContent, Verdict
from pipeline.report.page import render_page, write_page
from pipeline.report.tables import MAX_ROWS_LISTED
from pipeline.schema import Truth

from .html_reader import Page, embedded, text_of, without_scripts
from .report_builder import HOSTILE, make_curve, make_predictions, make_report, make_scores, make_truth

SECTIONS = [
    "Verdict",
    "Data",
    "Performance",
    "Early classification",
    "Calibration",
    "Trust",
    "Light curves",
    "Provenance",
    "Beside the literature",
]
FETCHING = {"src", "srcset", "poster", "data", "action", "formaction", "background", "ping"}
NOTHING = Report(ReportContent("Nothing", False))


def test_the_page_has_every_section_in_order_and_its_contents_lead_to_them(html):
    page = Page(html)
    assert page.headings == ["Contents", *SECTIONS]
    targets = [href[1:] for href in page.values("href") if href.startswith("#")]
    assert set(targets) <= set(page.values("id"))
    assert page.open == []


def test_the_page_fetches_nothing(html):
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"iframe", "object", "embed", "img", "base"}
    assert all(href.startswith("#") or href == "data:," for href in page.values("href") + page.values("xlink:href"))
    assert not [value for attribute in FETCHING for value in page.values(attribute)]
    text = re.sub(r'xmlns(:\w+)?="[^"]*"|"\$schema":"[^"]*"', "", without_scripts(html))
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)


def test_only_the_scripts_of_the_page_itself_may_run_and_nothing_may_be_fetched(html):
    policy = next(a["content"] for _, a in Page(html).tags if a.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r'(?s)<script type="module">(.*?)</script>', html)
    hashes = {base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts}
    assert policy.startswith("default-src 'none'")
    assert hashes == set(re.findall(r"'sha256-([^']+)'", policy))
    assert "unsafe-eval" not in policy


def test_every_figure_says_what_it_shows(html):
    page = Page(html)
    charts = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    assert len(charts) == sum(tag == "figure" for tag, _ in page.tags) >= 20
    assert all(len(attributes["aria-label"]) > 20 for attributes in charts)


def test_no_two_elements_share_an_id_and_every_clip_path_exists(html):
    ids = Page(html).values("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", without_scripts(html))) <= set(ids)


def test_every_table_has_a_caption_and_headings(html):
    page = without_scripts(html)
    assert page.count("<table") == page.count("<caption>") == page.count("<thead>") >= 20


def test_headline_numbers_stand_with_their_errors(html, report):
    estimate = report.headline.metrics["figure_of_merit"]
    assert f"{estimate.value:.4f} ± {estimate.std:.4f}" in text_of(html)


def test_the_verdict_tells_each_check_by_word_and_symbol(html, report):
    section = text_of(html[html.index('id="verdict"') : html.index('id="data"')])
    assert len(report.content.verdict.checks) >= 8
    assert all(check.name in section for check in report.content.verdict.checks)
    assert {"✓ green", "▲ amber", "✗ red"} <= set(re.findall(r"[✓▲✗] \w+", section))


def test_optimistic_operating_points_are_marked(html, report):
    section = text_of(html[html.index('id="operating-points"') : html.index('id="threshold"')])
    for point in report.headline.operating_points:
        assert f"{point.name} †" in section if point.is_optimistic else point.name in section


def test_published_rows_stand_beside_ours(html):
    text = text_of(html)
    assert "Moss 2018, Phased LSTM arXiv:1810.06441 yes 0.966 ± 0.001 0.995 0.757" in text
    assert "control this report" in text


def test_simulated_data_are_called_simulated_and_not_compared(report, html):
    simulated = replace(report, content=replace(report.content, is_simulated=True))
    text = text_of(render_page(simulated))
    assert "simulated by snflow itself" in text
    assert "not comparable" in text
    assert "First among the published" not in text
    assert "simulated by snflow itself" not in text_of(html)


def test_the_quarantine_is_counted_by_reason_cut_short_and_says_so(html):
    section = text_of(html[html.index('id="quarantine"') : html.index('id="performance"')])
    assert re.search(r"Entries by reason\s+reason\s+number\s+expected 10 fields, came 7\s+205", section)
    assert section.index("Entries by reason") < section.index("bad0.DAT")
    assert "The first 200 of 205 entries" in section
    assert section.count("expected 10 fields, came 7") == MAX_ROWS_LISTED + 1


def test_inputs_without_a_probability_are_all_counted_and_the_first_listed():
    truth = make_truth(8)
    predictions = make_predictions([f"DES{i}" for i in range(400)], np.full(400, np.nan))
    result = evaluate(predictions, truth, name="all rejected", n_resamples=2)
    html = render_page(Report(ReportContent("Rejected", False), Findings((result,))))
    assert "400 inputs were rejected or failed; the first 200 of them" in text_of(html)
    assert html.count("fewer than 3 epochs") == MAX_ROWS_LISTED


@pytest.fixture(scope="module")
def hostile_html(report) -> str:
    """A page on whose every text a stranger has had a hand."""
    truth = make_truth(40, template=HOSTILE + "{}{}")
    headline = evaluate(
        make_predictions(truth.table["SNID"], make_scores(truth)),
        Truth(truth.table.assign(SUBCLASS=np.where(truth.table["CLASS"] == "Ia", "Ia", HOSTILE))),
        name=HOSTILE,
        thresholds={HOSTILE: 0.7},
        n_resamples=2,
    )
    headline = replace(headline, without_probability=(WithoutProbability(HOSTILE, HOSTILE, HOSTILE),))
    curve = make_curve(1, HOSTILE, bands=(HOSTILE, "g"), kinds=(HOSTILE,), true_class=HOSTILE, called=HOSTILE)
    content = ReportContent(
        title=HOSTILE,
        is_simulated=False,
        verdict=Verdict(HOSTILE, HOSTILE),
        data=Data(
            ingest={"sources": [HOSTILE], "reasons": {HOSTILE: 1}, "n_files": 1},
            cuts={HOSTILE: 1},
            redshifts=RedshiftHistogram((0.0, 0.1), {HOSTILE: (3,)}, {HOSTILE: 0.05}),
            quarantine=Quarantine(1, {HOSTILE: 1}, (QuarantineEntry(HOSTILE, 3, HOSTILE, HOSTILE, HOSTILE),)),
        ),
        gallery=(curve,),
        comparisons=(replace(report.content.comparisons[0], other=HOSTILE),),
        configuration={HOSTILE: HOSTILE},
        provenance={HOSTILE: HOSTILE},
        command=HOSTILE,
    )
    return render_page(Report(content, replace(report.findings, evaluations=(headline,))))


def test_names_from_strangers_are_shown_and_never_obeyed(hostile_html):
    page = Page(hostile_html)
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert set(kinds) == {"module", "application/json"}
    assert kinds.count("module") == 2
    assert "img" not in {tag for tag, _ in page.tags}
    assert not page.values("onerror") + page.values("src")
    assert "<script>alert" not in hostile_html
    assert hostile_html.count("&lt;script&gt;") > 10


def test_embedded_json_gives_strangers_names_back_and_cannot_end_its_element(hostile_html):
    assert embedded(hostile_html, "gallery-curves")["curves"][0]["snid"] == HOSTILE
    assert embedded(hostile_html, "selection-counts")["points"][1]["name"] == HOSTILE
    for text in re.findall(r'(?s)<script type="application/json"[^>]*>(.*?)</script>', hostile_html):
        assert "<" not in text


def test_without_truth_there_is_no_performance_and_the_page_says_so():
    truth = make_truth(120)
    predictions = make_predictions(truth.table["SNID"], make_scores(truth))
    nothing_known = evaluate(predictions, Truth(truth.table.head(0)), name="tonight", n_resamples=2)
    text = text_of(render_page(Report(ReportContent("Tonight", False), Findings((nothing_known,)))))
    assert "there is no performance to report" in text
    assert "118 got a probability; 2 did not" in text
    assert "nan" not in text.lower().split()


def test_only_ia_leave_the_area_as_a_dash():
    truth = make_truth(120, ("Ia",))
    predictions = make_predictions(truth.table["SNID"], make_scores(truth))
    result = evaluate(predictions, truth, name="real sky", n_resamples=5)
    html = without_scripts(render_page(Report(ReportContent("Real sky", False), Findings((result,)))))
    assert "AUC –" in text_of(html)
    assert "ROC curve is undefined" in html
    assert ">null<" not in html
    assert ">NaN<" not in html


def test_a_page_about_nothing_has_every_section_and_says_what_is_missing():
    html = render_page(NOTHING)
    assert Page(html).headings == ["Contents", *SECTIONS]
    sections = re.split(r"<section ", html)[1:]
    for section, words in zip(
        sections,
        (
            "Nothing has been evaluated yet",
            "How the light curves came into their catalogue is recorded there",
            "there is no performance to show",
            "was not measured",
            "there are none",
            "was not measured",
            "No light curves were handed",
            "No provenance was handed",
            "none of the published protocols",
        ),
        strict=True,
    ):
        assert words in text_of(section)


@pytest.mark.parametrize("classes", [("Ia", "II", "Ibc"), ("Ia", "II", "IIn", "IIP", "IIL", "Ib", "Ic", "Ibc")])
def test_more_than_two_classes_have_a_page(classes):
    html = render_page(make_report(120, classes, n_curves=2, n_resamples=2))
    page = Page(html)
    assert page.open == []
    assert f"in {len(classes)} classes" in html
    assert embedded(html, "gallery-curves")["classes"][-1]["name"] == classes[-1]


def test_each_piece_may_be_missing_alone(report):
    findings = report.findings
    for without in (
        replace(report, findings=replace(findings, early=None)),
        replace(report, findings=replace(findings, drift=None)),
        replace(report, findings=replace(findings, trust=None)),
        replace(report, content=replace(report.content, gallery=(), history=(), comparisons=())),
    ):
        assert Page(render_page(without)).headings == ["Contents", *SECTIONS]


def test_the_same_files_give_the_same_page(report, html):
    assert render_page(report) == html


def test_the_page_stays_small_whatever_the_light_curves(report):
    gallery = tuple(make_curve(number, n_epochs=400) for number in range(60))
    html = render_page(replace(report, content=replace(report.content, gallery=gallery)))
    assert len(html.encode()) < 4_500_000


def test_the_page_is_written_whole_over_an_older_one(tmp_path):
    out = tmp_path / "new" / "report.html"
    write_page(NOTHING, out)
    other = replace(NOTHING, content=replace(NOTHING.content, title="Newer"))
    assert "Newer" in write_page(other, out).read_text(encoding="utf-8")
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
