"""Objects described by a table, one row each: what a survey knows of them, and what only a simulation knows.

Names of columns: SNANA (manual, section "Data file format"), PLAsTiCC (Kessler et al. 2019, arXiv:1903.11756) and our
own, whatever their case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from pipeline.ingest.readers.assembly import HEADER_NAMES
from pipeline.ingest.readers.snana_header import MISSING
from pipeline.schema import TRUTH_SCHEMA
from pipeline.taxonomy import PLASTICC_CODES, SIMULATION_TYPE_CODES, class_of, type_of_code

__all__ = ["HEADER_ALIASES", "Found", "observed_columns", "told_columns"]

Floats = npt.NDArray[np.float64]
Texts = npt.NDArray[np.object_]

HEADER_ALIASES: Final = {
    "RA": ("RA",),
    "DEC": ("DEC", "DECL"),
    "MWEBV": ("MWEBV",),
    "PHOTOZ": ("PHOTOZ", "HOSTGAL_PHOTOZ"),
    "PHOTOZ_ERR": ("PHOTOZ_ERR", "HOSTGAL_PHOTOZ_ERR"),
    "SPECZ": ("SPECZ", "REDSHIFT_SPEC", "HOSTGAL_SPECZ"),
    "SPECZ_ERR": ("SPECZ_ERR", "REDSHIFT_SPEC_ERR", "HOSTGAL_SPECZ_ERR"),
    "BEST": ("REDSHIFT_HELIO", "REDSHIFT_FINAL"),
    "BEST_ERR": ("REDSHIFT_HELIO_ERR", "REDSHIFT_FINAL_ERR"),
    "SURVEY": ("SURVEY",),
    "DETECTION_MJD": ("DETECTION_MJD",),
    "SNTYPE": ("SNTYPE", "TYPE"),
    "SIM_TYPE_NAME": ("SIM_TYPE_NAME",),
    "SIM_TYPE_INDEX": ("SIM_TYPE_INDEX",),
    "TARGET": ("TRUE_TARGET", "TARGET"),
    "TEMPLATE": ("SIM_MODEL_NAME",),
    "TEMPLATE_INDEX": ("SIM_TEMPLATE_INDEX",),
    "REDSHIFT": ("SIM_REDSHIFT_HELIO", "SIM_REDSHIFT_CMB", "SIM_REDSHIFT", "TRUE_Z"),
    "PEAKMJD": ("SIM_PEAKMJD", "TRUE_PEAKMJD", "PEAKMJD"),
}
"""Columns that are read of an object's description, and their names in files, the preferred first."""

_POSITIONS: Final = ("RA", "DEC")  # −9 is a place in the sky


