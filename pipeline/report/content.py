"""The content of report.json, type by type: with metrics.json all that the page is drawn from.

`ReportContent` is the whole file. Every type is frozen and made of plain values; undefined numbers are NaN here and
null in JSON. `Report` puts both files together, and is what the page, its figures and its tables take.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter

from pipeline.evaluate.curves import Number
from pipeline.evaluate.findings import Comparison, Evaluation, Findings, to_json
from pipeline.evaluate.json_schema import describe
from pipeline.files import write_atomically
from pipeline.report.gallery import GalleryCurve

__all__ = [
    "Check",
    "Data",
    "HistoryRow",
    "Quarantine",
    "QuarantineEntry",
    "RedshiftHistogram",
    "Report",
    "ReportContent",
    "Status",
    "Verdict",
    "json_schema",
    "read_content",
    "write_content",
]

FORMAT_VERSION: Final = 1
UNCALIBRATED: Final = "uncalibrated"
CONTROL: Final = "control"

Status = Literal["good", "marginal", "bad", "unknown"]


@dataclass(frozen=True)
class Check:
    """One thing that was asked of the run, and the answer.

    Attributes:
        name: what was looked at.
        status: "good" where it is as wanted, "marginal" where it misses by no more than the margin, "bad" beyond;
            "unknown" where there is no number to judge.
        value: what was found.
        wanted: what was asked, in words.
        meaning: what a reader should make of it.
    """

    name: str
    status: Status
    value: Number
    wanted: str
    meaning: str


@dataclass(frozen=True)
class Verdict:
    """What was classified with what, and whether the run is as it should be.

    Attributes:
        model: what classified, in a few words.
        data: what was classified, in a few words.
        n_inputs: light curves that went in; None where that is not known.
        n_outputs: rows of the predictions.
        checks: of requirements, and those that every report makes.
    """

    model: str = ""
    data: str = ""
    n_inputs: int | None = None
    n_outputs: int | None = None
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class QuarantineEntry:
    """What could not be read; line and snid are None where there is none."""

    file: str
    line: int | None
    snid: str | None
    scope: str
    reason: str


@dataclass(frozen=True)
class Quarantine:
    """What could not be read, counted by kind of reason, and the first entries."""

    n_entries: int = 0
    by_reason: dict[str, int] = field(default_factory=dict)
    first: tuple[QuarantineEntry, ...] = ()


@dataclass(frozen=True)
class RedshiftHistogram:
    """True redshifts of each part.

    Attributes:
        edges: (n + 1,) of the bins.
        counts: (n,) objects per bin, by part.
        medians: by part.
    """

    edges: tuple[float, ...] = ()
    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    medians: dict[str, Number] = field(default_factory=dict)


@dataclass(frozen=True)
class Data:
    """Where the light curves come from, and which were used for what.

    Attributes:
        ingest: summary of the ingest: sources, n_files, n_ingested, n_quarantined, reasons (count by reason) and more.
        cuts: objects that each selection cut left out.
        split: objects in train, validation and test.
        class_mix: objects by part and class.
        redshifts: of each part.
        quarantine: what could not be read.
    """

    ingest: dict[str, Any] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    split: dict[str, int] = field(default_factory=dict)
    class_mix: dict[str, dict[str, int]] = field(default_factory=dict)
    redshifts: RedshiftHistogram = field(default_factory=RedshiftHistogram)
    quarantine: Quarantine = field(default_factory=Quarantine)


@dataclass(frozen=True)
class HistoryRow:
    """One epoch of the training of one member of the ensemble."""

    member: int
    epoch: int
    train_loss: Number
    valid_loss: Number
    valid_accuracy: Number
    learning_rate: Number
    seconds: Number


@dataclass(frozen=True)
class ReportContent:
    """Everything in report.json.

    Attributes:
        title: of the page.
        is_simulated: whether snflow made up the light curves itself; the page then says so beside every number.
        verdict: what was classified with what, and how the checks went.
        data: where the light curves come from.
        history: of the training, member by member, epoch by epoch.
        gallery: light curves to look at.
        n_gallery_available: light curves that the gallery was chosen from.
        comparisons: with other runs on the same objects.
        beside: headlines of other runs, on whatever objects they had.
        configuration: resolved settings by verb.
        provenance: data and split hashes, code and dependency versions, times.
        command: what reproduces the run.
        protocol: id of a published protocol, such as "P1"; None without one.
    """

    title: str
    is_simulated: bool
    verdict: Verdict = Verdict()
    data: Data = field(default_factory=Data)
    history: tuple[HistoryRow, ...] = ()
    gallery: tuple[GalleryCurve, ...] = ()
    n_gallery_available: int = 0
    comparisons: tuple[Comparison, ...] = ()
    beside: tuple[Evaluation, ...] = ()
    configuration: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    command: str = ""
    protocol: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, undefined numbers as null."""
        return {"format_version": FORMAT_VERSION, **to_json(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ReportContent:
        """Read `to_dict` back, null as NaN.

        Raises:
            pydantic.ValidationError: if the values are not those of a report; it says which, and why.
        """
        return _CONTENT.validate_python({name: value for name, value in values.items() if name != "format_version"})


_CONTENT: Final = TypeAdapter(ReportContent)


@dataclass(frozen=True)
class Report:
    """report.json and metrics.json together: what the page is drawn from.

    Raises:
        ValueError: if two evaluations have one name.
    """

    content: ReportContent
    findings: Findings = field(default_factory=Findings)

    def __post_init__(self) -> None:
        """Validate once, at the boundary."""
        names = [evaluation.name for evaluation in (*self.findings.evaluations, *self.content.beside)]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluations in one report need different names, came {names}")

    @property
    def evaluations(self) -> list[Evaluation]:
        """The headline, what stands beside it, and the headlines of other runs; not the uncalibrated."""
        found = (*self.findings.evaluations, *self.content.beside)
        return [evaluation for evaluation in found if evaluation.name != UNCALIBRATED]

    @property
    def headline(self) -> Evaluation | None:
        """The evaluation that the verdict is about."""
        return next(iter(self.findings.evaluations), None)

    @property
    def uncalibrated(self) -> Evaluation | None:
        """The headline before its calibration."""
        return next((e for e in self.findings.evaluations[1:] if e.name == UNCALIBRATED), None)

    @property
    def control(self) -> Evaluation | None:
        """The classifier that sees header and cadence only, which should not be good."""
        return next((e for e in self.findings.evaluations[1:] if e.name.startswith(CONTROL)), None)

    @property
    def has_performance(self) -> bool:
        """Whether the class of any object is known."""
        return self.headline is not None and self.headline.counts.n_evaluated > 0


def write_content(content: ReportContent, path: Path) -> None:
    """Write `report.json`."""
    write_atomically(path, json.dumps(content.to_dict(), ensure_ascii=False, separators=(",", ":")) + "\n")


def read_content(path: Path) -> ReportContent:
    """Read `report.json`.

    Raises:
        FileNotFoundError: if there is none.
        pydantic.ValidationError: if it is none.
    """
    return ReportContent.from_dict(json.loads(path.read_text(encoding="utf-8")))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of report.json, as `ReportContent.to_dict` writes it."""
    found = describe(ReportContent, "report.json of snflow")
    version = {"const": FORMAT_VERSION, "description": "of this schema."}
    return found | {"properties": {"format_version": version, **found["properties"]}}
