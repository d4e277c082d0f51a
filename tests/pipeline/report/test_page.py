"""Facts about the page: complete, fetching nothing, safe with strangers' text, and at ease with what is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from pipeline.evaluate.evaluation import evaluate
from pipeline.report.inputs import GalleryItem, ReportInputs
from pipeline.report.page import MAX_ROWS_LISTED, render_page, write_report
from pipeline.schema import QUARANTINE_SCHEMA, Truth

from .conftest import HOSTILE, make_predictions

SECTIONS = [
    "Verdict",
    "Data and cuts",
    "Training curves",
    "Performance",
    "Calibration",
    "Beside the literature",
    "Light curves",
    "Quarantine",
    "Provenance",
]
VOID = {"meta", "link", "br", "img", "hr", "input"}
FETCHING = {"src", "srcset", "poster", "data", "action", "formaction", "background", "ping"}


class Page(HTMLParser):
    """What a browser would see: tags with attributes, headings, ids, and whether tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data.strip())

    def values(self, attribute: str) -> list[str]:
        return [attributes[attribute] or "" for _, attributes in self.tags if attribute in attributes]


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"(?s)<(style|svg)\b.*?</\1>", " ", html)).split())


@pytest.fixture(scope="module")
def html(inputs) -> str:
    return render_page(inputs)


def test_the_page_has_every_section_and_its_contents_lead_to_them(html):
    page = Page(html)
    assert page.headings == ["Contents", *SECTIONS]
    targets = [href[1:] for href in page.values("href") if href.startswith("#")]
    assert set(targets) <= set(page.values("id"))
    assert page.open == []


def test_the_page_fetches_nothing(html):
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "iframe", "object", "embed", "img", "base", "form"}
    assert all(href.startswith("#") or href == "data:," for href in page.values("href") + page.values("xlink:href"))
    assert not [value for attribute in FETCHING for value in page.values(attribute)]
    without_namespaces = re.sub(r'xmlns(:\w+)?="[^"]*"', "", html)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", without_namespaces)


def test_every_figure_says_what_it_shows(html):
    page = Page(html)
    charts = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    assert len(charts) == sum(tag == "figure" for tag, _ in page.tags) >= 12
    assert all(len(attributes["aria-label"]) > 20 for attributes in charts)


def test_no_two_elements_share_an_id_and_every_clip_path_exists(html):
    ids = Page(html).values("id")
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(ids)


def test_every_table_has_a_caption_and_headings(html):
    assert html.count("<table>") == html.count("<caption>") == html.count("<thead>") >= 8


def test_headline_numbers_stand_with_their_errors(html, inputs):
    estimate = inputs.headline.metrics["figure_of_merit"]
    assert f"{estimate.value:.4f} ± {estimate.std:.4f}" in text_of(html)


def test_published_rows_stand_beside_ours(html):
    text = text_of(html)
    assert "Moss 2018, Phased LSTM arXiv:1810.06441 yes 0.966 ± 0.001 0.995 0.757" in text
    assert "control: header and cadence only this report" in text


def test_simulated_data_are_called_simulated_and_not_compared(inputs, html):
    text = text_of(render_page(replace(inputs, is_simulated=True)))
    assert "simulated by snflow itself" in text
    assert "not comparable" in text
    assert "First among the published" not in text
    assert "simulated by snflow itself" not in text_of(html)


def test_the_quarantine_is_cut_short_and_says_so(html):
    assert html.count("expected 10 fields, came 7") == MAX_ROWS_LISTED + 1
    assert "The first 200 of 205 entries" in html


def test_the_quarantine_is_counted_by_reason_before_its_entries(html):
    section = text_of(html[html.index('id="quarantine"') : html.index('id="provenance"')])
    assert re.search(r"Entries by reason\s+reason\s+number\s+expected 10 fields, came 7\s+205", section)
    assert section.index("Entries by reason") < section.index("bad0.DAT")


def test_inputs_without_a_probability_are_all_counted_and_the_first_listed(truth):
    predictions = make_predictions([f"DES{i}" for i in range(400)], np.full(400, np.nan))
    result = evaluate(predictions, truth, name="all rejected", n_resamples=2)
    html = render_page(ReportInputs(title="Rejected", is_simulated=False, evaluations=[result]))
    assert "400 inputs were rejected or failed; the first 200 of them" in text_of(html)
    assert html.count("fewer than 3 epochs") == MAX_ROWS_LISTED