class Found:
    """The columns of a table, found by what they mean."""

    def __init__(self, table: pd.DataFrame, columns: Mapping[str, str]) -> None:
        """Take a table, and the user's own names of its columns."""
        self.table = table
        self._columns = columns
        self._by_name = {str(name).upper(): name for name in table.columns}

    def column(self, key: str) -> pd.Series | None:
        """Return a column, None where the table has none of its names."""
        names = (self._columns[key],) if key in self._columns else HEADER_ALIASES[key]
        present = [self._by_name[name.upper()] for name in names if name.upper() in self._by_name]
        return self.table[present[0]] if present else None

    def numbers(self, key: str) -> Floats:
        """Return a column as (n,) float64, NaN where it is missing, not a number, or said to be unknown."""
        found = self.column(key)
        if found is None:
            return np.full(len(self.table), np.nan)
        values = pd.to_numeric(found, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
        unknown = MISSING - {-9.0} if key in _POSITIONS else MISSING
        values[np.isin(values, list(unknown)) | ~np.isfinite(values)] = np.nan
        return values

    def texts(self, key: str) -> Texts:
        """Return a column as (n,) strings, None where it is missing or empty."""
        found = self.column(key)
        if found is None:
            return np.full(len(self.table), None, dtype=object)
        words = [value.strip() if isinstance(value, str) else "" for value in found.astype(object)]
        return np.array([word or None for word in words], dtype=object)


def observed_columns(snids: Texts, found: Found, survey: str | None) -> pd.DataFrame:
    """Return HEADER_NAMES: redshifts NaN where unknown, SPECZ from the "best" redshift only if that is no photo-z."""
    specz, specz_err = found.numbers("SPECZ"), found.numbers("SPECZ_ERR")
    photoz, photoz_err = found.numbers("PHOTOZ"), found.numbers("PHOTOZ_ERR")
    best, best_err = found.numbers("BEST"), found.numbers("BEST_ERR")
    repeats_photoz = (np.abs(best - photoz) < 1e-3) & (np.abs(best_err - photoz_err) < 1e-3)
    uses_best = np.isnan(specz) & ~repeats_photoz
    columns = {
        "SNID": pd.array(snids, dtype="str"),
        "RA": found.numbers("RA"),
        "DEC": found.numbers("DEC"),
        "MWEBV": found.numbers("MWEBV"),
        "PHOTOZ": photoz,
        "PHOTOZ_ERR": np.where(np.isnan(photoz), np.nan, photoz_err),
        "SPECZ": np.where(uses_best, best, specz),
        "SPECZ_ERR": np.where(uses_best, np.where(np.isnan(best), np.nan, best_err), specz_err),
        "SURVEY": np.full(len(snids), survey, dtype=object) if survey else found.texts("SURVEY"),
    }
    return pd.DataFrame({name: columns[name] for name in HEADER_NAMES})


def told_columns(snids: Texts, found: Found, type_codes: Mapping[int, str] | None = None) -> pd.DataFrame:
    """Return TRUTH_SCHEMA: the subclass of the simulation, else of the spectrum; null where nothing tells.

    A survey's photometric type is a classifier's opinion; a simulation's is what was simulated.

    Args:
        snids: (n,) names.
        found: the table.
        type_codes: subclasses by code; those of later SNANA simulations without.
    """
    codes = type_codes or SIMULATION_TYPE_CODES

    def by_spectrum(code: int) -> str | None:
        return type_of_code(code, codes)[1]

    def by_any(code: int) -> str | None:
        return type_of_code(code, codes)[0]

    sntype = found.numbers("SNTYPE")
    spectype = _names(sntype, by_spectrum)
    has_simulation = any(str(name).upper().startswith("SIM_") for name in found.table.columns)
    subclass = _type_names(found.texts("SIM_TYPE_NAME"))
    for other in (
        _names(found.numbers("SIM_TYPE_INDEX"), by_spectrum),
        _names(found.numbers("TARGET"), PLASTICC_CODES.get),
        _names(sntype, by_any) if has_simulation else None,
        spectype,
    ):
        subclass = subclass if other is None else np.where(subclass == None, other, subclass)  # noqa: E711
    columns = {
        "SNID": snids,
        "CLASS": [class_of(name) if name else None for name in subclass],
        "SUBCLASS": subclass,
        "TEMPLATE": _templates(found),
        "SPECTYPE": spectype,
        "REDSHIFT": found.numbers("REDSHIFT"),
        "PEAKMJD": found.numbers("PEAKMJD"),
    }
    return pd.DataFrame({name: columns[name] for name in TRUTH_SCHEMA.names})


def _names(codes: Floats, name_of: Callable[[int], str | None]) -> Texts:
    met, places = np.unique(codes, return_inverse=True)
    names = [name_of(int(code)) if np.isfinite(code) else None for code in met.tolist()]
    return np.array(names, dtype=object)[places]


def _type_names(words: Texts) -> Texts:
    """Return subclasses from names such as `SNIa` and `II`, None for those that are no subclass."""
    names = [word.removeprefix("SN") if word else None for word in words]
    return np.array([name if name and class_of(name) else None for name in names], dtype=object)


def _templates(found: Found) -> list[str | None]:
    """Join the simulation's model and, where it has several, the number of its template."""
    indices = found.numbers("TEMPLATE_INDEX").tolist()
    return [
        f"{name} {int(index)}" if name and index > 0 else name
        for name, index in zip(found.texts("TEMPLATE"), indices, strict=True)
    ]
