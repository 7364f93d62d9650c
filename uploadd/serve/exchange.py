"""One HTTP request and its answer."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

import trio

from uploadd.auth import NOBODY
from uploadd.errors import BadRequest, TooSlow, UploadError
from uploadd.protocol import fields, framing
from uploadd.protocol.dialects import spoken
from uploadd.protocol.fields import Field
from uploadd.protocol.framing import Pieces, RequestBody
from uploadd.protocol.heads import Head
from uploadd.serve.outlet import LINGER_SECONDS, FileSpan, linger, outlet
from uploadd.tally import Way

__all__ = ["Exchange", "FileSpan", "linger"]

IDLE: Final = 60.0
"""Seconds without a byte after which a request's body is given up; nginx's client_body_timeout."""
LEAST_RATE: Final = 1024
"""Bytes a second that a body must bring, where nothing else is set."""
DRAIN_BYTES: Final = 64 * 1024
"""A rest of a body that is sooner read than a new connection is made."""

_RECEIVE: Final = 128 * 1024


class Exchange:
    """One request and its answer.  One task at a time may receive, and one may send.

    *behind* are the bytes that came with the *head* and belong to the body or to what follows it.
    *data* limits the threads that read files (None: trio's); *now* gives epoch seconds.

    When the peer is gone, or has taken nothing for a minute, sending and receiving raise
    trio.BrokenResourceError: there is nobody left to tell.
    """

    def __init__(
        self,
        stream: trio.abc.Stream,
        head: Head,
        request_id: str,
        *,
        behind: bytes = b"",
        data: trio.CapacityLimiter | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.stream = stream
        self.head = head
        self.request_id = request_id
        self.now = now
        self.common: Sequence[Field] = ()
        """Fields that go with every final answer."""
        self.named: Sequence[Field] = ()
        """The client's own name of this request, said again."""
        self.who = NOBODY
        """Who asks."""
        self.address = ""
        """Whom they are counted as, where anybody is counted."""
        self.least_rate = LEAST_RATE
        """Bytes a second that the body must bring."""
        self._body = RequestBody(head)
        self._waiting = framing.waits_for_100(head)
        self._outlet = outlet(stream, data)
        self._sound = True  # no send has failed or was left in the middle
        self._begun = self._over = False  # the final answer
        self._last = not framing.may_follow(head)  # nothing follows on this connection
        self._lost = False
        self.status = 0
        """Of the final answer; 0 before it."""
        self.sent = 0
        """Bytes that were sent piece by piece."""
        if behind:
            self._feed(behind)

    @property
    def way(self) -> Way:
        """By which its body comes."""
        return Way(spoken(self.head).wire, self.request_id)

    # --- the request's body ---------------------------------------------------------------

    @property
    def length(self) -> int | None:
        """Declared bytes of the request's body; 0 without one, None for one that is chunked."""
        return None if self.head.chunked else self.head.length or 0

    @property
    def trailers(self) -> Sequence[tuple[bytes, bytes]]:
        """Fields that came behind the body; to be read after its last byte."""
        return self._body.trailers

    async def receive_body(self, most: int = _RECEIVE) -> bytes:
        """The next bytes of the request's body, about *most* of them; ``b""`` after the last.

        Asks for the body (100 Continue) if the client waits for that.  Raises BadRequest when
        its framing is wrong, TooSlow after a minute without a byte of it: what frames chunks is
        none.  Cancelled, it takes nothing.
        """
        if self._body.left != 0:
            await trio.lowlevel.checkpoint()
        until = trio.current_time() + IDLE
        while (ready := self._body.next()) is None:
            await self._continue()
            self._feed(await self._receive(until, most))
        return ready

    def body_at_hand(self) -> bytes | None:
        """The whole body, if all of it came with the head."""
        return self._body.next() if self._body.at_hand else None

    async def hand_over_body(self) -> tuple[bytes, int]:
        """Take a body of declared length out of here, before any of it was received.

        Returns what came with the head and how many bytes are still on the socket.  Whoever
        moves those, in the kernel or by `receive_body`, says so with `body_moved`.
        """
        if self.head.length is None or self._body.left != self.head.length:
            raise RuntimeError("only a whole body of declared length can be handed over")
        first = self._body.next() or b""
        if self._body.left:
            await self._continue()
        return first, self._body.left

    def body_moved(self, count: int) -> None:
        """*count* bytes of a body that was handed over have left the socket."""
        self._body.moved(count)

    def body_lost(self) -> None:
        """Nobody looks at the rest of the body, or knows where it begins: the connection ends."""
        self._lost = True

    @property
    def leftover(self) -> bytes:
        """What came behind the body: the beginning of the next request."""
        return self._body.leftover

    async def peer_gone(self) -> None:
        """Wait until the peer closes, while its answer waits; the body must have been read.

        What it sends meanwhile is the beginning of its next request.
        """
        while await self._receive_ahead():
            pass

    # --- the answer -----------------------------------------------------------------------

    async def inform(self, status: int, headers: Iterable[Field] = ()) -> None:
        """Send an interim answer (1xx), if the client's HTTP knows them (RFC 9110 15.2)."""
        if self.head.version == "1.0":
            return
        self._waiting = self._waiting and status != 100
        await self._send(framing.answer_head(status, headers))

    async def answer(self, status: int, headers: Iterable[Field], body: bytes = b"") -> None:
        """Send a whole answer.  It is the last word if much of the request is still to come."""
        unread = self._unread()
        out = self._answer_head(status, headers, len(body), unread)
        await self._send(out if self.head.method == "HEAD" else out + body)
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
        unread, headers = self._unread(), list(headers)
        form = Pieces(self.head, headers)
        self._last = self._last or form.ends_connection
        await self._send(self._answer_head(status, [*headers, *form.fields], None, unread))
        if self.head.method != "HEAD":
            if isinstance(pieces, AsyncIterable):
                async for piece in pieces:
                    await self._send_piece(piece, form)
                    del piece  # the next may be long in coming
            else:
                for piece in pieces:
                    await self._send_piece(piece, form)
            await self._send(form.end())
        await self._settle(unread)

    async def refuse(self, error: UploadError, extra_headers: Iterable[Field] = ()) -> None:
        """Answer with *error* as a problem document (RFC 9457)."""
        status, headers, body = fields.problem_document(error, self.request_id)
        await self.answer(status, [*headers, *extra_headers], body)

    @property
    def answered(self) -> bool:
        """Whether a final answer has begun, or a send has failed: an error can then only close."""
        return not self._sound or self._begun

    @property
    def reusable(self) -> bool:
        """Whether the connection can carry another request: `leftover`, then its stream."""
        return self._sound and self._over and not self._last and self._body.left == 0

    # --- inside ---------------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        self._body.feed(data)
        self._waiting = self._waiting and not self._body.begun

    async def _receive(self, until: float, most: int) -> bytes:
        """What the peer sends; of a body with a length no more than belongs to it."""
        left = self._body.left
        with trio.move_on_at(until) as patience:
            data = await self.stream.receive_some(min(left or most, most))
        if patience.cancelled_caught:
            raise TooSlow(f"no byte of the request's body came for {IDLE:.0f} s")
        if not data:
            raise trio.BrokenResourceError("the peer closed in the middle of its request")
        return bytes(data)

    async def _receive_ahead(self) -> bool:
        """Take more of what follows this request; False at the end."""
        if self._body.left != 0 or len(self._body.leftover) > DRAIN_BYTES:
            await trio.sleep_forever()
        data = await self.stream.receive_some(DRAIN_BYTES)
        self._body.feed(bytes(data))
        return bool(data)

    async def _continue(self) -> None:
        if self._waiting:
            await self.inform(100)

    def _unread(self) -> int | None:
        """Bytes of the request's body that are still to come; None when nobody can tell."""
        if self._lost:
            return None
        try:
            while self._body.next():
                pass
        except BadRequest:
            return None
        # Without 100 Continue the body may come or not.
        return None if self._waiting else self._body.left

    def _answer_head(
        self, status: int, headers: Iterable[Field], length: int | None, unread: int | None
    ) -> bytes:
        self._begun, self.status = True, status
        self._last = self._last or unread is None or unread > DRAIN_BYTES
        completed = fields.complete(
            [*headers, *self.common, *self.named],
            status=status,
            now=self.now(),
            length=length,
            close=self._last,
        )
        return framing.answer_head(status, completed)

    async def _send_piece(self, piece: bytes | FileSpan, form: Pieces) -> None:
        if not len(piece):
            return
        self.sent += len(piece)
        before, behind = form.around(len(piece))
        for part in (before, piece, behind):
            await self._send(part)

    async def _send(self, piece: bytes | FileSpan) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._sound:
            raise trio.BrokenResourceError("half a message went out before")
        if not len(piece):
            return
        # Not sound until the last byte is out: whatever ends this early leaves half a message.
        self._sound = False
        if isinstance(piece, FileSpan):
            await self._outlet.send_span(piece)
        else:
            await self._outlet.send(piece)
        self._sound = True

    async def _settle(self, unread: int | None) -> None:
        """After the answer: read a small rest of the request, or part in peace from a large one."""
        self._over = True
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
