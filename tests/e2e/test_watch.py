"""Watching the real daemon: streams, polls, plain sockets and forms, by clients of the library.

Nothing of ours is used here but the daemon; what is sent and expected stands in ``docs/api.md`` and
``docs/protocol.md``.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.e2e.daemon import Daemon

MIB: Final = 1 << 20
CLIENT: Final = "8928y4yf3y"
SECRET: Final = "s" * 22
WAIT: Final = 60.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon."""
    with Daemon(tmp_path / "served") as daemon:
        daemon.start()
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log


OPEN: Final[list[socket.socket | http.client.HTTPConnection | http.client.HTTPResponse]] = []


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    """Close what a test has opened."""
    yield
    while OPEN:
        OPEN.pop().close()


class Listener:
    """A stream of events, read line by line."""

    def __init__(self, daemon: Daemon, path: str, **fields: str) -> None:
        connection = http.client.HTTPConnection(*daemon.address, timeout=WAIT)
        connection.request("GET", path, headers=fields)
        self.answer = connection.getresponse()
        OPEN.extend([connection, self.answer])
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.getheader("Content-Type") == "text/event-stream"
        self.last = ""

    def event(self) -> tuple[str, dict[str, Any]] | None:
        """Kind and data of the next event; None at the end."""
        kind, data = "", ""
        while line := self.answer.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                data = value
            elif name == "id":
                self.last = value
            elif not name and data:
                return kind, json.loads(data)
        return None

    def until(self, **members: Any) -> list[dict[str, Any]]:
        """What is told up to the first event with these *members*."""
        heard = []
        while (event := self.event()) is not None:
            heard.append(event[1])
            if all(event[1].get(name) == value for name, value in members.items()):
                return heard
        raise AssertionError(heard)


def dial(daemon: Daemon) -> socket.socket:
    """A connection."""
    OPEN.append(connection := socket.create_connection(daemon.address, timeout=WAIT))
    return connection


class Sender:
    """A PUT that stops wherever it is told to."""

    def __init__(self, daemon: Daemon, name: str, length: int, **fields: str) -> None:
        self.socket = dial(daemon)
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        head = f"PUT /{name} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{lines}\r\n"
        self.socket.sendall(head.encode())

    def send(self, count: int) -> None:
        """Send so many bytes."""
        self.socket.sendall(os.urandom(count))

    def answer(self) -> bytes:
        """The answer."""
        return self.socket.recv(65536)


def ask(daemon: Daemon, path: str, data: bytes | None = None, **fields: str) -> Any:
    """The document at *path*."""
    method = "GET" if data is None else "POST"
    request = Request(daemon.url + path, data, headers=fields, method=method)
    with urlopen(request, timeout=WAIT) as answer:
        text = answer.read()
    return json.loads(text) if text else None


def form(field: str, name: str, data: bytes) -> tuple[bytes, str]:
    """A form with one file, and its media type."""
    said = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
    return said.encode() + data + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


def test_a_stream_sees_bytes_that_the_kernel_moves(daemon: Daemon) -> None:
    """From the first to the published file; what it says is durable, and never goes back."""
    listener = Listener(daemon, "/api/events?upload=all")
    sender = Sender(daemon, "large.bin", 32 * MIB)
    id = ""
    for part in range(1, 5):
        sender.send(8 * MIB)
        if part < 4:
            id = listener.until(held=part * 8 * MIB, state="receiving")[-1]["upload"]
    told = listener.until(state="published")
    assert b"201" in sender.answer()
    assert {one["upload"] for one in told} == {id}
    assert [one["held"] for one in told] == sorted(one["held"] for one in told)
    assert all(one["state"] != "published" for one in told[:-1])
    assert told[-1]["held"] == told[-1]["length"] == 32 * MIB
    with urlopen(daemon.url + told[-1]["url"]) as answer:
        assert len(answer.read()) == 32 * MIB


def test_a_poll_waits_for_a_form_of_somebody_else(daemon: Daemon) -> None:
    """By the name that its client chose; and the list of those that run has it."""
    body, kind = form("file", "a.bin", bytes(3 * MIB))
    head = f"POST /api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    poster = dial(daemon)
    poster.sendall(f"{head}Content-Type: {kind}\r\nX-Upload-Id: upload-1\r\n\r\n".encode())
    poster.sendall(body[:MIB])
    seen: list[dict[str, Any]] = []

    def is_seen() -> bool:
        seen[:] = ask(daemon, "/api/uploads/active")["uploads"]
        return bool(seen) and seen[0]["received"] > 0

    assert daemon.settles(is_seen)
    assert (seen[0]["name"], seen[0]["state"]) == ("a.bin", "receiving")
    assert seen[0]["expected"] >= 3 * MIB
    shown = ask(daemon, "/api/upload/upload-1/status?wait=30&after=0")
    assert 0 < shown["held"] <= MIB
    poster.sendall(body[MIB:])
    while shown["state"] != "published":
        shown = ask(daemon, f"/api/upload/upload-1/status?wait=30&after={shown['held']}")
    assert shown["length"] == 3 * MIB
    assert b"201" in poster.recv(65536)
    assert ask(daemon, "/api/uploads/active")["uploads"] == []


