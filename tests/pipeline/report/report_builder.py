"""Builders of whole reports with plausible numbers: real evaluations of made-up predictions, and made-up findings."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.evaluate.evaluation import evaluate
from pipeline.evaluate.findings import (
    Comparison,
    Difference,
    Drift,
    EarlyClassification,
    EarlyPoint,
    Evaluation,
    FeatureDrift,
    Findings,
    MetricBin,
    NoveltyTest,
    Sensitivity,
    TimeToClass,
    Trust,
)
from pipeline.evaluate.metrics import METRICS, Estimate
from pipeline.report.collect import bin_redshifts
from pipeline.report.content import Data, HistoryRow, Quarantine, QuarantineEntry, Report, ReportContent, Verdict
from pipeline.report.gallery import GalleryCurve
from pipeline.report.requirements import Requirements, judge
from pipeline.schema import Predictions, Truth, prediction_columns
from pipeline.taxonomy import CLASS_SETS

HOSTILE = '</script><script>alert("x")</script>&\'"><img src=http://example.org/x onerror=alert(1)><!--'
SUBCLASSES = ("Ia", "IIP", "IIn", "Ibc")
BANDS = ("g", "r", "i", "z")


def make_predictions(snids, p_ia, classes=("Ia", "nonIa"), names=None) -> Predictions:
    """Predictions with these P(Ia), the rest going to the true class, or in equal parts to the others."""
    p_ia = np.asarray(p_ia, dtype=float)
    has_probability = np.isfinite(p_ia)
    table = pd.DataFrame({"SNID": list(snids), "P_Ia": p_ia})
    others = [name for name in classes if name != "Ia"]
    for place, name in enumerate(others):
        weight = 1.0 if len(others) == 1 else 0.8 if place == 0 else 0.2 / (len(others) - 1)
        table[f"P_{name}"] = (1 - p_ia) * weight
    table["STATUS"] = np.where(has_probability, "classified", "rejected")
    table["REASON"] = np.where(has_probability, "", "fewer than 3 epochs")
    table["N_EPOCHS"] = np.where(has_probability, np.arange(len(table)) % 90 + 4, 0)
    return Predictions(table.reindex(columns=prediction_columns(classes)), classes)


def make_truth(n, subclasses=SUBCLASSES, template="{}-{}") -> Truth:
    names = np.resize(subclasses, n)
    table = pd.DataFrame(
        {
            "SNID": [f"DES{i}" for i in range(n)],
            "CLASS": [{"Ia": "Ia", "Ibc": "Ibc"}.get(name, "II") for name in names],
            "SUBCLASS": names,
            "TEMPLATE": [template.format(name, i % 3) for i, name in enumerate(names)],
            "SPECTYPE": None,
            "REDSHIFT": np.linspace(0.1, 0.9, n),
            "PEAKMJD": 56230.0,
        }
    )
    return Truth(table)


def make_scores(truth, seed=0, separation=2.0):
    """P(Ia) that tells true Ia from the rest, more or less; the first two objects have none."""
    is_ia = (truth.table["CLASS"] == "Ia").to_numpy()
    p_ia = 1 / (1 + np.exp(-np.random.default_rng(seed).normal(np.where(is_ia, separation, -separation), 1.6)))
    p_ia[:2] = np.nan
    return p_ia


def make_curve(number, snid=None, classes=("Ia", "nonIa"), n_epochs=24, bands=BANDS, **changes) -> GalleryCurve:
    rng = np.random.default_rng(number)
    mjd = np.sort(56200 + rng.uniform(0, 90, n_epochs)).round(3)
    flux = 80 * np.exp(-(((mjd - 56235) / 20) ** 2)) + rng.normal(0, 4, n_epochs)
    chances = rng.dirichlet(np.ones(len(classes)))
    called = classes[int(chances.argmax())]
    nights = np.arange(56205.0, 56290.0, 8.0)
    rise = 1 / (1 + np.exp(-(nights - 56225) / 8))
    history = {
        name: tuple((1 / len(classes) + (p - 1 / len(classes)) * rise).round(4))
        for name, p in zip(classes, chances, strict=True)
    }
    true = str(rng.choice(SUBCLASSES))
    curve = GalleryCurve(
        snid=snid or f"DES{number}",
        kinds=("uncertain",) if chances.max() < 0.7 else ("confident and wrong", "novel"),
        true_class=true,
        called=called,
        is_right=(true == "Ia") == (called == "Ia"),
        probabilities={name: float(p) for name, p in zip(classes, chances, strict=True)},
        novelty=float(rng.exponential()),
        redshift=float(rng.uniform(0.1, 0.9)),
        mjd=tuple(mjd.tolist()),
        band=tuple(np.resize(bands, n_epochs).tolist()),
        flux=tuple(flux.round(3).tolist()),
        error=tuple(rng.uniform(2, 6, n_epochs).round(3).tolist()),
        n_epochs=n_epochs,
        steps=tuple(mjd[::4].tolist()),
        step_flux={band: tuple(flux[::4].round(3).tolist()) for band in bands},
        history_mjd=tuple(nights.tolist()),
        history=history,
    )
    return replace(curve, **changes)


def make_bins(edges, seed=5) -> tuple[MetricBin, ...]:
    rng = np.random.default_rng(seed)
    names = ("accuracy", "purity", "completeness", "figure_of_merit")
    return tuple(
        MetricBin(low, high, 40, 10, {name: Estimate(float(rng.uniform(0.7, 0.99)), 0.02) for name in names})
        for low, high in pairwise(edges)
    )


def make_early(classes) -> EarlyClassification:
    names = ("accuracy", "purity", "completeness", "auc", "completeness_all_inputs")

    def point(since, days, quality):
        metrics = {name: Estimate(quality - 0.02 * i, 0.01) for i, name in enumerate(names)}
        return EarlyPoint(since, days, 300, int(60 * (1 - quality)), metrics)

    detection = [point("detection", float(day), 0.95 - 0.3 * np.exp(-day / 20)) for day in range(0, 81, 10)]
    peak = [point("peak", float(day), 0.93 - 0.2 * np.exp(-(day + 20) / 20)) for day in range(-20, 41, 10)]
    ends = [point("sixth", np.nan, 0.85), point("whole", np.nan, 0.95)]
    days = tuple(float(day) for day in range(0, 101, 10))
    share = {
        name: tuple(float(0.9 * (1 - np.exp(-day / (15 + 10 * i)))) for day in days) for i, name in enumerate(classes)
    }
    median = {name: 12.0 + 8 * i if i < 3 else np.nan for i, name in enumerate(classes)}
    return EarlyClassification((*detection, *peak, *ends), TimeToClass(0.9, days, share, median), 300, 4000)


def make_drift(classes) -> Drift:
    rng = np.random.default_rng(11)
    names = {
        "best S/N": "",
        "days between nights": "d",
        "g − r at maximum": "mag",
        "photo-z": "",
        "number of measurements": "",
        "length of the light curve": "d",
    }
    features = []
    for place, (name, unit) in enumerate(names.items()):
        training, survey = rng.dirichlet(np.full(10, 5.0)), rng.dirichlet(np.full(10, 5.0))
        edges = tuple(np.linspace(0, 10 ** (place % 3), 11).tolist())
        numbers = (0.4 - 0.06 * place, 0.2, 0.0001 * 10**place, edges, tuple(training), tuple(survey))
        features.append(FeatureDrift(name, *numbers, 3.2, 4.1, 0.0, 0.05, unit))
    shares = rng.dirichlet(np.ones(len(classes)), 3)
    priors = [dict(zip(classes, map(float, row), strict=True)) for row in shares]
    return Drift(1000, 2000, tuple(features), Estimate(0.72, 0.01), *priors)


def make_trust() -> Trust:
    tests = tuple(
        NoveltyTest(name, 200, 0.97 - 0.05 * i, 0.1 * i, 0.05 * i, 0.9 - 0.1 * i)
        for i, name in enumerate(("random", "reversed", "shuffled", "sinusoidal", "constant"))
    )
    metrics = ("accuracy", "auc", "purity", "completeness", "figure_of_merit")
    sensitivities = tuple(
        Sensitivity(name, 0.01 * i, 0.004 * i, dict.fromkeys(metrics, 0.9), dict.fromkeys(metrics, -0.002 * i))
        for i, name in enumerate(("zeropoint of g + 0.02 mag", "photo-z + 0.02 (1 + z)", "photo-z hidden"), 1)
    )
    return Trust(2.5, 0.07, tests, sensitivities, 300)


def make_comparison(other="last run") -> Comparison:
    differences = tuple(
        Difference(name, 0.9, 0.9 - 0.01 * i, 0.01 * i, 0.01 * i - 0.008, 0.01 * i + 0.008, 0.6 if i < 1 else 0.01)
        for i, name in enumerate(METRICS)
    )
    return Comparison(other, 280, 18, 3, 21, 12, 7, differences)


def make_evaluations(truth, classes=("Ia", "nonIa"), n_resamples=20) -> tuple[Evaluation, ...]:
    snids = truth.table["SNID"]
    headline = evaluate(
        make_predictions(snids, make_scores(truth), classes),
        truth,
        name="test part",
        thresholds={"purity95": 0.80123, "completeness90": 0.3},
        n_resamples=n_resamples,
    )
    headline = replace(headline, by_snr=make_bins((0.0, 3.0, 10.0, 30.0, 100.0, float("nan"))))
    others = [
        evaluate(make_predictions(snids, make_scores(truth, 1, separation), classes), truth, name=name, n_resamples=5)
        for name, separation in (("control", 0.4), ("without-redshift", 1.7), ("uncalibrated", 3.0))
    ]
    return (headline, *others)


def make_content(truth, classes=("Ia", "nonIa"), n_curves=30, **changes) -> ReportContent:
    redshift = truth.table["REDSHIFT"].to_numpy()
    entries = tuple(
        QuarantineEntry(f"bad{i}.DAT", i or None, None, "file", "expected 10 fields, came 7") for i in range(200)
    )
    content = ReportContent(
        title="Small run",
        is_simulated=False,
        verdict=Verdict("an ensemble of two", "a folder", len(redshift), len(redshift)),
        data=Data(
            ingest={"sources": ["run"], "n_files": 505, "n_ingested": 300, "n_quarantined": 205, "seconds": 1.25},
            cuts={"fewer than 3 epochs": 7},
            split={"train": 80, "validation": 10, "test": 300},
            class_mix={"train": {"Ia": 20, "nonIa": 60}, "test": {"Ia": 75, "nonIa": 225}},
            redshifts=bin_redshifts({"train": redshift, "test": redshift}),
            quarantine=Quarantine(205, {"expected 10 fields, came 7": 205}, entries),
        ),
        history=tuple(HistoryRow(m, e, 0.5 / e, 0.6 / e, 1 - 0.3 / e, 1e-3, 2.0) for m in (0, 1) for e in (1, 2, 3)),
        gallery=tuple(make_curve(number, classes=classes) for number in range(n_curves)),
        n_gallery_available=298,
        comparisons=(make_comparison(),),
        configuration={"fit": {"epochs": 3}},
        provenance={"data hash": "abc123", "seed": "7"},
        command="snflow run FOLDER --experiment p1 --out runs/p1",
        protocol="P1",
    )
    return replace(content, **changes)


def make_report(n=300, classes=("Ia", "nonIa"), n_curves=30, n_resamples=20, **changes) -> Report:
    """A complete report; `changes` are of its content."""
    truth = make_truth(n, CLASS_SETS["subtypes"] if len(classes) > 3 else SUBCLASSES)
    findings = Findings(
        make_evaluations(truth, classes, n_resamples), make_early(classes), make_drift(classes), make_trust()
    )
    return with_checks(Report(make_content(truth, classes, n_curves, **changes), findings))


def with_checks(report: Report, requirements: Requirements | None = None) -> Report:
    checks = judge(report, requirements or Requirements())
    verdict = replace(report.content.verdict, checks=checks)
    return replace(report, content=replace(report.content, verdict=verdict))


def write_metrics(report: Report, folder: Path) -> None:
    (folder / "metrics.json").write_text(json.dumps(report.findings.to_dict()), encoding="utf-8")
