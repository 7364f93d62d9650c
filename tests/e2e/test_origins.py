"""A page elsewhere changes nothing, whatever its visitor's browser sends along: the real daemon."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Final

import pytest

from tests import wire
from tests.e2e.daemon import Daemon
from tests.e2e.rights import Asker
from uploadd.auth import files
from uploadd.protocol.tokens import Claims

ALLOWED: Final = "https://good.example"
# What pages send, and whether they may: without Origin nobody is a page, and a cookie is nobody's.
ROWS: Final = (
    (("https://good.example",), True),
    (("HTTPS://GOOD.EXAMPLE",), True),
    (("https://evil",), False),
    (("null",), False),
    (("https://good.example.evil.com",), False),
    (("https://good.example:8443",), False),
    (("http://good.example",), False),
    (("https://good.example", "https://good.example"), False),
    ((), False),
)


@pytest.fixture(scope="module")
def ana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asker]:
    """Somebody whose browser keeps a token as a cookie, before a daemon that lets in one page."""
    store = tmp_path_factory.mktemp("origins")
    token = files.new_token(str(store / ".uploadd" / "tokens"), Claims("ana"))
    with Daemon(store, "--set", f"server.origins={ALLOWED}") as daemon:
        daemon.start()
        yield Asker(daemon, token)


def asked(daemon: Daemon, request: bytes) -> bytes:
    """The head of the answer, and what comes with it."""
    with closing(socket.create_connection(daemon.address, timeout=60)) as connection:
        connection.sendall(request)
        return connection.recv(65536)


def sent_by(origins: Sequence[str], credential: str) -> list[bytes]:
    """The fields that a browser sends for a page of *origins*."""
    return [*(f"Origin: {one}".encode() for one in origins), credential.encode()]


@pytest.mark.parametrize(("origins", "may"), ROWS)
def test_a_page_elsewhere_changes_nothing_by_http(
    ana: Asker, origins: tuple[str, ...], may: bool
) -> None:
    """Neither with a cookie nor, if it has one, with a token; and it reads no answer."""
    path = ana.begun().encode()
    cookie, bearer = f"Cookie: uploadd_token={ana.token}", f"Authorization: Bearer {ana.token}"
    tus = [b"Tus-Resumable: 1.0.0", b"Content-Length: 0"]
    chunk = [*tus[:1], b"Content-Type: application/offset+octet-stream", b"Upload-Offset: 0"]
    for credential in (cookie, bearer):
        page = sent_by(origins, credential)
        allowed = may or (credential is bearer and not origins)
        for method, target, lines, done in (
            (b"POST", b"/files/", [*tus, b"Upload-Length: 2"], b"201"),
            (b"PATCH", path, [*chunk, b"Content-Length: 0"], b"204"),
            (b"DELETE", ana.begun().encode(), tus, b"204"),
        ):
            request = wire.head(*page, *lines, method=method, target=target, host=b"localhost")
            heard = asked(ana.daemon, request)
            refused = b"403" if origins else b"401"
            assert heard.split(b" ")[1] == (done if allowed else refused), (method, heard)
            readable = b"\r\nAccess-Control-Allow-Origin: " in heard
            assert readable is (may and bool(origins)), heard
            assert b"Access-Control-Allow-Origin: *" not in heard
    assert ana.status("HEAD", path.decode(), {"Tus-Resumable": "1.0.0"}) == "200"


@pytest.mark.parametrize(("origins", "may"), ROWS)
def test_a_page_elsewhere_has_no_session(ana: Asker, origins: tuple[str, ...], may: bool) -> None:
    """It is told so in one, since a browser shows no page why a handshake was refused."""
    page = sent_by(origins, f"Cookie: uploadd_token={ana.token}")
    with closing(socket.create_connection(ana.daemon.address, timeout=60)) as connection:
        connection.sendall(wire.handshake(*page))
        heard = b""
        while b"\r\n\r\n" not in heard:
            heard += connection.recv(65536)
        connection.sendall(wire.text({"type": "hello"}))
        while not (told := list(wire.frames(heard.partition(b"\r\n\r\n")[2]))):
            more = connection.recv(65536)
            assert more, heard
            heard += more
    said = json.loads(told[0].payload)
    if may:
        assert said["type"] == "welcome"
    else:  # no browser leaves its origin out
        why = "origin-not-allowed" if origins else "token"
        assert (said["type"], said["code"], said["final"]) == ("error", why, True)
