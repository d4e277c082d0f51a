"""Whether a night looks like what a classifier has learnt from: green, amber (look at it), or red (hold its classes).

The light curves of a night still grow, so each is compared with training light curves cut off after about as many
nights; those of an archive are whole, and compared with whole ones: of the two, with those that match it better in the
number of nights. Every property is tested for its distribution (Kolmogorov & Smirnov) and for how often it is missing;
the probabilities are those of the whole night, over all tests (Bonferroni). A difference must be both improbable and
large: a survey of many objects differs in everything by a little.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import fisher_exact, kstwobign, norm

from pipeline.evaluate.guard_settings import GuardSettings
from pipeline.schema import LightCurves
from pipeline.train.reference import UNLIKE, Reference, Unlike, summarise

__all__ = ["Difference", "GuardSettings", "NightVerdict", "guard_night"]

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Status = Literal["unknown", "green", "amber", "red"]

PROGRESS: Final = ("measurements", "nights", "time span")
"""How far a light curve has grown is no drift; the comparison is between light curves grown as far."""
MATCHES: Final = 5
"""Training light curves drawn for each of the night."""
STRATA: Final = (40, 20, 10, 5, 2, 1)
"""Quantiles of the number of nights that light curves are matched by: the most that leave enough to compare with."""
RANK: Final[dict[Status, int]] = {"unknown": 0, "green": 1, "amber": 2, "red": 3}


@dataclass(frozen=True)
class Difference:
    """One property of a night and of training light curves grown as far.

    Attributes:
        name: column of `prepare.summary.summary_units`, or UNLIKE.
        status: of this property alone.
        distance: of the cumulative distributions, or of the shares that lack the property if `is_missing`.
        p_value: probability of so large a distance in any property, if the night is like the training data.
        is_missing: whether it is about how many objects lack the property.
        night: median, or share that lacks it; NaN where no object has it.
        training: the same of the training light curves.
        look_at: what may cause it.
    """

    name: str
    status: Status
    distance: float
    p_value: float
    is_missing: bool
    night: float
    training: float
    look_at: str

    def words(self) -> str:
        """Say how it differs."""
        if self.is_missing:
            return f"{self.name} is missing for {self.night:.0%} of the objects, for {self.training:.0%} in training"
        if self.name == UNLIKE:
            return f"{self.night:.0%} of the objects are {UNLIKE}, {self.training:.0%} in training"
        return f"the median of {self.name} is {self.night:.3g}, in training {self.training:.3g}"


@dataclass(frozen=True)
class NightVerdict:
    """What a night is like.

    Attributes:
        status: the worst of its differences; unknown for fewer objects than `min_objects`.
        n_objects: light curves judged.
        differences: amber and red ones, the least probable first.
        note: why nothing could be judged, or how the comparison is limited.
    """

    status: Status
    n_objects: int
    differences: tuple[Difference, ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; NaN is None."""
        rows = [
            {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
            for row in map(asdict, self.differences)
        ]
        return asdict(self) | {"differences": rows}

    def sentence(self) -> str:
        """Say it in one line."""
        if not self.differences:
            return f"{self.status}: {self.note or 'the night looks like the training data'}"
        worst = self.differences[0]
        return f"{self.status}: {worst.words()}; look at {worst.look_at}"


def guard_night(
    light_curves: LightCurves,
    reference: Reference | None,
    bands: tuple[str, ...],
    settings: GuardSettings | None = None,
    seed: int = 0,
    unlike: Unlike | None = None,
) -> NightVerdict:
    """Compare the light curves that a night has changed with a classifier's training data.

    Args:
        light_curves: what changed, bands named as the model's.
        reference: what the classifier remembers of its training data.
        bands: of the model, from blue to red.
        settings: thresholds.
        seed: of the draw of training light curves.
        unlike: tells which light curves are no supernovae.
    """
    settings = settings or GuardSettings()
    if reference is None:
        return NightVerdict("unknown", len(light_curves), note="the classifier remembers nothing of its training data")
    if len(light_curves) < settings.min_objects:
        note = f"{len(light_curves)} changed objects, {settings.min_objects} are needed for a judgement"
        return NightVerdict("unknown", len(light_curves), note=note)
    summary = summarise(light_curves, bands, unlike)
    night = summary.astype(np.float32).astype(np.float64)  # as the reference is kept
    tables = [table for table in (reference.growing, reference.summary) if len(table)]
    nights, n_needed = night["nights"].to_numpy(), 2 * settings.min_objects
    matched = [_match(table["nights"].to_numpy(), nights, seed, n_needed) for table in tables]
    best = max(range(len(tables)), key=lambda place: _effective(matched[place]))
    found = _compare_all(night, tables[best], matched[best], settings)
    status: Status = max((one.status for one in found), key=RANK.__getitem__, default="green")
    note = "" if len(reference.growing) else "the classifier remembers whole light curves only"
    return NightVerdict(status, len(night), found, note)


def _compare_all(
    night: pd.DataFrame, training: pd.DataFrame, counts: Floats, settings: GuardSettings
) -> tuple[Difference, ...]:
    """Return the amber and red differences from the training light curves, each counted so often; the worst first."""
    names = [name for name in training.columns if name in night.columns and name not in PROGRESS]
    tests = [
        test for name in names for test in _compare(name, night[name].to_numpy(), training[name].to_numpy(), counts)
    ]
    judged = [_judge(test, len(tests), settings) for test in tests]
    return tuple(sorted((one for one in judged if RANK[one.status] > RANK["green"]), key=_severity))


def _severity(difference: Difference) -> tuple[int, float, float]:
    return -RANK[difference.status], difference.p_value, -difference.distance


def _match(training: Floats, night: Floats, seed: int, n_needed: int) -> Floats:
    """Draw training light curves of about as many nights; (n_training,) how often each was drawn.

    Where the night's are longer or shorter than nearly all of the training data, few would be drawn again and again,
    and any difference could be chance: then light curves are matched less closely, and in the end not at all.
    """
    drawn = (_match_within(training, night, np.random.default_rng(seed), n_strata) for n_strata in STRATA)
    return next((counts for counts in drawn if _effective(counts) >= n_needed), np.ones(len(training)))


def _match_within(training: Floats, night: Floats, rng: np.random.Generator, n_strata: int) -> Floats:
    """Draw MATCHES light curves for each of the night, from the same quantile of the number of nights."""
    cuts = np.unique(np.quantile(training, np.linspace(0, 1, n_strata + 1)[1:-1]))
    stratum = np.searchsorted(cuts, training, side="right")
    order, sizes = np.argsort(stratum, kind="stable"), np.bincount(stratum, minlength=len(cuts) + 1)
    starts = np.cumsum(sizes) - sizes
    wanted = np.repeat(np.searchsorted(cuts, night, side="right"), MATCHES)
    places = starts[wanted] + rng.integers(0, np.maximum(sizes[wanted], 1))
    rows = order[np.minimum(places, len(order) - 1)]
    return np.bincount(rows, minlength=len(training)).astype(np.float64)


@dataclass(frozen=True)
class _Test:
    name: str
    distance: float
    p_value: float
    is_missing: bool
    night: float
    training: float


def _compare(name: str, night: Floats, training: Floats, counts: Floats) -> list[_Test]:
    """Test how often a property is missing, and, where both sides have it, its distribution."""
    has_night, has_training = np.isfinite(night), np.isfinite(training)
    if name == UNLIKE:
        pairs = night[has_night], training[has_training], counts[has_training]
        return [_compare_unlike(*pairs)] if has_night.any() and pairs[2].sum() > 0 else []
    tests = [_compare_shares(name, ~has_night, ~has_training, counts)]
    weights = counts[has_training]
    if has_night.any() and weights.sum() > 0:
        tests.append(_compare_values(name, night[has_night], training[has_training], weights))
    return tests


def _compare_shares(name: str, night: npt.NDArray[np.bool_], training: npt.NDArray[np.bool_], counts: Floats) -> _Test:
    here, there = float(night.mean()), float(counts @ training / counts.sum())
    sizes = len(night), _effective(counts)
    pooled = (here * sizes[0] + there * sizes[1]) / sum(sizes)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / sizes[0] + 1 / sizes[1]))
    p_value = 2 * float(norm.sf(abs(here - there) / spread)) if spread > 0 else 1.0
    return _Test(name, abs(here - there), p_value, True, here, there)


