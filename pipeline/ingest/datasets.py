"""Public data by name: where they are, who made them, and how a copy is known to be the right one."""

from __future__ import annotations

import difflib
import fnmatch
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pooch

from pipeline.ingest.sources import SourceError
from pipeline.settings import SettingsError

__all__ = ["DATASETS", "Dataset", "RemoteFile", "default_folder", "describe", "find_dataset"]


@dataclass(frozen=True)
class RemoteFile:
    """A file of a dataset.

    Attributes:
        name: of the file, there and here.
        checksum: `md5:` or `sha256:` and hexadecimal digits; None where none is known: then size and format are
            checked, and the output says so.
        size: [bytes]; None where it is not known.
        format: what its content must be.
    """

    name: str
    checksum: str | None = None
    size: int | None = None
    format: Literal["gzip", "text"] = "gzip"


@dataclass(frozen=True)
class Dataset:
    """Public data.

    Attributes:
        title: what it is, in a line.
        citation: whom to cite.
        doi: of the data, or of the release they are part of.
        licence: as its publisher states it; empty where we do not know: see the DOI.
        base_url: folder of the files.
        files: its files.
        volume: of all files, in words, where sizes are not known exactly.
        next_command: what to type next; `{folder}` and `{first}` stand for the folder and its first file.
    """

    title: str
    citation: str
    doi: str
    base_url: str
    files: tuple[RemoteFile, ...]
    next_command: str
    licence: str = ""
    volume: str = ""

    def choose(self, pattern: str) -> tuple[RemoteFile, ...]:
        """Return the files whose names match a shell pattern.

        Raises:
            SettingsError: if none does.
        """
        chosen = tuple(file for file in self.files if fnmatch.fnmatchcase(file.name, pattern))
        if not chosen:
            names = ", ".join(file.name for file in self.files)
            raise SettingsError(f"no file matches {pattern!r}; there are {names}")
        return chosen

    @property
    def size(self) -> int | None:
        """Size of all files [bytes]; None where one is not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)


# The md5 of PLAsTiCC's files are those that its Zenodo record publishes. Of DES-SN5YR, the checksums are those of the
# members of DES-SN5YR-1.2.zip (doi:10.5281/zenodo.12720778), which tag 1.3 holds unchanged.
DATASETS: Final[dict[str, Dataset]] = {
    "spcc": Dataset(
        title="Supernova Photometric Classification Challenge after its end: 21,319 simulated DES supernovae, griz, "
        "with true classes",
        citation="Kessler et al. 2010, arXiv:1001.5210, arXiv:1008.1024",
        doi="10.5281/zenodo.13883296",
        base_url="https://zenodo.org/records/13883296/files",
        files=(RemoteFile("SIMGEN_PUBLIC_DES.tar.gz", "md5:3ed2c475512d8c8cf8a2b8907ed21ed0"),),
        next_command="snflow run {first} --experiment spcc --out runs/spcc",
        volume="about 46 MB",
    ),
    "plasticc": Dataset(
        title="Photometric LSST Astronomical Time-series Classification Challenge, unblinded: 3.5 million simulated "
        "objects, ugrizy, with true classes; --only 'plasticc_train*' for the 7,848 of the training set",
        citation="PLAsTiCC team 2018, arXiv:1810.00001; Kessler et al. 2019, arXiv:1903.11756",
        doi="10.5281/zenodo.2539456",
        base_url="https://zenodo.org/records/2539456/files",
        files=(
            RemoteFile("plasticc_train_metadata.csv.gz", "md5:8c6b00fd503d6cf3d9a42bfb53046e0f", 370_350),
            RemoteFile("plasticc_train_lightcurves.csv.gz", "md5:1aa1605908b5a6398bd46bf9120b6400", 21_553_100),
            RemoteFile("plasticc_test_metadata.csv.gz", "md5:a1fea25a371f04416f9560f9088b745c"),
            RemoteFile("plasticc_test_lightcurves_01.csv.gz", "md5:8f05f93db926e53bd846ec3a5a2352f2"),
            RemoteFile("plasticc_test_lightcurves_02.csv.gz", "md5:58f0c553847975c828705e63775ea066"),
            RemoteFile("plasticc_test_lightcurves_03.csv.gz", "md5:199b777a3ed921e3cdbf29e692881e03"),
            RemoteFile("plasticc_test_lightcurves_04.csv.gz", "md5:794318beea64467992d4125837e7486f"),
            RemoteFile("plasticc_test_lightcurves_05.csv.gz", "md5:d3898309a5953aa86bc3f7c2bce7bbad"),
            RemoteFile("plasticc_test_lightcurves_06.csv.gz", "md5:a894cfb1af13945dc39498f65ffc9336"),
            RemoteFile("plasticc_test_lightcurves_07.csv.gz", "md5:054724d4099d5f1fac1b07d7040cac5a"),
            RemoteFile("plasticc_test_lightcurves_08.csv.gz", "md5:88a43509da99b9bab6e4bc5733617024"),
            RemoteFile("plasticc_test_lightcurves_09.csv.gz", "md5:b92feaa474cd73a24770543c0b6a8bce"),
            RemoteFile("plasticc_test_lightcurves_10.csv.gz", "md5:f8c743ccbfa47f350069dddf3de5b295"),
            RemoteFile("plasticc_test_lightcurves_11.csv.gz", "md5:6e19c19702f64567a83b98faeb008b7a"),
        ),
        next_command="snflow ingest {folder} --store catalogue",
        licence="CC BY 4.0",
        volume="several GB",
    ),
    "des-sn5yr": Dataset(
        title="Dark Energy Survey, five years of supernovae: 19,706 observed light curves, griz, SNANA FITS, from the "
        "release of 2024 (tag 1.3)",
        citation="Sánchez et al. 2024, ApJ 975, 5, arXiv:2406.05046; DES Collaboration 2024, arXiv:2401.02929",
        doi="10.5281/zenodo.12720777",
        base_url="https://raw.githubusercontent.com/des-science/DES-SN5YR/1.3/0_DATA/DES-SN5YR_DES",
        files=(
            RemoteFile(
                "DES-SN5YR_DES_HEAD.FITS.gz",
                "sha256:08c1fb41dfe8b4e8a969f205144f94c9f6838a1a895a0fedc75b837fb87fd00a",
                2_929_622,
            ),
            RemoteFile(
                "DES-SN5YR_DES_PHOT.FITS.gz",
                "sha256:10248f0364e90f88626ef19cf5ecf052500bbcbfd27f14f8b94cf8ffbc7dd01c",
                66_106_516,
            ),
            RemoteFile("DES-SN5YR_DES.LIST", format="text"),
            RemoteFile("DES-SN5YR_DES.README", format="text"),
        ),
        next_command="snflow ingest {folder} --store catalogue",
        volume="about 69 MB",
    ),
}


def find_dataset(name: str) -> Dataset:
    """Return the dataset of a name.

    Raises:
        SettingsError: if there is none; the message names the nearest, and all.
    """
    if name in DATASETS:
        return DATASETS[name]
    nearest = max(DATASETS, key=lambda known: difflib.SequenceMatcher(None, known, name).ratio())
    raise SettingsError(f"no dataset {name!r}; did you mean {nearest}? There are {', '.join(DATASETS)}")


def default_folder() -> Path:
    """Return the user's cache folder for snflow, such as ~/.cache/snflow (Linux) or ~/Library/Caches/snflow (macOS)."""
    return Path(pooch.os_cache("snflow"))


