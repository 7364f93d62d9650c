"""A WebSocket as four methods: the only file of the client that sees the library."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

import msgspec
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import LocalProtocolError

from uploadd import masking
from uploadd.client.address import CONNECT_SECONDS, Address, Stream, open_stream, unavailable
from uploadd.client.errors import NotAuthorised, Rejected, UploadFailed

SUBPROTOCOL: Final = "uploadd.v1"
PATH: Final = "/-/ws"
CLOSE_SECONDS: Final = 2.0
MAX_MESSAGE: Final = 1 << 20  # bytes; a text has at most 8 KiB
RECEIVE_BUFFER: Final = 64 << 10
NOT_NOW: Final = frozenset({408, 425, 429, 500, 502, 503, 504})  # statuses worth another attempt


class Closed(Exception):
    """The conversation is over.  *code* as in RFC 6455 7.4: 1006 when nobody said goodbye."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason


class Messages(Protocol):
    """Whole messages, in both directions."""

    async def receive(self) -> str | bytes:
        """The next message.  Raises Closed.  Cancelled: nothing is lost."""

    async def send(self, message: str | bytes) -> None:
        """Send *message*.  Raises Closed.  Cancelled: half of it may be out, only close is left."""

    async def ping(self) -> None:
        """Return when the peer has answered a ping.  Raises Closed.  Cancelled: as send."""

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye, wait two seconds at most for the answer, close.  Also when cancelled."""


class WebSocket:
    """``Messages`` over trio-websocket."""

    def __init__(self, connection: WebSocketConnection, stream: Stream, reader: _Reader) -> None:
        self._connection = connection
        self._stream = stream
        self._reader = reader
        self._going = 0  # calls that did not end; a cancelled one may have left half a frame

    async def receive(self) -> str | bytes:
        """See Messages."""
        try:
            return await self._connection.get_message()
        except ConnectionClosed as error:
            raise _closed(error) from None

    async def send(self, message: str | bytes) -> None:
        """See Messages."""
        await self._whole(self._connection.send_message, message)

    async def ping(self) -> None:
        """See Messages."""
        await self._whole(self._connection.ping)

    async def _whole(self, call: Callable[..., Awaitable[None]], *args: Any) -> None:
        self._going += 1
        try:
            await call(*args)
        except ConnectionClosed as error:
            raise _closed(error) from None
        except LocalProtocolError:  # the goodbye has begun
            raise Closed(1006, "the connection is closing") from None
        self._going -= 1

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See Messages."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            if not self._going:
                with suppress(ConnectionClosed, LocalProtocolError):
                    await self._connection.aclose(code, reason[:100])
        await trio.aclose_forcefully(self._stream)
        self._reader.scope.cancel()


class _Reader:
    """Where the library starts its one task: in place of a nursery, since what that task raises
    (a refused handshake) would end the nursery, and its end before the handshake nobody tells.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.scope = trio.CancelScope()
        self.handshake = trio.CancelScope()
        self.error: Exception | None = None

    def start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        """What the library calls."""
        self._nursery.start_soon(self._run, task)

    async def _run(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            with self.scope:
                await task()
        except (
            HandshakeError,
            ConnectionClosed,
            LocalProtocolError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
        ) as error:
            self.error = error
        finally:
            self.handshake.cancel(reason="the connection ended")


async def open_messages(
    nursery: trio.Nursery,
    base: Address,
    token: str | None = None,
    context: ssl.SSLContext | None = None,
) -> Messages:
    """Connect to the server at *base* within ten seconds; *nursery* must outlive the messages.

    Raises ServerUnavailable, NotAuthorised, Rejected.
    """
    masking.install()
    with trio.move_on_after(CONNECT_SECONDS):
        stream = await open_stream(base, context)
        reader = _Reader(nursery)
        connection = None
        try:
            connection = await _handshake(reader, stream, base.below(PATH), token)
        finally:
            if connection is None:
                await trio.aclose_forcefully(stream)
                reader.scope.cancel()
        return WebSocket(connection, stream, reader)
    raise unavailable(base, f"no answer within {CONNECT_SECONDS:.0f} s")


async def _handshake(
    reader: _Reader, stream: Stream, address: Address, token: str | None
) -> WebSocketConnection:
    connection = None
    with reader.handshake:
        connection = await wrap_client_stream(
            cast("trio.Nursery", reader),
            stream,
            address.authority,
            address.path,
            subprotocols=[SUBPROTOCOL],
            extra_headers=[(b"Authorization", f"Bearer {token}".encode())] if token else None,
            max_message_size=MAX_MESSAGE,
            receive_buffer_size=RECEIVE_BUFFER,
        )
    if isinstance(reader.error, ConnectionRejected):
        raise _refusal(reader.error, address)
    if connection is None:
        raise unavailable(address, "the connection ended during the handshake")
    if connection.subprotocol != SUBPROTOCOL:
        raise _stranger(address)
    return connection


class _Problem(msgspec.Struct):
    """What we read of application/problem+json (RFC 9457)."""

    code: str = ""
    detail: str = ""
    hint: str | None = None


def _refusal(error: ConnectionRejected, address: Address) -> UploadFailed:
    """What the answer to the handshake means, when it is not 101."""
    status = error.status_code
    try:
        problem = msgspec.json.decode(error.body or b"{}", type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    told = problem.detail or f"HTTP status {status}"
    if status in NOT_NOW:
        return unavailable(address, told)
    if status == 401:
        return NotAuthorised(f"{address.authority} does not let us in: {told}", problem.hint)
    if not problem.code:
        return _stranger(address, f" (it answered {status})")
    return Rejected(problem.code, f"{address.authority} refused: {told}", problem.hint)


def _stranger(address: Address, told: str = "") -> Rejected:
    return Rejected(
        "not-uploadd",
        f"{address.url} does not speak {SUBPROTOCOL}{told}",
        "check the URL; a proxy in between must pass WebSocket upgrades on",
    )


def _closed(error: ConnectionClosed) -> Closed:
    reason = error.reason
    return Closed(reason.code, reason.reason or "") if reason else Closed(1006, "")
