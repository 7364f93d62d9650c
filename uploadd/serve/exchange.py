"""One HTTP request and its answer, on an h11 connection that lives no longer than that."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final, cast

import h11
import trio

from uploadd.errors import BadRequest, TooSlow, UploadError
from uploadd.protocol import fields
from uploadd.protocol.fields import Field
from uploadd.serve.outlet import LINGER_SECONDS, FileSpan, linger, outlet

__all__ = ["Exchange", "FileSpan", "linger"]

IDLE: Final = 60.0
"""Seconds without a byte after which a request's body is given up; nginx's client_body_timeout."""
DRAIN_BYTES: Final = 64 * 1024
"""A rest of a body that is sooner read than a new connection is made."""

_RECEIVE: Final = 128 * 1024


class Exchange:
    """One request and its answer.  One task at a time may receive, and one may send.

    *conn* has been fed the head alone and has returned *request*; *behind* are the bytes that
    came with the head and belong to the body or to what follows it.  *data* limits the threads
    that read files (None: trio's); *now* gives epoch seconds.

    When the peer is gone, or has taken nothing for a minute, sending and receiving raise
    trio.BrokenResourceError: there is nobody left to tell.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        conn: h11.Connection,
        request: h11.Request,
        request_id: str,
        *,
        behind: bytes = b"",
        data: trio.CapacityLimiter | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.stream = stream
        self.request = request
        self.request_id = request_id
        self.now = now
        self.trailers: Sequence[tuple[bytes, bytes]] = ()
        """Fields that came behind the body; to be read after its last byte."""
        self.common: Sequence[Field] = ()
        """Fields that go with every final answer."""
        self._conn = conn
        self._outlet = outlet(stream, data)
        self._sound = True  # no send has failed or was left in the middle
        self._received = 0  # bytes of the body
        self._owed: int | None = None  # bytes of a body that h11 does not see, still to come
        self._beyond = b""  # what followed such a body
        self._lost = False
        if behind:
            conn.receive_data(behind)

    # --- the request's body ---------------------------------------------------------------

    @property
    def length(self) -> int | None:
        """Declared bytes of the request's body; 0 without one, None for one that is chunked."""
        return fields.body_length(self.request.headers)

    async def receive_body(self) -> bytes:
        """The next bytes of the request's body, ``b""`` after the last.

        Asks for the body (100 Continue) if the client waits for that.  Raises BadRequest when
        its framing is wrong, TooSlow after a minute without a byte.  Cancelled, it takes nothing.
        """
        await trio.lowlevel.checkpoint()
        if self._owed is not None:
            data = await self._receive(min(self._owed, _RECEIVE)) if self._owed else b""
            self.body_moved(len(data))
            return data
        while (ready := self._ready()) is None:
            await self._continue()
            self._conn.receive_data(await self._receive(_RECEIVE))
        return ready

    async def hand_over_body(self) -> tuple[bytes, int]:
        """Take a body of declared length away from h11, before any of it was received.

        Returns what came with the head and how many bytes are still on the socket.  Whoever
        moves those, in the kernel or by `receive_body`, says so with `body_moved`.
        """
        length = fields.content_length(self.request.headers)
        if length is None or self._received:
            raise RuntimeError("only a whole body of declared length can be handed over")
        behind = self._conn.trailing_data[0]
        first, self._beyond = behind[:length], behind[length:]
        if len(first) < length:
            await self._continue()
        self._owed = length - len(first)
        return first, self._owed

    def body_moved(self, count: int) -> None:
        """*count* bytes of a body that was handed over have left the socket."""
        assert self._owed is not None
        assert count <= self._owed
        self._owed -= count

    def body_lost(self) -> None:
        """Nobody looks at the rest of the body, or knows where it begins: the connection ends."""
        self._lost = True

    @property
    def leftover(self) -> bytes:
        """What came behind the body: the beginning of the next request."""
        return self._conn.trailing_data[0] if self._owed is None else self._beyond

    # --- the answer -----------------------------------------------------------------------

    async def inform(self, status: int, headers: Iterable[Field] = ()) -> None:
        """Send an interim answer (1xx), if the client's HTTP knows them (RFC 9110 15.2)."""
        if self.request.http_version < b"1.1":
            return
        event = h11.InformationalResponse(
            status_code=status, headers=list(headers), reason=fields.reason(status)
        )
        waits = self._conn.they_are_waiting_for_100_continue
        await self._send(self._conn.send(event))
        # To h11 any interim answer ends the waiting; to the client only 100 does.
        self._conn.client_is_waiting_for_100_continue = waits and status != 100

    async def answer(self, status: int, headers: Iterable[Field], body: bytes = b"") -> None:
        """Send a whole answer.  It is the last word if much of the request is still to come."""
        unread = self._unread()
        out = self._head(status, headers, len(body), unread)
        if self.request.method != b"HEAD":
            out += self._conn.send(h11.Data(data=body))
        await self._send(out + self._conn.send(h11.EndOfMessage()))
        await self._settle(unread)

    async def stream_answer(
        self,
        status: int,
        headers: Iterable[Field],
        pieces: Iterable[bytes | FileSpan] | AsyncIterable[bytes | FileSpan],
    ) -> None:
        """Send an answer piece by piece; *headers* tell its length if it is known.

        To HEAD no piece is asked for.  Raises StoreError when a file is shorter than its span:
        what was promised is then never made up, and the connection is finished.
        """
        unread = self._unread()
        await self._send(self._head(status, headers, None, unread))
        if self.request.method == b"HEAD":
            pass
        elif isinstance(pieces, AsyncIterable):
            async for piece in pieces:
                await self._send_piece(piece)
        else:
            for piece in pieces:
                await self._send_piece(piece)
        await self._send(self._conn.send(h11.EndOfMessage()))
        await self._settle(unread)

    async def refuse(self, error: UploadError, extra_headers: Iterable[Field] = ()) -> None:
        """Answer with *error* as a problem document (RFC 9457)."""
        status, headers, body = fields.problem_document(error, self.request_id)
        await self.answer(status, [*headers, *extra_headers], body)

    @property
    def answered(self) -> bool:
        """Whether a final answer has begun, or a send has failed: an error can then only close."""
        return not self._sound or self._conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE)

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request: `leftover`, then its stream."""
        body_read = self._conn.their_state is h11.DONE or self._owed == 0
        return self._sound and self._conn.our_state is h11.DONE and body_read

    # --- inside ---------------------------------------------------------------------------

    def _ready(self) -> bytes | None:
        """Bytes of the body that are here, ``b""`` after the last, None when there are none."""
        if self._conn.their_state not in (h11.SEND_BODY, h11.ERROR):
            return b""  # h11 would wait for the next request
        try:
            event = self._conn.next_event()
        except h11.RemoteProtocolError as exc:
            raise BadRequest(f"the body of the request is malformed: {exc}") from exc
        if event is h11.NEED_DATA:
            return None
        if isinstance(event, h11.Data):
            self._received += len(event.data)
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self.trailers = list(event.headers)
        return b""

    async def _receive(self, limit: int) -> bytes:
        with trio.move_on_after(IDLE) as patience:
            data = await self.stream.receive_some(limit)
        if patience.cancelled_caught:
            raise TooSlow(f"no byte of the request's body came for {IDLE:.0f} s")
        if not data:
            raise trio.BrokenResourceError("the peer closed in the middle of its request")
        return bytes(data)

    async def _continue(self) -> None:
        if self._conn.they_are_waiting_for_100_continue:
            await self.inform(100)

    def _unread(self) -> int | None:
        """Bytes of the request's body that are still to come; None when nobody can tell."""
        if self._lost:
            return None
        if self._owed is not None:
            return self._owed
        try:
            while ready := self._ready():
                pass
        except BadRequest:
            return None
        if ready is not None:
            return 0
        length = fields.content_length(self.request.headers)
        # Without 100 Continue the body may come or not.
        if length is None or self._conn.they_are_waiting_for_100_continue:
            return None
        return length - self._received

    def _head(
        self, status: int, headers: Iterable[Field], length: int | None, unread: int | None
    ) -> bytes:
        close = unread is None or unread > DRAIN_BYTES
        completed = fields.complete(
            [*headers, *self.common], status=status, now=self.now(), length=length, close=close
        )
        return self._conn.send(
            h11.Response(status_code=status, headers=completed, reason=fields.reason(status))
        )

    async def _send_piece(self, piece: bytes | FileSpan) -> None:
        # h11 asks of a piece nothing but its length, and hands it through.
        event = h11.Data(data=cast("bytes", piece))
        framed = cast("list[bytes | FileSpan] | None", self._conn.send_with_data_passthrough(event))
        for part in framed or ():
            await self._send(part)

    async def _send(self, piece: bytes | FileSpan) -> None:
        await trio.lowlevel.checkpoint()
        if not self._sound:
            raise trio.BrokenResourceError("half a message went out before")
        # Not sound until the last byte is out: whatever ends this early leaves half a message.
        self._sound = False
        if isinstance(piece, FileSpan):
            await self._outlet.send_span(piece)
        else:
            await self._outlet.send(piece)
        self._sound = True

    async def _settle(self, unread: int | None) -> None:
        """After the answer: read a small rest of the request, or part in peace from a large one."""
        if unread is None or unread > DRAIN_BYTES:
            self._sound = False
            await linger(self.stream)
        elif unread:
            with (
                trio.move_on_after(LINGER_SECONDS),
                suppress(trio.BrokenResourceError, UploadError),
            ):
                while await self.receive_body():
                    pass
