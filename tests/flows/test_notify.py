"""Facts about who is told of a night: once, with the message, and never at the price of a secret or of the night."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from subprocess import DEVNULL

import pytest

from pipeline.gauges import read_last_night
from tests.servers import PrefectServer, mailbox, prefect_server, receiver, wait_until
from tests.sites import NOTIFY, add_bad_files, make_site

SECRET = "kc8Zr1-token"


TAGGED = """
import sys
import flows
from prefect import tags
from flows.nightly import nightly
with tags("{tag}"):
    nightly(sys.argv[1])
"""
"""As a scheduler's runs are."""


@contextmanager
def using(server: PrefectServer) -> Iterator[None]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: server.api}):
        yield


def nightly(site: Path, server: PrefectServer) -> int:
    """Type `snflow nightly`; return its exit code."""
    command = [sys.executable, "-c", "from flows.cli import app; app()", "nightly", "--config", str(site)]
    return subprocess.run(command, env=server.environment, capture_output=True, check=False).returncode


def save_mail_block(address: str) -> None:
    from prefect.blocks.notifications import SlackWebhook

    with warnings.catch_warnings():  # of what Prefect imports to send letters
        warnings.simplefilter("ignore")
        SlackWebhook.model_validate({"url": address}).save("mail")


@pytest.mark.slow
def test_a_red_night_and_a_failed_one_are_told_once_each_and_the_address_is_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.automations import check_automations, ensure_automations
    from flows.site import load_site

    path = make_site(tmp_path, sections=NOTIFY)
    site = load_site(path, ['notify.blocks=["slack-webhook/mail"]'])
    with receiver() as heard, mailbox() as post, prefect_server(tmp_path) as server:
        monkeypatch.setenv("SNFLOW_TEST_WEBHOOK", f"{heard.address}/{SECRET}")
        server.environment["SNFLOW_TEST_WEBHOOK"] = f"{heard.address}/{SECRET}"
        with using(server):
            save_mail_block(f"{post.address}&from=snflow@example.org&to=observers@example.org")
            assert [line.rpartition(": ")[2] for line in ensure_automations(site)] == ["made", "made", "made"]
            assert ensure_automations(site) == check_automations(site) == []

        assert nightly(path, server) == 3
        (red,) = wait_until(lambda: heard.told, 30, "a call of the webhook")
        assert red["event"] == "snflow.night.red"
        assert "red: " in red["text"]
        assert "look at" in red["text"]
        assert red["site"] == str(tmp_path)
        (letter,) = wait_until(lambda: post.told, 30, "a letter")
        assert "Subject: snflow: snflow.night.red" in letter["letter"]
        assert "To: observers@example.org" in letter["letter"]

        add_bad_files(tmp_path, 5)
        assert nightly(path, server) == 1
        wait_until(lambda: len(heard.told) > 1, 30, "a call of the webhook")
        time.sleep(5)  # nothing more comes
        assert len(heard.told) == len(post.told) == 2
        assert "5 of 35 files were quarantined" in heard.told[1]["text"]

        artifacts, logs = server.ask("artifacts/filter"), server.ask("logs/filter")
        assert {"snflow-nightly", "snflow-nightly-summary", "snflow-nightly-progress"} <= {a["key"] for a in artifacts}
        written = [found.read_bytes() for found in tmp_path.rglob("*") if found.is_file()]
        assert not [text for text in (str(artifacts), str(logs)) if SECRET in text]
        assert not [text for text in written if SECRET.encode() in text]


@pytest.mark.slow
def test_a_webhook_that_cannot_be_reached_does_not_fail_the_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.automations import ensure_automations
    from flows.site import load_site

    path = make_site(tmp_path, sections=NOTIFY)
    with receiver() as gone:
        address = gone.address
    monkeypatch.setenv("SNFLOW_TEST_WEBHOOK", f"{address}/{SECRET}")
    with prefect_server(tmp_path) as server:
        with using(server):
            ensure_automations(load_site(path))
        assert nightly(path, server) == 3

        def refused() -> list[dict[str, object]]:
            filters = {"event": {"prefix": ["prefect.automation.action.failed"]}}
            return list(server.ask("events/filter", filter=filters)["events"])

        (failed,) = wait_until(refused, 30, "the failed call")
        assert SECRET not in str(failed)


@pytest.mark.slow
def test_a_night_whose_process_is_gone_is_ended_and_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import automations
    from flows.site import load_site

    path = make_site(tmp_path, sections=NOTIFY)
    site = load_site(path)
    monkeypatch.setattr(automations, "SILENCE", timedelta(seconds=35))
    with receiver() as heard, prefect_server(tmp_path, PREFECT_FLOWS_HEARTBEAT_FREQUENCY="30") as server:
        monkeypatch.setenv("SNFLOW_TEST_WEBHOOK", heard.address)
        with using(server):
            automations.ensure_automations(site)
        command = [sys.executable, "-c", TAGGED.format(tag=site.tag), str(path)]
        with subprocess.Popen(command, env=server.environment, stdout=DEVNULL, stderr=DEVNULL) as process:
            log = tmp_path / "log.jsonl"
            wait_until(lambda: log.exists() and "step 3 of 5" in log.read_text(), 60, "a night at work")
            process.kill()
        (told,) = wait_until(lambda: heard.told, 90, "a call of the webhook")
        assert told["event"] == "prefect.flow-run.Crashed"
        assert "its process is gone" in told["text"]
        assert nightly(path, server) == 3
        assert "crashed; what it left undone is done now" in log.read_text()
        assert len(list((tmp_path / "nights").iterdir())) == 1
        assert read_last_night(tmp_path / "metrics.prom").last_failure
