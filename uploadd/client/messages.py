"""A WebSocket as four methods: the only file of the client that sees the library."""

from __future__ import annotations

import os
import ssl
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol, cast

import h11
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    HandshakeError,
    WebSocketConnection,
    wrap_client_stream,
)
from wsproto.utilities import LocalProtocolError

from uploadd.client import masking, problem
from uploadd.client.address import (
    CONNECT_SECONDS,
    Address,
    Stream,
    ended,
    open_stream,
    speaks_tls,
    unavailable,
    wants_tls,
)
from uploadd.client.errors import Rejected, UploadFailed
from uploadd.protocol.masking import apply_mask

SUBPROTOCOL: Final = "uploadd.v1"
PATH: Final = "/-/ws"
FINAL_BINARY: Final = 0x82  # FIN and opcode 2
MASKED: Final = 0x80
ABNORMAL: Final = 1006  # RFC 6455 7.4.1: nobody said goodbye
CLOSE_SECONDS: Final = 2.0
MAX_MESSAGE: Final = 1 << 20  # bytes; a text has at most 8 KiB
RECEIVE_BUFFER: Final = 64 << 10


class Closed(Exception):
    """The conversation is over, with the *code* and *reason* of the goodbye."""

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
    """``Messages`` over trio-websocket.

    Binary messages are framed here: the library copies each four times, which at 1 MiB costs
    more than all the rest.
    """

    def __init__(
        self, connection: WebSocketConnection, stream: _SharedStream, reader: _Reader
    ) -> None:
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
        if isinstance(message, str):
            await self._whole(self._connection.send_message, message)
        else:
            await self._whole(self._send_binary, message)

    async def _send_binary(self, message: bytes) -> None:
        data = frame(message)
        try:
            async with self._stream.lock:
                if self._connection.closed is not None:
                    raise Closed(ABNORMAL, "the connection is closing")
                await self._stream.send_alone(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Closed(ABNORMAL, "the network") from None

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
            raise Closed(ABNORMAL, "the connection is closing") from None
        self._going -= 1

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See Messages."""
        try:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                if not self._going:
                    with suppress(ConnectionClosed, LocalProtocolError):
                        await self._connection.aclose(code, reason[:100])
            await trio.aclose_forcefully(self._stream)
        finally:  # cancelled, the line above is; and the reader may wait for who takes a message
            self._reader.scope.cancel()


def frame(payload: bytes) -> bytes:
    """*payload* as a binary message of one frame, masked (RFC 6455 5.2)."""
    count = len(payload)
    key = os.urandom(4)  # unpredictable, as 5.3 wants it
    if count < 126:
        header = struct.pack("!BB4s", FINAL_BINARY, MASKED | count, key)
    elif count < 1 << 16:
        header = struct.pack("!BBH4s", FINAL_BINARY, MASKED | 126, count, key)
    else:
        header = struct.pack("!BBQ4s", FINAL_BINARY, MASKED | 127, count, key)
    return header + apply_mask(payload, key)


class _SharedStream(trio.abc.Stream):
    """The stream below the library, to which we send frames of our own: one at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.lock = trio.StrictFIFOLock()
        self._first: bytes | None = None  # what came at first

    @property
    def answered(self) -> bool:
        """Whether a byte came."""
        return bool(self._first)

    @property
    def speaks_tls(self) -> bool:
        """Whether the other end answers in TLS what we asked without."""
        return isinstance(self._stream, trio.SocketStream) and speaks_tls(self._first or b"")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """For the library."""
        async with self.lock:
            await self._stream.send_all(data)

    async def send_alone(self, data: bytes) -> None:
        """For whoever holds the lock."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """See trio.abc.SendStream."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """See trio.abc.ReceiveStream."""
        data = await self._stream.receive_some(max_bytes)
        if self._first is None:
            self._first = bytes(data[:2])
        return data

    async def aclose(self) -> None:
        """See trio.abc.AsyncResource."""
        await self._stream.aclose()


class _Reader:
    """Where the library starts its one task: in place of a nursery, since what that task raises
    (a refused handshake) would end the nursery, and its end before the handshake nobody tells.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self.scope = trio.CancelScope(shield=True)  # it must hear the goodbye; close ends it
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
            h11.LocalProtocolError,  # of an answer that is no HTTP
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
        stream = _SharedStream(await open_stream(base, context))
        reader = _Reader(nursery)
        connection = None
        try:
            connection = await _handshake(reader, stream, base, token)
        finally:
            if connection is None:
                reader.scope.cancel()
                await trio.aclose_forcefully(stream)
        return WebSocket(connection, stream, reader)
    raise unavailable(base, f"no answer within {CONNECT_SECONDS:.0f} s")


async def _handshake(
    reader: _Reader, stream: _SharedStream, base: Address, token: str | None
) -> WebSocketConnection:
    connection, address = None, base.below(PATH)
    with reader.handshake:
        connection = await wrap_client_stream(
            cast("trio.Nursery", reader),
            cast("trio.SocketStream", stream),  # any stream will do, its author says
            address.authority,
            address.path,
            subprotocols=[SUBPROTOCOL],
            extra_headers=[(b"Authorization", f"Bearer {token}".encode())] if token else None,
            max_message_size=MAX_MESSAGE,
            receive_buffer_size=RECEIVE_BUFFER,
        )
    if isinstance(reader.error, ConnectionRejected):
        raise _refusal(reader.error, base)
    if connection is None:
        if stream.speaks_tls:
            raise wants_tls(base)
        why = "the connection ended during the handshake"
        raise unavailable(base, why) if stream.answered else await ended(base, why)
    if connection.subprotocol != SUBPROTOCOL:
        raise _stranger(base)
    return connection


def _refusal(error: ConnectionRejected, base: Address) -> UploadFailed:
    """What the answer to the handshake means, when it is not 101."""
    status, body = error.status_code, error.body or b""
    if problem.is_problem(status, body) or (not base.secure and speaks_tls(body)):
        return problem.failure(status, body, base)
    return _stranger(base, f" (it answered {status})")


def _stranger(base: Address, told: str = "") -> Rejected:
    return Rejected(
        "not-uploadd",
        f"{base.below(PATH).url} does not speak {SUBPROTOCOL}{told}",
        "check the URL; a proxy in between must pass WebSocket upgrades on",
    )


def _closed(error: ConnectionClosed) -> Closed:
    reason = error.reason
    return Closed(reason.code, reason.reason or "") if reason else Closed(ABNORMAL, "")
