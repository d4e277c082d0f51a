"""What is asked of a run, and whether it is so: green, amber or red, in words.

Requirements are floors and ceilings that a user sets in a TOML file; some have defaults, and every report checks them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import Field, model_validator

from pipeline.evaluate.findings import Comparison
from pipeline.evaluate.metrics import LOWER_IS_BETTER, METRICS
from pipeline.report.content import Check, Report, Status
from pipeline.report.names import METRIC_NAMES, metric_words
from pipeline.settings import FrozenConfig, SettingsError, load_settings, read_toml

__all__ = ["Requirement", "Requirements", "judge", "load_requirements"]

SIGNIFICANT: Final = 0.05
COMPARED: Final = ("accuracy", "auc", "figure_of_merit", "log_loss", "ece")


class Requirement(FrozenConfig):
    """A floor, a ceiling, or both."""

    at_least: float | None = None
    at_most: float | None = None
    margin: float = Field(default=0.01, ge=0)
    """By how much it may be missed and still be amber."""

    @model_validator(mode="after")
    def check_limits(self) -> Requirement:
        """Refuse a requirement that asks nothing."""
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most or both")
        return self

    def judge(self, value: float) -> Status:
        """Say how a value stands to the limits.

        >>> [Requirement(at_least=0.9, margin=0.02).judge(value) for value in (0.9, 0.89, 0.8, float("nan"))]
        ['good', 'marginal', 'bad', 'unknown']
        """
        if not math.isfinite(value):
            return "unknown"
        missed = max(_missing(self.at_least, value, 1), _missing(self.at_most, value, -1))
        return "good" if missed <= 0 else "marginal" if missed <= self.margin + 1e-12 else "bad"

    @property
    def words(self) -> str:
        """What is asked, in words."""
        limits = [("at least", self.at_least), ("at most", self.at_most)]
        asked = " and ".join(f"{name} {limit:g}" for name, limit in limits if limit is not None)
        return f"{asked} (amber within {self.margin:g})"


class Requirements(FrozenConfig):
    """What is asked of a run; the defaults are what any run should keep to."""

    metrics: dict[str, Requirement] = Field(default_factory=dict)
    """By name in METRICS, of the headline."""
    quarantined_share: Requirement = Requirement(at_most=0.01, margin=0.04)
    """Files quarantined, of all files met."""
    unclassified_share: Requirement = Requirement(at_most=0.01, margin=0.04)
    """Inputs without a probability, of all inputs."""
    ece: Requirement = Requirement(at_most=0.03, margin=0.02)
    """Expected calibration error of P(Ia)."""
    control_auc: Requirement = Requirement(at_most=0.7, margin=0.1)
    """AUC of the control, which sees header and cadence only: a good one would mean that the answer leaks."""
    domain_auc: Requirement = Requirement(at_most=0.65, margin=0.15)
    """How well the survey is told from the training data."""
    share_novel: Requirement = Requirement(at_most=0.05, margin=0.05)
    """Objects beyond the novelty threshold of the model."""

    @model_validator(mode="after")
    def check_names(self) -> Requirements:
        """Refuse a metric that does not exist."""
        unknown = sorted(set(self.metrics) - set(METRICS))
        if unknown:
            raise ValueError(f"unknown metrics {unknown}; there are {', '.join(METRICS)}")
        return self


def load_requirements(path: Path | None) -> Requirements:
    """Read requirements from a TOML file, or from its section [requirements]; without a file the defaults.

    Raises:
        SettingsError: if the file is missing, is not TOML, or asks for what does not exist.
    """
    if path is None:
        return Requirements()
    values = read_toml(path)
    section = values.get("requirements", values)
    if not isinstance(section, dict):
        raise SettingsError(f"{path}: requirements is a value, not a section")
    return load_settings(Requirements, section, str(path))


def judge(report: Report, requirements: Requirements) -> tuple[Check, ...]:
    """Check a run against its requirements and against the runs it is compared with."""
    return (*_judge_inputs(report, requirements), *_judge_metrics(report, requirements), *_judge_comparisons(report))


def _missing(limit: float | None, value: float, sign: int) -> float:
    return -math.inf if limit is None else sign * (limit - value)


def _check(name: str, value: float, requirement: Requirement, meaning: str) -> Check:
    return Check(name, requirement.judge(value), value, requirement.words, meaning)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _judge_inputs(report: Report, requirements: Requirements) -> Iterator[Check]:
    verdict, ingest = report.content.verdict, report.content.data.ingest
    if verdict.n_inputs is not None and verdict.n_outputs is not None:
        lost = verdict.n_inputs - verdict.n_outputs
        yield Check(
            "Nothing lost",
            "good" if lost == 0 else "bad",
            lost,
            "as many predictions as light curves",
            f"{verdict.n_inputs:,} light curves went in and {verdict.n_outputs:,} predictions came out.",
        )
    if "n_quarantined" in ingest:
        share = _share(ingest["n_quarantined"], ingest.get("n_files", 0))
        words = f"{ingest['n_quarantined']:,} of {ingest.get('n_files', 0):,} files could not be read."
        yield _check("Files quarantined", share, requirements.quarantined_share, words)
    if report.headline is not None:
        counts = report.headline.counts
        share = _share(counts.n_without_probability, counts.n_objects)
        words = f"{counts.n_without_probability:,} of {counts.n_objects:,} inputs have no probability."
        yield _check("Inputs unclassified", share, requirements.unclassified_share, words)


def _judge_metrics(report: Report, requirements: Requirements) -> Iterator[Check]:
    headline, findings = report.headline, report.findings
    if headline is not None and report.has_performance:
        for name, requirement in requirements.metrics.items():
            yield _check(METRIC_NAMES[name], headline.metrics[name].value, requirement, "Asked for by the user.")
        if "ece" not in requirements.metrics:
            meaning = "How far the probabilities are, on average, from the shares that they promise."
            yield _check(METRIC_NAMES["ece"], headline.metrics["ece"].value, requirements.ece, meaning)
    if report.control is not None and report.control.counts.n_evaluated:
        meaning = (
            "A classifier that sees no flux should not do well; if it does, header or cadence give the class away."
        )
        yield _check("AUC of the control", report.control.metrics["auc"].value, requirements.control_auc, meaning)
    if findings.drift is not None:
        meaning = "How well the survey can be told from the training data; 0.5 is not at all."
        yield _check("Drift (domain AUC)", findings.drift.domain_auc.value, requirements.domain_auc, meaning)
    if findings.trust is not None:
        meaning = "Objects unlike what the classifier learnt from."
        yield _check("Share novel", findings.trust.share_novel, requirements.share_novel, meaning)


def _judge_comparisons(report: Report) -> Iterator[Check]:
    for comparison in report.content.comparisons:
        worse = _changed(comparison, -1)
        better = _changed(comparison, 1)
        words = [f"worse: {', '.join(worse)}" if worse else "", f"better: {', '.join(better)}" if better else ""]
        found = "; ".join(word for word in words if word) or "no significant difference"
        measured = [d for d in comparison.differences if d.metric in COMPARED]
        yield Check(
            f"Against {comparison.other}",
            "unknown" if not comparison.n_common or not measured else "bad" if worse else "good",
            next((d.difference for d in measured if d.metric == "accuracy"), math.nan),
            f"no metric significantly worse (p < {SIGNIFICANT})",
            f"{found[0].upper()}{found[1:]}, over {comparison.n_common:,} objects in common; "
            "the value is the difference in accuracy.",
        )


def _changed(comparison: Comparison, direction: int) -> list[str]:
    """Names of the metrics that changed significantly, for the better (1) or for the worse (−1)."""
    return [
        metric_words(d.metric)
        for d in comparison.differences
        if d.metric in COMPARED
        and d.p_value < SIGNIFICANT
        and d.difference * direction * (-1 if d.metric in LOWER_IS_BETTER else 1) > 0
    ]
