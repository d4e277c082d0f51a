"""A web server on this machine that serves a few files, and fails on demand."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS_OF_PATIENCE = 20.0


@dataclass(frozen=True)
class Seen:
    """A request: the path asked for, its Range header, and the bytes of content that were sent."""

    path: str
    range: str | None
    n_sent: int


@dataclass
class FileServer:
    """What is served: `failures` are used up one a request: a status, or the bytes after which the line is cut.

    With `ranges` off, a request for the rest of a file is answered with all of it. A request for a stalled path gets
    half of its file and then silence, until `go_on` is set.
    """

    files: dict[str, bytes]
    ranges: bool = True
    tells_length: bool = True
    failures: list[tuple[str, int]] = field(default_factory=list)
    stalled: set[str] = field(default_factory=set)
    seen: list[Seen] = field(default_factory=list)
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def serve(files: dict[str, bytes], **settings: Any) -> Iterator[FileServer]:
    """Serve files on a free port of 127.0.0.1."""
    served = FileServer(files, **settings)

    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS_OF_PATIENCE

        def do_GET(self) -> None:
            answer(self, served)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield served
        finally:
            served.go_on.set()
            server.shutdown()
            thread.join(SECONDS_OF_PATIENCE)


def answer(request: BaseHTTPRequestHandler, served: FileServer) -> None:
    """Answer one request, and note what was sent."""
    wanted = request.headers.get("Range")
    kind, value = served.failures.pop(0) if served.failures else ("", 0)
    name = request.path.rpartition("/")[2]
    if kind == "status" or name not in served.files:
        served.seen.append(Seen(request.path, wanted, 0))  # before anything is sent: the client may look at once
        request.send_error(value or 404)
        return
    content = served.files[name]
    start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and served.ranges else None  # type: ignore[index]
    body = content[start or 0 :]
    n_sent = len(body) // 2 if name in served.stalled else value if kind == "cut" else len(body)
    served.seen.append(Seen(request.path, wanted, n_sent))
    send_headers(request, len(content), start, served.tells_length)
    request.wfile.write(body[:n_sent])
    if name in served.stalled:
        served.go_on.wait(SECONDS_OF_PATIENCE)
    request.close_connection = True


def send_headers(request: BaseHTTPRequestHandler, size: int, start: int | None, tells_length: bool) -> None:
    """Send the headers of a whole file (start None), of its rest, or of a range beyond its end."""
    if start is not None and start >= size:
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{size}")
        request.send_header("Content-Length", "0")
    else:
        request.send_response(200 if start is None else 206)
        if start is not None:
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if tells_length:
            request.send_header("Content-Length", str(size - (start or 0)))
    request.end_headers()
