"""Simple supernovae for the simulated survey: spectral surfaces per subclass, and what griz bands see of them.

Type Ia are sncosmo's bundled Hsiao template; core-collapse supernovae are blackbodies whose brightness and temperature
follow simple physics. Good for demonstrations and tests, not for science. sncosmo and astropy are slow to import, so
only the functions that need them do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.schema import ZP_INTERNAL

__all__ = [
    "BAND_EDGES",
    "POPULATIONS",
    "Population",
    "Surface",
    "bandpass",
    "distance_modulus",
    "observe",
    "volume_per_redshift",
]

Floats = npt.NDArray[np.float64]
Surface = Callable[[Floats, Floats], Floats]
"""(phase [rest-frame d], wavelength [rest-frame Å]) to flux density f_ν at 10 pc in 3631 Jy, (phase, wavelength)."""

BAND_EDGES: Final = {"g": (4000.0, 5500.0), "r": (5600.0, 7100.0), "i": (7000.0, 8500.0), "z": (8500.0, 10000.0)}
"""Half-transmission wavelengths of the DES-like bands [Å]."""

PIVOT: Final = 5500.0  # Å; core-collapse brightness is given here
DAYS: Final = np.arange(0.0, 400.0, 0.5)  # rest-frame days since explosion
LIGHT_SPEED: Final = 2.998e18  # Å/s


@dataclass(frozen=True)
class Population:
    """How common and how bright one subclass is."""

    share: float  # of the detected sample
    peak_mag: float  # mean absolute AB magnitude, Ia in rest-frame B, others at PIVOT
    mag_scatter: float  # mag
    rate_slope: float  # volumetric rate ∝ (1 + z)^rate_slope
    draw: Callable[[np.random.Generator, float], Surface]  # diversity, peak magnitude to a spectral surface


def _ia_surface(rng: np.random.Generator, peak_mag: float) -> Surface:
    """Hsiao et al. 2007 (astro-ph/0703529), stretched; slower is brighter (1.4 mag per unit stretch, as in Tripp)."""
    source, template_mag = _hsiao()
    stretch = float(np.clip(rng.normal(1.0, 0.1), 0.7, 1.25))
    first, last = source.minphase(), source.maxphase()
    scale = 10 ** (-0.4 * (peak_mag - 1.4 * (stretch - 1) - template_mag)) / (3.631e-20 * LIGHT_SPEED)

    def surface(phase: Floats, wavelength: Floats) -> Floats:
        template_phase = phase / stretch
        density = np.maximum(source.flux(np.clip(template_phase, first, last), wavelength), 0)
        fade = 10 ** (-0.4 * 0.015 * np.maximum(template_phase - last, 0)) * (template_phase > first)
        faded: Floats = scale * fade[:, None] * density * wavelength**2
        return faded

    return surface


def _hydrogen_surface(rng: np.random.Generator, peak_mag: float, decline: float, drop: float) -> Surface:
    """A hydrogen envelope cools to recombination while it expands, until the wave reaches the core; cobalt remains.

    Plateau decline ~1.3 mag/100 d for IIP (arXiv:1909.13813), steeper for IIL; length 84 ± 17 d and tail
    1.5 mag/100 d (Anderson et al. 2014, arXiv:1403.7091).
    """
    rise, length = rng.uniform(2.5, 7.0), max(rng.normal(84, 15), 45)
    slope, fall = max(rng.normal(decline, 0.35 * decline), 0.0), rng.normal(drop, 0.2 * drop)
    mag = slope * np.minimum(DAYS, length) / 100 + 1.5 * np.maximum(DAYS - length, 0) / 100
    mag += fall / (1 + np.exp(-(DAYS - length - 10) / 5))
    brightness = (1 - np.exp(-((DAYS / rise) ** 2))) * 10 ** (-0.4 * mag)
    hot, floor = rng.normal(9500, 900), rng.normal(5600, 250)
    temperature = np.clip(hot * (np.maximum(DAYS, 1) / 20) ** -0.5, floor, 20_000)
    return _blackbody_surface(rng, peak_mag, brightness, temperature, blanketing=1.2)


def _iip_surface(rng: np.random.Generator, peak_mag: float) -> Surface:
    return _hydrogen_surface(rng, peak_mag, decline=1.2, drop=2.0)


def _iil_surface(rng: np.random.Generator, peak_mag: float) -> Surface:
    return _hydrogen_surface(rng, peak_mag, decline=3.0, drop=1.0)


def _iin_surface(rng: np.random.Generator, peak_mag: float) -> Surface:
    """Ejecta run into gas: rise 20 ± 6 or 50 ± 11 d, decline 0.040 or 0.013 mag/d (arXiv:1906.05812)."""
    is_slow = rng.random() < 0.4
    rise = max(rng.normal(50, 11) if is_slow else rng.normal(20, 6), 8.0)
    decline = max(rng.normal(0.013, 0.006) if is_slow else rng.normal(0.04, 0.01), 0.004)
    phase = DAYS - 1.5 * rise
    brightness = 10 ** (-0.4 * np.where(phase < 0, 2 * (phase / rise) ** 2, decline * phase))
    hot, floor = rng.normal(11_000, 1500), rng.normal(6500, 400)
    temperature = floor + (hot - floor) * np.exp(-np.maximum(phase, -rise) / 60)
    return _blackbody_surface(rng, peak_mag, brightness, temperature, blanketing=0.5)


def _stripped_surface(rng: np.random.Generator, peak_mag: float, diffusion_days: float, hot: float) -> Surface:
    """Nickel and cobalt heat an envelope through which light diffuses (Arnett 1982), gamma rays leaking out.

    Diffusion times and temperatures are typical of arXiv:1602.01736 and arXiv:1707.07614.
    """
    diffusion = float(np.clip(rng.normal(diffusion_days, 2.0), 8.0, 20.0))
    x = np.minimum(DAYS / diffusion, 25.0)
    heating = np.exp(-DAYS / 8.8) + 0.174 * (np.exp(-DAYS / 111.3) - np.exp(-DAYS / 8.8))
    integrand = 2 * x * np.exp(x**2) * heating
    steps = np.diff(x, prepend=0.0) * (integrand + np.roll(integrand, 1)) / 2
    brightness = np.exp(-(x**2)) * np.cumsum(steps)
    leak = max(rng.normal(60, 12), 30)
    brightness *= -np.expm1(-((leak / np.maximum(DAYS, 1)) ** 2))
    phase = DAYS - DAYS[np.argmax(brightness)]
    peak_temperature, floor = rng.normal(hot, 700), rng.normal(4800, 250)
    temperature = floor + (peak_temperature - floor) * np.exp(-np.maximum(phase, -12) / 16)
    return _blackbody_surface(rng, peak_mag, brightness, temperature, blanketing=1.4)


def _ib_surface(rng: np.random.Generator, peak_mag: float) -> Surface:
    return _stripped_surface(rng, peak_mag, diffusion_days=13.0, hot=7800)


def _ic_surface(rng: np.random.Generator, peak_mag: float) -> Surface:
    return _stripped_surface(rng, peak_mag, diffusion_days=11.5, hot=7000)


POPULATIONS: Final = {
    "Ia": Population(0.24, -19.25, 0.15, 1.5, _ia_surface),
    "IIP": Population(0.43, -17.6, 1.0, 3.6, _iip_surface),
    "IIL": Population(0.11, -18.4, 0.8, 3.6, _iil_surface),
    "IIn": Population(0.09, -18.8, 0.9, 3.6, _iin_surface),
    "Ib": Population(0.07, -18.2, 0.8, 3.6, _ib_surface),
    "Ic": Population(0.06, -18.3, 0.8, 3.6, _ic_surface),
}
"""Luminosities after Richardson et al. 2014 (arXiv:1403.5755), the core-collapse ones 0.3 to 0.9 mag brighter as
in the SPCC, whose templates are the supernovae bright enough to be followed; rate slopes are those of the SPCC."""


def _blackbody_surface(
    rng: np.random.Generator, peak_mag: float, brightness: Floats, temperature: Floats, blanketing: float
) -> Surface:
    """Blackbody of a temperature [K] and PIVOT brightness on DAYS, dimmed below 4300 Å by iron lines as it cools.

    Args:
        rng: draws a smooth wiggle of the spectrum, standing for the lines that a blackbody lacks.
        peak_mag: absolute AB magnitude of the maximum at PIVOT.
        brightness: of any scale; phase 0 is its maximum.
        temperature: at the same days.
        blanketing: mag per 1000 Å below 4300 Å at 6000 K.
    """
    peak_day = DAYS[np.argmax(brightness)]
    scale = 10 ** (-0.4 * peak_mag) / brightness.max()
    amplitude, wiggle_phase = rng.normal(0, 0.08), rng.uniform(0, 2 * np.pi)

    def surface(phase: Floats, wavelength: Floats) -> Floats:
        day = phase + peak_day
        kelvin = np.interp(day, DAYS, temperature)[:, None]
        planck = (PIVOT / wavelength) ** 3 * np.expm1(1.43877e8 / (PIVOT * kelvin))
        planck = planck / np.expm1(1.43877e8 / (wavelength * kelvin))
        cold = np.clip((10_000 - kelvin) / 4000, 0, 1.25)
        mag = blanketing * cold * np.maximum(4300 - wavelength, 0) / 1000
        mag = mag + amplitude * np.sin(12 * np.log(wavelength / PIVOT) + wiggle_phase)
        seen: Floats = scale * np.interp(day, DAYS, brightness, left=0.0)[:, None] * planck * 10 ** (-0.4 * mag)
        return seen

    return surface


def observe(
    surface: Surface, redshift: float, days: Floats, band: npt.NDArray[np.str_], host_ebv: float, mwebv: float
) -> Floats:
    """Observe a supernova without noise.

    Args:
        surface: its spectrum at 10 pc.
        redshift: true, cosmological.
        days: observer-frame days from maximum.
        band: of each exposure.
        host_ebv: E(B−V) of the host [mag], Fitzpatrick 1999, R_V = 3.1.
        mwebv: E(B−V) of the Milky Way [mag], same law.

    Returns:
        FLUXCAL of each exposure.
    """
    flux = np.zeros(len(days))
    scale = (1 + redshift) * 10 ** (0.4 * (ZP_INTERNAL - distance_modulus(redshift)))
    for name, (wavelength, weight) in _band_quadrature().items():
        rows = band == name
        rest = wavelength / (1 + redshift)
        dust_mag = host_ebv * _reddening(rest) + mwebv * _reddening(wavelength)
        flux[rows] = surface(days[rows] / (1 + redshift), rest) @ (scale * weight * 10 ** (-0.4 * dust_mag))
    return flux


@cache
def _hsiao() -> tuple[Any, float]:
    """Return the bundled Hsiao template and its AB magnitude at maximum in Bessell B."""
    import sncosmo

    source = sncosmo.get_source("hsiao-subsampled")
    return source, float(source.peakmag("bessellb", "ab"))


@cache
def bandpass(band: str) -> Any:
    """Return a DES-like band as an `sncosmo.Bandpass`: a top hat with smooth edges."""
    import sncosmo

    low, high = BAND_EDGES[band]
    wavelength = np.arange(low - 200, high + 201, 10.0)
    transmission = 1 / (1 + np.exp(-(wavelength - low) / 30)) / (1 + np.exp((wavelength - high) / 30))
    return sncosmo.Bandpass(wavelength, transmission, name=f"snflow-{band}")


@cache
def _band_quadrature() -> dict[str, tuple[Floats, Floats]]:
    """Wavelengths [Å] and weights that average f_ν over each band as a photon-counting detector does."""
    quadrature = {}
    for band, (low, high) in BAND_EDGES.items():
        wavelength = np.linspace(low - 150, high + 150, 31)
        weight = bandpass(band)(wavelength) / wavelength
        quadrature[band] = (wavelength, weight / weight.sum())
    return quadrature


@cache
def _dust_table() -> tuple[Floats, Floats]:
    import sncosmo

    dust = sncosmo.F99Dust()
    dust["ebv"] = 1.0
    wavelength = np.arange(1000.0, 12000.0, 10.0)
    return wavelength, -2.5 * np.log10(dust.propagate(wavelength, np.ones_like(wavelength)))


def _reddening(wavelength: Floats) -> Floats:
    """A_λ / E(B−V)."""
    return np.interp(wavelength, *_dust_table())


@cache
def _cosmology() -> tuple[Floats, Floats, Floats]:
    """Redshift, distance modulus [mag] and comoving volume per redshift; flat, H0 = 70 km/s/Mpc, Ωm = 0.3."""
    from astropy.cosmology import FlatLambdaCDM

    cosmology = FlatLambdaCDM(H0=70.0, Om0=0.3)
    redshift = np.linspace(0.01, 2.0, 4000)
    volume = cosmology.differential_comoving_volume(redshift).value
    return redshift, cosmology.distmod(redshift).value, volume


def distance_modulus(redshift: float) -> float:
    """Return the distance modulus of flat ΛCDM [mag], for redshifts of 0.01 to 2."""
    redshifts, modulus, _ = _cosmology()
    return float(np.interp(redshift, redshifts, modulus))


def volume_per_redshift(redshift: Floats) -> Floats:
    """Return the comoving volume per redshift and steradian [Mpc³]."""
    redshifts, _, volume = _cosmology()
    return np.interp(redshift, redshifts, volume)
