"""Audit of what snflow installs: python -m tests.audit [PIP_AUDIT].

Always a lock check: everything that snflow and its development tools need is installed at exactly the version that
constraints.txt pins. And, where pip-audit and its data can be reached, known vulnerabilities of the pinned versions;
either fails. A version that is known to be vulnerable is looked up first, because "no vulnerabilities" is also the
answer of a mirror that knows of none.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.version import Version

CONSTRAINTS: Final = Path(__file__).parents[1] / "constraints.txt"
SERVICES: Final = ("pypi", "osv")
KNOWN_VULNERABLE: Final = "idna==3.4"
"""CVE-2024-3651; nothing installs it."""

ACCEPTED: Final[Mapping[str, str]] = {}
"""Vulnerabilities that do not concern snflow, by id, each with the reason."""


def main(words: list[str]) -> int:
    """Print what was done and found; 1 if anything is wrong, else 0."""
    pins = read_pins(CONSTRAINTS)
    wrong = [*unlocked(pins, dict(installed_versions())), *broken()]
    say(f"Lock check: {len(pins)} pins of constraints.txt; " + ("; ".join(wrong) or "all is as pinned"))
    answers = look_up(words[0], pins) if words else None
    if answers is None:
        say("Known vulnerabilities: NOT looked up, pip-audit or its data cannot be reached from here")
        return int(bool(wrong))
    unknown = [found["name"] for found in answers if "vulns" not in found]
    named = [f"{pin} has {name}" for pin, name in vulnerabilities(answers) if name not in ACCEPTED]
    without = f", but for {', '.join(unknown)}, of which it knows nothing" if unknown else ""
    say(f"Known vulnerabilities, by pip-audit, of {len(pins)} pins{without}: " + ("; ".join(named) or "none"))
    return int(bool(wrong or named))


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(line + "\n")


def read_pins(path: Path) -> dict[str, str]:
    """Read name and version of every line; ValueError for a line that pins nothing exactly."""
    pins = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, sign, version = line.strip().partition("==")
            if not sign or not version or re.search(r"[*<>=!~;\s]", version):
                raise ValueError(f"{path}: expected NAME==VERSION, came {line!r}")
            pins[canonical(name)] = version
    return pins


def installed_versions(root: str = "snflow", extras: tuple[str, ...] = ("dev", "onnx")) -> Iterator[tuple[str, str]]:
    """Yield name and version of all that a distribution needs here, directly or not; "" for what is not installed."""
    waiting, seen = [Requirement(f"{root}[{','.join(extras)}]")], set()
    while waiting:
        requirement = waiting.pop()
        name = canonical(requirement.name)
        new = {(name, extra) for extra in ("", *requirement.extras)} - seen
        if not new:
            continue
        try:
            needs = [Requirement(text) for text in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            yield name, ""
            continue
        if name != root and (name, "") in new:
            yield name, metadata.version(name)
        seen |= new
        waiting += [need for need in needs if need.marker is None or any(_holds(need, extra) for _, extra in new)]


def unlocked(pins: Mapping[str, str], installed: Mapping[str, str]) -> list[str]:
    """Say what is installed otherwise than it is pinned; the build of torch (+cpu) may be any."""
    return [
        f"{name} is {version or 'missing'}, pinned {pins.get(name, 'nowhere')}"
        for name, version in sorted(installed.items())
        if name not in pins or not version or Version(version).public != Version(pins[name]).public
    ]


def broken() -> list[str]:
    """Say what `pip check` finds."""
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()


def look_up(pip_audit: str, pins: Mapping[str, str]) -> list[dict[str, Any]] | None:
    """Ask the first service that knows what there is to know; None where none does."""
    for service in SERVICES:
        if vulnerabilities(_ask(pip_audit, service, [KNOWN_VULNERABLE]) or []):
            return _ask(pip_audit, service, [f"{name}=={version}" for name, version in pins.items()])
    return None


def vulnerabilities(answers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return pin and id of each vulnerability."""
    return [
        (f"{found['name']} {found['version']}", known["id"]) for found in answers for known in found.get("vulns", ())
    ]


def _ask(pip_audit: str, service: str, lines: list[str]) -> list[dict[str, Any]] | None:
    """Return what a service says of each pin; None where it cannot be asked."""
    with tempfile.TemporaryDirectory(prefix="snflow-audit-") as folder:
        wanted = Path(folder) / "pins.txt"
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        options = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--timeout", "20", "--format", "json")
        command = [pip_audit, "--requirement", str(wanted), "--vulnerability-service", service, *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
            answers: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
    return answers


def _holds(need: Requirement, extra: str) -> bool:
    return need.marker is not None and need.marker.evaluate({"extra": extra})


def canonical(name: str) -> str:
    """Return the name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
