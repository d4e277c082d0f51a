"""A small survey that the project simulates itself, as SNANA text: for demonstrations and tests, not for science.

Supernovae explode in a flat ΛCDM volume, dust reddens them, a DES-like cadence with sky noise like that of the SPCC
(Kessler et al. 2010, arXiv:1008.1024) observes them in griz, and only what is detected is kept. Object n depends on the
seed and on n alone, so a survey is the same in whatever order, or by however many workers, it is made.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from pipeline.ingest.supernovae import POPULATIONS, distance_modulus, observe, volume_per_redshift
from pipeline.schema import ZP_INTERNAL
from pipeline.settings import FrozenConfig
from pipeline.taxonomy import SNANA_TYPE_CODES

__all__ = ["SURVEY", "SimulationSettings", "SimulationSummary", "simulate_survey"]

Floats = npt.NDArray[np.float64]
Write = Callable[[str, bytes], object]

SURVEY: Final = "SNFLOW-SIM"

SKY_NOISE: Final = {"g": (4.0, 0.75), "r": (2.4, 0.40), "i": (4.0, 0.30), "z": (3.9, 0.20)}
"""Median sky noise [FLUXCAL] and its logarithmic swing with the moon, matched to FLUXCALERR of the SPCC."""


class Pointing(NamedTuple):
    """A field of the survey."""

    ra: float  # deg
    dec: float  # deg
    mwebv: float  # mag
    cadence: int  # d


POINTINGS: Final = (
    Pointing(8.0, -44.0, 0.010, 5),
    Pointing(36.0, -5.0, 0.024, 6),
    Pointing(54.0, -28.0, 0.011, 5),
    Pointing(42.0, -1.0, 0.060, 7),
)
POINTING_RADIUS: Final = 1.0  # deg
FIRST_MJD: Final = 60200.0  # start of the first season
DAYS_BETWEEN_SEASONS: Final = 365.0
PHOTONS_PER_FLUXCAL: Final = 35.0  # Poisson variance is FLUXCAL over this
FRACTIONAL_ERROR: Final = 0.018  # flat-field and zeropoint errors: S/N of the SPCC saturates near 54
SNR_TO_DETECT: Final = 5.0
SNR_TO_TRIGGER: Final = 4.0  # of the six observations before the DETECTION mark, as in the SPCC
FAINTEST_PEAK: Final = (
    26.0  # mag; distance modulus plus absolute magnitude, beyond which 0.4 % would be detected: not tried
)
MAX_DRAWS: Final = 20_000
SPECZ_ERR: Final = 0.005
LOST_FRACTION: Final = 0.04  # exposures without a band that night, and again objects in a chip gap or on bad pixels
TYPE_CODES: Final = {subclass: code for code, subclass in SNANA_TYPE_CODES.items()}
NO_MAG: Final = 128.0  # SNANA: the flux is not positive


class SimulationSettings(FrozenConfig):
    """What survey to simulate."""

    n_objects: int = Field(default=2000, ge=1, le=999_999)
    """Detected supernovae to write."""
    seed: int = Field(default=20100401, ge=0)
    """The whole survey follows from it."""
    max_redshift: float = Field(default=1.1, ge=0.05, le=2.0)
    """Volume in which supernovae explode; the default is the SPCC's."""
    n_seasons: int = Field(default=3, ge=1)
    """Seasons, a year apart."""
    season_days: float = Field(default=150.0, ge=30.0, le=300.0)
    """Length of a season [d]."""
    noise_scale: float = Field(default=1.0, gt=0)
    """Sky noise over that of the SPCC; below 1 is a deeper survey."""
    photoz_error: float = Field(default=0.02, gt=0)
    """Typical host photo-z error over 1 + z."""
    photoz_outliers: float = Field(default=0.02, ge=0, le=1)
    """Fraction of hosts whose photo-z is anywhere in the volume, with an ordinary error."""
    spectroscopic_limit: float = 22.2
    """Peak r magnitude at which half of the supernovae get a spectrum."""


@dataclass(frozen=True)
class SimulationSummary:
    """What was written, and how much of the sky's supply it took."""

    path: Path
    n_objects: int
    n_epochs: int
    n_spectroscopic: int
    n_drawn: int  # supernovae exploded for n_objects to be detected
    subclasses: Mapping[str, int]  # objects of each


