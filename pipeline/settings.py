"""Settings from TOML files and from `key=value` words: closed, and an unknown key names its nearest valid one."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = ["FrozenConfig", "SettingsError", "load_settings", "override", "read_toml"]

Settings = TypeVar("Settings", bound=BaseModel)


class FrozenConfig(BaseModel):
    """Base of all settings, as that of the networks in `models`, which cannot be imported without torch."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SettingsError(ValueError):
    """A setting that is unknown or has a wrong value; the message says which, and what was expected."""


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        SettingsError: if the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from None


def override(values: Mapping[str, Any], words: Iterable[str]) -> dict[str, Any]:
    """Apply `section.key=value` words to nested settings; a value is read as TOML, else as a plain string.

    Another `kind` or `preset` of a section takes the place of all that the section said, whatever the order of words.

    >>> override({"fit": {"epochs": 40}}, ["fit.epochs=3", "fit.device=cpu"])
    {'fit': {'epochs': 3, 'device': 'cpu'}}
    >>> override({"model": {"hidden_sizes": [32], "dropout": 0}}, ["model.dropout=0.2", "model.kind=phased"])
    {'model': {'kind': 'phased', 'dropout': 0.2}}

    Raises:
        SettingsError: if a word has no `=`, or its path runs through a value that is not a section.
    """
    merged = {key: dict(value) if isinstance(value, Mapping) else value for key, value in values.items()}
    for word in sorted(words, key=lambda word: _names_section(word.partition("=")[0].strip()), reverse=True):
        path, separator, text = word.partition("=")
        if not separator:
            raise SettingsError(f"expected section.key=value, came {word!r}")
        _assign(merged, path.strip().split("."), _parse_value(text.strip()), word)
    return merged


def load_settings(kind: type[Settings], values: Mapping[str, Any], source: str) -> Settings:
    """Validate nested settings.

    Raises:
        SettingsError: one line per mistake: where, what was expected, what came, and the nearest valid key.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        lines = [_explain(kind, dict(detail)) for detail in error.errors()]
        raise SettingsError(f"{source}: " + "; ".join(lines)) from None


def _assign(section: dict[str, Any], path: list[str], value: object, word: str) -> None:
    for name in path[:-1]:
        inner = section.get(name, {})
        if not isinstance(inner, Mapping):
            raise SettingsError(f"{word!r}: {name} is a value, not a section")
        section[name] = dict(inner)
        section = section[name]
    if _names_section(".".join(path)) and section.get(path[-1]) != value:
        section.clear()
    section[path[-1]] = value


def _names_section(path: str) -> bool:
    """Whether a word says what a section is, so that the rest of it depends on that."""
    return path.endswith((".kind", ".preset"))


def _parse_value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _explain(kind: type[BaseModel], detail: dict[str, Any]) -> str:
    if not detail["loc"]:  # about several sections together; the message names what of them does not fit
        return str(detail["msg"]).removeprefix("Value error, ")
    keys = _all_keys(kind, {str(part) for part in detail["loc"]})
    where = _path_of(detail["loc"], keys, _kinds_in(kind))
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']} (came {detail['input']!r})"
    nearest = max(sorted(keys), key=lambda name: _likeness(name, where))
    return f"unknown key {where}; the nearest valid key is {nearest}"


def _likeness(name: str, other: str) -> float:
    """How alike two paths are, their last parts above all."""
    pairs = ((name, other), (name.rpartition(".")[2], other.rpartition(".")[2]))
    return sum(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)


def _path_of(parts: Iterable[object], keys: set[str], kinds: set[object]) -> str:
    """Path of a setting, without the kinds of sections that pydantic names on the way to it."""
    path: list[str] = []
    for part in map(str, parts):
        if part not in kinds or ".".join([*path, part]) in keys:
            path.append(part)
    return ".".join(path)


def _all_keys(kind: type[BaseModel], tags: set[str], prefix: str = "") -> set[str]:
    """Every path of a settings class: sections, and the keys in them; of kinds of a section those in `tags`, if any."""
    keys: set[str] = set()
    for name, field in kind.model_fields.items():
        keys.add(prefix + name)
        sections = [section for section in _classes_in(field.annotation) if issubclass(section, BaseModel)]
        chosen = [section for section in sections if _kind_of(section) in tags]
        for section in chosen or sections:
            keys |= _all_keys(section, tags, f"{prefix}{name}.")
    return keys


def _kind_of(section: type[BaseModel]) -> object:
    return section.model_fields["kind"].default if "kind" in section.model_fields else None


def _kinds_in(kind: type[BaseModel]) -> set[object]:
    """Kinds of the sections of a settings class."""
    inner = [section for field in kind.model_fields.values() for section in _classes_in(field.annotation)]
    return {_kind_of(section) for section in inner if issubclass(section, BaseModel)} - {None}


def _classes_in(annotation: Any) -> list[type]:
    if isinstance(annotation, type) and not getattr(annotation, "__args__", ()):
        return [annotation]
    return [found for arg in getattr(annotation, "__args__", ()) for found in _classes_in(arg)]
