"""Plain functions as Prefect tasks. Only reading and writing is retried: it can fail for passing reasons."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from pipeline.ingest.download import NetworkError

__all__ = [
    "NETWORK_RETRIES",
    "computing",
    "is_network_failure",
    "is_passing_failure",
    "over_the_network",
    "reading_or_writing",
]

NETWORK_RETRIES: Final = 3

P = ParamSpec("P")
R = TypeVar("R")


def computing(function: Callable[P, R], name: str) -> Task[P, R]:
    """Make a task that runs once: what failed would fail again."""
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)(function)


def reading_or_writing(function: Callable[P, R], name: str) -> Task[P, R]:
    """Make a task that is tried again, twice, where the file system or the network failed."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=exponential_backoff(backoff_factor=5),
        retry_condition_fn=is_passing_failure,
    )(function)


def over_the_network(function: Callable[P, R], name: str) -> Task[P, R]:
    """Make a task that is tried again, after 2, 4 and 8 seconds, where the network failed."""
    return task(
        name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=NETWORK_RETRIES,
        retry_delay_seconds=exponential_backoff(backoff_factor=2),
        retry_condition_fn=is_network_failure,
    )(function)


def is_network_failure(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a task failed for want of a network."""
    return isinstance(state.result(raise_on_failure=False), NetworkError)


def is_passing_failure(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a task failed for want of a file system or a network, not because of what it was given."""
    failure = state.result(raise_on_failure=False)
    return isinstance(failure, OSError) and not isinstance(failure, FileNotFoundError | PermissionError)