def _compare_unlike(night: Floats, training: Floats, counts: Floats) -> _Test:
    """Test whether more of the night are unlike supernovae (Fisher's exact test: such are rare in training)."""
    here, there = float(night.mean()), float(counts @ training / counts.sum())
    size = max(round(_effective(counts)), 1)
    counted = [[night.sum(), (1 - night).sum()], [round(there * size), size - round(there * size)]]
    table = np.array(counted, dtype=np.int64)
    return _Test(UNLIKE, here - there, float(fisher_exact(table, "greater").pvalue), False, here, there)


def _compare_values(name: str, night: Floats, training: Floats, weights: Floats) -> _Test:
    """Kolmogorov & Smirnov, with weights on the training side."""
    order = np.argsort(training, kind="stable")
    values, shares = training[order], np.cumsum(weights[order]) / weights.sum()
    grid = np.unique(np.concatenate([night, values[np.diff(shares, prepend=0) > 0]]))
    before = np.concatenate([[0.0], shares])[np.searchsorted(values, grid, side="right")]
    after = np.searchsorted(np.sort(night), grid, side="right") / len(night)
    distance = float(np.abs(after - before).max())
    size = 1 / (1 / len(night) + 1 / _effective(weights))
    median = float(values[np.searchsorted(shares, 0.5)])
    return _Test(
        name, distance, float(kstwobign.sf(distance * math.sqrt(size))), False, float(np.median(night)), median
    )


