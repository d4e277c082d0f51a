"""Prefect automations of a site: they tell of its nights, as its file's section [notify] asks, and end silent ones."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final, cast
from uuid import UUID

from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, CallWebhook, ChangeFlowRunState, SendNotification
from prefect.events.filters import AutomationFilter, AutomationFilterTags
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectNotFound

from flows.site import SiteSettings, load_site
from pipeline.notices import EVENTS
from pipeline.settings import SettingsError

__all__ = ["check_automations", "ensure_automations"]

OURS: Final = "snflow"
WEBHOOK: Final = "webhook"
FAILURES: Final = frozenset({"prefect.flow-run.Failed", "prefect.flow-run.Crashed", "prefect.flow-run.TimedOut"})
"""Events of Prefect itself: of nights that nobody was left to tell of, or that failed before they began."""
ONE_CALL: Final = timedelta(minutes=10)
"""Several events of one run within this time are told of once; each says all of the night."""
SILENCE: Final = timedelta(minutes=10)
"""A run that was not heard of for so long is gone; it says that it lives every three minutes."""
COMPARED: Final = {"name", "description", "tags", "trigger", "actions"}

RUNS: Final = ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"})
NIGHTLY: Final = {"prefect.resource.role": "flow", "prefect.resource.name": "nightly"}
MESSAGE: Final = "event.payload.message or event.resource['prefect.state-message'] or event.event"
SUBJECT: Final = "snflow: {{ event.event }}"
BODY: Final = "{{ " + MESSAGE + " }}"
PAYLOAD: Final = (
    '{"event": {{ event.event | tojson }}, "text": {{ (' + MESSAGE + ") | tojson }}, "
    '"night": {{ (event.payload.night or "") | tojson }}, "run": {{ event.resource.name | tojson }}, "site": %s}'
)
"""What a webhook gets; chat programs show `text`."""


def ensure_automations(site: SiteSettings) -> list[str]:
    """Make Prefect's automations those that a site asks for; the same again changes nothing.

    Returns:
        A line for each that was made, changed or removed.

    Raises:
        SettingsError: if an environment variable or a block is not there.
    """
    with _client() as client:
        wanted, there = _wanted(site, client, save=True), _there(site, client)
        return [*_remove(client, wanted, there), *_put(client, wanted, there)]


def check_automations(site: SiteSettings) -> list[str]:
    """Return a line for each automation that is not as a site asks for; change nothing.

    Raises:
        SettingsError: if an environment variable or a block is not there.
    """
    with _client() as client:
        wanted, there = _wanted(site, client, save=False), {found.name: found for found in _there(site, client)}
    missing = [f"{name}: missing" for name in wanted if name not in there]
    changed = [f"{name}: changed" for name in wanted if name in there and not _alike(there[name], wanted[name])]
    paused = [f"{name}: paused" for name in wanted if name in there and not there[name].enabled]
    return [*missing, *changed, *paused, *(f"{name}: not asked for" for name in there if name not in wanted)]


def _wanted(site: SiteSettings, client: SyncPrefectClient, save: bool) -> dict[str, AutomationCore]:
    """Return the automations of a site, by name: one for each receiver, and that for silent nights."""
    receivers: dict[str, UUID] = {name: _block(client, name) for name in site.notify.blocks}
    if site.notify.webhook_env:
        receivers[f"${site.notify.webhook_env}"] = _own_webhook(site, client, save)
    made = [_telling(site, receiver, block) for receiver, block in receivers.items()] + [_ending_silent(site)]
    return {automation.name: automation for automation in made}


def _telling(site: SiteSettings, receiver: str, block: UUID) -> AutomationCore:
    """Tell a receiver of a night, once."""
    events = {EVENTS[occasion] for occasion in site.notify.events}
    is_site = {"prefect.resource.role": "tag", "prefect.resource.id": f"prefect.tag.{site.tag}"}
    trigger = EventTrigger(
        expect=events | (FAILURES if "failed" in site.notify.events else frozenset()),
        match=RUNS,
        match_related=[ResourceSpecification.model_validate(one) for one in (NIGHTLY, is_site)],
        for_each={"prefect.resource.id"},
        posture=Posture.Reactive,
        threshold=1,
        within=ONE_CALL,
    )
    is_webhook = receiver.startswith(("$", f"{WEBHOOK}/"))
    payload = PAYLOAD % _json_in_template(str(site.out))
    action = (
        CallWebhook(block_document_id=block, payload=payload)
        if is_webhook
        else SendNotification(block_document_id=block, subject=SUBJECT, body=BODY)
    )
    return _core(site, f"snflow tells {receiver} of {site.out}", trigger, action)


def _ending_silent(site: SiteSettings) -> AutomationCore:
    """Note that a night crashed if nothing is heard of it any more, lest it runs for ever in Prefect's eyes.

    It is for the nights of any site: the first sign of life comes before a run has its tag.
    """
    trigger = EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        match=RUNS,
        match_related=ResourceSpecification.model_validate(NIGHTLY),
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=SILENCE,
    )
    message = f"nothing was heard of this run for {SILENCE.total_seconds():.0f} s: its process is gone"
    action = ChangeFlowRunState(state=StateType.CRASHED, name=None, message=message)
    return _core(site, f"snflow ends silent nights of {site.out}", trigger, action)


def _core(site: SiteSettings, name: str, trigger: EventTrigger, action: ActionTypes) -> AutomationCore:
    return AutomationCore(
        name=name,
        description="Made from a site file; changes here are undone.",
        tags=[OURS, site.tag],
        trigger=trigger,
        actions=[action],
    )


def _json_in_template(text: str) -> str:
    """Return a template that renders as a JSON string, whatever the text."""
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return "{{ '" + quoted + "' | tojson }}"


def _own_webhook(site: SiteSettings, client: SyncPrefectClient, save: bool) -> UUID:
    """Return the block that holds the address in the environment; `save` writes it, else it must be there.

    Raises:
        SettingsError: if the environment holds none.
    """
    variable = site.notify.webhook_env
    name = f"{OURS}-{hashlib.sha256(str(site.out).encode()).hexdigest()[:12]}"
    if not save:
        return _block(client, f"{WEBHOOK}/{name}")
    address = os.environ.get(variable, "")
    if not address.startswith(("http://", "https://")):
        raise SettingsError(
            f"notify.webhook_env: expected the address of a webhook, http(s)://…, in the environment variable "
            f"{variable}, which {'holds something else' if address else 'is not set'}"
        )
    block = Webhook.model_validate({"url": address, "headers": {"Content-Type": "application/json"}})
    return cast("UUID", block.save(name, overwrite=True))  # not asynchronous here


def _block(client: SyncPrefectClient, reference: str) -> UUID:
    """Return the id of a block, by TYPE/NAME."""
    kind, name = reference.split("/")
    try:
        return client.read_block_document_by_name(name, kind, include_secrets=False).id
    except ObjectNotFound:
        raise SettingsError(f"no Prefect block {reference}; make it in Prefect's UI, under Blocks") from None


def _there(site: SiteSettings, client: SyncPrefectClient) -> list[Automation]:
    """Return the automations that were made for a site, the oldest first."""
    ours = AutomationFilter(tags=AutomationFilterTags(all_=[OURS, site.tag]))
    return client.read_automations(automations=ours)[::-1]


def _remove(client: SyncPrefectClient, wanted: Mapping[str, AutomationCore], there: list[Automation]) -> Iterator[str]:
    """Remove what is not asked for, and what is there twice."""
    names: set[str] = set()
    for found in there:
        if found.name not in wanted or found.name in names:
            client.delete_automation(found.id)
            yield f"{found.name}: removed"
        names.add(found.name)


def _put(client: SyncPrefectClient, wanted: Mapping[str, AutomationCore], there: list[Automation]) -> Iterator[str]:
    """Make what is missing, change what differs; one that somebody paused stays so."""
    known = {found.name: found for found in reversed(there)}
    for name, automation in wanted.items():
        found = known.get(name)
        if found is None:
            client.create_automation(automation)
            yield f"{name}: made"
        elif not _alike(found, automation):
            client.create_automation(automation.model_copy(update={"enabled": found.enabled}))
            client.delete_automation(found.id)
            yield f"{name}: changed"


def _alike(found: AutomationCore, wanted: AutomationCore) -> bool:
    return found.model_dump(include=COMPARED) == wanted.model_dump(include=COMPARED)


@contextmanager
def _client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as client:
        yield client


def main(words: list[str]) -> int:
    """Make the automations of a site file, or list what differs; return 1 if that is anything, 2 after a mistake."""
    only_look, (path, *settings) = "--check" in words, [word for word in words if word != "--check"]
    try:
        site = load_site(Path(path), settings)
        found = check_automations(site) if only_look else ensure_automations(site)
    except SettingsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return int(only_look and bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
