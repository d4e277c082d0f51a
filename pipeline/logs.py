"""A log for machines: JSON, one line per record whatever it says, in files of bounded size."""

from __future__ import annotations

import json
import logging
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from pydantic import Field

from pipeline.settings import FrozenConfig

__all__ = ["JsonLines", "LogSettings", "logging_to"]

OURS: Final = ("flows", "models", "pipeline")


class LogSettings(FrozenConfig):
    """How much is kept of the log."""

    level: Literal["debug", "info", "warning"] = "info"
    """Least level of our own records and those of runs; of other libraries, warnings and worse are kept."""
    file_bytes: int = Field(default=10_000_000, ge=1000)
    """Size above which a new file is begun."""
    files: int = Field(default=5, ge=1)
    """Older files that are kept beside the newest: log.jsonl.1, log.jsonl.2 ..."""


class JsonLines(logging.Formatter):
    """Records as JSON objects: time [ISO 8601, UTC], level, logger, message, what all share, step and traceback."""

    def __init__(self, shared: Mapping[str, str], secrets: Sequence[str] = ()) -> None:
        """Take the fields that all records share, and words that no record may show."""
        super().__init__()
        self._shared, self._secrets = dict(shared), [word for word in secrets if word]

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, ASCII only."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._hide(_message(record)),
            **self._shared,
        }
        step = getattr(record, "task_run_name", None) or getattr(record, "flow_name", None)
        if step:
            fields["step"] = str(step)
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = self._hide("".join(traceback.format_exception(*record.exc_info)))
        return json.dumps(fields)

    def _hide(self, text: str) -> str:
        for word in self._secrets:
            text = text.replace(word, "***")
        return text


@contextmanager
def logging_to(
    path: Path,
    shared: Mapping[str, str],
    settings: LogSettings | None = None,
    others: Sequence[str] = (),
    secrets: Sequence[str] = (),
) -> Iterator[None]:
    """Write every log record and warning of this process to a file, too; what a terminal shows stays as it was.

    Args:
        path: the file; older ones get `.1`, `.2` ... at the end.
        shared: fields of every record, such as the id of the run.
        settings: how much is kept.
        others: names of loggers, beside our own, of which `settings.level` is kept.
        secrets: words that are replaced by `***`.
    """
    settings = settings or LogSettings()
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(path, maxBytes=settings.file_bytes, backupCount=settings.files, encoding="utf-8")
    handler.setFormatter(JsonLines(shared, secrets))
    root = logging.getLogger()
    with _heard((*OURS, *others), logging.getLevelName(settings.level.upper())), _warnings_to(handler):
        root.addHandler(handler)
        try:
            yield
        finally:
            root.removeHandler(handler)
            handler.close()


@contextmanager
def _heard(names: Sequence[str], level: int) -> Iterator[None]:
    """Let loggers make records of a level; handlers that are there already do not show what they did not before."""
    loggers = {name: logging.getLogger(name) for name in names}
    chosen = {name: logger.level for name, logger in loggers.items()}
    shown = {name: logger.getEffectiveLevel() for name, logger in loggers.items()}

    def was_shown(record: logging.LogRecord) -> bool:
        levels = [shown[name] for name in shown if record.name == name or record.name.startswith(name + ".")]
        return record.levelno >= max(levels, default=0)

    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(was_shown)
    for logger in loggers.values():
        logger.setLevel(min(level, logger.getEffectiveLevel()))
    try:
        yield
    finally:
        for name, logger in loggers.items():
            logger.setLevel(chosen[name])
        for handler in handlers:
            handler.removeFilter(was_shown)


@contextmanager
def _warnings_to(handler: logging.Handler) -> Iterator[None]:
    """Hand warnings to a handler, beside showing them."""
    show = warnings.showwarning

    def show_and_log(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        fields: dict[str, Any] = {"name": "py.warnings", "levelno": logging.WARNING, "levelname": "WARNING"}
        handler.handle(logging.makeLogRecord({**fields, "msg": f"{filename}:{lineno}: {category.__name__}: {message}"}))
        show(message, category, filename, lineno, file, line)

    warnings.showwarning = show_and_log
    try:
        yield
    finally:
        if warnings.showwarning is show_and_log:
            warnings.showwarning = show


def _message(record: logging.LogRecord) -> str:
    """Return the message of a record, also of one whose arguments do not fit it."""
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError) as error:
        return f"{record.msg!r} with {record.args!r}, which do not fit: {error}"
