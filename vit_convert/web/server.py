"""A web server for this machine alone, with the headers that the page gains from."""

from __future__ import annotations

import errno
import logging
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vit_convert.errors import UsageError

ADDRESS = "127.0.0.1"
# Isolated from other origins, a page may use SharedArrayBuffer, and so threads.
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_OWN_NAMES = (ADDRESS, "localhost")
_log = logging.getLogger(__name__)


class _Handler(SimpleHTTPRequestHandler):
    # Not what this machine's registry says: Windows knows .js as text/plain.
    extensions_map = {  # noqa: RUF012 - so declared by the class above
        "": "application/octet-stream",
        ".css": "text/css",
        ".html": "text/html",
        ".js": "text/javascript",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
    }

    def send_head(self) -> Any:
        """Refuse who came by another name: a page elsewhere whose domain was bound to us."""
        if urlsplit(f"//{self.headers.get('Host', '')}").hostname not in _OWN_NAMES:
            self.send_error(HTTPStatus.FORBIDDEN, "Only for this machine")
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """Folders are not listed."""
        self.send_error(HTTPStatus.NOT_FOUND, "File not found")

    def end_headers(self) -> None:
        """Add ours to every answer."""
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the class above's name
        """To the log, not to stderr."""
        _log.info(format, *args)


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder at 127.0.0.1, listening; `serve_forever` answers.

    Args:
        folder: what to serve.
        port: 0 for any that is free.

    Raises:
        UsageError: the port cannot be had.
    """
    try:
        return ThreadingHTTPServer((ADDRESS, port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise UsageError(
            "is in use already" if taken else f"cannot be had: {error.strerror}",
            where=f"port {port}",
            expected="a free port",
            hint="--serve 0 takes any that is free",
        ) from error


def url(listening: ThreadingHTTPServer) -> str:
    """The address of a server."""
    return f"http://{ADDRESS}:{listening.server_address[1]}/"
