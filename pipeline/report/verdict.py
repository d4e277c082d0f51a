"""How a run stands as a whole, from its checks, in words that the page and Prefect show alike."""

from __future__ import annotations

from typing import Final

from pipeline.report.content import Check, ReportContent, Status

__all__ = ["STATUS_NAMES", "overall", "verdict_markdown"]

STATUS_NAMES: Final[dict[Status, str]] = {
    "good": "✓ green",
    "marginal": "▲ amber",
    "bad": "✗ red",
    "unknown": "– not judged",
}
OVERALL: Final[dict[Status, str]] = {
    "good": "Every check is green.",
    "marginal": "Nothing is red, but look at what is amber.",
    "bad": "Not everything is as it should be.",
    "unknown": "Nothing could be judged.",
}
RANK: Final[dict[Status, int]] = {"unknown": 0, "good": 1, "marginal": 2, "bad": 3}


def overall(checks: tuple[Check, ...]) -> tuple[Status, str]:
    """Return the worst status, and the whole in a sentence; "unknown" only where nothing could be judged.

    >>> overall(())
    ('unknown', 'Nothing could be judged.')
    """
    worst: Status = max((check.status for check in checks), key=RANK.__getitem__, default="unknown")
    return worst, OVERALL[worst]


def verdict_markdown(content: ReportContent) -> str:
    """Return the verdict as markdown: the whole in a sentence, then check by check."""
    status, sentence = overall(content.verdict.checks)
    lines = [f"**Verdict: {STATUS_NAMES[status]}.** {sentence}"]
    if content.is_simulated:
        lines.append("\nThese light curves were simulated by snflow itself.")
    if content.verdict.checks:
        lines += ["", "| check | status | wanted | meaning |", "|---|---|---|---|"]
        lines += [_row(check) for check in content.verdict.checks]
    return "\n".join(lines)


def _row(check: Check) -> str:
    cells = (check.name, STATUS_NAMES[check.status], check.wanted, check.meaning)
    return f"| {' | '.join(map(_plain, cells))} |"


def _plain(text: str) -> str:
    """Text that cannot end a cell or start markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
