"""Supernova classes and the codes that surveys use for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

__all__ = [
    "CLASSES",
    "CLASS_SETS",
    "ELASTICC_CODES",
    "PLASTICC_CODES",
    "SIMULATION_TYPE_CODES",
    "SNANA_TYPE_CODES",
    "SUBCLASS_TO_CLASS",
    "TYPE_CODE_LISTS",
    "ClassSet",
    "class_of",
    "target_classes",
    "type_of_code",
]

CLASSES: Final = ("Ia", "II", "Ibc")
"""The classes of the SPCC; every subclass belongs to exactly one."""

SUBCLASS_TO_CLASS: Final = {
    "Ia": "Ia",
    "II": "II",
    "IIP": "II",
    "IIL": "II",
    "IIn": "II",
    "IIb": "Ibc",
    "Ib": "Ibc",
    "Ic": "Ibc",
    "Ic-BL": "Ibc",
    "Ibc": "Ibc",
}
"""IIb is stripped-envelope physics and counts as Ibc; the SPCC has none."""

SNANA_TYPE_CODES: Final = {1: "Ia", 2: "II", 3: "Ibc", 21: "IIn", 22: "IIP", 23: "IIL", 32: "Ib", 33: "Ic"}
"""SNTYPE of the SPCC files (README of the archive, Kessler et al. 2010)."""

SIMULATION_TYPE_CODES: Final = {
    1: "Ia",
    2: "II",
    3: "Ibc",
    20: "IIP",
    21: "IIn",
    22: "IIL",
    23: "IIL",
    32: "Ib",
    33: "Ic",
}
"""Type codes of later SNANA simulations, of the DES first of all.

As SuperNNova reads them by default (Möller and de Boissière 2020, arXiv:1901.06384), and the coarse 2 and 3 of the
SPCC. 22 and 23 are two sets of IIL templates, whereas 22 is IIP in the SPCC. A code with 100 added has the same meaning
for an object without a spectrum.
"""

PLASTICC_CODES: Final = {
    90: "Ia",
    67: "Ia-91bg",
    52: "Iax",
    42: "II",
    62: "Ibc",
    95: "SLSN-I",
    15: "TDE",
    64: "KN",
    88: "AGN",
    92: "RRL",
    65: "M-dwarf",
    16: "EB",
    53: "Mira",
    6: "microlensing",
}
"""Targets of PLAsTiCC (Kessler et al. 2019, arXiv:1903.11756, table 1); most are no class of ours."""

ELASTICC_CODES: Final = {
    10: "Ia",
    11: "Ia-91bg",
    12: "Iax",
    20: "Ib",
    21: "Ib",
    25: "Ic",
    26: "Ic",
    27: "Ic-BL",
    30: "II",
    31: "II",
    32: "II",
    35: "IIn",
    36: "IIn",
    37: "IIb",
    40: "SLSN-I",
    42: "TDE",
    45: "ILOT",
    46: "CART",
    50: "KN",
    51: "KN",
    57: "PISN",
    58: "PISN",
    59: "PISN",
    60: "AGN",
    71: "Ia-lensed",
    72: "II-lensed",
    73: "Ib-lensed",
    74: "Ic-lensed",
    80: "RRL",
    82: "M-dwarf",
    83: "EB",
    84: "dwarf nova",
    87: "microlensing",
    88: "microlensing",
    89: "microlensing",
    90: "Cepheid",
    91: "delta Scuti",
}
"""Types of ELAsTiCC's models (GENTYPE of its simulation, survey_config/elasticc_origmap.txt of LSSTDESC/elasticc).

Half of them mean something else in other SNANA simulations: 20 is IIP there, 32 is Ib.
"""

TYPE_CODE_LISTS: Final[dict[str, dict[int, str]]] = {
    "des": SIMULATION_TYPE_CODES,
    "elasticc": ELASTICC_CODES,
    "spcc": SNANA_TYPE_CODES,
}
"""Lists of type codes that can be chosen by name."""

ClassSet = Literal["ia", "types", "subtypes"]

CLASS_SETS: Final[dict[ClassSet, tuple[str, ...]]] = {
    "ia": ("Ia", "nonIa"),
    "types": CLASSES,
    "subtypes": ("Ia", "II", "IIn", "IIP", "IIL", "Ib", "Ic", "Ibc"),
}
"""What a classifier can be asked to tell apart; its output columns, in order."""


def class_of(subclass: str) -> str | None:
    """Return the class of a subclass, None when unknown.

    >>> class_of("IIP"), class_of("Ic"), class_of("kilonova")
    ('II', 'Ibc', None)
    """
    return SUBCLASS_TO_CLASS.get(subclass)


def type_of_code(code: int, codes: Mapping[int, str] = SIMULATION_TYPE_CODES) -> tuple[str | None, str | None]:
    """Return the subclass of a type code, and again if a spectrum says so; None where unknown.

    >>> type_of_code(20), type_of_code(120), type_of_code(80), type_of_code(20, ELASTICC_CODES)
    (('IIP', 'IIP'), ('IIP', None), (None, None), ('Ib', 'Ib'))
    """
    by_spectrum = codes.get(code)
    return by_spectrum or codes.get(code - 100), by_spectrum


def target_classes(subclass: str, class_set: ClassSet) -> str | None:
    """Return which class of a class set a subclass counts as, None when unknown.

    >>> target_classes("IIP", "ia"), target_classes("IIP", "types"), target_classes("IIP", "subtypes")
    ('nonIa', 'II', 'IIP')
    """
    main = class_of(subclass)
    if main is None:
        return None
    if class_set == "ia":
        return "Ia" if main == "Ia" else "nonIa"
    return main if class_set == "types" else subclass
