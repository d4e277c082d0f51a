"""Prefect's short-lived server ends with the command that started it, also when that is killed.

Prefect starts it by `python -m uvicorn`, which takes the factory of its event loop from the environment (UVICORN_LOOP,
set beside Prefect's other defaults). Ours first sees to it that the process ends with its parent.
"""

from __future__ import annotations

import asyncio
import os

from pipeline.processes import end_with_parent

__all__ = ["event_loop"]


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop, in a process that will end with its parent."""
    if os.environ.get("PREFECT__SERVER_EPHEMERAL"):
        end_with_parent(os.getppid())
    return asyncio.new_event_loop()