@dataclass(frozen=True)
class Exposures:
    """When, in which band and how deep a place was observed; one row per exposure, in time order."""

    mjd: Floats
    band: npt.NDArray[np.str_]
    sky_noise: Floats  # FLUXCAL

    def take(self, rows: npt.NDArray[np.bool_]) -> Exposures:
        """Return these exposures."""
        return Exposures(self.mjd[rows], self.band[rows], self.sky_noise[rows])


class Header(NamedTuple):
    """What catalogues say of an object."""

    ra: float  # deg
    dec: float  # deg
    mwebv: float  # mag
    photoz: float  # of the host
    photoz_err: float
    specz: float  # -9 without a spectrum
    sntype: int  # spectroscopic code, -9 without a spectrum


@dataclass(frozen=True)
class Supernova:
    """One simulated supernova and what the survey measured of it."""

    subclass: str
    redshift: float
    peak_mjd: float
    field: int
    exposures: Exposures
    true_flux: Floats  # FLUXCAL
    flux: Floats
    error: Floats

    @property
    def snr(self) -> Floats:
        """Signal to noise of each exposure."""
        return self.flux / self.error

    @property
    def is_detected(self) -> bool:
        """True with three exposures above S/N 5, in at least two bands."""
        bands = self.exposures.band[self.snr > SNR_TO_DETECT]
        return len(bands) >= 3 and len(np.unique(bands)) >= 2


def simulate_survey(out: Path, settings: SimulationSettings) -> SimulationSummary:
    """Simulate a survey into a new folder of SNANA text files, or into one archive when `out` ends in .tar.gz.

    The output appears whole or not at all, and is the same bytes for the same settings.

    Raises:
        FileExistsError: if `out` is there already.
        RuntimeError: if the settings leave practically nothing to detect.
    """
    if out.exists():
        raise FileExistsError(f"{out} exists already; a simulated survey goes into a new place")
    subclasses: Counter[str] = Counter()
    n_epochs = n_spectroscopic = n_drawn = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with _new_place(out) as write:
        for number in range(1, settings.n_objects + 1):
            rng = np.random.default_rng([settings.seed, 1, number])
            supernova, draws = _draw_detected(rng, settings)
            header = _draw_header(rng, supernova, settings)
            write(f"SNFLOW_SN{number:06d}.DAT", _snana_text(number, supernova, header).encode("ascii"))
            subclasses[supernova.subclass] += 1
            n_epochs += len(supernova.flux)
            n_spectroscopic += header.sntype > 0
            n_drawn += draws
    counts = dict(sorted(subclasses.items()))
    return SimulationSummary(out, settings.n_objects, n_epochs, n_spectroscopic, n_drawn, counts)


def _draw_detected(rng: np.random.Generator, settings: SimulationSettings) -> tuple[Supernova, int]:
    """Draw a subclass, then supernovae of it until the survey detects one; also return how many that took."""
    names = list(POPULATIONS)
    subclass = names[rng.choice(len(names), p=[POPULATIONS[name].share for name in names])]
    for draw in range(1, MAX_DRAWS + 1):
        supernova = _draw_supernova(rng, subclass, settings)
        if supernova is not None and supernova.is_detected:
            return supernova, draw
    raise RuntimeError(f"none of {MAX_DRAWS} supernovae {subclass} was detected with {settings}")


def _draw_supernova(rng: np.random.Generator, subclass: str, settings: SimulationSettings) -> Supernova | None:
    """Draw a supernova and observe it; None for one that is hopelessly faint."""
    population = POPULATIONS[subclass]
    fraction, redshifts = _volume_fraction(settings.max_redshift, population.rate_slope)
    redshift = float(np.interp(rng.random(), fraction, redshifts))
    peak_mag = rng.normal(population.peak_mag, population.mag_scatter)
    if peak_mag + distance_modulus(redshift) > FAINTEST_PEAK - 2.5 * np.log10(settings.noise_scale):
        return None
    field, season = int(rng.integers(len(POINTINGS))), int(rng.integers(settings.n_seasons))
    start = FIRST_MJD + DAYS_BETWEEN_SEASONS * season
    peak_mjd = start + rng.uniform(-50, settings.season_days + 15)
    host_ebv = rng.exponential(0.08) + rng.normal(0, 0.04)  # the second term is intrinsic colour, of either sign
    season_exposures = _expose(field, season, settings)
    exposures = season_exposures.take(rng.random(len(season_exposures.mjd)) > LOST_FRACTION)
    surface = population.draw(rng, peak_mag)
    true_flux = observe(surface, redshift, exposures.mjd - peak_mjd, exposures.band, host_ebv, POINTINGS[field].mwebv)
    variance = exposures.sky_noise**2 + true_flux / PHOTONS_PER_FLUXCAL + (FRACTIONAL_ERROR * true_flux) ** 2
    error = np.sqrt(variance)
    flux = rng.normal(true_flux, error)
    return Supernova(subclass, redshift, peak_mjd, field, exposures, true_flux, flux, error)


