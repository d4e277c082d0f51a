"""Downloads over HTTP that go on where they stopped.

The bytes are kept in a file beside the final one; a later call asks the server for the rest (RFC 9110, section 14), and
starts anew where the server cannot give it. Proxies come from the environment: HTTPS_PROXY, HTTP_PROXY, NO_PROXY.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Final

import requests
import urllib3

__all__ = ["DownloadError", "NetworkError", "Progress", "download"]

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are here, and how many there will be (None: unknown)."""

TIMEOUTS: Final = (15.0, 60.0)
"""Of a connection, and of a silence after it [s]."""
CHUNK_BYTES: Final = 1 << 16
_PASSING_STATUS: Final = frozenset({408, 425, 429})
"""Client errors that pass by themselves; all server errors do."""


class DownloadError(ValueError):
    """A download that would fail again: no such file, or not the file that was asked for."""


class NetworkError(ConnectionError):
    """A download that may succeed later; what has come is kept."""


def download(url: str, path: Path, size: int | None = None, progress: Progress | None = None) -> int:
    """Download into a file, after what it already holds.

    Args:
        url: of the file.
        path: where to; made if it is not there.
        size: of the whole file [bytes], where it is known.
        progress: called as bytes come.

    Returns:
        The bytes that came over the network in this call.

    Raises:
        DownloadError: if the server refuses, or its file has another size.
        NetworkError: if there is no connection, or it breaks; the same call goes on later.
    """
    start = path.stat().st_size if path.exists() else 0
    if size is not None and start > size:
        path.unlink()
        start = 0
    if size is not None and start == size > 0:
        return 0
    try:
        with _request(url, start) as response:
            if response.status_code == requests.codes.requested_range_not_satisfiable:
                return _at_the_end(url, path, start, response, progress)
            _check_status(response)
            return _save(response, path, start if _goes_on(response, start) else 0, size, progress)
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise NetworkError(_in_short(error)) from error
    except requests.RequestException as error:
        raise DownloadError(str(error)) from error


def _request(url: str, start: int) -> requests.Response:
    headers = {"Accept-Encoding": "identity", "User-Agent": f"snflow/{metadata.version('snflow')}"}
    if start:
        headers["Range"] = f"bytes={start}-"
    return requests.get(url, headers=headers, stream=True, timeout=TIMEOUTS)


def _check_status(response: requests.Response) -> None:
    if response.ok:
        return
    said = f"the server answered {response.status_code} {response.reason}".rstrip()
    if response.status_code >= 500 or response.status_code in _PASSING_STATUS:
        raise NetworkError(said)
    raise DownloadError(said)


def _goes_on(response: requests.Response, start: int) -> bool:
    """Whether the answer begins where the file on disk ends."""
    return response.status_code == requests.codes.partial_content and _range(response)[0] == start


def _range(response: requests.Response) -> tuple[int | None, int | None]:
    """Return the first byte and the size of the whole file, as a Content-Range header gives them."""
    found = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(?:(\d+)|\*)", response.headers.get("Content-Range", "").strip())
    first, total = found.groups() if found else (None, None)
    return (None if first is None else int(first)), (None if total is None else int(total))


def _at_the_end(url: str, path: Path, start: int, response: requests.Response, progress: Progress | None) -> int:
    """Deal with a server that has nothing after `start`: the file is whole already, or it is another one."""
    if _range(response)[1] == start:
        return 0
    path.unlink()
    return download(url, path, progress=progress)


def _save(response: requests.Response, path: Path, start: int, size: int | None, progress: Progress | None) -> int:
    length = response.headers.get("Content-Length", "")
    total = start + int(length) if length.isdecimal() else _range(response)[1]
    if size is not None and total not in (None, size):
        raise DownloadError(f"the server's file has {total:,} bytes, expected {size:,}")
    done = start
    with path.open("ab" if start else "wb", buffering=0) as file:
        while chunk := response.raw.read1(
            CHUNK_BYTES, decode_content=False
        ):  # iter_content loses what came before a cut
            file.write(chunk)
            done += len(chunk)
            if progress is not None:
                progress(done, total)
    expected = size if total is None else total
    if expected is not None and done < expected:
        raise NetworkError(f"the connection was cut after {done:,} of {expected:,} bytes")
    return done - start


def _in_short(error: BaseException) -> str:
    """Say what lies at the bottom of nested network errors."""
    while isinstance(getattr(error, "reason", None), BaseException):
        error = error.reason  # type: ignore[attr-defined]
    inner = [argument for argument in error.args if isinstance(argument, BaseException)]
    return _in_short(inner[0]) if inner else str(error) or type(error).__name__
