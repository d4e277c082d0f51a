"""Light curves to look at: photometry, what the network was given of it, and what it said night by night."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter

from pipeline.evaluate.curves import Number
from pipeline.evaluate.findings import to_json

__all__ = ["GalleryCurve", "gallery_from_json", "gallery_to_json"]


@dataclass(frozen=True)
class GalleryCurve:
    """One object of the gallery, as report.json holds it; fluxes are FLUXCAL at ZP 27.5 mag AB.

    Attributes:
        snid: as the survey names it.
        kinds: why it is shown, such as "confident and wrong", "uncertain", "novel", "confident and right"; "sample" for
            one that was drawn at random.
        true_class: subclass, or class; None where unknown.
        called: most probable class.
        is_right: None where the truth is unknown.
        probabilities: by class.
        novelty: NaN where the model has no such score.
        redshift: that the classifier was given; NaN without one.
        mjd: of each measurement [d], in time order; at most 400 measurements, evenly chosen.
        band: of each.
        flux: of each.
        error: of each.
        n_epochs: measurements that there are.
        steps: times of the resampled steps [d]; at most 400, evenly chosen.
        step_flux: by band, the flux of each step that the network was given; NaN where the band has none.
        history_mjd: nights after which the curve was classified again [d]; at most 60, evenly chosen.
        history: by class, its probability after each of these nights; NaN while there is too little to classify.
    """

    snid: str
    kinds: tuple[str, ...]
    true_class: str | None
    called: str
    is_right: bool | None
    probabilities: dict[str, Number]
    novelty: Number
    redshift: Number
    mjd: tuple[float, ...]
    band: tuple[str, ...]
    flux: tuple[float, ...]
    error: tuple[float, ...]
    n_epochs: int
    steps: tuple[float, ...]
    step_flux: dict[str, tuple[Number, ...]]
    history_mjd: tuple[float, ...]
    history: dict[str, tuple[Number, ...]]


_CURVES: Final = TypeAdapter(tuple[GalleryCurve, ...])


def gallery_to_json(curves: Iterable[GalleryCurve]) -> list[dict[str, Any]]:
    """Return plain JSON values, undefined numbers as null."""
    return [to_json(curve) for curve in curves]


def gallery_from_json(values: Any) -> tuple[GalleryCurve, ...]:
    """Read `gallery_to_json` back, null as NaN.

    Raises:
        pydantic.ValidationError: if the values are not those of curves; it says which, and why.
    """
    return _CURVES.validate_python(values)