@cache
def _volume_fraction(max_redshift: float, rate_slope: float) -> tuple[Floats, Floats]:
    """Fraction of supernovae seen to explode below each redshift, where clocks run slower by 1 + z."""
    redshift = np.linspace(0.01, max_redshift, 1000)
    fraction = np.cumsum(volume_per_redshift(redshift) * (1 + redshift) ** (rate_slope - 1))
    return fraction / fraction[-1], redshift


@cache
def _expose(field: int, season: int, settings: SimulationSettings) -> Exposures:
    """Plan a season of a field, shared by its supernovae: griz every few days, weather gaps, moon, seeing, losses."""
    rng = np.random.default_rng([settings.seed, 0, season, field])
    cadence = POINTINGS[field].cadence
    gaps = rng.integers(cadence - 1, cadence + 2, size=60) + (rng.random(60) < 0.12) * rng.integers(3, 10, size=60)
    nights = np.cumsum(gaps) - rng.integers(0, cadence)
    nights = nights[nights < settings.season_days]
    midnight = FIRST_MJD + DAYS_BETWEEN_SEASONS * season + nights + rng.normal(0.2, 0.05, len(nights))
    moon = np.cos(2 * np.pi * midnight / 29.53)
    night_noise = rng.normal(0, 0.25, len(nights)) + (rng.random(len(nights)) < 0.06) * rng.uniform(0.5, 1.5)
    columns: list[tuple[Floats, npt.NDArray[np.str_], Floats]] = []
    for slot, (band, (median, moonlight)) in enumerate(SKY_NOISE.items()):
        log_noise = moonlight * moon + night_noise + rng.normal(0, 0.12, len(nights))
        noise = settings.noise_scale * median * np.exp(log_noise)
        taken = rng.random(len(nights)) > LOST_FRACTION
        columns.append((midnight[taken] + 0.012 * slot, np.full(taken.sum(), band), noise[taken]))
    mjd, bands, noise = (np.concatenate(parts) for parts in zip(*columns, strict=True))
    order = np.argsort(mjd)
    return Exposures(mjd[order], bands[order], noise[order])


def _draw_header(rng: np.random.Generator, supernova: Supernova, settings: SimulationSettings) -> Header:
    """Draw what catalogues say of a supernova: its place, its host's photo-z, and a spectrum of a bright one."""
    pointing = POINTINGS[supernova.field]
    radius, angle = POINTING_RADIUS * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    ra = pointing.ra + radius * np.cos(angle) / np.cos(np.radians(pointing.dec))
    photoz_err = settings.photoz_error * (1 + supernova.redshift) * rng.lognormal(0, 0.3)
    photoz = rng.normal(supernova.redshift, photoz_err)
    if rng.random() < settings.photoz_outliers:
        photoz = rng.uniform(0, settings.max_redshift)
    brightest = supernova.true_flux[supernova.exposures.band == "r"].max(initial=1e-9)
    excess_mag = ZP_INTERNAL - 2.5 * np.log10(brightest) - settings.spectroscopic_limit
    has_spectrum = rng.random() < 1 / (1 + np.exp(np.clip(excess_mag / 0.25, -50, 50)))
    code = TYPE_CODES[supernova.subclass] if has_spectrum else -9
    specz = rng.normal(supernova.redshift, SPECZ_ERR) if has_spectrum else -9.0
    dec = pointing.dec + radius * np.sin(angle)
    return Header(ra, dec, pointing.mwebv, max(photoz, 0.01), photoz_err, specz, code)


