"""Bad inputs of every kind, each beside a good one, and what is said: `python -m tests.pipeline.ingest.bad_inputs`.

The table that this prints stands in pipeline/ingest/README.md, and a test compares them.
"""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.store import IngestSettings, Store, ingest
from tests.pipeline.ingest.snana_files import ROWS, Written
from tests.pipeline.ingest.table_files import Curve, write_csv, write_fits, write_parquet

CURVES = tuple(Curve(f"x{number}", ROWS) for number in range(200))
Builder = Callable[[Path], object]


def changed(old: str, new: str) -> Builder:
    """Write an SNANA text in which something else stands."""
    return lambda folder: (folder / "sn.dat").write_text(Written("9").text().replace(old, new))


def content(name: str, data: bytes) -> Builder:
    """Write a file of these bytes."""
    return lambda folder: (folder / name).write_bytes(data)


def cut(write: Callable[..., list[Path]], which: int, share: float, **options: object) -> Builder:
    """Write a table and cut one of its files short."""

    def build(folder: Path) -> None:
        path = write(folder, CURVES, **options)[which]
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return build


def half_a_pair(gone: int) -> Builder:
    """Write HEAD and PHOT, and take one of them away."""
    return lambda folder: write_fits(folder, CURVES)[gone].unlink()


def table(**columns: list[object]) -> Builder:
    """Write a long CSV of one object with some columns replaced, or left out where None."""

    def build(folder: Path) -> None:
        (path,) = write_csv(folder, CURVES[:1])
        lines = [line.split(";") for line in path.read_text().splitlines()]
        for name, values in columns.items():
            place = lines[0].index(name)
            for line, value in zip(lines[1:], values, strict=False):
                line[place] = str(value)
        path.write_text("\n".join(";".join(line) for line in lines) + "\n")

    return build


def in_tar(name: str, kind: bytes = tarfile.REGTYPE) -> Builder:
    """Write a tar archive with one odd member."""

    def build(folder: Path) -> None:
        data = Written("9").text().encode()
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd" if kind != tarfile.REGTYPE else ""
        info.size = len(data) if kind == tarfile.REGTYPE else 0
        with tarfile.open(folder / "night.tar.gz", "w:gz") as archive:
            archive.addfile(info, io.BytesIO(data))

    return build


def encrypted(folder: Path) -> None:
    """Write a zip archive whose member asks for a password."""
    with zipfile.ZipFile(folder / "night.zip", "w") as archive:
        info = zipfile.ZipInfo("sn.dat")
        archive.writestr(info, Written("9").text())
        info.flag_bits |= 1


def one_long_line(folder: Path) -> None:
    """Write a line of a gigabyte, without its bytes."""
    (folder / "sn.dat").write_bytes(b"SNID: 7 ")
    os.truncate(folder / "sn.dat", 1 << 30)


LINKED_VOTABLE = (
    b'<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE><TABLE>'
    b'<FIELD name="SNID" datatype="char" arraysize="*"/><FIELD name="MJD" datatype="double"/>'
    b'<DATA><BINARY><STREAM href="file:///etc/passwd"/></BINARY></DATA></TABLE></RESOURCE></VOTABLE>'
)
"""astropy would open the file, or any address."""

