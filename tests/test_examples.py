"""The example notebook: committed without its outputs, and executed whole."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

REPOSITORY = Path(__file__).parents[1]
NOTEBOOK = REPOSITORY / "data" / "examples" / "classify.ipynb"


def read() -> Any:
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_is_committed_without_outputs() -> None:
    nbformat.validate(read())
    cells = [cell for cell in read().cells if cell.cell_type == "code"]
    assert [cell.source for cell in cells if cell.outputs or cell.execution_count] == []
    assert NOTEBOOK.stat().st_size < 20_000


@pytest.mark.slow
def test_the_notebook_runs_to_its_end_and_shows_what_it_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "snflow"  # stands where an activated environment has it
    script.write_text(f"#!{sys.executable}\nfrom flows.cli import app\napp()\n")
    script.chmod(0o755)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    for name, value in {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "SNFLOW_MODELS": str(tmp_path / "models"),
        "TMPDIR": str(tmp_path),
        "OMP_NUM_THREADS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    notebook = read()
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()

    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", output.get("data", {}).get("text/plain", "")) for output in outputs)
    for word in ("classified", "abstained", "rejected", "failed", "--band-map DES-g=", "purity95", "n_objects"):
        assert word in text
    drawn = [output.data["image/svg+xml"] for output in outputs if "image/svg+xml" in output.get("data", {})]
    assert len(drawn) == 1
    assert "P(class)" in drawn[0]
