"""What verbs print: summaries for people or machines on standard output, sentences on standard error."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from pipeline.ingest.names import printable

__all__ = [
    "harmless",
    "pairs_of",
    "pointing_at_quarantine",
    "print_json",
    "print_line",
    "say",
    "say_quarantined",
    "show",
    "show_datasets",
    "show_fetched",
    "show_ingested",
    "show_metrics",
    "show_run",
    "type_codes_of",
    "typed_command",
]

COMPANIONS_SHOWN: Final = 5


def show(title: str, summary: Mapping[str, Any], as_json: bool) -> None:
    """Print a summary as a table of two columns, or as JSON."""
    if as_json:
        print_json(summary)
        return
    table = Table(title=title, title_justify="left", show_header=False)
    for name, value in summary.items():
        table.add_row(name, json.dumps(value) if isinstance(value, dict | list | tuple) else str(value))
    Console().print(table)


def print_json(summary: Mapping[str, Any]) -> None:
    """Print a summary for a machine."""
    sys.stdout.write(json.dumps(summary, indent=2, default=str) + "\n")


def print_line(text: str) -> None:
    """Print lines of the result, however long; what a terminal would obey is escaped."""
    sys.stdout.write(harmless(text) + "\n")


def say(text: str) -> None:
    """Print a sentence for people, on standard error, so that standard output stays the result alone."""
    Console(stderr=True, highlight=False).print(harmless(text), soft_wrap=True, markup=False)


def harmless(text: str) -> str:
    """Escape what a terminal would obey, line by line: texts may come from a stranger's model or file."""
    return "\n".join(printable(line) for line in text.split("\n"))


def typed_command() -> str:
    """Return the command that was typed, for the record."""
    return shlex.join(["snflow", *sys.argv[1:]])


def pairs_of(words: list[str] | None, expected: str = "--band-map A=B") -> dict[str, str]:
    """Split words at their first "=".

    Raises:
        SettingsError: if a word has none, or nothing before or after it.
    """
    from pipeline.settings import SettingsError

    pairs = [word.partition("=") for word in words or []]
    wrong = [old + sign + new for old, sign, new in pairs if not (old and sign and new)]
    if wrong:
        raise SettingsError(f"expected {expected}, came {wrong[0]!r}")
    return {old: new for old, _, new in pairs}


def type_codes_of(words: list[str] | None) -> str | dict[str, str]:
    """Return the one name of a list of type codes, or the pairs of codes and types.

    Raises:
        SettingsError: if there is a word that is neither.
    """
    names = [word for word in words or [] if "=" not in word]
    if len(names) == 1 and words == names:
        return names[0]
    return pairs_of(words, "--type-codes CODE=TYPE, several times, or the name of one list")


def show_datasets(datasets: list[dict[str, Any]], as_json: bool) -> None:
    """Print the public datasets, and how much of each is here."""
    if as_json:
        print_json({"datasets": datasets})
        return
    for found in datasets:
        licence = f"; {found['licence']}" if found["licence"] else ""
        print_line(f"{found['name']}: {found['title']}")
        print_line(f"    {found['citation']}; doi:{found['doi']}{licence}")
        print_line(f"    {found['volume']}; {found['n_present']} of {found['n_files']} files are in {found['folder']}")


def show_fetched(summary: Mapping[str, Any], as_json: bool) -> None:
    """Print where the files are, how they were checked, whom to cite, and last what to type next."""
    if as_json:
        print_json(summary)
        return
    for file in summary["files"]:
        print_line(f"{file['path']}: {file['source']}, {file['size']:,} bytes; {file['check']}")
    print_line(f"Please cite {summary['citation']}; doi:{summary['doi']}")
    print_line(f"Next: {summary['next']}")


def show_run(summary: Mapping[str, Any], as_json: bool) -> None:
    """Print the outcome of a whole run."""
    if as_json:
        print_json(summary)
        return
    ingested, trained, classified = summary["ingest"], summary["train"], summary["classify"]
    show_metrics(f"{summary['evaluate']['n_evaluated']} test objects that the networks never saw", summary["evaluate"])
    say(
        f"{ingested['n_files']} files: {ingested['n_ingested']} ingested, {ingested['n_unchanged']} unchanged, "
        f"{ingested['n_quarantined']} quarantined. {classified['n_objects']} objects: {classified['status']}. "
        f"{trained['split']['train'] + trained['split']['validation']} were learnt from."
    )
    say(f"Report: {summary['report']}")


def show_ingested(store: Path, summary: Mapping[str, Any], as_json: bool) -> None:
    """Print what became of every file, what was left alone, and how fast it went."""
    if as_json:
        print_json(summary)
        return
    names = summary["ignored"]
    few = [*names[:COMPANIONS_SHOWN], *(["…"] if len(names) > COMPANIONS_SHOWN else [])]
    show(f"Ingested into {store}", {**summary, "ignored": few}, as_json)
    if names:
        say(f"Companions that are no light curves, left alone: {summary['n_ignored']} ({', '.join(few)}).")
    say(
        f"{summary['n_files']:,} files, {summary['n_objects']:,} objects, {summary['n_epochs']:,} new measurements "
        f"in {summary['seconds']:.1f} s: {summary['files_per_second']:,.0f} files/s."
    )


@contextmanager
def pointing_at_quarantine(store: Path) -> Iterator[None]:
    """Say where to look when too many files are bad, too."""
    from pipeline.ingest.settings import TooManyBadFilesError

    try:
        yield
    except TooManyBadFilesError as error:
        say_quarantined(error.summary.to_dict(), store)
        raise


def say_quarantined(summary: Mapping[str, Any], store: Path) -> None:
    """Say how much is in quarantine for which reasons, which overrides met no object, and where to look."""
    table = summary["override"]
    if table.get("n_unmatched"):
        say(f"{table['n_unmatched']} of {table['n_rows']} SNIDs of {table['file']} are in none of the files")
    counts = [f"{count} {kind}" for kind, count in summary["reasons"].items()]
    if summary["n_conflicts"]:
        counts.append(f"{summary['n_conflicts']} conflicts between files of one object")
    if counts:
        say(f"In quarantine: {', '.join(counts)}; see: snflow quarantine list --store {shlex.quote(str(store))}")


def show_metrics(title: str, summary: Mapping[str, Any], as_json: bool = False) -> None:
    """Print metrics with their bootstrap errors."""
    if as_json:
        print_json(summary)
        return
    _print_metrics(title, summary["metrics"])
    for name, point in summary.get("operating_points", {}).items():
        _print_metrics(f"{name}: {point['called_ia']} objects of P(Ia) > {point['threshold']:g}", point["metrics"])
    if "prior" in summary:
        shares = ", ".join(f"{share:.1%} {name}" for name, share in summary["prior"]["shares"].items())
        _print_metrics(f"As they would be with {shares}", summary["prior"]["metrics"])


def _print_metrics(title: str, metrics: Mapping[str, Any]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("±", justify="right")
    for name, found in metrics.items():
        table.add_row(name, f"{found['value']:.4f}", f"{found['std']:.4f}")
    Console().print(table)
