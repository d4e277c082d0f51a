"""Prefect flows and the command line: order, retries, schedules and artifacts. They compute nothing.

The defaults below are set before Prefect is imported: its short-lived server may take long to start on a busy machine,
needs no telemetry, must not outlive a command that is killed, and its own log would repeat every error that the command
line explains. What the user's environment says already stays.
"""

import os

os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("UVICORN_LOOP", "flows.ephemeral:event_loop")
