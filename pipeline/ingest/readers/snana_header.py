"""Headers of SNANA light-curve text: what a survey knows of an object, and what only a simulation knows.

Keys and their meaning: SNANA manual, section "Data file format" (Kessler et al. 2009, arXiv:0908.4280), and the README
of the SPCC archive (Kessler et al. 2010, arXiv:1001.5210). Keys are upper case, as they are for SNANA itself.

Left out on purpose: REDSHIFT_FINAL and REDSHIFT_CMB, which may be photometric and are corrected to another frame;
PEAKMJD and SEARCH_PEAKMJD, which the survey estimated from the whole light curve, so that they are neither truth nor
something that a classifier of young light curves may see (Truth.PEAKMJD is SIM_PEAKMJD); and `PRIVATE(...)` keys.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from itertools import groupby
from typing import Final, NamedTuple

from pipeline.ingest.readers.snana_columns import Columns, HeaderError, is_qualified, parse_columns
from pipeline.schema import ZP_INTERNAL
from pipeline.taxonomy import SIMULATION_TYPE_CODES, SNANA_TYPE_CODES, class_of, type_of_code

__all__ = ["Header", "Observed", "Told", "find_keys", "parse_header"]

KEYS: Final = frozenset(
    b"SNID SURVEY FILTERS RA DECL DEC MWEBV REDSHIFT_SPEC REDSHIFT_HELIO HOST_GALAXY_PHOTO-Z HOSTGAL_PHOTOZ "
    b"HOSTGAL_PHOTOZ_ERR HOSTGAL_SPECZ HOSTGAL_SPECZ_ERR REDSHIFT_HELIO_ERR REDSHIFT_SPEC_ERR ZP_FLUXCAL NOBS VARLIST "
    b"VARNAMES SNTYPE TYPE SIM_COMMENT SIM_NON1a SIM_TYPE_NAME SIM_REDSHIFT SIM_REDSHIFT_HELIO SIM_PEAKMJD OBS END "
    b"END_PHOTOMETRY".split()
)
"""Keys that are read; one that occurs twice is an error, for nobody can say which is meant."""
_ALTERNATIVES: Final = b"|".join(
    start + b"(?:" + b"|".join(key[2:] for key in keys) + b")"
    for start, keys in groupby(sorted(KEYS), lambda key: key[:2])
)
"""Keys that start alike stand together: a quarter faster than one long list."""
KEY_LINE: Final = re.compile(rb"\n[ \t\r\v\f]*(" + _ALTERNATIVES + rb"):([^\n]*)")
SIM_COMMENT: Final = re.compile(rb"SN Type = *(\S+) *, *MODEL = *(\S+)")
MISSING: Final = frozenset({-9.0, -99.0, -999.0})
"""What SNANA writes for a number it does not know; a legal value for a flux, hence for headers only."""

_AFTER_HEADER: Final = (b"OBS", b"END", b"END_PHOTOMETRY")
_MOST_ROWS: Final = 2**31

Found = Mapping[bytes, bytes]


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
    """A header: the object, its truth, and how to read its rows; `filters` are the bands that it announces."""

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


def parse_header(header: bytes, type_codes: Mapping[int, str] | None = None) -> Header:
    """Read a header; types by the codes given, else by those of the SPCC or of later simulations.

    PHOTOZ is the host's photometric redshift. SPECZ is REDSHIFT_SPEC where that key exists; without it HOSTGAL_SPECZ,
    and without that REDSHIFT_HELIO, unless it repeats PHOTOZ: SNANA's "best" redshift is the photometric one for an
    object without a spectrum, and in the SPCC it is so for most objects.

    Raises:
        HeaderError: if SNID or VARLIST is missing, a key is repeated, or a number is not one.
    """
    keys = find_keys(header)
    if not keys.keys().isdisjoint(_AFTER_HEADER):
        raise HeaderError(b"OBS", "misplaced row: a row, or the end of the rows, stands inside the header")
    observed = _observed(keys)
    return Header(
        observed,
        _told(keys, observed.snid, type_codes),
        parse_columns(keys[b"VARLIST"])
        if b"VARLIST" in keys
        else parse_columns(keys.get(b"VARNAMES", b""), "VARNAMES"),
        _filters(keys.get(b"FILTERS", b"")),
        _zeropoint(keys) if b"ZP_FLUXCAL" in keys else ZP_INTERNAL,
        _n_rows(keys),
    )


def _zeropoint(keys: Found) -> float:
    zeropoint = _number(keys, b"ZP_FLUXCAL")
    if math.isnan(zeropoint):
        return ZP_INTERNAL
    if not 0 < zeropoint < 50:
        raise HeaderError(b"ZP_FLUXCAL", f"not a zeropoint: ZP_FLUXCAL is {zeropoint:g} mag, expected 0 to 50")
    return zeropoint


def _n_rows(keys: Found) -> int:
    n_rows = _number(keys, b"NOBS")
    if n_rows > _MOST_ROWS:
        raise HeaderError(b"NOBS", f"not a number of rows: NOBS is {n_rows:g}")
    return 0 if math.isnan(n_rows) else int(n_rows)


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


def _told(keys: Found, snid: str, type_codes: Mapping[int, str] | None) -> Told:
    subclass, template = _simulated(keys.get(b"SIM_COMMENT", b""))
    if subclass is None and b"SIM_TYPE_NAME" in keys:
        subclass = _named_type(keys[b"SIM_TYPE_NAME"])
    if subclass is None and _word(keys, b"SIM_NON1a") == "0":
        subclass = "Ia"
    redshift = _number(keys, b"SIM_REDSHIFT" if b"SIM_REDSHIFT" in keys else b"SIM_REDSHIFT_HELIO")
    is_spcc = b"HOST_GALAXY_PHOTO-Z" in keys
    by_code, spectype = _type(keys.get(b"SNTYPE", b""), type_codes or (SNANA_TYPE_CODES if is_spcc else None))
    if by_code is None and b"TYPE" in keys:
        by_code, spectype = _type(keys[b"TYPE"], type_codes)
    # A survey's photometric type is a classifier's opinion; a simulation's is what was simulated.
    is_simulated = not math.isnan(redshift)
    subclass = subclass or (by_code if is_simulated else spectype)
    sn_class = class_of(subclass) if subclass else None
    return Told(snid, sn_class, subclass, template, spectype, redshift, _number(keys, b"SIM_PEAKMJD"))


@lru_cache(maxsize=4096)
def _simulated(comment: bytes) -> tuple[str | None, str | None]:
    """Return subclass and template of `SN Type = IIP , MODEL = NUGENT2P`."""
    match = SIM_COMMENT.search(comment)
    return (_text(match[1]), _text(match[2])) if match else (None, None)


def _type(value: bytes, type_codes: Mapping[int, str] | None) -> tuple[str | None, str | None]:
    """Return the subclass of a type code, and again if a spectrum says so; None where the code is not known."""
    code = value.split()[:1]
    if not code or not (code[0].isdigit() and len(code[0]) < 5):
        return None, None
    return type_of_code(int(code[0]), type_codes or SIMULATION_TYPE_CODES)


@lru_cache(maxsize=4096)
def _named_type(value: bytes) -> str | None:
    """Return the subclass of `SNIa` or `IIP`, None for a name that the taxonomy does not know."""
    name = _text((value.split() or [b""])[0]).removeprefix("SN")
    return name if class_of(name) else None


@lru_cache(maxsize=4096)
def _filters(value: bytes) -> tuple[str, ...]:
    """Return the names in `griz`, `g r i z`, `DES-g,DES-r` or `DES-g DES-r`."""
    words = _text(value.partition(b"#")[0]).split() or [""]
    if "," in words[0]:
        return tuple(name for name in words[0].split(",") if name)
    if is_qualified(words[0]):
        return tuple(word for word in words if is_qualified(word))
    if len(words[0]) == 1:
        return tuple(word for word in words if len(word) == 1)
    return tuple(words[0])


def _word(keys: Found, key: bytes) -> str | None:
    words = keys.get(key, b"").split(None, 1)
    return _text(words[0]) if words else None


def _text(data: bytes) -> str:
    """Decode UTF-8, or else Latin-1, in which every byte means something."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _number(keys: Found, key: bytes) -> float:
    """Return the first word after a key as a number, NaN without the key or where it is unknown."""
    value = keys.get(key)
    return math.nan if value is None else _float(key, value)


def _redshift(keys: Found, key: bytes) -> tuple[float, float]:
    """Return a redshift and its error, written `0.3 +- 0.1`, `0.3 +_ 0.1`, or under a second key `_ERR`."""
    value = keys.get(key)
    if value is None:
        return math.nan, math.nan
    redshift, separator, error = value.partition(b"+-")
    if not separator:
        redshift, separator, error = value.partition(b"+_")
    known = _float(key, redshift)
    if known != known:  # NaN
        return math.nan, math.nan
    return known, _float(key, error) if separator else _number(keys, key + b"_ERR")


def _float(key: bytes, text: bytes) -> float:
    """Return the first word as a number, NaN where SNANA says that it does not know."""
    try:
        value = float(text.split(None, 1)[0])
    except (ValueError, IndexError):
        value = _float_before_error(text)
    if value in (math.inf, -math.inf):
        raise HeaderError(key, f"not a number: {key.decode()} is {_text(text).strip()[:60]!r}")
    return math.nan if value in MISSING else value


def _float_before_error(text: bytes) -> float:
    """Return the 0.3 of `0.3+-0.1`, infinity where there is no number."""
    try:
        return float(text.partition(b"+-")[0])
    except ValueError:
        return math.inf
