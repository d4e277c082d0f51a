"""Tar archives, packed or not, as streams."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BufferedIOBase
from typing import IO, Any, Final, cast

from pipeline.ingest.packing import Found, HostileArchiveError

__all__ = ["tar_files"]

_MAX_EXTENDED_HEADER: Final = 1 << 20
"""Size of a header that holds a long name, at most [bytes]; tarfile holds it in memory."""
_MAX_ENDS: Final = 4
"""How often the end of an archive may be met: by a cut member, by the header that should follow, and by our check."""
_EXTENDED: Final = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def tar_files(stream: BufferedIOBase, spend: Callable[[int], None]) -> Iterator[Found]:
    """Yield the files of a tar archive, each to be read before the next; `spend` is told of every plain byte.

    Raises:
        EOFError: after the last file, if the archive does not end as a whole one does.
        HostileArchiveError: if a header would fill the memory.
        tarfile.TarError: if the archive is damaged, among other errors of damaged bytes.
    """
    metered = _Metered(stream, spend)
    plain = cast(IO[bytes], metered)
    with tarfile.open(fileobj=plain, mode="r|", bufsize=1 << 18, tarinfo=_CarefulTarInfo) as archive:
        for info in archive:
            archive.members = []  # type: ignore[attr-defined]  # else it remembers every member
            if not info.isdir():
                problem = "" if info.isreg() else "not a plain file: links and devices in archives are not followed"
                yield Found(info.name, info.size, cast(Any, partial(archive.extractfile, info)), False, problem)
    while metered.read(1 << 20):
        pass
    if metered.last.strip(b"\0"):
        raise EOFError("no end-of-archive mark")


class _CarefulTarInfo(tarfile.TarInfo):
    """Refuses headers that tarfile would hold in memory whatever their size; `_proc_*` are its points of extension."""

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in _EXTENDED and self.size > _MAX_EXTENDED_HEADER:
            raise HostileArchiveError(f"header too large: {self.size} bytes for the name of one member")
        return super()._proc_member(archive)  # type: ignore[misc]

    def _proc_sparse(self, archive: tarfile.TarFile) -> Any:
        raise HostileArchiveError("sparse member: an archive with sparse files is not read on; pack it without them")

    def _proc_gnusparse_10(self, *_: object) -> None:
        self._proc_sparse(cast(tarfile.TarFile, None))


class _Metered:
    """A stream that counts what comes out of it, and remembers its last 512 bytes: a tar archive ends with zeros.

    It reads one piece at a time, so that a stream that is cut short gives all of its bytes before it fails. Asked for
    more behind its end, it fails: tarfile would go on asking until it had skipped what a damaged header announces.
    """

    def __init__(self, stream: BufferedIOBase, spend: Callable[[int], None]) -> None:
        self.stream = stream
        self.spend = spend
        self.last = b""
        self.n_ends = 0

    def read(self, size: int) -> bytes:
        data = self.stream.read1(size)
        self.n_ends += not data
        if self.n_ends > _MAX_ENDS:
            raise EOFError("it ends inside a member")
        self.spend(len(data))
        self.last = (self.last + data)[-512:] if len(data) < 512 else data[-512:]
        return data
