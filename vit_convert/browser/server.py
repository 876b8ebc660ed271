"""A web server for this machine alone, with the headers that the page gains from."""

from __future__ import annotations

import errno
import logging
import os
import re
import socket
import stat
import time
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
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
CONNECTIONS = 64  # at once, each with a thread; a browser opens 6
REQUEST_SECONDS = 10  # for a whole request to arrive
SEND_SECONDS = 60  # without the browser taking anything of an answer
_OWN_NAMES = (ADDRESS, "localhost")
_META_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]+)"')
_log = logging.getLogger(__name__)


def content_security_policy() -> str:
    """The policy that the page states itself, and that no other page may frame it.

    The latter has to come in a header: browsers pass over frame-ancestors in the page (W3C Content
    Security Policy Level 3, section 6.4.2).
    """
    page = resources.files(__package__).joinpath("page", "index.html").read_text(encoding="utf-8")
    found = _META_POLICY.search(page)
    assert found is not None
    return f"{found[1]}; frame-ancestors 'none'"


class Server(ThreadingHTTPServer):
    """Answers a limited number of connections at once, none of them for ever.

    Attributes:
        headers: sent with every answer.
    """

    request_queue_size = 2 * CONNECTIONS  # that the system keeps until they are accepted

    def __init__(self, folder: Path, port: int) -> None:
        self.headers = HEADERS | {"Content-Security-Policy": content_security_policy()}
        self._open: set[socket.socket] = set()
        self._waiting: dict[socket.socket, float] = {}  # for its request, since when
        super().__init__((ADDRESS, port), partial(_Handler, directory=os.path.realpath(folder)))

    def process_request(self, request: Any, client_address: Any) -> None:
        """Begin to answer, in place of the connection that has waited longest if there are many."""
        if len(self._open) >= CONNECTIONS:
            waiting = dict(self._waiting)  # a copy, because threads change it
            if not waiting:
                self.shutdown_request(request)
                return
            self._give_up(min(waiting, key=waiting.__getitem__))
        self._open.add(request)
        self._waiting[request] = time.monotonic()
        super().process_request(request, client_address)

    def request_arrived(self, request: Any) -> None:
        """What is read from a connection is whole."""
        self._waiting.pop(request, None)

    def service_actions(self) -> None:
        """Twice a second: give up connections whose request does not come."""
        late = time.monotonic() - REQUEST_SECONDS
        for request, since in dict(self._waiting).items():
            if since < late:
                self._give_up(request)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        self._forget(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away, most of the time: to the log, not to stderr."""
        _log.info("answering %s", client_address, exc_info=True)

    def _give_up(self, request: Any) -> None:
        """Have the thread of a connection, which reads from it, see its end."""
        self._forget(request)
        try:
            request.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed already
            return

    def _forget(self, request: Any) -> None:
        self._open.discard(request)
        self._waiting.pop(request, None)


class _Handler(SimpleHTTPRequestHandler):
    timeout = SEND_SECONDS
    server: Server
    # Fixed here, because the registry of Windows may call .js text/plain.
    extensions_map = {  # noqa: RUF012 - so declared by the class above
        "": "application/octet-stream",
        ".css": "text/css",
        ".gz": "application/gzip",
        ".html": "text/html",
        ".js": "text/javascript",
        ".json": "application/json",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
    }

    def parse_request(self) -> bool:
        """Read the headers, then refuse who came by another name.

        That is a page elsewhere, whose domain was bound to this machine.
        """
        parsed = super().parse_request()
        self.server.request_arrived(self.connection)
        if parsed and not _is_own_name(self.headers.get("Host", "")):
            self.send_error(HTTPStatus.FORBIDDEN, "Only for this machine")
            return False
        return parsed

    def translate_path(self, path: str) -> str:
        """The file of a path; one that is not there, for what is not to be served.

        That is whatever is no regular file, and what a symbolic link leads to.
        """
        nothing = os.path.join(self.directory, "nothing is here")
        try:
            file = super().translate_path(path)
            if file.rstrip("/") == self.directory:
                file = os.path.join(self.directory, "index.html")
            whole = os.path.realpath(file) == file and stat.S_ISREG(os.lstat(file).st_mode)
        except (OSError, ValueError):  # ValueError: a null character
            return nothing
        return file if whole else nothing

    def end_headers(self) -> None:
        """Add ours to every answer."""
        for name, value in self.server.headers.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the class above's name
        """To the log, not to stderr."""
        _log.info(format, *args)


def _is_own_name(host: str) -> bool:
    """Whether a Host header names this machine as the browser on it does."""
    try:
        return urlsplit(f"//{host}").hostname in _OWN_NAMES
    except ValueError:  # such as "["
        return False


def server(folder: Path, port: int) -> Server:
    """A server of a folder at 127.0.0.1, listening; `serve_forever` answers.

    Args:
        folder: what to serve.
        port: 0 for any that is free.

    Raises:
        UsageError: the port cannot be had.
    """
    try:
        return Server(folder, port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        raise UsageError(
            "is in use already" if taken else f"cannot be had: {error.strerror}",
            where=f"port {port}",
            expected="a free port",
            hint="--serve 0 takes any that is free",
        ) from error


def url(listening: Server) -> str:
    """The address of a server."""
    return f"http://{ADDRESS}:{listening.server_address[1]}/"
