"""What a night leaves in Prefect to look at: the verdict and what to look at, what was counted, and where all is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from prefect.artifacts import create_link_artifact

from flows.artifacts import publish
from flows.site import LOG, METRICS, PUBLISHED, SiteSettings

__all__ = ["publish_artifacts", "verdict_markdown"]

COLOURS: Final = {"unknown": "– not judged", "green": "✓ green", "amber": "▲ amber", "red": "✗ red"}


def publish_artifacts(site: SiteSettings, folder: Path, summary: Mapping[str, Any]) -> None:
    """Leave the verdict as markdown, the counts as a table, and a link to the report."""
    ingested, published = summary["ingest"], summary["publish"]
    counted = {
        "objects changed": summary["n_changed"],
        **{f"of these {status}": count for status, count in summary["status"].items()},
        "objects published": published["n_published"],
        "objects held": published["n_held"],
        "files read": ingested["n_files"],
        "files quarantined": ingested["n_quarantined"],
        "objects quarantined": ingested["n_objects_quarantined"],
        "drift guard": summary["guard"]["status"],
        "model": summary["model"],
        "failure": summary["failure"] or "none",
    }
    page = summary["report"]
    places = {
        "Report": Path(page) if page else None,
        "Published": site.out / PUBLISHED / site.publish[0],
        "Record": folder / "nightly.json",
        "Log": site.out / LOG,
        "Numbers": site.out / METRICS,
    }
    links = [f"- {name}: {_link(site, path)}" for name, path in places.items() if path]
    text = "\n".join([verdict_markdown(summary), "", *links])
    publish("snflow-nightly", f"Night {folder.name}: {COLOURS[summary['guard']['status']]}", counted, text)
    if page:
        target = _address(site, Path(page)) or Path(page).resolve().as_uri()
        create_link_artifact(target, "Open the report", "snflow-nightly-report", f"Report of night {folder.name}")


def verdict_markdown(summary: Mapping[str, Any]) -> str:
    """Say in markdown how a night stands: colour, sentence, what failed and is held, and every difference."""
    guard, held = summary["guard"], summary["publish"]["n_held"]
    lines = [f"**{COLOURS[guard['status']]}.** {_plain(summary['sentence'].partition(': ')[2])}", ""]
    if summary["failure"]:
        lines += [f"**Failed:** {_plain(summary['failure'])}", ""]
    if guard["status"] == "red":
        lines += [f"Classes are held; to publish them: `snflow nightly --release {summary['night']} --config …`", ""]
    if held:
        lines += [f"{held} objects are held in all.", ""]
    if guard["differences"]:
        lines += ["| property | | look at | night | training | distance | p |", "|---|---|---|---:|---:|---:|---:|"]
        lines += [_row(difference) for difference in guard["differences"]]
    return "\n".join(lines)


def _row(found: Mapping[str, Any]) -> str:
    name = f"{found['name']} missing" if found["is_missing"] else found["name"]
    numbers = [found["night"], found["training"], found["distance"], found["p_value"]]
    shown = ["–" if number is None else f"{number:.3g}" for number in numbers]
    return f"| {' | '.join([_plain(name), COLOURS[found['status']], _plain(found['look_at']), *shown])} |"


def _link(site: SiteSettings, path: Path) -> str:
    address = _address(site, path)
    return f"[`{path}`]({address})" if address else f"`{path}`"


def _address(site: SiteSettings, path: Path) -> str:
    """Return where a file is served; empty where nothing is."""
    return f"{site.address.rstrip('/')}/{path.relative_to(site.out).as_posix()}" if site.address else ""


def _plain(text: str) -> str:
    """Text that cannot end a cell or start markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
