"""Headers of SNANA light-curve text: what a survey knows of an object, and what only a simulation knows.

Keys and their meaning: SNANA manual, section "Data file format" (Kessler et al. 2009, arXiv:0908.4280), and the README
of the SPCC archive (Kessler et al. 2010, arXiv:1001.5210).
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from pipeline.schema import ZP_INTERNAL
from pipeline.taxonomy import SNANA_TYPE_CODES, class_of

__all__ = ["Columns", "Header", "HeaderError", "Observed", "Told", "find_keys", "parse_header"]

KEYS: Final = frozenset(
    b"SNID SURVEY FILTERS RA DECL DEC MWEBV REDSHIFT_SPEC REDSHIFT_HELIO HOST_GALAXY_PHOTO-Z HOSTGAL_PHOTOZ "
    b"HOSTGAL_PHOTOZ_ERR HOSTGAL_SPECZ HOSTGAL_SPECZ_ERR REDSHIFT_HELIO_ERR REDSHIFT_SPEC_ERR ZP_FLUXCAL NOBS VARLIST "
    b"SNTYPE TYPE SIM_COMMENT SIM_NON1a SIM_REDSHIFT SIM_REDSHIFT_HELIO SIM_PEAKMJD".split()
)
"""Keys that are read; one that occurs twice is an error, for nobody can say which is meant."""
KEY_LINE: Final = re.compile(rb"\n[ \t]*(" + b"|".join(sorted(KEYS)) + rb"):([^\n]*)")
SIM_COMMENT: Final = re.compile(rb"SN Type = *(\S+) *, *MODEL = *(\S+)")
MISSING: Final = frozenset({-9.0, -99.0, -999.0})
"""What SNANA writes for a number it does not know; a legal value for a flux, hence for headers only."""

Found = Mapping[bytes, bytes]


class HeaderError(ValueError):
    """A header that cannot be read; `key` names the line to blame."""

    def __init__(self, key: bytes, message: str) -> None:
        super().__init__(message)
        self.key = key


class Columns(NamedTuple):
    """Positions in an `OBS:` row, counted with `OBS:` itself, and how many words the row has; flag may be absent."""

    mjd: int
    band: int
    fluxcal: int
    fluxcal_err: int
    flag: int | None
    width: int


class Observed(NamedTuple):
    """What the survey knows: the header part of LIGHT_CURVE_SCHEMA, in its order and units."""

    snid: str
    ra: float
    dec: float
    mwebv: float
    photoz: float
    photoz_err: float
    specz: float
    specz_err: float
    survey: str | None


class Told(NamedTuple):
    """What a simulation or a spectrum tells: TRUTH_SCHEMA, in its order and units."""

    snid: str
    sn_class: str | None
    subclass: str | None
    template: str | None
    spectype: str | None
    redshift: float
    peakmjd: float


class Header(NamedTuple):
    """A header: the object, its truth, and how to read its rows."""

    observed: Observed
    told: Told
    columns: Columns
    filters: tuple[str, ...]
    zeropoint: float  # of FLUXCAL, mag
    n_rows: int  # announced, 0 when not


def find_keys(header: bytes) -> dict[bytes, bytes]:
    """Return the text after each key that is read, comments and units included.

    Args:
        header: the lines, with a line end before the first.

    Raises:
        HeaderError: if a key occurs twice.
    """
    found = KEY_LINE.findall(header)
    keys = dict(found)
    if len(keys) < len(found):
        counts = Counter(name for name, _ in found)
        name, count = counts.most_common(1)[0]
        raise HeaderError(name, f"duplicated key: {name.decode()} occurs {count} times")
    return keys


def parse_header(header: bytes) -> Header:
    """Read a header.

    PHOTOZ is the host's photometric redshift. SPECZ is REDSHIFT_SPEC where that key exists; without it HOSTGAL_SPECZ,
    and without that REDSHIFT_HELIO, unless it repeats PHOTOZ: SNANA's "best" redshift is the photometric one for an
    object without a spectrum, and in the SPCC it is so for most objects.

    Raises:
        HeaderError: if SNID or VARLIST is missing, a key is repeated, or a number is not one.
    """
    keys = find_keys(header)
    observed = _observed(keys)
    zeropoint = _number(keys, b"ZP_FLUXCAL")
    n_rows = _number(keys, b"NOBS")
    return Header(
        observed,
        _told(keys, observed.snid),
        _columns(keys.get(b"VARLIST", b"")),
        _filters(keys.get(b"FILTERS", b"")),
        ZP_INTERNAL if math.isnan(zeropoint) else zeropoint,
        0 if math.isnan(n_rows) else int(n_rows),
    )


def _observed(keys: Found) -> Observed:
    snid = _word(keys, b"SNID")
    if snid is None:
        raise HeaderError(b"SNID", "no SNID: the header does not name its object")
    photoz = _redshift(keys, b"HOST_GALAXY_PHOTO-Z" if b"HOST_GALAXY_PHOTO-Z" in keys else b"HOSTGAL_PHOTOZ")
    specz = _specz(keys, photoz)
    dec = _number(keys, b"DECL" if b"DECL" in keys else b"DEC")
    survey = _word(keys, b"SURVEY")
    return Observed(snid, _number(keys, b"RA"), dec, _number(keys, b"MWEBV"), *photoz, *specz, survey)


def _specz(keys: Found, photoz: tuple[float, float]) -> tuple[float, float]:
    if b"REDSHIFT_SPEC" in keys:
        return _redshift(keys, b"REDSHIFT_SPEC")
    of_host = _redshift(keys, b"HOSTGAL_SPECZ")
    if not math.isnan(of_host[0]):
        return of_host
    best = _redshift(keys, b"REDSHIFT_HELIO")
    repeats_photoz = all(abs(mine - other) < 1e-3 for mine, other in zip(best, photoz, strict=True))
    return (math.nan, math.nan) if repeats_photoz else best


def _told(keys: Found, snid: str) -> Told:
    subclass, template = _simulated(keys.get(b"SIM_COMMENT", b""))
    if subclass is None and _word(keys, b"SIM_NON1a") == "0":
        subclass = "Ia"
    spectype = _spectype(keys.get(b"SNTYPE", keys.get(b"TYPE", b"")))
    subclass = subclass or spectype
    redshift = _number(keys, b"SIM_REDSHIFT" if b"SIM_REDSHIFT" in keys else b"SIM_REDSHIFT_HELIO")
    sn_class = class_of(subclass) if subclass else None
    return Told(snid, sn_class, subclass, template, spectype, redshift, _number(keys, b"SIM_PEAKMJD"))


@lru_cache(maxsize=4096)
def _simulated(comment: bytes) -> tuple[str | None, str | None]:
    """Return subclass and template of `SN Type = IIP , MODEL = NUGENT2P`."""
    match = SIM_COMMENT.search(comment)
    return (match[1].decode(), match[2].decode()) if match else (None, None)


@lru_cache(maxsize=4096)
def _spectype(value: bytes) -> str | None:
    """Return the subclass of a type code, None for −9 and for codes that the taxonomy does not know."""
    code = value.split()[:1]
    return SNANA_TYPE_CODES.get(int(code[0])) if code and code[0].isdigit() else None


@lru_cache(maxsize=4096)
def _filters(value: bytes) -> tuple[str, ...]:
    """Return the names in `griz` or in `DES-g,DES-r`."""
    word = (value.split() or [b""])[0].decode("utf-8", "replace")
    return tuple(name for name in word.split(",") if name) if "," in word else tuple(word)


@lru_cache(maxsize=256)
def _columns(varlist: bytes) -> Columns:
    names = varlist.partition(b"#")[0].decode("utf-8", "replace").split()
    if not names:
        raise HeaderError(b"VARLIST", "no VARLIST: the header does not name its columns")
    band = "BAND" if "BAND" in names else "FLT"
    missing = [name for name in ("MJD", band, "FLUXCAL", "FLUXCALERR") if name not in names]
    if missing:
        raise HeaderError(b"VARLIST", f"missing columns: {' '.join(missing)} (VARLIST: {' '.join(names)})")
    place = {name: position for position, name in enumerate(names, start=1)}
    return Columns(
        place["MJD"], place[band], place["FLUXCAL"], place["FLUXCALERR"], place.get("PHOTFLAG"), len(names) + 1
    )


def _word(keys: Found, key: bytes) -> str | None:
    words = keys.get(key, b"").split(None, 1)
    return words[0].decode("utf-8", "replace") if words else None


def _number(keys: Found, key: bytes) -> float:
    """Return the first word after a key as a number, NaN without the key or where SNANA says it does not know."""
    value = keys.get(key)
    return math.nan if value is None else _known(_float(key, value))


def _redshift(keys: Found, key: bytes) -> tuple[float, float]:
    """Return a redshift and its error, written `0.3 +- 0.1` or under a second key `_ERR`."""
    value = keys.get(key)
    if value is None:
        return math.nan, math.nan
    redshift, separator, error = value.partition(b"+-")
    known = _known(_float(key, redshift))
    if math.isnan(known):
        return math.nan, math.nan
    return known, _known(_float(key, error)) if separator else _number(keys, key + b"_ERR")


def _known(value: float) -> float:
    return math.nan if value in MISSING else value


def _float(key: bytes, text: bytes) -> float:
    try:
        value = float(text.split(None, 1)[0])
    except (ValueError, IndexError):
        value = math.inf
    if math.isinf(value):
        shown = text.decode("utf-8", "replace").strip()
        raise HeaderError(key, f"not a number: {key.decode()} is {shown!r}")
    return value