def describe(out: Path) -> list[dict[str, Any]]:
    """Describe every dataset, and how much of it is in a folder; present files are counted, not read."""
    return [_describe(name, dataset, out / name) for name, dataset in DATASETS.items()]


def _describe(name: str, dataset: Dataset, folder: Path) -> dict[str, Any]:
    return {
        "name": name,
        "title": dataset.title,
        "citation": dataset.citation,
        "doi": dataset.doi,
        "licence": dataset.licence or None,
        "size": dataset.size,
        "volume": dataset.volume,
        "folder": str(folder),
        "n_files": len(dataset.files),
        "n_present": sum((folder / file.name).is_file() for file in dataset.files),
        "files": [
            {"name": file.name, "checksum": file.checksum, "size": file.size, "url": f"{dataset.base_url}/{file.name}"}
            for file in dataset.files
        ],
    }


def copies_at_hand(files: Sequence[RemoteFile], archives: Sequence[Path]) -> dict[str, Path]:
    """Find out which files the user has: an archive is a file of the same name, a folder of such files, or, where only
    one file is wanted, that file by any name.

    Raises:
        SourceError: if an archive does not exist, or holds nothing that is wanted.
    """
    found: dict[str, Path] = {}
    for archive in archives:
        if not archive.exists():
            raise SourceError(f"{archive}: no such file or folder")
        at_hand = {file.name: archive / file.name for file in files if (archive / file.name).is_file()}
        if archive.is_file():
            name = files[0].name if len(files) == 1 else archive.name
            at_hand = {file.name: archive for file in files if file.name == name}
        if not at_hand:
            raise SourceError(f"{archive} is none of {', '.join(file.name for file in files)}, nor a folder of them")
        found |= at_hand
    return found


def next_command(dataset: Dataset, paths: Sequence[Path]) -> str:
    """Return what to type next, ready for a shell."""
    words = {"folder": shlex.quote(str(paths[0].parent)), "first": shlex.quote(str(paths[0]))}
    return dataset.next_command.format_map(words)
