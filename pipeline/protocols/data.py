"""The light curves that the protocols share, read once, and who of them a draw may learn from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.classify.catalogue import as_store
from pipeline.classify.nights import sixth_observation
from pipeline.prepare.truncate import truncate
from pipeline.protocols.definitions import Protocol
from pipeline.schema import LightCurves, Truth, photometry_hashes
from pipeline.store import Store

__all__ = ["ProtocolData", "RealSky", "early_epoch", "held_back"]

RANDOM_OTHERS: Final = 0x0D7A
"""Keeps the draw of objects beside the spectra apart from every other draw of the same seed."""


@dataclass(frozen=True)
class ProtocolData:
    """Light curves of a store, and their classes."""

    light_curves: LightCurves
    truth: Truth

    @classmethod
    def read(cls, store: Path) -> ProtocolData:
        """Read all of a store."""
        catalogue = Store.open(store)
        return cls(catalogue.light_curves(), catalogue.truth())

    @cached_property
    def hash(self) -> str:
        """16 hexadecimal digits over the photometry and the truth of all objects."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update(self.light_curves.objects[["SNID", "PHOTOMETRY_HASH", "DETECTION_MJD"]].to_csv().encode())
        digest.update(self.truth.table.to_csv(index=False).encode())
        return digest.hexdigest()

    @cached_property
    def early(self) -> LightCurves:
        """All light curves as they were at the end of the early epoch."""
        return early_epoch(self.light_curves)

    def seen_in(self, protocol: Protocol) -> LightCurves:
        """Return of every object what the protocol shows, in training as in the test."""
        return self.early if protocol.is_early else self.light_curves

    def notes(self, protocol: Protocol) -> list[str]:
        """Say what a reader of the row must know of the data."""
        if not protocol.is_early:
            return []
        n_never = int(np.isnan(sixth_observation(self.light_curves)).sum())
        total = len(self.light_curves)
        return [f"{n_never:,} of {total:,} objects never had six observations with S/N above 4, and are seen whole"]


def early_epoch(light_curves: LightCurves) -> LightCurves:
    """Cut light curves off at the end of the SPCC's early epoch: six observations with S/N above 4, and their night.

    An object that never had six keeps all its measurements, as in the files, where no mark ends its early epoch.
    PHOTOMETRY_HASH is of what is left: who learns from it learns from other photometry.
    """
    until = sixth_observation(light_curves)
    cut = truncate(light_curves, np.where(np.isnan(until), np.inf, until))
    hashes = photometry_hashes(cut.objects, cut.epochs, cut.offsets)
    return replace(cut, objects=cut.objects.assign(PHOTOMETRY_HASH=hashes))


def held_back(protocol: Protocol, truth: Truth, draw: int) -> tuple[str, ...]:
    """Return the SNIDs that nothing is learnt from, in order; none where the split alone decides.

    Of a protocol with spectra these are the objects without one, but for those drawn at random.

    Raises:
        ValueError: if no object has a spectrum, or there are not enough without.
    """
    if not protocol.spectra:
        return ()
    table = truth.table
    has_spectrum = table["SPECTYPE"].notna()
    if not has_spectrum.any():
        raise ValueError(
            f"{protocol.id} learns from objects with a spectrum, and the truth has none: expected SPECTYPE, which the "
            "SPCC's files say in SNTYPE; leave the protocol out, or ingest files that say it"
        )
    others = np.array(sorted(table.loc[~has_spectrum, "SNID"]), dtype=object)
    if len(others) <= protocol.n_train:
        raise ValueError(
            f"{protocol.id} learns from {protocol.n_train} objects without a spectrum and is tested on the others; "
            f"there are {len(others)}"
        )
    drawn = np.random.default_rng([draw, RANDOM_OTHERS]).permutation(others)[: protocol.n_train]
    return tuple(sorted(set(others) - set(drawn)))


@dataclass(frozen=True)
class RealSky:
    """Real supernovae of type Ia.

    Attributes:
        light_curves: theirs.
        n_unsaid: how many do not say their class themselves, and are Ia because they were handed in as such.
    """

    light_curves: LightCurves
    n_unsaid: int

    @classmethod
    def read(cls, source: Path) -> RealSky:
        """Read them from a store, folder, archive or file; what is known to be of another class is left out.

        Raises:
            ValueError: if all are of another class.
        """
        with as_store(source) as store:
            light_curves, truth = store.light_curves(), store.truth()
        subclasses = truth.select(light_curves.objects["SNID"]).table["SUBCLASS"]
        is_unsaid = subclasses.isna().to_numpy()
        rows = np.flatnonzero(is_unsaid | (subclasses == "Ia").fillna(False).to_numpy(dtype=bool))
        if not len(rows):
            raise ValueError(f"{source}: expected supernovae Ia, came {len(light_curves)} objects of other classes")
        return cls(light_curves.take(rows), int(is_unsaid.sum()))
