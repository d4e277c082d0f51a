"""Which columns of a table of measurements mean what: by convention (SNANA, PLAsTiCC, Rubin), or as the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.ingest.readers.base import ReadOptions, TableError
from pipeline.ingest.readers.header_columns import HEADER_ALIASES
from pipeline.schema import ZP_INTERNAL

__all__ = [
    "BAND_NAMES",
    "COLUMNS",
    "WANTED",
    "columns_to_read",
    "describes_objects",
    "find_columns",
    "holds_measurements",
    "snid_column",
    "zeropoint_of",
]

WANTED: Final = ("SNID", "MJD", "BAND", "FLUXCAL", "FLUXCALERR")
"""Columns that a table of measurements must have."""
COLUMNS: Final = (*WANTED, "PHOTFLAG", "ZP_FLUXCAL", *HEADER_ALIASES)
"""Names of ours that a column map may use; ZP_FLUXCAL is the zeropoint of a row's fluxes [mag]."""

_SNANA: Final = {name: (name,) for name in (*WANTED, "PHOTFLAG", "ZP_FLUXCAL")} | {"BAND": ("BAND", "FLT")}
_PLASTICC: Final = {
    "SNID": ("object_id",),
    "MJD": ("mjd",),
    "BAND": ("passband",),
    "FLUXCAL": ("flux",),
    "FLUXCALERR": ("flux_err",),
    "DETECTED": ("detected_bool", "detected"),
}
_RUBIN: Final = {  # DiaSource and DiaForcedSource of the Science Data Model, sdm-schemas.lsst.io
    "SNID": ("diaObjectId",),
    "MJD": ("midpointMjdTai",),
    "BAND": ("band",),
    "FLUXCAL": ("psfFlux",),
    "FLUXCALERR": ("psfFluxErr",),
}
_RUBIN_FORCED: Final = _RUBIN | {"FLUXCAL": ("psfDiffFlux",), "FLUXCALERR": ("psfDiffFluxErr",)}
"""Forced photometry that has both: there psfFlux is with the host galaxy."""
_ZEROPOINTS: Final = {"PSFFLUX": 31.4, "PSFDIFFFLUX": 31.4}
"""AB zeropoints of fluxes that are in nJy by their name."""

BAND_NAMES: Final = (*_SNANA["BAND"], *_PLASTICC["BAND"])
"""Names of the column of bands."""


def find_columns(names: Sequence[str], options: ReadOptions) -> dict[str, str]:
    """Return the file's name for each of ours that is there.

    >>> find_columns(["object_id", "mjd", "passband", "flux", "flux_err"], ReadOptions())["FLUXCAL"]
    'flux'

    Raises:
        TableError: if a wanted column is missing.
    """
    found = _present(names, options)
    missing = [f"{name} ({options.columns[name]})" if name in options.columns else name for name in WANTED]
    missing = [shown for name, shown in zip(WANTED, missing, strict=True) if name not in found]
    if missing:
        raise TableError(f"missing columns: {', '.join(missing)}; came {', '.join(names)}; name them by --column")
    return found


def holds_measurements(names: Sequence[str], options: ReadOptions) -> bool:
    """Tell a table of light curves, perhaps an incomplete one: it has a flux, and a time or a band."""
    found = _present(names, options)
    return "FLUXCAL" in found and ("MJD" in found or "BAND" in found)


def describes_objects(names: Sequence[str], options: ReadOptions) -> bool:
    """Tell a table with one row per object: it names objects and says something of them, but has no fluxes."""
    known = {alias for aliases in HEADER_ALIASES.values() for alias in aliases}
    has_fluxes = holds_measurements(names, options)
    return not has_fluxes and snid_column(names, options) is not None and bool(known & {name.upper() for name in names})


def snid_column(names: Sequence[str], options: ReadOptions) -> str | None:
    """Return the file's name of the column that names objects, None without one."""
    return _present(names, options).get("SNID")


def _present(names: Sequence[str], options: ReadOptions) -> dict[str, str]:
    by_name = {name.upper(): name for name in names}
    vocabulary = _vocabulary(names)
    wanted = {ours: vocabulary.get(ours, ()) for ours in (*_SNANA, "DETECTED")}
    wanted |= {ours: (theirs,) for ours, theirs in options.columns.items() if ours in wanted}
    found = {
        ours: [by_name[name.upper()] for name in theirs if name.upper() in by_name] for ours, theirs in wanted.items()
    }
    return {ours: theirs[0] for ours, theirs in found.items() if theirs}


def _vocabulary(names: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the convention that a table follows."""
    if any(name.upper() == "SNID" for name in names):
        return _SNANA
    if "object_id" in names:
        return _PLASTICC
    if "diaObjectId" in names and {"psfDiffFlux", "psfDiffFluxErr"}.issubset(names):
        return _RUBIN_FORCED
    return _RUBIN if "diaObjectId" in names and "psfFlux" in names else _SNANA


def zeropoint_of(flux: str) -> float:
    """Return the zeropoint of a column of fluxes [mag], where no other column tells it.

    >>> zeropoint_of("psfFlux"), zeropoint_of("FLUXCAL")
    (31.4, 27.5)
    """
    return _ZEROPOINTS.get(flux.upper(), ZP_INTERNAL)


def columns_to_read(names: Sequence[str], found: dict[str, str], options: ReadOptions) -> list[str]:
    """List the measurements' columns, and those that describe the object on each row."""
    known = {alias for aliases in HEADER_ALIASES.values() for alias in aliases}
    known |= {theirs.upper() for theirs in options.columns.values()}
    taken = set(found.values())
    return [*found.values(), *(name for name in names if name.upper() in known and name not in taken)]
