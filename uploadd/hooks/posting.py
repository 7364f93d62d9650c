"""A hook that is an address: one POST, one answer, and nothing that the answer could ask for.

No redirect is followed, nothing is unpacked, and no more is read than an answer may have.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple
from urllib.parse import urlsplit

import h11
import trio

from uploadd.errors import HookFailed
from uploadd.protocol.hooks import MAX_ANSWER

READ: Final = 16 * 1024
_FAILURES: Final = (
    *(OSError, trio.BrokenResourceError, trio.ClosedResourceError),
    *(ssl.SSLError, ssl.CertificateError),
    UnicodeError,  # of a name that cannot be anybody's
)


class Target(NamedTuple):
    """Where documents are posted to."""

    host: str
    port: int
    secure: bool
    path: str
    """With its query."""

    @property
    def authority(self) -> str:
        """What goes into Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def target_of(url: str) -> Target:
    """Where *url*, which the configuration has let pass, leads."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.hostname or "", parts.port or (443 if secure else 80), secure, path)


async def post(
    target: Target,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    trust: ssl.SSLContext | None = None,
) -> bytes:
    """What *target* answers to *body*.  Raises HookFailed, unless it is 2xx and small."""
    try:
        async with _connected(target, trust) as stream:
            return await _exchange(stream, target, headers, body)
    except h11.RemoteProtocolError as error:
        raise HookFailed(f"{target.authority} gives no whole answer: {error}") from error
    except _FAILURES as error:
        raise HookFailed(f"{target.authority} cannot be reached: {_reason(error)}") from error


@asynccontextmanager
async def _connected(
    target: Target, trust: ssl.SSLContext | None
) -> AsyncIterator[trio.abc.Stream]:
    stream: trio.abc.Stream = await trio.open_tcp_stream(target.host, target.port)
    try:
        if target.secure:
            trust = trust or ssl.create_default_context()
            stream = secured = trio.SSLStream(
                stream, trust, server_hostname=target.host, https_compatible=True
            )
            await secured.do_handshake()  # here, where its failure is told as what it is
        yield stream
    finally:
        await trio.aclose_forcefully(stream)


async def _exchange(
    stream: trio.abc.Stream, target: Target, headers: Sequence[tuple[str, str]], body: bytes
) -> bytes:
    connection = h11.Connection(h11.CLIENT)
    fields = [
        ("Host", target.authority),
        ("User-Agent", "uploadd"),
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        ("Connection", "close"),
        *headers,
    ]
    head = h11.Request(method="POST", target=target.path, headers=fields)
    sent = (connection.send(head), connection.send(h11.Data(body)))
    connection.send(h11.EndOfMessage())
    with suppress(trio.BrokenResourceError):  # it may have answered before it has read all
        await stream.send_all(b"".join(data for data in sent if data))
    return await _answer(stream, connection, target)


async def _answer(stream: trio.abc.Stream, connection: h11.Connection, target: Target) -> bytes:
    answer, status = bytearray(), 0
    while True:
        event = connection.next_event()
        match event:
            case h11.NEED_DATA:
                data = bytes(await stream.receive_some(READ))
                if not data and not status:
                    raise HookFailed(f"{target.authority} closed without an answer")
                connection.receive_data(data)
            case h11.Response():
                status = event.status_code
            case h11.Data():
                answer += event.data
                if len(answer) > MAX_ANSWER:
                    raise HookFailed(f"{target.authority} answers more than {MAX_ANSWER} bytes")
            case h11.EndOfMessage():
                break
            case _:
                pass  # 1xx
    if not 200 <= status < 300:
        raise HookFailed(f"{target.authority} answers {status}")
    return bytes(answer)


def _reason(error: BaseException) -> str:
    """In the words of whoever knows best: trio puts its own error around that of TLS, and around
    those of the addresses that it has tried.
    """
    cause = error.__cause__ or error
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return (isinstance(cause, OSError) and cause.strerror) or str(cause) or type(cause).__name__
