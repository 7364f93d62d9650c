"""Requests over a road that is in doubt: plain, blocking, and nothing repeated."""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPMessage, HTTPSConnection
from threading import Timer
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

SECONDS: Final = 15.0
"""For one look at the socket; an answer may take many."""
LONGEST: Final = 30.0
"""Seconds of one answer."""
LARGEST: Final = 1 << 20  # of an answer


class RoadError(Exception):
    """There is no way through at all; the message says why."""


class Reply(NamedTuple):
    """What came back."""

    status: int
    fields: HTTPMessage
    body: bytes

    def told(self) -> dict[str, object]:
        """The JSON object in it; empty when there is none."""
        try:
            return msgspec.json.decode(self.body, type=dict[str, object])
        except msgspec.DecodeError:
            return {}

    @property
    def code(self) -> str:
        """The code of our own error; empty when somebody else answers."""
        return str(self.told().get("code", "")) if self.status >= 400 else ""


class Road:
    """To the daemon at *url*, as peers take it; raises ValueError when it is no URL for that."""

    def __init__(self, url: str, token: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url} is no URL of a server: write https://files.example.com")
        self.secure, self.host = parts.scheme == "https", parts.hostname
        self.port = parts.port
        self.authority = parts.netloc.rpartition("@")[2]
        self.base = parts.path.rstrip("/")
        self._token = token

    def ask(
        self, method: str, path: str, fields: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Reply:
        """One request and its answer.  Raises RoadError."""
        connection = self.begin(method, path, {"Content-Length": str(len(body)), **(fields or {})})
        try:
            self.send(connection, body)
            return self.reply(connection)
        finally:
            connection.close()

    def begin(self, method: str, path: str, fields: Mapping[str, str]) -> HTTPConnection:
        """A connection on which the head of a request was sent.  Raises RoadError."""
        kind = HTTPSConnection if self.secure else HTTPConnection
        connection = kind(self.host, self.port, timeout=SECONDS)
        try:
            connection.connect()
            target = path if path.startswith(self.base) and self.base else self.base + path
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in fields.items():
                connection.putheader(name, value)
            if self._token is not None:
                connection.putheader("Authorization", f"Bearer {self._token}")
            connection.endheaders()
        except (OSError, HTTPException, ValueError) as error:
            connection.close()
            raise _no_way(error) from error
        return connection

    def send(self, connection: HTTPConnection, data: bytes) -> None:
        """More of a body.  Raises RoadError."""
        try:
            connection.send(data)
        except OSError as error:
            raise _no_way(error) from error

    def reply(self, connection: HTTPConnection) -> Reply:
        """The answer on *connection*.  Raises RoadError."""
        try:
            with _ended(connection.sock):
                answer = connection.getresponse()
                body = b"" if answer.status == 101 else answer.read(LARGEST)
        except (OSError, HTTPException) as error:
            raise _no_way(error) from error
        return Reply(answer.status, answer.headers, body)

    def early(self, connection: HTTPConnection, seconds: float) -> Reply | None:
        """The answer within *seconds* to a request that is not over, if any.  Raises RoadError."""
        ready, _, _ = select.select([connection.sock], [], [], seconds)
        return self.reply(connection) if ready else None

    def certificate_ends(self) -> float:
        """When the certificate that is shown there ends, in epoch seconds.  Raises RoadError."""
        with closing(self.begin("GET", "/healthz", {})) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            shown = connection.sock.getpeercert() or {}
            return ssl.cert_time_to_seconds(str(shown["notAfter"]))

    def upgrade(self) -> Reply:
        """The answer to a WebSocket handshake.  Raises RoadError."""
        fields = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
            "Sec-WebSocket-Protocol": "uploadd.v1",
        }
        connection = self.begin("GET", "/-/ws", fields)
        try:
            return self.reply(connection)
        finally:
            connection.close()


@contextmanager
def _ended(sock: socket.socket) -> Iterator[None]:
    """Hang up when the block has not ended after `LONGEST`.  Raises RoadError."""
    late: list[bool] = []

    def hang_up() -> None:
        late.append(True)
        with suppress(OSError):  # it is closed
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # under TLS, too: the plain one

    timer = Timer(LONGEST, hang_up)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late:
            raise RoadError(f"an answer did not end within {LONGEST:g} s")


def _no_way(error: OSError | HTTPException | ValueError) -> RoadError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return RoadError(f"its certificate is not good: {error.verify_message}")
    if isinstance(error, ssl.SSLError):
        return RoadError(f"it does not speak TLS there: {error.reason or error}")
    if isinstance(error, ValueError):
        return RoadError(f"it cannot be asked that: {error}")
    if isinstance(error, OSError):
        return RoadError(error.strerror or str(error) or type(error).__name__)
    return RoadError(f"what answers there is no HTTP server: {error!r}")
