"""Shared by all tests: one thread for torch, the real data where they are, one Prefect server for the flow tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.real_data import find_real_data

collect_ignore = ["benchmarks/supernnova_inside.py"]  # runs in SuperNNova's environment, not in ours

torch.set_num_threads(1)  # on busy cores the threads of small networks only wait for each other


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the SPCC archive and the SNLS photometry; tests that want it skip where it is absent."""
    folder = find_real_data()
    if folder is not None:
        return folder
    pytest.skip("the real data are not here; set SNFLOW_DATA to a folder that holds spcc/ and snls/")


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """A Prefect server in memory of this session; slow to start, so only flow tests ask for it."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    import flows  # noqa: F401 (sets Prefect's defaults before it is imported)

    with (
        prefect_test_harness(server_startup_timeout=180),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield
