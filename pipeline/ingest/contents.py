"""What is known of an object but where it came from, as hashes: tells which objects of a changed table changed."""

from __future__ import annotations

from typing import Final

import pandas as pd
import pyarrow as pa

__all__ = ["STATED", "Content", "content_hashes"]

STATED: Final = ("SNID", "RA", "DEC", "SURVEY", "DETECTION_MJD", "PHOTOMETRY_HASH")
"""Columns that say all of an object that LIGHT_CURVE_SCHEMA does, but for its file."""
Content = tuple[int, int]
"""Hashes of what is observed and of what is told of an object."""


def content_hashes(light_curves: pa.Table, truth: pa.Table) -> dict[str, Content]:
    """Hash all that is known of each object but the file it came from, by SNID.

    Args:
        light_curves: STATED columns of LIGHT_CURVE_SCHEMA.
        truth: TRUTH_SCHEMA, of these objects and perhaps others.
    """
    stated = light_curves.select(STATED).to_pandas()
    told = truth.to_pandas().set_index("SNID").reindex(stated["SNID"])
    hashes = [pd.util.hash_pandas_object(table, index=False).tolist() for table in (stated, told)]
    return dict(zip(stated["SNID"], zip(*hashes, strict=True), strict=True))
