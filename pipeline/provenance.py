"""Where a result comes from: settings, versions and times, written beside it."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from pipeline.files import write_atomically

__all__ = ["read_record", "versions", "write_record"]

DEPENDENCIES: Final = ("torch", "numpy", "pandas", "pyarrow", "deltalake", "scikit-learn", "astropy", "prefect")


def write_record(
    folder: Path, verb: str, configuration: Mapping[str, Any], summary: Mapping[str, Any], command: str = ""
) -> Path:
    """Write `<verb>.json` beside a result: resolved configuration, summary, versions, time and command."""
    content = {
        "verb": verb,
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "configuration": configuration,
        "summary": summary,
    }
    path = folder / f"{verb}.json"
    write_atomically(path, json.dumps(content, indent=2, default=str) + "\n")
    return path


def read_record(folder: Path, verb: str) -> dict[str, Any]:
    """Read what `write_record` wrote; empty where there is nothing."""
    path = folder / f"{verb}.json"
    if not path.exists():
        return {}
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def versions() -> dict[str, str]:
    """Return the versions of snflow (with the commit, in a checkout), Python and the dependencies that matter."""
    commit = _commit()
    own = metadata.version("snflow") + (f" ({commit})" if commit else "")
    return {
        "snflow": own,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in DEPENDENCIES},
    }


def _commit() -> str:
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()
