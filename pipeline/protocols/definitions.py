"""The protocols on which classifiers of the SPCC are compared, with the numbers to beat.

Who is learnt from, what of each light curve is seen, what is told apart, what others reached and what we aim at. All
are on the post-challenge release of the SPCC (Kessler et al. 2010, arXiv:1001.5210, arXiv:1008.1024): 21,319 light
curves, of which 1,103 have a spectrum (S) and 20,216 have none (P).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from pipeline.evaluate.published import PublishedResult, published_for
from pipeline.settings import SettingsError
from pipeline.taxonomy import ClassSet

__all__ = ["FOM_AT_THRESHOLD", "N_SPCC", "PROTOCOLS", "Protocol", "Record", "choose_protocols"]

N_SPCC: Final = 21_319
HALF: Final = 10_660
QUARTER: Final = 5_330
FEW: Final = 1_103
"""Training objects, validation included; FEW is the number of spectra."""

IA_METRICS: Final = ("accuracy", "auc", "figure_of_merit")
FOM_AT_THRESHOLD: Final = "figure_of_merit_at_threshold"
"""At the threshold that validation objects chose for it, where the other is at P(Ia) > 0.5; nobody published it."""
TYPE_METRICS: Final = ("accuracy", "auc")
REAL_METRICS: Final = ("share_with_redshift", "share_without_redshift")


@dataclass(frozen=True)
class Record:
    """The best published value of one metric.

    Attributes:
        value: from 0 to 1.
        who: authors, year and method.
        arxiv: identifier of the source.
        note: what a reader must know before comparing.
    """

    value: float
    who: str
    arxiv: str
    note: str = ""


@dataclass(frozen=True)
class Protocol:
    """One row of the table.

    Attributes:
        id: of the row, "P3-noz"; also the folder of its draws.
        protocol: of the row's protocol, "P3".
        task: what is asked, in words.
        goal: what we aim at, by metric.
        classes: what is told apart.
        n_train: objects drawn at random to learn from, validation included; all others are tested on. With `spectra`
            these are drawn beside the objects with a spectrum.
        spectra: learn from all objects that have a spectrum.
        uses_redshift: give the network the host photo-z.
        is_early: of every light curve, in training as in the test, only the early epoch is seen.
        metrics: which are shown; the first of METRICS or of a protocol's own.
        runs_of: row whose networks answer this one, too; "": it trains its own.
        asks: the test part, or the real supernovae that are handed in.
        published_note: note of the published rows that belong here, where a protocol has several.
    """

    id: str
    protocol: str
    task: str
    goal: Mapping[str, float] = field(default_factory=dict)
    classes: ClassSet = "ia"
    n_train: int = HALF
    spectra: bool = False
    uses_redshift: bool = True
    is_early: bool = False
    metrics: tuple[str, ...] = (*IA_METRICS, FOM_AT_THRESHOLD)
    runs_of: str = ""
    asks: Literal["test part", "real sky"] = "test part"
    published_note: str = ""

    @property
    def trained_as(self) -> str:
        """Row whose networks answer this one."""
        return self.runs_of or self.id

    @property
    def words_of_size(self) -> str:
        """How many objects are learnt from: of those that may be, all where the row learns from the spectra."""
        return f"split.train={1.0 if self.spectra else self.n_train}"

    @property
    def words(self) -> tuple[str, ...]:
        """What the row demands of an experiment, as `key=value`."""
        return (
            f"protocol={self.protocol}",
            f"classes={self.classes}",
            self.words_of_size,
            f"normaliser.use_redshift={str(self.uses_redshift).lower()}",
        )

    @property
    def records(self) -> dict[str, Record]:
        """Best published value of each metric; none where nobody published one."""
        rows = [row for row in published_for(self.protocol) if row.uses_redshift == self.uses_redshift]
        rows = [row for row in rows if not self.published_note or row.note == self.published_note]
        found = {name: _best(rows, name) for name in self.metrics if name in IA_METRICS}
        said = self.published_note
        return {
            name: replace(record, note="") if record.note == said else record
            for name, record in found.items()
            if record is not None
        }


def _best(rows: Iterable[PublishedResult], metric: str) -> Record | None:
    values = [(value, row) for row in rows if (value := getattr(row, metric)) is not None]
    if not values:
        return None
    value, row = max(values, key=lambda pair: pair[0])
    return Record(float(value), row.who, row.arxiv, row.note)


def _ia(accuracy: float, auc: float, figure_of_merit: float) -> dict[str, float]:
    return {"accuracy": accuracy, "auc": auc, "figure_of_merit": figure_of_merit}


def _types(accuracy: float, auc: float) -> dict[str, float]:
    return {"accuracy": accuracy, "auc": auc}


def _spectra_and(n_random: int, auc: float, figure_of_merit: float) -> Protocol:
    return Protocol(
        f"P7-{n_random}",
        "P7",
        f"Ia or not, the spectra and {n_random} random others",
        {"auc": auc, "figure_of_merit": figure_of_merit},
        n_train=n_random,
        spectra=True,
        metrics=("auc", "figure_of_merit"),
        published_note=f"{n_random} random others",
    )


ROWS: Final = (
    Protocol("P1", "P1", "Ia or not, half", _ia(0.98, 0.998, 0.85)),
    Protocol("P2", "P2", "Ia or not, half, no redshift", _ia(0.97, 0.996, 0.78), uses_redshift=False),
    Protocol("P3-z", "P3", "Ia or not, a quarter", _ia(0.97, 0.995, 0.77), n_train=QUARTER),
    Protocol(
        "P3-noz",
        "P3",
        "Ia or not, a quarter, no redshift",
        _ia(0.955, 0.992, 0.68),
        n_train=QUARTER,
        uses_redshift=False,
    ),
    Protocol("P4", "P4", "Ia or not, 1,103", _ia(0.955, 0.990, 0.70), n_train=FEW),
    Protocol("P5", "P5", "Ia or not, 1,103, no redshift", _ia(0.94, 0.985, 0.62), n_train=FEW, uses_redshift=False),
    Protocol(
        "P6",
        "P6",
        "Ia or not, the spectra, not representative",
        {"auc": 0.97, "figure_of_merit": 0.55},
        n_train=0,
        spectra=True,
    ),
    _spectra_and(50, 0.975, 0.50),
    _spectra_and(100, 0.980, 0.55),
    _spectra_and(200, 0.983, 0.60),
    Protocol("P8-z", "P8", "Ia, II or Ibc, half", _types(0.95, 0.992), "types", metrics=TYPE_METRICS),
    Protocol(
        "P8-noz",
        "P8",
        "Ia, II or Ibc, half, no redshift",
        _types(0.93, 0.985),
        "types",
        uses_redshift=False,
        metrics=TYPE_METRICS,
    ),
    Protocol("P9-z", "P9", "Ia, II or Ibc, 1,103", _types(0.89, 0.965), "types", FEW, metrics=TYPE_METRICS),
    Protocol(
        "P9-noz",
        "P9",
        "Ia, II or Ibc, 1,103, no redshift",
        _types(0.86, 0.95),
        "types",
        FEW,
        uses_redshift=False,
        metrics=TYPE_METRICS,
    ),
    Protocol("P10-z", "P10", "Ia or not, early, half", _ia(0.96, 0.992, 0.74), is_early=True),
    Protocol(
        "P10-noz",
        "P10",
        "Ia or not, early, half, no redshift",
        _ia(0.945, 0.987, 0.65),
        uses_redshift=False,
        is_early=True,
    ),
    Protocol("P11-z", "P11", "Ia or not, early, 1,103", _ia(0.91, 0.96, 0.48), n_train=FEW, is_early=True),
    Protocol(
        "P11-noz",
        "P11",
        "Ia or not, early, 1,103, no redshift",
        _ia(0.885, 0.94, 0.39),
        n_train=FEW,
        uses_redshift=False,
        is_early=True,
    ),
    Protocol(
        "P12-z", "P12", "Ia, II or Ibc, early, half", _types(0.925, 0.983), "types", is_early=True, metrics=TYPE_METRICS
    ),
    Protocol(
        "P12-noz",
        "P12",
        "Ia, II or Ibc, early, half, no redshift",
        _types(0.91, 0.975),
        "types",
        uses_redshift=False,
        is_early=True,
        metrics=TYPE_METRICS,
    ),
    Protocol("P13", "P13", "subtypes, half", {}, "subtypes", metrics=("accuracy", "balanced_accuracy", "auc")),
    Protocol(
        "P14",
        "P14",
        "calibration and speed of P1",
        {"ece": 0.005},
        metrics=("ece", "log_loss", "light_curves_per_cpu_second"),
        runs_of="P1",
    ),
    Protocol(
        "R1",
        "R1",
        "real SNe Ia that are called Ia, by the networks of P1",
        dict.fromkeys(REAL_METRICS, 0.95),
        metrics=REAL_METRICS,
        runs_of="P1",
        asks="real sky",
    ),
)

PROTOCOLS: Final = {protocol.id: protocol for protocol in ROWS}
"""Every row; a new one is a line in ROWS. What others reached is in `evaluate.published`."""


def choose_protocols(names: Iterable[str], with_real: bool = True) -> list[Protocol]:
    """Return the rows of these protocols, in the order of the table.

    Args:
        names: of rows ("P3-noz"), of protocols ("P3": all its rows), or "all".
        with_real: whether there are real supernovae to classify; without, "all" leaves out the rows that ask for them.

    Raises:
        SettingsError: if there is no such protocol, or one needs real supernovae and there are none.
    """
    wanted = tuple(names)
    known = {*PROTOCOLS, *(row.protocol for row in ROWS), "all"}
    unknown = [name for name in wanted if name not in known]
    if unknown or not wanted:
        came = f"came {unknown[0]!r}" if unknown else "came none"
        raise SettingsError(f"expected protocols, {came}; there are all, {', '.join(PROTOCOLS)}")
    chosen = [row for row in ROWS if {row.id, row.protocol, "all"} & set(wanted)]
    unasked = [row for row in chosen if row.asks == "real sky" and not with_real]
    named = [row.id for row in unasked if {row.id, row.protocol} & set(wanted)]
    if named:
        raise SettingsError(f"{named[0]} classifies real supernovae; say where they are: --real DIR")
    return [row for row in chosen if row not in unasked]
