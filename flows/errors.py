"""Errors that the command line explains in a sentence, and the exit code of each."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import typer

from flows.console import harmless

__all__ = ["FAILED", "WRONG_USAGE", "explained"]

FAILED: Final = 1
WRONG_USAGE: Final = 2
REFUSED: Final = 3


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that users can mend into a message and an exit code; everything else stays a traceback.

    With SNFLOW_TRACEBACK set, every error stays a traceback.
    """
    from pipeline.classify.settings import ContractError
    from pipeline.ingest.sources import SourceError
    from pipeline.settings import SettingsError

    if os.environ.get("SNFLOW_TRACEBACK"):
        yield
        return
    try:
        yield
    except ContractError as error:
        raise _stop(error, REFUSED) from error
    except (SettingsError, SourceError) as error:
        raise _stop(error, WRONG_USAGE) from error
    except (ValueError, RuntimeError, OSError) as error:
        raise _stop(error, FAILED) from error
    except KeyboardInterrupt:
        raise _stop("interrupted; the same command goes on where this one stopped", FAILED) from None


def _stop(error: object, code: int) -> typer.Exit:
    print(f"snflow: {harmless(str(error))}", file=sys.stderr)  # noqa: T201
    return typer.Exit(code)
