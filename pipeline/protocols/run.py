"""The published protocols, draw after draw; what is finished is kept, and the table is written as it grows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from filelock import FileLock
from pydantic import Field

from pipeline.protocols.data import ProtocolData, RealSky
from pipeline.protocols.definitions import PROTOCOLS, Protocol, choose_protocols
from pipeline.protocols.draw import Draw, classify_real, run_draw
from pipeline.protocols.summary import Summary, write_summary
from pipeline.provenance import write_record
from pipeline.settings import FrozenConfig, SettingsError
from pipeline.train.experiment import Experiment, load_experiment

__all__ = ["ProtocolSettings", "plan_draws", "run_protocols"]

OWN_SETTINGS: Final = {"split.seed": "--draws", "fit.seed": "--draws", "fit.members": "--members", "fit.teacher": ""}
"""Settings that a protocol run makes itself, and what asks for them; no teacher, which may have seen test objects."""

Progress = Callable[[int, int, str], None]


class ProtocolSettings(FrozenConfig):
    """What is to be run."""

    protocols: tuple[str, ...]
    """Rows, protocols, or `all`."""
    store: Path
    """Catalogue with the SPCC."""
    out: Path
    """Folder of all rows and the table."""
    experiments: Path
    """Folder of experiments by name."""
    experiment: str = "best"
    """Name or file of the experiment whose network, preparation and training are used."""
    words: tuple[str, ...] = ()
    """`key=value` settings that come after those of the experiment and of the row; `P4:key=value` for P4 alone."""
    draws: int = Field(default=5, ge=1)
    """Random draws of each row; draw k has the seed k."""
    members: int = Field(default=1, ge=1)
    """Networks of the ensemble; those of more than one have rows of their own."""
    real: Path | None = None
    """Real supernovae of type Ia: a store, folder, archive or file."""


def run_protocols(
    settings: ProtocolSettings, progress: Progress = lambda done, total, words: None, command: str = ""
) -> Summary:
    """Run every draw that is not finished, and write `protocols.json` and `protocols.md` after each.

    Args:
        settings: what is to be run.
        progress: called with the draws done, their number, and a few words.
        command: what was typed, for the record.

    Returns:
        The table of all rows with a finished draw in the folder, also of earlier runs.

    Raises:
        SettingsError: if there is no such protocol or setting; before any work.
        ValueError: if a draw cannot be run, or a finished one has other settings or data.
    """
    draws = plan_draws(settings)
    data = ProtocolData.read(settings.store)
    sky = RealSky.read(settings.real) if settings.real and any(is_of_sky(draw) for draw in draws) else None
    for draw in draws:
        draw.finished(data.hash)
    summary: Summary = {"rows": []}
    for done, draw in enumerate(draws):
        name = f"{draw.protocol.id} draw {draw.number}"
        progress(done, len(draws), name)

        def report(row: dict[str, float], done: int = done, name: str = name) -> None:
            words = f"{name}, member {row['MEMBER']:.0f}, epoch {row['EPOCH']:.0f}, loss {row['VALID_LOSS']:.4f}"
            progress(done, len(draws), words)

        draw.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(draw.folder / ".lock"):  # another run in the same folder may be at it
            if sky is not None and is_of_sky(draw):
                classify_real(draw, sky, data.hash)
            else:
                run_draw(draw, data, report)
        summary = write_summary(settings.out)
        progress(done + 1, len(draws), name)
    write_record(settings.out, "run", settings.model_dump(mode="json"), {"draws": len(draws)}, command)
    return summary


def plan_draws(settings: ProtocolSettings) -> list[Draw]:
    """List the draws: the first of every row, then the second of every row, networks before what they answer.

    Raises:
        SettingsError: if there is no such protocol or setting.
    """
    chosen = choose_protocols(settings.protocols, settings.real is not None)
    for word in settings.words:
        key = word.partition("=")[0].rpartition(":")[2].strip()
        if key in OWN_SETTINGS:
            instead = OWN_SETTINGS[key]
            raise SettingsError(f"a protocol run sets {key} itself" + (f"; see {instead}" if instead else ""))
    needed = {row.id for protocol in chosen for row in steps(protocol)}
    rows = [row for row in PROTOCOLS.values() if row.id in needed]
    return [
        Draw(row, number, experiment_of(row, number, settings), settings.out)
        for number in range(1, settings.draws + 1)
        for row in rows
    ]


def steps(protocol: Protocol) -> Iterator[Protocol]:
    """Yield the row whose networks a row goes by, and the row itself if it has something to do of its own."""
    yield PROTOCOLS[protocol.trained_as]
    if protocol.asks == "real sky":
        yield protocol


def is_of_sky(draw: Draw) -> bool:
    """Whether a draw classifies real supernovae."""
    return draw.protocol.asks == "real sky"


def words_for(protocol: Protocol, words: Iterable[str]) -> list[str]:
    """Return the settings of a row: those of every row, then those of its protocol, its networks' row, or its own.

    >>> words_for(PROTOCOLS["P4"], ["P4:fit.epochs=80", "P1:fit.epochs=40", "fit.epochs=60"])
    ['fit.epochs=60', 'fit.epochs=80']

    Raises:
        SettingsError: if there is no such protocol.
    """
    of_all, of_row = [], []
    for word in words:
        name, colon, _ = word.partition("=")[0].partition(":")
        if not colon:
            of_all.append(word)
        elif choose_protocols([name]) and name in {protocol.id, protocol.protocol, protocol.trained_as}:
            of_row.append(word[len(name) + 1 :])
    return of_all + of_row


def experiment_of(protocol: Protocol, number: int, settings: ProtocolSettings) -> Experiment:
    """Compose a draw's experiment: the file's settings, then the row's, then the words', then the draw's."""
    own = (f"split.seed={number}", f"fit.seed={number}", f"fit.members={settings.members}")
    size = [protocol.words_of_size] if protocol.spectra else []  # all spectra are learnt from, whatever else is asked
    words = (f"name={protocol.id}", *protocol.words, *words_for(protocol, settings.words), *size, *own)
    experiment = load_experiment(settings.experiment, settings.experiments, words)
    if experiment.fit.teacher:
        raise SettingsError(
            f"experiment {settings.experiment}: a protocol's networks have no teacher (fit.teacher is "
            f"{experiment.fit.teacher!r}), which may have learnt from test objects"
        )
    return experiment
