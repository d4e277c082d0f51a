"""Writing that a crash cannot leave half done: a reader finds the old content or the new, whole."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd

__all__ = ["replace_folder", "write_atomically", "write_parquet"]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file; text in UTF-8."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "partial")
    temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    os.replace(temporary, path)


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet, without its index."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "partial")
    table.to_parquet(temporary, index=False)
    os.replace(temporary, path)


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder in the place of an older one."""
    old = _beside(folder, "old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.replace(folder, old)
    os.replace(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{ending}")