def _effective(counts: Floats) -> float:
    """Size of a sample in which some rows were drawn several times."""
    return float(counts.sum() ** 2 / (counts**2).sum())


def _judge(test: _Test, n_tests: int, settings: GuardSettings) -> Difference:
    p_value = min(1.0, test.p_value * n_tests)
    far, further = settings.amber_distance, settings.red_distance
    if test.name == UNLIKE:
        far, further = settings.amber_unlike, settings.red_unlike
    is_red = p_value < settings.red_p and test.distance > further
    is_amber = p_value < settings.amber_p and test.distance > far
    status: Status = "red" if is_red else "amber" if is_amber else "green"
    return Difference(
        test.name, status, test.distance, p_value, test.is_missing, test.night, test.training,
        _look_at(test.name, test.is_missing),
    )  # fmt: skip


def _look_at(name: str, is_missing: bool) -> str:
    """Say what may make a property differ."""
    if name.startswith("median error in "):
        band = name.removeprefix("median error in ")
        return f"whether band {band} was observed" if is_missing else f"zeropoint, seeing and exposure in {band}"
    if name.endswith(" at maximum"):
        pair = name.removesuffix(" at maximum")
        return f"depth in {pair}" if is_missing else f"zeropoints of {pair}, and kinds of objects"
    return {
        "bands": "lost bands, and the band map",
        "days between nights": "the cadence",
        "photo-z": "the table of host redshifts",
        "photo-z error": "the table of host redshifts",
        "Milky Way E(B−V)": "the fields observed, and the reddening map",
        UNLIKE: "sources that are no supernovae, and artefacts of subtraction",
        "brightest magnitude": "zeropoints, and kinds of objects",
    }.get(name, "flux errors, depth and kinds of objects")
