"""The formats that can be read: one file per format, one line here."""

from __future__ import annotations

from typing import Final

from pipeline.ingest.readers import snana_text
from pipeline.ingest.readers.base import Reader, ReadOptions, ReadResult, Rejection, SourceFile

__all__ = ["READERS", "ReadOptions", "ReadResult", "Reader", "Rejection", "SourceFile"]

READERS: Final[dict[str, Reader]] = {
    "snana_text": Reader(snana_text.recognises, snana_text.read),
}
