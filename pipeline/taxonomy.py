"""Supernova classes and the codes that surveys use for them."""

from __future__ import annotations

from typing import Final, Literal

__all__ = [
    "CLASSES",
    "CLASS_SETS",
    "PLASTICC_CODES",
    "SIMULATION_TYPE_CODES",
    "SNANA_TYPE_CODES",
    "SUBCLASS_TO_CLASS",
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


def type_of_code(code: int) -> tuple[str | None, str | None]:
    """Return the subclass of a later SNANA type code, and again if a spectrum says so; None where unknown.

    >>> type_of_code(20), type_of_code(120), type_of_code(80)
    (('IIP', 'IIP'), ('IIP', None), (None, None))
    """
    by_spectrum = SIMULATION_TYPE_CODES.get(code)
    return by_spectrum or SIMULATION_TYPE_CODES.get(code - 100), by_spectrum


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
