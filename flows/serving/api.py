"""The requests that `snflow serve` sends to Prefect's server, without Prefect's client, which takes 70 MB."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from importlib import metadata
from typing import Any, Final
from urllib.parse import urlsplit

__all__ = ["Api", "FlowRun", "ServerError", "ServerGoneError"]

FlowRun = dict[str, Any]
"""A flow run as the server tells it: id, name, deployment_id, state, parameters, tags, ..."""

TIMEOUT: Final = 30.0
"""Seconds that an answer may take."""
SHORT_TIMEOUT: Final = 2.0
"""The same where the question is whether one comes."""
OK: Final = 200
BUSY: Final = 503
SECONDS_BETWEEN_TRIES: Final = (0.2, 0.4, 0.8, 1.6, 3.2)
UNFINISHED: Final = ("RUNNING", "PENDING", "CANCELLING")


class ServerGoneError(RuntimeError):
    """The server does not answer."""


class ServerError(RuntimeError):
    """The server refuses a request."""


class Api:
    """Prefect's server at an address such as http://127.0.0.1:4200."""

    def __init__(self, url: str):
        self.url = url
        self._address = urlsplit(url)
        # The server tells old clients by this line, and treats one without it as very old.
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": f"prefect/{metadata.version('prefect')} (API 0.8.4)",
        }
        secret = os.environ.get("PREFECT_SERVER_API_AUTH_STRING")
        if secret:
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"

    def is_healthy(self) -> bool:
        """Whether the server answers."""
        try:
            return self._send("GET", "/health", None, SHORT_TIMEOUT)[0] == OK
        except ServerGoneError:
            return False

    def deployments(self) -> dict[str, str]:
        """Return the ids of the site's deployments by the names of their flows; those of work pools have workers."""
        found = self._ask("POST", "/deployments/filter", {})
        return {one["entrypoint"].rpartition(".")[2]: one["id"] for one in found if not one["work_pool_name"]}

    def take_over(self, deployments: Iterable[str]) -> None:
        """Say that somebody does the runs of deployments, by id, as runners of Prefect's own do at every look."""
        self._ask("POST", "/deployments/get_scheduled_flow_runs", {"deployment_ids": list(deployments), "limit": 1})

    def due(self, deployments: Iterable[str]) -> list[FlowRun]:
        """Return the runs of deployments, by id, that should have begun, the earliest first."""
        chosen = {
            "deployment_id": {"any_": list(deployments)},
            "state": {"type": {"any_": ["SCHEDULED"]}},
            "next_scheduled_start_time": {"before_": datetime.now(UTC).isoformat()},
        }
        return self.runs(chosen, "NEXT_SCHEDULED_START_TIME_ASC")

    def unfinished(self, deployments: Iterable[str]) -> list[FlowRun]:
        """Return the runs of deployments that have begun and not ended."""
        return self.runs({"deployment_id": {"any_": list(deployments)}, "state": {"type": {"any_": UNFINISHED}}})

    def unfinished_within(self, run: str) -> list[FlowRun]:
        """Return the flow runs that a flow run has begun and that have not ended."""
        return self.runs({"parent_flow_run_id": {"any_": [run]}, "state": {"type": {"any_": UNFINISHED}}})

    def read(self, run: str) -> FlowRun:
        """Return a flow run."""
        found: FlowRun = self._ask("GET", f"/flow_runs/{run}", None)
        return found

    def create_run(self, deployment: str, message: str, tags: list[str], parameters: dict[str, Any]) -> None:
        """Make a run of a deployment that is due now."""
        state = {"type": "SCHEDULED", "message": message}
        asked = {"state": state, "tags": tags, "parameters": parameters}
        self._ask("POST", f"/deployments/{deployment}/create_flow_run", asked)

    def set_state(self, run: str, kind: str, name: str, message: str = "", force: bool = True) -> str:
        """Give a flow run a state; return the type of the state that it has now."""
        asked = {"state": {"type": kind, "name": name, "message": message}, "force": force}
        answer = self._ask("POST", f"/flow_runs/{run}/set_state", asked)
        return str((answer.get("state") or {}).get("type", ""))

    def crash_tasks(self, run: str, message: str) -> None:
        """Say of the tasks of a flow run that have not ended that they crashed."""
        asked = {
            "flow_runs": {"id": {"any_": [run]}},
            "task_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}},
        }
        for task in self._ask("POST", "/task_runs/filter", asked):
            state = {"type": "CRASHED", "name": "Crashed", "message": message}
            self._ask("POST", f"/task_runs/{task['id']}/set_state", {"state": state, "force": True})

    def runs(self, chosen: dict[str, Any], order: str = "EXPECTED_START_TIME_ASC") -> list[FlowRun]:
        """Return the flow runs that a filter of Prefect's API chooses."""
        found: list[FlowRun] = self._ask("POST", "/flow_runs/filter", {"flow_runs": chosen, "sort": order})
        return found

    def _ask(self, method: str, path: str, content: dict[str, Any] | None) -> Any:
        """Send a request; again where the database was locked by another one, which is passing and changes nothing."""
        for seconds in SECONDS_BETWEEN_TRIES:
            status, text = self._send(method, path, content)
            if status != BUSY:
                break
            time.sleep(seconds)
        if status >= 500:
            raise ServerGoneError(f"{method} {path}: {status} {text[:300]}")
        if status >= 400:
            raise ServerError(f"{method} {path}: {status} {text[:300]}")
        return json.loads(text) if text else None

    def _send(
        self, method: str, path: str, content: dict[str, Any] | None, timeout: float = TIMEOUT
    ) -> tuple[int, str]:
        connection = HTTPConnection(self._address.hostname or "", self._address.port, timeout=timeout)
        try:
            body = None if content is None else json.dumps(content)
            connection.request(method, f"/api{path}", body, self._headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        except (OSError, HTTPException) as error:
            raise ServerGoneError(f"Prefect's server at {self.url} does not answer: {error}") from None
        finally:
            connection.close()
