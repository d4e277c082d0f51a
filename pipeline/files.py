"""Writing that a crash cannot leave half done: a reader finds the old content or the new, whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pandas as pd

__all__ = ["check_writable", "replace_folder", "write_atomically", "write_parquet"]


def check_writable(path: Path) -> None:
    """Raise ValueError if a file cannot be written here; makes its folder where there is none."""
    if path.is_dir():
        raise ValueError(f"cannot write {path}: it is a folder; expected the name of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent, buffering=0) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}; choose another folder, or make room in it") from None


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
