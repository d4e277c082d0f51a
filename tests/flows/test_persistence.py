"""Prefect would write results as pickles; ours are files of their own, and Prefect keeps none."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from prefect import Flow, Task, flow
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings

import flows
from flows.schedule import ServerSettings
from flows.tasks import computing, over_the_network, reading_or_writing

JSON = ("json", "compressed/json")


def ours(kind: type) -> dict[str, Any]:
    """Every flow or task of ours, by its place."""
    modules = [importlib.import_module(f"flows.{found.name}") for found in pkgutil.iter_modules(flows.__path__)]
    return {
        f"{module.__name__}.{name}": value
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, kind)
    }


@pytest.mark.parametrize("kind", [Task, Flow])
def test_no_result_is_kept_other_than_as_json(kind: type) -> None:
    found = ours(kind)
    assert len(found) > 5
    kept = {name for name, one in found.items() if one.persist_result is not False}
    assert [name for name in kept if found[name].result_serializer not in JSON] == []


def test_no_task_caches_what_it_does_not_keep() -> None:
    assert [name for name, one in ours(Task).items() if not one.persist_result and one.cache_policy != NO_CACHE] == []


def double(number: int) -> int:
    return 2 * number


@flow(persist_result=False)
def keeping_nothing() -> int:
    return sum(make(double, "double")(2) for make in (computing, reading_or_writing, over_the_network))


@flow
def keeping() -> int:
    return double(2)


@pytest.mark.usefixtures("prefect_server")
def test_nothing_is_written_even_where_results_are_kept_by_default(tmp_path: Path) -> None:
    with temporary_settings({PREFECT_RESULTS_PERSIST_BY_DEFAULT: True, PREFECT_LOCAL_STORAGE_PATH: tmp_path}):
        assert keeping_nothing() == 12
        assert list(tmp_path.rglob("*")) == []
        keeping()
        assert list(tmp_path.rglob("*")) != []


def test_the_server_listens_to_this_machine_alone_unless_it_is_told_otherwise() -> None:
    from prefect.settings.models.server.api import ServerAPISettings

    assert ServerAPISettings.model_fields["host"].default == "127.0.0.1"
    assert ServerSettings().host == "127.0.0.1"
