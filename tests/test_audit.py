from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import audit
from tests.audit import KNOWN_VULNERABLE, canonical, installed_versions, look_up, main, read_pins, unlocked

FAKE = """#!{python}
import json, sys
from pathlib import Path
pins = Path(sys.argv[sys.argv.index("--requirement") + 1]).read_text().split()
known = json.loads({known!r})
dependencies = []
for name, _, version in (pin.partition("==") for pin in pins):
    ids = known.get(f"{{name}}=={{version}}")
    found = {{"skip_reason": "not found"}} if ids is None else {{"vulns": [{{"id": one}} for one in ids]}}
    dependencies.append({{"name": name, "version": version, **found}})
print(json.dumps({{"dependencies": dependencies}}))
sys.exit(any(known.values()))
"""

Tool = Callable[[dict[str, list[str]]], str]


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Make a pip-audit that knows these vulnerabilities, and has never heard of any other pin."""

    def make(known: dict[str, list[str]]) -> str:
        path = tmp_path / "pip-audit"
        path.write_text(FAKE.format(python=sys.executable, known=json.dumps(known)))
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture(autouse=True)
def small_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pin, which is installed, in a whole environment."""
    (tmp_path / "constraints.txt").write_text("# Exact\nsome_thing==1.0\n")
    monkeypatch.setattr(audit, "CONSTRAINTS", tmp_path / "constraints.txt")
    monkeypatch.setattr(audit, "installed_versions", lambda: [("some-thing", "1.0")])
    monkeypatch.setattr(audit, "broken", list)


def test_known_vulnerabilities_fail_and_are_named(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([tool({KNOWN_VULNERABLE: ["PYSEC-1"], "some-thing==1.0": ["PYSEC-2"]})]) == 1
    assert "by pip-audit, of 1 pins: some-thing 1.0 has PYSEC-2" in capsys.readouterr().out


def test_none_passes(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([tool({KNOWN_VULNERABLE: ["PYSEC-1"], "some-thing==1.0": []})]) == 0
    assert "by pip-audit, of 1 pins: none" in capsys.readouterr().out


def test_a_pin_of_which_nothing_is_known_is_named(tool: Tool, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([tool({KNOWN_VULNERABLE: ["PYSEC-1"]})]) == 0
    assert "but for some-thing, of which it knows nothing: none" in capsys.readouterr().out


@pytest.mark.parametrize("known", [{}, {KNOWN_VULNERABLE: []}])
def test_a_mirror_that_knows_of_no_vulnerability_is_not_believed(
    tool: Tool, known: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([tool({**known, "some-thing==1.0": []})]) == 0
    printed = capsys.readouterr().out
    assert "Lock check: 1 pins of constraints.txt; all is as pinned" in printed
    assert "NOT looked up" in printed


def test_without_pip_audit_the_lock_check_alone_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert look_up(str(tmp_path / "nowhere"), {"some-thing": "1.0"}) is None
    assert main([]) == 0
    monkeypatch.setattr(audit, "installed_versions", lambda: [("some-thing", "1.1"), ("another", "2.0")])
    assert main([]) == 1
    printed = capsys.readouterr().out
    assert "another is 2.0, pinned nowhere; some-thing is 1.1, pinned 1.0" in printed


def test_a_build_of_the_pinned_version_is_that_version() -> None:
    assert unlocked({"torch": "2.13.0"}, {"torch": "2.13.0+cpu"}) == []
    assert unlocked({"torch": "2.13.0"}, {"torch": ""}) == ["torch is missing, pinned 2.13.0"]


def test_a_line_that_is_no_exact_pin_is_refused(tmp_path: Path) -> None:
    for line in ("numpy", "numpy>=2", "numpy==2.*", "numpy==2 ; python_version > '3'"):
        (tmp_path / "c.txt").write_text(line + "\n")
        with pytest.raises(ValueError, match="expected NAME==VERSION"):
            read_pins(tmp_path / "c.txt")


def test_what_snflow_needs_is_found_through_all_that_it_needs() -> None:
    found = dict(installed_versions())
    assert {"torch", "prefect", "fastapi", "ruff", "onnx", "cloudpickle"} <= set(found)
    assert "snflow" not in found
    assert canonical("Ruamel.Yaml_clib") == "ruamel-yaml-clib"