def test_a_foreign_socket_hears_of_forms_posted_in_its_name(daemon: Daemon) -> None:
    """``ws://host/?client_id=…``, with nothing but what every WebSocket client does."""
    address = f"{daemon.url.replace('http', 'ws')}/?client_id={CLIENT}"
    with connect(address, compression=None) as listener:
        assert listener.subprotocol is None
        body, kind = form("msa_imgs", "a.png", bytes(300_000))
        fields = {"X-Client-Id": CLIENT, "X-Image-Filesize": "300000", "Content-Type": kind}
        stored = ask(daemon, "/api/upload", body, **fields)
        heard = []
        while not heard or heard[-1]["status"] != "completed":
            heard.append(json.loads(listener.recv(timeout=WAIT)))
        assert {one["field"] for one in heard} == {"msa_imgs"}
        assert {one["total"] for one in heard} == {300_000}
        assert {one["upload"] for one in heard} == {stored["id"]}
        assert [one["progress"] for one in heard][-1] == 100
        assert all(one["progress"] < 100 for one in heard[:-1])
        assert heard[-1]["url"] == stored["url"]


def test_a_foreign_session_watches_what_comes_by_another_wire(daemon: Daemon) -> None:
    """As the page of the protocol says; and cancel means gone for it."""
    with connect(
        f"{daemon.url.replace('http', 'ws')}/-/ws",
        subprotocols=[Subprotocol("uploadd.v1")],
        compression=None,
    ) as session:

        def say(**message: Any) -> None:
            session.send(json.dumps(message))

        def hear() -> dict[str, Any]:
            return json.loads(session.recv(timeout=WAIT))  # type: ignore[no-any-return]

        say(type="hello")
        assert "watch" in hear()["can"]
        say(type="watch", uploads="all")
        sender = Sender(daemon, "x.bin", 10 * MIB)
        sender.send(MIB)
        while (told := hear())["held"] < MIB:
            assert told["type"] == "progress"
        assert (told["state"], told["name"], told["length"]) == ("receiving", "x.bin", 10 * MIB)
        request = Request(f"{daemon.url}/api/upload/{told['upload']}", method="DELETE")
        with urlopen(request, timeout=WAIT) as answer:
            assert answer.status == 204
        while (gone := hear())["type"] != "gone":
            pass
        assert (gone["upload"], gone["reason"]) == (told["upload"], "cancelled")
        with pytest.raises(HTTPError, match="404"):
            ask(daemon, f"/api/upload/{told['upload']}/status")
        growing = daemon.folder / ".uploadd" / "growing"
        assert daemon.settles(lambda: not list(growing.iterdir()))


def test_a_stop_ends_streams_at_once_and_a_restart_remembers_how_things_ended(
    daemon: Daemon,
) -> None:
    """Nobody keeps the daemon from stopping; who was away hears it from the next one."""
    sender = Sender(daemon, "a.bin", 1000, **{"X-Client-Id": SECRET})
    sender.send(1000)
    assert b"201" in sender.answer()
    listener = Listener(daemon, "/api/events?upload=all")
    mine = Listener(daemon, "/api/events?upload=mine", **{"X-Client-Id": SECRET})
    notice = mine.until(type="notice")[-1]
    assert (notice["state"], notice["name"]) == ("published", "a.bin")
    began = time.monotonic()
    daemon.signal(signal.SIGTERM)
    while listener.event() is not None:
        pass
    while mine.event() is not None:
        pass
    assert daemon.wait() == 0
    assert time.monotonic() - began < WAIT
    daemon.start()
    fields = {"X-Client-Id": SECRET, "Last-Event-ID": mine.last}
    again = Listener(daemon, "/api/events?upload=mine", **fields)
    assert (again.event() or ("", {}))[1] == notice
    body = json.dumps({"notices": [notice["notice"]]}).encode()
    ask(daemon, "/api/notices/read", body, **{"X-Client-Id": SECRET})
    assert ask(daemon, "/api/notices", **{"X-Client-Id": SECRET})["unread"] == 0
    listed = ask(daemon, "/api/uploads?of=mine&name=A.BIN", **{"X-Client-Id": SECRET})
    assert [one["upload"] for one in listed["uploads"]] == [notice["upload"]]


def test_a_daemon_for_others_shows_nobody_what_others_have(tmp_path: Path) -> None:
    """Unless it is told to; and an id that is known is shown all the same."""
    said = ("--set", "server.names=files.example", "--set", "access.anonymous=yes")
    with Daemon(tmp_path / "served", *said) as daemon:
        daemon.start()
        sender = Sender(daemon, "a.bin", 10)
        sender.send(10)
        id = sender.answer().split(b"/f/")[1].split(b"/")[0].decode()
        with pytest.raises(HTTPError, match="403"):
            ask(daemon, "/api/uploads")
        assert ask(daemon, f"/api/upload/{id}")["state"] == "published"