def test_names_from_strangers_are_shown_and_never_obeyed(inputs, predictions, truth):
    hostile_truth = Truth(truth.table.assign(TEMPLATE=HOSTILE))
    hostile_predictions = make_predictions([HOSTILE, "DES1"], np.array([np.nan, 0.2]))
    epochs = inputs.gallery[0].epochs.assign(BAND=HOSTILE)
    quarantine = pd.DataFrame([[HOSTILE, HOSTILE, 3, HOSTILE, "file", HOSTILE, "ab"]], columns=QUARANTINE_SCHEMA.names)
    html = render_page(
        ReportInputs(
            title=HOSTILE,
            is_simulated=False,
            model=HOSTILE,
            ingest={"sources": [HOSTILE], "reasons": {HOSTILE: 1}, "n_files": 1},
            cuts=[(HOSTILE, 1)],
            redshifts={HOSTILE: [0.1, 0.2]},
            evaluations=[
                evaluate(predictions, hostile_truth, name=HOSTILE, thresholds={HOSTILE: 0.7}, n_resamples=2),
                evaluate(hostile_predictions, truth, name="other", n_resamples=2),
            ],
            gallery=[GalleryItem(HOSTILE, epochs, {"Ia": 0.4, "nonIa": 0.6}, HOSTILE, "most uncertain")],
            quarantine=quarantine,
            configuration={HOSTILE: HOSTILE},
            provenance={HOSTILE: HOSTILE},
            command=HOSTILE,
        )
    )
    page = Page(html)
    assert not {tag for tag, _ in page.tags} & {"script", "img"}
    assert not page.values("onerror") + page.values("src")
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;") > 10


def test_without_truth_there_is_no_performance_and_the_page_says_so(predictions, truth):
    nothing_known = evaluate(predictions, Truth(truth.table.head(0)), name="tonight", n_resamples=2)
    text = text_of(render_page(ReportInputs(title="Tonight", is_simulated=False, evaluations=[nothing_known])))
    assert "there is no performance to report" in text
    assert "118 got a probability; 2 did not" in text
    assert "nan" not in text.lower().split()


def test_only_ia_leave_the_area_as_a_dash(predictions, truth):
    only_ia = Truth(truth.table.assign(CLASS="Ia", SUBCLASS="Ia"))
    result = evaluate(predictions, only_ia, name="real sky", n_resamples=5)
    html = render_page(ReportInputs(title="Real sky", is_simulated=False, evaluations=[result]))
    assert "AUC –" in text_of(html)
    assert "ROC curve is undefined" in html
    assert ">null<" not in html
    assert ">NaN<" not in html


def test_a_page_about_nothing_has_every_section():
    page = Page(render_page(ReportInputs(title="Nothing", is_simulated=False)))
    assert page.headings == ["Contents", *SECTIONS]


def test_the_same_inputs_give_the_same_page(inputs, html):
    assert render_page(inputs) == html


def test_the_page_stays_small_whatever_the_light_curves(inputs):
    item = inputs.gallery[0]
    many = pd.concat([item.epochs] * 2000, ignore_index=True)
    gallery = [replace(item, snid=str(number), epochs=many) for number in range(9)]
    assert len(render_page(replace(inputs, gallery=gallery)).encode()) < 3_000_000


def test_the_page_is_written_whole_over_an_older_one(inputs, html, tmp_path):
    out = tmp_path / "new" / "report.html"
    write_report(ReportInputs(title="Older", is_simulated=False), out)
    assert write_report(inputs, out).read_text(encoding="utf-8") == html
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs chromium")
def test_a_browser_shows_the_page(inputs, tmp_path):
    page = write_report(inputs, tmp_path / "report.html")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet = ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}"]
    picture = tmp_path / "page.png"
    subprocess.run(
        ["chromium", *flags, *quiet, f"--screenshot={picture}", "--window-size=1200,4000", page.as_uri()],
        check=True,
        capture_output=True,
        timeout=120,
    )
    assert picture.stat().st_size > 50_000
