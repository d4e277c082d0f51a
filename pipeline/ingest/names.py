"""Names that strangers gave their files: what may be shown, and what may not be believed."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["base_name", "is_unsafe", "printable"]

_CLIMBS: Final = re.compile(r"(?:^|[/\\])\.\.(?:[/\\]|$)")
_IS_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:[/\\]")


def printable(text: str) -> str:
    r"""Escape what a terminal would obey or hide: control characters, text direction, bytes that are no character.

    >>> printable("SN\x1b[2J.dat")
    'SN\\x1b[2J.dat'
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def is_unsafe(name: str) -> bool:
    """Tell whether a name in an archive points out of it: absolute, or climbing by `..`.

    >>> [is_unsafe(name) for name in ("../a.dat", "/etc/a.dat", "./night/a..dat")]
    [True, True, False]
    """
    return bool(_IS_ABSOLUTE.match(name) or _CLIMBS.search(name))


def base_name(file: str) -> str:
    """Return the last part of a name inside a folder or archive."""
    return file.rpartition("/")[2]
