"""The server of the page: for this machine alone, for the folder alone, and never for ever."""

from __future__ import annotations

import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from browsing import served

from vit_convert.browser import server as web_server
from vit_convert.browser.server import CONNECTIONS, HEADERS, server

PAGE = Path(web_server.__file__).parent / "page"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small site, with all that must not be served beside it."""
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.txt").write_text("secret")
    site = outside / "site"
    (site / "litert").mkdir(parents=True)
    (site / "index.html").write_text("the page")
    (site / "litert" / "index.js").write_text("the runtime")
    (site / "link.txt").symlink_to("../secret.txt")
    (site / "inner.txt").symlink_to("index.html")
    (site / "up").symlink_to("..")
    (site / "linked").mkdir()
    (site / "linked" / "index.html").symlink_to("../../secret.txt")
    os.mkfifo(site / "pipe")
    return site


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(folder) as url:
        yield urlsplit(url).netloc


def get(address: str, path: str, host: str = "127.0.0.1", method: str = "GET") -> HTTPResponse:
    connection = HTTPConnection(address, timeout=20)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host)
    connection.endheaders()
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:1234", 200),
        ("evil.example", 403),
        ("evil.example:80", 403),
        ("[", 403),
        ("[::1", 403),
        ("127.0.0.1:99999999", 200),
        ("", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@", 403),
    ],
)
def test_it_answers_this_machine_only(
    host: str, status: int, address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert get(address, "/", host).status == status
    assert capfd.readouterr().err == ""


def test_it_listens_to_this_machine_only(folder: Path) -> None:
    with server(folder, 0) as listening:
        assert listening.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize("path", ["/", "/index.html", "/litert/index.js", "/?a=b#c", "/./"])
def test_files_of_the_folder_are_served(path: str, address: str) -> None:
    assert get(address, path).status == 200


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/litert/",
            "/litert",
            "/nothing",
            "/index.html/",
            "/../secret.txt",
            "/%2e%2e/secret.txt",
        ),
        *("/..%2fsecret.txt", "//../secret.txt", "/%00", "/index.html%00", "/" + "x" * 5000),
        *("/link.txt", "/inner.txt", "/up/secret.txt", "/up/site/index.html", "/linked/"),
        *("/linked/index.html", "/pipe", "/nothing%20is%20here", "/%ff%fe", "/."),
    ],
)
def test_nothing_else_is_served(path: str, address: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither folders, nor pipes, nor what links lead to, inside or outside."""
    answer = get(address, path)
    assert answer.status == (200 if path == "/." else 404)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "X" * 70000])
def test_nothing_can_be_changed(method: str, address: str) -> None:
    assert get(address, "/", method=method).status in (414, 501)


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/nothing", 404)])
def test_every_answer_carries_the_headers(path: str, status: int, address: str) -> None:
    answer = get(address, path)
    assert answer.status == status
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert policy.endswith("; frame-ancestors 'none'")


def test_the_policy_is_that_of_the_page(address: str) -> None:
    (stated,) = re.findall(r'content="(default-src [^"]+)"', (PAGE / "index.html").read_text())
    policy = get(address, "/").headers["Content-Security-Policy"]
    assert policy == f"{stated}; frame-ancestors 'none'"


def half_open(address: str, count: int) -> list[socket.socket]:
    """Connections that begin a request and do not end it."""
    host, port = address.split(":")
    sockets = [socket.create_connection((host, int(port)), timeout=20) for _ in range(count)]
    for each in sockets:
        each.sendall(b"GET / HTTP/1.1\r\nHost: 127")
    return sockets


def test_half_open_requests_hold_few_threads_and_keep_nobody_out(folder: Path) -> None:
    before = threading.active_count()
    with served(folder) as url:
        address = urlsplit(url).netloc
        sockets = half_open(address, 300)
        assert get(address, "/").status == 200
        assert threading.active_count() - before < CONNECTIONS + 20
        for each in sockets:
            each.close()


def test_a_request_that_does_not_come_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_server, "REQUEST_SECONDS", 0.5)
    with served(folder) as url:
        slow, silent = half_open(urlsplit(url).netloc, 1), half_open(urlsplit(url).netloc, 1)
        started = time.monotonic()
        for _ in range(100):  # a byte now and then does not help
            try:
                slow[0].sendall(b"x")
            except OSError:
                break
            time.sleep(0.1)
        assert time.monotonic() - started < 8
        assert silent[0].recv(100) == b""
        for each in (*slow, *silent):
            each.close()


def test_a_reader_that_takes_nothing_is_given_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert web_server._Handler.timeout == web_server.SEND_SECONDS <= 60
    monkeypatch.setattr(web_server._Handler, "timeout", 0.5)
    (folder / "large").write_bytes(bytes(64 << 20))
    before = threading.active_count()
    with served(folder) as url:
        host, port = urlsplit(url).netloc.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /large HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
            connection.recv(10)
            for _ in range(100):
                if threading.active_count() <= before + 1:
                    break
                time.sleep(0.1)
            assert threading.active_count() <= before + 1
