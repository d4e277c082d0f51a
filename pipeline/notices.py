"""What is to be told of a night, to whom, and in which words. No secret stands in the settings, only where it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import field_validator

from pipeline.settings import FrozenConfig

__all__ = ["EVENTS", "NotifySettings", "Occasion", "ended_badly", "occasions", "told"]

Occasion = Literal["failed", "quarantine", "red", "amber"]

EVENTS: Final[dict[Occasion, str]] = {
    "failed": "snflow.night.failed",
    "quarantine": "snflow.quarantine.above-limit",
    "red": "snflow.night.red",
    "amber": "snflow.night.amber",
}
"""Names of Prefect events, by what a site file calls them."""


class NotifySettings(FrozenConfig):
    """Who is told of what. Addresses and passwords stand in Prefect blocks or in the environment, never here."""

    events: tuple[Occasion, ...] = ("failed", "quarantine", "red")
    """Nights that are told of: failed or crashed, too much quarantined, held as red, amber."""
    webhook_env: str = ""
    """Name of the environment variable that holds the address of a webhook; it gets JSON by POST."""
    blocks: tuple[str, ...] = ()
    """Prefect blocks that are told, TYPE/NAME: `sendgrid-email/observers`, `slack-webhook/ops`, `webhook/pager`."""

    @field_validator("webhook_env")
    @classmethod
    def _is_a_name(cls, name: str) -> str:
        if name and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError("expected the name of an environment variable; the address itself must not stand here")
        return name

    @field_validator("blocks")
    @classmethod
    def _are_named(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in names if not re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+", name)]:
            raise ValueError(
                f"expected TYPE/NAME of Prefect blocks, such as sendgrid-email/observers, not {wrong[0]!r}"
            )
        return names


def occasions(summary: Mapping[str, Any]) -> tuple[Occasion, ...]:
    """Return what a night that came to its end gives occasion to tell, the worst first."""
    found: list[Occasion] = ["failed", "quarantine"] if summary["failure"] else []
    status = summary["guard"]["status"]
    return (*found, *((status,) if status in ("red", "amber") else ()))


def told(summary: Mapping[str, Any]) -> str:
    """Say in a line how a night went."""
    parts = [f"Night {summary['night']}: {summary['sentence']}", f"{summary['n_changed']} objects changed"]
    if summary["guard"]["status"] == "red":
        parts.append(
            f"their classes are held, `snflow nightly --release {summary['night']}` publishes them all the same"
        )
    parts += [f"{summary['publish']['n_held']} are held in all"] if summary["publish"]["n_held"] else []
    if summary["failure"]:
        parts.append(summary["failure"])
    return "; ".join(parts)


def ended_badly(night: str, error: BaseException) -> str:
    """Say in a line how a night failed."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}".removesuffix(": ")
    return f"Night {night} failed: {text}; the next run goes on where it stopped"
