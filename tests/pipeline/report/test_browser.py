"""Facts about the page in a real browser: nothing is fetched, controls tell the files' numbers, all is reachable."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from dataclasses import replace
from importlib import util
from pathlib import Path

import pytest

from pipeline.evaluate.evaluation import evaluate
from pipeline.report.content import write_content
from pipeline.report.draw import draw_report
from pipeline.schema import Truth

from .report_builder import HOSTILE, make_curve, write_metrics
from .test_page import SECTIONS

pytestmark = pytest.mark.slow


@contextmanager
def opened(browser, folder, **options):
    """The page from file://, with what it asked for and what it complained of; nothing may leave the machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, **options)
    page.requests, page.complaints = [], []
    page.route("**", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.goto((folder / "report.html").as_uri())
    yield page
    page.close()


def look_at_everything(page):
    """Scroll from top to end, so that every figure comes into view."""
    for figure in page.locator("main figure").all():
        if figure.is_visible():
            figure.scroll_into_view_if_needed()
    specified = "Object.keys(JSON.parse(document.getElementById('specifications').textContent)).length"
    page.wait_for_function(f"document.querySelectorAll('.has-live').length === {specified}")


def headings(page):
    return page.locator("main h2:visible").all_inner_texts()


def test_the_page_opens_without_a_complaint_and_asks_for_nothing(browser, folder):
    with opened(browser, folder) as page:
        look_at_everything(page)
        assert page.requests == [(folder / "report.html").as_uri()]
        assert page.complaints == []
        assert headings(page) == SECTIONS


def test_figures_tell_their_numbers_under_the_pointer(browser, folder):
    with opened(browser, folder) as page:
        page.locator("#comparison_1").scroll_into_view_if_needed()
        dot = page.locator("#comparison_1 .has-live .live .mark-symbol path").first
        dot.hover()
        page.wait_for_selector("#vg-tooltip-element.visible")
        assert "Accuracy" in page.locator("#vg-tooltip-element").inner_text()


def test_a_click_on_a_legend_chooses_its_series(browser, folder):
    with opened(browser, folder) as page:
        page.locator("#roc").scroll_into_view_if_needed()
        page.locator("#roc .has-live .live .role-legend-symbol path").first.click(force=True)
        faded = "#roc .live .mark-line path[stroke-opacity='0.12']"
        page.wait_for_selector(faded, state="attached")
        assert 0 < page.locator(faded).count() < page.locator("#roc .live .mark-line path").count()


def expected_at(selection, step):
    true, false = selection["ia"][step], selection["others"][step]
    purity = true / (true + false) if true + false else math.nan
    completeness = true / selection["n_ia"]
    merit = completeness * true / (true + 3 * false) if true else 0.0
    return purity, completeness, merit, true, false


def shown(value):
    return f"{value:.4f}" if math.isfinite(value) else "–"


def test_the_threshold_shows_the_numbers_of_metrics_json(browser, folder):
    headline = json.loads((folder / "metrics.json").read_text())["evaluations"][0]
    with opened(browser, folder) as page:
        slider = page.locator("#threshold-slider")
        for step in (0, 137, 500, 813, 1000):
            slider.fill(str(step))
            purity, completeness, merit, true, false = expected_at(headline["selection"], step)
            text = page.locator("#threshold-summary").inner_text()
            assert f"purity {shown(purity)}, completeness {shown(completeness)}" in text
            assert f"figure of merit {shown(merit)}" in text
            assert page.locator("#true-positive").inner_text() == f"{true:,}"
            assert page.locator("#false-positive").inner_text() == f"{false:,}"


def test_stored_thresholds_show_exactly_what_metrics_json_holds(browser, folder):
    headline = json.loads((folder / "metrics.json").read_text())["evaluations"][0]
    points = [point for point in headline["operating_points"] if point["threshold"] is not None]
    with opened(browser, folder) as page:
        buttons = page.locator("#threshold-points button").all()
        assert len(buttons) == len(points)
        for button, point in zip(buttons, points, strict=True):
            button.click()
            text = page.locator("#threshold-summary").inner_text()
            for name, words in (("purity", "purity"), ("completeness", "completeness"), ("figure_of_merit", "merit")):
                assert f"{words} {point['metrics'][name]['value']:.4f}" in text
            assert f"{point['called_ia']:,} called Ia" in text


def test_the_threshold_moves_by_keyboard_and_is_said_aloud(browser, folder):
    with opened(browser, folder) as page:
        page.locator("#threshold-slider").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#threshold-value").inner_text() == "0.501"
        assert page.locator("#threshold-summary").get_attribute("aria-live") == "polite"
        assert page.locator("#threshold-slider").get_attribute("aria-valuetext") == "P(Ia) above 0.501"


def cards(page):
    return [card.get_attribute("data-snid") for card in page.locator("#gallery-cards .card").all()]


def test_the_gallery_sorts_filters_and_turns_pages(browser, folder, report):
    curves = {curve.snid: curve for curve in report.content.gallery}
    with opened(browser, folder) as page:
        first = cards(page)
        assert len(first) == 12
        assert page.locator("#gallery-status").inner_text() == "1–12 of 30 light curves"
        wrong = sorted(
            (c for c in curves.values() if c.is_right is False), key=lambda c: -max(c.probabilities.values())
        )
        assert first[: min(len(wrong), 12)] == [curve.snid for curve in wrong[:12]]
        page.locator("#gallery-sort").select_option("uncertain")
        surest = [max(curves[snid].probabilities.values()) for snid in cards(page)]
        assert surest == sorted(surest)
        page.locator("#gallery-sort").select_option("novel")
        novelty = [curves[snid].novelty for snid in cards(page)]
        assert novelty == sorted(novelty, reverse=True)
        page.locator("#gallery-sort").select_option("snid")
        assert cards(page)[:3] == ["DES0", "DES1", "DES2"]
        page.locator("#gallery-next").click()
        assert cards(page)[0] == "DES12"
        page.locator("#gallery-true").select_option("IIP")
        assert {curves[snid].true_class for snid in cards(page)} == {"IIP"}
        page.locator("#gallery-true").select_option("")
        page.locator("#gallery-search").fill("des29")
        assert cards(page) == ["DES29"]
        page.locator("#gallery-search").fill("nobody")
        assert page.locator("#gallery-status").inner_text() == "No light curve is like that."


def test_a_band_can_be_hidden(browser, folder):
    with opened(browser, folder) as page:
        points = page.locator("#gallery-cards .card").first.locator("g > g > path")
        before = points.count()
        page.locator("#gallery-bands button").first.click()
        assert page.locator("#gallery-bands button").first.get_attribute("aria-pressed") == "false"
        assert points.count() == before - 6


def test_without_scripts_every_section_and_some_light_curves_are_there(browser, folder):
    with opened(browser, folder, java_script_enabled=False) as page:
        assert headings(page) == SECTIONS
        assert page.locator(".static-gallery figure svg").first.is_visible()
        assert not page.locator("#gallery").is_visible()
        assert not page.locator("#threshold").is_visible()
        assert page.locator("#roc .chart > svg").is_visible()


def test_on_paper_every_section_is_there_and_no_control(browser, folder):
    with opened(browser, folder) as page:
        look_at_everything(page)
        page.emulate_media(media="print")
        assert headings(page) == SECTIONS
        assert not page.locator("#gallery").is_visible()
        assert page.locator(".static-gallery figure svg").first.is_visible()
        assert page.locator("#roc .chart > svg").is_visible()
        assert not page.locator("#roc .live").is_visible()
        assert page.pdf(format="A4").startswith(b"%PDF")


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}])
def test_axe_finds_no_serious_fault(browser, folder, options):
    found = util.find_spec("axe_core_python")
    if found is None or found.origin is None:
        pytest.skip("needs axe-core-python")
    axe = (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")
    with opened(browser, folder, **options) as page:
        look_at_everything(page)
        page.evaluate(axe)
        # Drawings are hidden from screen readers, and described as wholes: to look into them takes minutes.
        violations = page.evaluate("axe.run({exclude: [['.chart svg'], ['.card svg *']]})")["violations"]
        assert [(v["id"], v["nodes"][0]["html"]) for v in violations if v["impact"] in ("serious", "critical")] == []


def test_the_page_is_no_wider_than_a_telephone(browser, folder):
    with opened(browser, folder) as page:
        page.set_viewport_size({"width": 400, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_without_truth_the_gallery_can_be_browsed_and_nothing_complains(browser, report, truth, predictions, tmp_path):
    nothing_known = evaluate(predictions, Truth(truth.table.head(0)), name="tonight", n_resamples=2)
    write_content(report.content, tmp_path / "report.json")
    write_metrics(replace(report, findings=replace(report.findings, evaluations=(nothing_known,))), tmp_path)
    draw_report(tmp_path)
    with opened(browser, tmp_path) as page:
        look_at_everything(page)
        assert page.locator("#threshold").count() == 0
        assert len(cards(page)) == 12
        assert page.complaints == []


def test_a_strangers_name_runs_nothing(browser, report, tmp_path):
    curve = make_curve(1, HOSTILE, kinds=(HOSTILE,), true_class=HOSTILE)
    hostile = replace(report.content, title=HOSTILE, gallery=(curve,), command=HOSTILE)
    write_content(hostile, tmp_path / "report.json")
    write_metrics(report, tmp_path)
    draw_report(tmp_path)
    with opened(browser, tmp_path) as page:
        dialogs = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        assert cards(page) == [HOSTILE]
        assert page.locator("h1").inner_text() == " ".join(HOSTILE.split())
        assert (dialogs, page.complaints, len(page.requests)) == ([], [], 1)
