"""Columns of SNANA light-curve text: where they stand, and what their numbers mean as FLUXCAL at 27.5 mag."""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.schema import ZP_INTERNAL

__all__ = ["Columns", "HeaderError", "is_announced", "is_qualified", "parse_columns", "to_fluxcal"]

Floats = npt.NDArray[np.float64]

FAINTEST_MAG: Final = 50.0
"""No magnitude is fainter: SNANA writes 99, 128 or 666 where it could not compute one."""
BRIGHTEST_MAG: Final = -9.0
"""Nor is one as bright: −9 is what SNANA writes for a number it does not know."""
_FLUX_PER_MAG: Final = np.log(10) / 2.5
_QUALIFIERS: Final = "-/"


class HeaderError(ValueError):
    """A header that cannot be read; `key` names the line to blame."""

    def __init__(self, key: bytes, message: str) -> None:
        super().__init__(message)
        self.key = key


class Columns(NamedTuple):
    """Positions in an `OBS:` row, counted with `OBS:` itself.

    Attributes:
        mjd: of the time.
        band: of the filter.
        value: of FLUXCAL, or of MAG in a table that has no fluxes.
        error: of FLUXCALERR, or of MAGERR.
        flag: of PHOTFLAG, None without it.
        width: words in a row.
        is_mag: whether value and error are magnitudes.
    """

    mjd: int
    band: int
    value: int
    error: int
    flag: int | None
    width: int
    is_mag: bool


@lru_cache(maxsize=256)
def parse_columns(varlist: bytes, key: str = "VARLIST") -> Columns:
    """Read the names after `VARLIST:`, or after another key.

    Raises:
        HeaderError: if there are none, a column that is needed is missing, or one that is read occurs twice.
    """
    names = varlist.partition(b"#")[0].decode("utf-8", "replace").split()
    if not names:
        raise HeaderError(b"VARLIST", "no VARLIST: the header does not name its columns")
    band = "BAND" if "BAND" in names else "FLT"
    is_mag = not {"FLUXCAL", "FLUXCALERR"} & set(names) and {"MAG", "MAGERR"} <= set(names)
    value, error = ("MAG", "MAGERR") if is_mag else ("FLUXCAL", "FLUXCALERR")
    missing = [name for name in ("MJD", band, value, error) if name not in names]
    if missing:
        raise HeaderError(key.encode(), f"missing columns: {' '.join(missing)} ({key}: {' '.join(names)})")
    repeated = [name for name in ("MJD", band, value, error, "PHOTFLAG") if names.count(name) > 1]
    if repeated:
        raise HeaderError(key.encode(), f"repeated columns: {' '.join(repeated)} ({key}: {' '.join(names)})")
    place = {name: position for position, name in enumerate(names, start=1)}
    return Columns(place["MJD"], place[band], place[value], place[error], place.get("PHOTFLAG"), len(names) + 1, is_mag)


def to_fluxcal(value: Floats, error: Floats, zeropoint: Floats | float, is_mag: bool) -> tuple[Floats, Floats]:
    """Bring fluxes or magnitudes to FLUXCAL at 27.5 mag.

    Args:
        value: FLUXCAL at `zeropoint`, or magnitudes.
        error: of the same kind.
        zeropoint: of FLUXCAL [mag]; magnitudes need none.
        is_mag: whether these are magnitudes.

    Returns:
        FLUXCAL and FLUXCALERR; not finite where a magnitude is none or a number is too large.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if is_mag:
            is_measured = (value > BRIGHTEST_MAG) & (value < FAINTEST_MAG)
            fluxcal = 10 ** (0.4 * (ZP_INTERNAL - np.where(is_measured, value, np.nan)))
            return fluxcal, fluxcal * error * _FLUX_PER_MAG
        scale = 10 ** (0.4 * (ZP_INTERNAL - zeropoint))
        return value * scale, error * scale


def is_announced(band: str, known: Collection[str]) -> bool:
    """Tell whether a band is one of those known, or a full name whose last letter is one.

    SNANA itself goes by the last letter, so that files announce `griz` and write `DES-g`.

    >>> is_announced("g", "griz"), is_announced("DES-g", "griz"), is_announced("DES-u", "griz")
    (True, True, False)
    """
    return band in known or (is_qualified(band) and band[-1] in known)


def is_qualified(band: str) -> bool:
    """Tell whether a band says whose it is, as `DES-g` and `CFA4K/l` do."""
    return len(band) > 2 and band[-2] in _QUALIFIERS
