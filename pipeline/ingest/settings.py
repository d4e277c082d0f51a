"""Settings and summary of an ingest."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from pipeline.ingest.duplicates import DuplicatePolicy
from pipeline.ingest.readers.column_names import COLUMNS
from pipeline.settings import FrozenConfig
from pipeline.taxonomy import TYPE_CODE_LISTS

__all__ = ["IngestSettings", "IngestSummary", "TooManyBadFilesError"]


class IngestSettings(FrozenConfig):
    """How files become light curves."""

    band_map: dict[str, str] = Field(default_factory=dict)
    """Names of bands in the files, and ours: `{"DES-g": "g"}`; others keep their name."""
    bands: tuple[str, ...] | None = None
    """Bands that may occur, after the band map; None: those that a file's own header announces."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Our names of columns and those of a table of many objects: `{"MJD": "time"}`; readers.column_names has ours."""
    type_codes: dict[int, str] = Field(default_factory=dict)
    """Types by the survey's code, `{20: "IIP"}`, in place of SNANA's conventions; "elasticc" names a known list."""
    max_bad_fraction: float = Field(default=0.05, ge=0, le=1)
    """Share of files that may be quarantined before the run as a whole counts as failed."""
    max_file_bytes: int = Field(default=64 << 20, gt=0)
    """Size of a file of one light curve, or of any in an archive, at most [bytes]; else it is quarantined unread."""
    workers: int = Field(default=0, ge=0)
    """Processes that read; 0: one per core."""
    objects_per_commit: int = Field(default=20_000, gt=0)
    """Objects held in memory before they are written."""
    override: Path | None = None
    """Table of values that replace those of the files, by SNID: Parquet, ECSV or CSV."""
    duplicates: DuplicatePolicy = "quarantine"
    """Files with one SNID: the later is quarantined, the newest wins, or their measurements are merged."""

    @field_validator("type_codes", mode="before")
    @classmethod
    def _named_list(cls, codes: Any) -> Any:
        if not isinstance(codes, str):
            return codes
        if codes not in TYPE_CODE_LISTS:
            raise ValueError(f"no list of type codes named {codes!r}; there is {', '.join(TYPE_CODE_LISTS)}")
        return TYPE_CODE_LISTS[codes]

    @field_validator("columns")
    @classmethod
    def _are_known(cls, columns: dict[str, str]) -> dict[str, str]:
        unknown = sorted(set(columns) - set(COLUMNS))
        if unknown:
            raise ValueError(f"no column {', '.join(unknown)}; those that can be named are {', '.join(COLUMNS)}")
        return columns


@dataclass(frozen=True)
class IngestSummary:
    """What became of every file: n_files = n_ingested + n_unchanged + n_quarantined; companions are counted apart.

    Attributes:
        sources: folders, archives and files, as given.
        n_files: light-curve files met, damaged archives included; a HEAD and its PHOT are two.
        n_ingested: files of which something was written, new or changed, alone or as part of an object of several.
        n_unchanged: files whose content the store already had.
        n_quarantined: files of which nothing was kept, and tables of many objects that end in damage.
        n_ignored: companion files, named in `ignored`.
        n_epochs: measurements written.
        n_epochs_dropped: bad measurements left out of objects that were written.
        n_objects: objects met, n_objects_ingested + n_objects_unchanged + n_objects_quarantined; a file of one object
            counts as one, a table that is quarantined whole as none, for nobody knows how many it had.
        n_objects_ingested: written, new or changed.
        n_objects_unchanged: that the store already had.
        n_objects_quarantined: not kept: files of one object, and single objects of tables.
        reasons: kinds of reason in the quarantine of this run, and how often each occurred.
        ignored: names of the companion files, of the first thousand.
        n_conflicts: entries of scope "conflict": what files with one SNID contradict each other in; no bad files.
        override: file, hash, n_rows, n_matched, n_unmatched and the unmatched SNIDs of the table of overrides.
        seconds: wall time.
        version: of the store's light curves, after this run.
    """

    sources: tuple[str, ...] = ()
    n_files: int = 0
    n_ingested: int = 0
    n_unchanged: int = 0
    n_quarantined: int = 0
    n_ignored: int = 0
    n_epochs: int = 0
    n_epochs_dropped: int = 0
    n_objects: int = 0
    n_objects_ingested: int = 0
    n_objects_unchanged: int = 0
    n_objects_quarantined: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    n_conflicts: int = 0
    override: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    version: int = 0

    @property
    def files_per_second(self) -> float:
        """Files met [1/s of wall time], companions included."""
        return (self.n_files + self.n_ignored) / self.seconds if self.seconds > 0 else 0.0

    @property
    def bad_fraction(self) -> float:
        """Return the share of files, or of objects where that is larger, that were quarantined."""
        pairs = ((self.n_quarantined, self.n_files), (self.n_objects_quarantined, self.n_objects))
        return max(bad / total if total else 0.0 for bad, total in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), "files_per_second": self.files_per_second}


class TooManyBadFilesError(ValueError):
    """More files than allowed were quarantined; what was good is in the store, and `summary` says what happened."""

    def __init__(self, summary: IngestSummary, max_bad_fraction: float) -> None:
        reasons = ", ".join(f"{count} {kind}" for kind, count in sorted(summary.reasons.items()))
        bad = summary.n_objects_quarantined
        objects = f" ({bad} of {summary.n_objects} objects)" if summary.n_objects != summary.n_files else ""
        super().__init__(
            f"{summary.n_quarantined} of {summary.n_files} files were quarantined{objects}, more than the allowed "
            f"fraction {max_bad_fraction:g}: {reasons}; the good ones are in the store"
        )
        self.summary = summary