BAD_INPUTS: dict[str, Builder] = {
    "empty file": content("sn.dat", b""),
    "binary file with a light curve's name": content("sn.dat", bytes(range(256))),
    "header cut short": content("sn.dat", Written("9").text().encode()[:13]),
    "no measurements": content("sn.dat", Written("9").text().partition("\nOBS:")[0].encode()),
    "fewer rows than NOBS says": changed("NOBS:  3", "NOBS:  5"),
    "row cut short": changed("20.0  2.0  NULL  25.000", "20.0"),
    "word for a number in a row": changed("20.0", "bright"),
    "word for a number in the header": changed("SNTYPE:", "REDSHIFT_HELIO: high\nSNTYPE:"),
    "a key twice": changed("SNTYPE:", "SNID: 10\nSNTYPE:"),
    "no SNID": changed("SNID:", "SNIP:"),
    "no error column": changed("FLUXCALERR", "WEIGHT"),
    "band that FILTERS does not announce": changed("56000.5  r", "56000.5  Y"),
    "zeropoint that cannot be": changed("SNTYPE:", "ZP_FLUXCAL: 1e9\nSNTYPE:"),
    "two objects in one file": lambda folder: (folder / "sn.dat").write_text(Written("9").text() * 2),
    "NaN flux (the measurement is left out)": changed("20.0", "nan"),
    "negative error (the measurement is left out)": changed("20.0  2.0", "20.0  -2.0"),
    "no good measurement": changed("  1.0", "  0.0"),
    "SNID of another file": lambda folder: (folder / "sn.dat").write_text(Written("1").text().replace("20.0", "21.0")),
    "FITS HEAD without PHOT": half_a_pair(1),
    "FITS PHOT without HEAD": half_a_pair(0),
    "FITS cut short": cut(write_fits, 1, 0.9),
    "FITS.gz cut short": cut(write_fits, 1, 0.9, packed=True),
    "Parquet cut short": cut(write_parquet, 0, 0.5),
    "Parquet by name only": content("night.parquet", b"no"),
    "CSV without the columns, given by its path": content("night.csv", b"who,time,filter,f,df\n1,2,g,3,1\n"),
    "CSV without rows": content("night.csv", b"SNID,MJD,BAND,FLUXCAL,FLUXCALERR\n"),
    "CSV with a word for a number": table(FLUXCAL=["bright"]),
    "CSV with an error of zero (left out)": table(FLUXCALERR=[0.0]),
    "VOTable whose data lie elsewhere": content("night.vot", LINKED_VOTABLE),
    "gzip cut short": content("sn.dat.gz", gzip.compress(Written("9").text().encode())[:-12]),
    "decompression bomb": content("sn.dat.gz", gzip.compress(bytes(80 << 20))),
    "packed twice": content("sn.dat.gz", gzip.compress(gzip.compress(Written("9").text().encode()))),
    "tar member that climbs out": in_tar("../../sn.dat"),
    "link in a tar": in_tar("sn.dat", tarfile.SYMTYPE),
    "encrypted zip": encrypted,
    "link to a folder": lambda folder: (folder / "loop").symlink_to(folder),
    "pipe": lambda folder: os.mkfifo(folder / "sn.dat"),
    "line of a gigabyte": one_long_line,
    "text that no reader knows, given by its path": content("notes.dat", b"nothing to see\n"),
}
"""What is wrong, and how such a file is made."""


def message(name: str, scratch: Path) -> str:
    """Ingest the bad input beside a good one, and return what the quarantine says of it."""
    folder = scratch / "night"
    folder.mkdir()
    (folder / "good.dat").write_text(Written("1").text())
    BAD_INPUTS[name](folder)
    sources = sorted(folder.iterdir()) if name.endswith("given by its path") else [folder]
    store = Store.create(scratch / "store")
    summary = ingest(sources, store, IngestSettings(max_bad_fraction=1, workers=1))
    if "1" not in store.snids() or summary.n_files != summary.n_ingested + summary.n_quarantined:
        raise AssertionError(f"{name}: the good object is lost, or a file is not accounted for: {summary}")
    first = store.quarantine().sort_values("FILE").iloc[0]
    line = f", line {int(first['LINE'])}" if first["LINE"] == first["LINE"] else ""
    return f"{first['FILE']}{line}: {first['REASON']}"


def table_lines() -> list[str]:
    """Return the rows of the table, as Markdown."""
    lines = []
    for name in BAD_INPUTS:
        with TemporaryDirectory() as scratch:
            lines.append(f"| {name} | {message(name, Path(scratch)).replace('|', '¦')} |")
    return lines


if __name__ == "__main__":
    print("\n".join(table_lines()))  # noqa: T201
