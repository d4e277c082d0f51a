"""Light curves to look at: photometry, what the network was given of it, and what it said night by night."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluate.curves import Number

__all__ = ["GalleryCurve"]


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
        steps: times of the resampled steps [d].
        step_flux: by band, the flux of each step that the network was given; NaN where the band has none.
        history_mjd: nights after which the curve was classified again [d].
        history: by class, its probability after each of these nights.
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
