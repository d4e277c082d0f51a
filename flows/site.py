"""A site: what is done every night, with what, and where it goes. One TOML file says it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import Field, field_validator

from flows.schedule import RetentionSettings, ScheduleSettings, ServerSettings
from pipeline.classify.outputs import check_suffix
from pipeline.classify.settings import ClassifySettings
from pipeline.evaluate.guard_settings import GuardSettings
from pipeline.ingest.settings import IngestSettings
from pipeline.logs import LogSettings
from pipeline.notices import NotifySettings
from pipeline.settings import FrozenConfig, SettingsError, load_settings, override, read_toml
from pipeline.train.registry import find_model

__all__ = ["LOG", "METRICS", "NIGHTS", "PUBLISHED", "SiteSettings", "load_site"]

NIGHTS: Final = "nights"
PUBLISHED: Final = "published"
"""Folders of a site: a folder each night, and what is published."""
LOG: Final = "log.jsonl"
METRICS: Final = "metrics.prom"
"""Files of a site, for those who watch it."""


class SiteSettings(FrozenConfig):
    """What a site does every night; paths in its file are relative to the file."""

    sources: tuple[Path, ...] = Field(min_length=1)
    """Folders, files, archives and patterns that the nights' light curves come in."""
    store: Path
    """Catalogue that they are read into."""
    model: str
    """Classifier: a name, such as spcc-ia, NAME@VERSION, or a folder."""
    out: Path
    """Folder for the nights and for what is published."""
    publish: tuple[str, ...] = ("predictions.parquet",)
    """Files of the newest predictions of all objects, by the endings of their names."""
    ingest: IngestSettings = IngestSettings()
    classify: ClassifySettings = ClassifySettings()
    guard: GuardSettings = GuardSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    server: ServerSettings = ServerSettings()
    retention: RetentionSettings = RetentionSettings()
    address: str = ""
    """Where `out` is served on the web, for links in Prefect and in messages; empty: paths are shown."""
    log: LogSettings = LogSettings()
    notify: NotifySettings = NotifySettings()

    @property
    def tag(self) -> str:
        """Tag of the Prefect runs of this site, among others of the same server."""
        return f"site:{self.out}"

    @property
    def model_folder(self) -> Path:
        """Checkpoint folder of the classifier, as it is now."""
        return find_model(self.model)

    @property
    def home(self) -> Path:
        """Folder of Prefect's database."""
        return self.server.home or self.out / "prefect"

    @field_validator("publish")
    @classmethod
    def _have_known_formats(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names or any(Path(name).name != name for name in names):
            raise ValueError("expected one name or more of files, without folders")
        for name in names:
            check_suffix(Path(name))
        return names


def load_site(path: Path, words: list[str] | None = None) -> SiteSettings:
    """Read a site file; `words` change single settings.

    Raises:
        SettingsError: one line per mistake.
    """
    values = override(read_toml(path), words or [])
    return load_settings(SiteSettings, _beside(values, path.absolute().parent), str(path))


def _beside(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Make the paths of a site file absolute, and its model where that is a folder."""
    moved = dict(values)
    for name in ("store", "out"):
        if isinstance(values.get(name), str):
            moved[name] = str(folder / values[name])
    server = values.get("server")
    if isinstance(server, dict) and isinstance(server.get("home"), str):
        moved["server"] = server | {"home": str(folder / server["home"])}
    if isinstance(values.get("sources"), list):
        if not all(isinstance(source, str) for source in values["sources"]):
            raise SettingsError("sources: expected a list of paths or patterns")
        moved["sources"] = [str(folder / source) for source in values["sources"]]
    if isinstance(values.get("model"), str) and (folder / values["model"]).is_dir():
        moved["model"] = str(folder / values["model"])
    return moved