def _snana_text(number: int, supernova: Supernova, header: Header) -> str:
    """Write one object as the SPCC does; SIM_ keys and SNTYPE are the only truth in it."""
    specz_err = 9.0 if header.specz < 0 else SPECZ_ERR
    lines = [
        f"SURVEY: {SURVEY}",
        "# Simulated by snflow (pipeline/ingest/simulate.py): no telescope measured these fluxes.",
        f"SNID:   {number}",
        f"SNTYPE:  {header.sntype}",
        "FILTERS: griz",
        f"RA:      {header.ra:.6f}  deg",
        f"DECL:    {header.dec:.6f}  deg",
        "MAGTYPE: LOG10",
        "MAGREF:  AB",
        "FAKE:    2   (=> simulated light curve)",
        f"MWEBV:   {header.mwebv:.4f}    MW E(B-V)",
        f"REDSHIFT_SPEC:    {header.specz:.5f} +- {specz_err:.5f}",
        f"HOST_GALAXY_PHOTO-Z:   {header.photoz:.4f}  +- {header.photoz_err:.4f}",
        "",
        f"SIM_COMMENT:  SN Type = {supernova.subclass} , MODEL = snflow-{supernova.subclass}",
        f"SIM_REDSHIFT:  {supernova.redshift:.4f}",
        f"SIM_DLMU:      {distance_modulus(supernova.redshift):.6f}  mag",
        f"SIM_PEAKMJD:   {supernova.peak_mjd:.6f}  days",
        "",
        f"NOBS: {len(supernova.flux)}",
        "NVAR: 9",
        "VARLIST:  MJD  FLT FIELD   FLUXCAL   FLUXCALERR   SNR    MAG     MAGERR  SIM_MAG",
        *_observation_lines(supernova),
        "END:",
        "",
    ]
    return "\n".join(lines)


def _observation_lines(supernova: Supernova) -> list[str]:
    exposures, flux, error, snr = supernova.exposures, supernova.flux, supernova.error, supernova.snr
    magerr = np.where(flux > 0, 1.0857 / np.maximum(snr, 0.01), 0.0)
    columns = (exposures.mjd, exposures.band, flux, error, snr, _mag(flux), magerr, _mag(supernova.true_flux))
    lines = [
        f"OBS:  {mjd:.3f}  {band} SIM{supernova.field}  {f: .3e}   {e:.3e} {s:6.2f}  {m:7.3f}  {me:7.3f}  {true:7.3f}"
        for mjd, band, f, e, s, m, me, true in zip(*(column.tolist() for column in columns), strict=True)
    ]
    mark = _trigger_row(exposures.mjd, snr)
    if mark is not None:
        lines.insert(mark, "DETECTION:  6 MJDs satisfy g+r+i+z")
    return lines


def _mag(flux: Floats) -> Floats:
    """Magnitudes, NO_MAG where the flux is not positive."""
    faintest = 10 ** (-0.4 * (NO_MAG - ZP_INTERNAL))
    return ZP_INTERNAL - 2.5 * np.log10(np.maximum(flux, faintest))


def _trigger_row(mjd: Floats, snr: Floats) -> int | None:
    """Return the first row after the night of the sixth observation above S/N 4, None without six."""
    triggers = np.flatnonzero(snr > SNR_TO_TRIGGER)
    if len(triggers) < 6:
        return None
    return int(np.searchsorted(mjd, mjd[triggers[5]] + 0.5))


@contextmanager
def _new_place(out: Path) -> Iterator[Write]:
    """Yield how to write a file of a survey whose folder or archive appears at the end, or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    _remove(partial)  # left by a run that was killed
    is_archive = out.name.endswith(".tar.gz")
    try:
        with _archive(partial, out.name.removesuffix(".tar.gz")) if is_archive else _folder(partial) as write:
            yield write
        partial.rename(out)
    finally:
        _remove(partial)


@contextmanager
def _folder(path: Path) -> Iterator[Write]:
    path.mkdir()
    yield lambda name, content: (path / name).write_bytes(content)


@contextmanager
def _archive(path: Path, folder: str) -> Iterator[Write]:
    """Write a tar archive whose bytes depend on its members alone: no clock, no user, no file name."""

    def write(name: str, content: bytes) -> None:
        member = tarfile.TarInfo(f"{folder}/{name}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))

    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        yield write


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
