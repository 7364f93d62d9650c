"""The body of one HTTP exchange on its way into one upload.  No dialect is known here.

Where it can be, bytes go from the socket into the file without entering this process; else they
are read and written in turn, and whatever the way, what is under way is bounded.
"""

from __future__ import annotations

import fcntl
import os
import sys
import termios
from typing import Final

import trio

from uploadd import errors
from uploadd.budget import Share
from uploadd.claim import Claim
from uploadd.errors import StoreError
from uploadd.pacing import Flow
from uploadd.protocol.kinds import HEAD
from uploadd.protocol.upload import accept, beyond
from uploadd.serve.exchange import IDLE, Exchange
from uploadd.serve.holding import Holder
from uploadd.serve.pace import Pace
from uploadd.store.contract import Pulls
from uploadd.uploads import Uploads

SLICE: Final = 16 << 20
"""Bytes of one turn in a thread."""
LEAST_PULL: Final = 64 << 10
"""Fewer that are ready are sooner read and written."""
AT_HAND: Final = 64 << 10
"""Bytes of a body that came with its head and is written in one go."""
CREDIT: Final = 1 << 20
"""The least that may come when all before it is durable."""


class Writer:
    """What one exchange appends under *claim*; *share* is charged for what is in memory."""

    def __init__(self, uploads: Uploads, claim: Claim, holder: Holder, share: Share) -> None:
        self._uploads, self._claim, self._holder, self._share = uploads, claim, holder, share
        self._upload, self._run = claim.upload, claim.run
        self._provisional = False

    async def write(self, data: bytes) -> None:
        """Write what follows.  Raises LengthExceeded, TooLarge, StoreError: a prefix may count."""
        upload, run, at = self._upload, self._run, self._run.received
        if upload.length is None:
            self._uploads.reserve(upload, at + len(data))
        pieces = accept(upload, run, at, len(data))
        self._claim.came()
        whole = at == 0 and upload.length == run.received
        view = memoryview(data)
        self._share.take(len(data))
        try:
            for start, end in pieces:
                piece = view[start - at : end - at]
                await self._uploads.store.write(
                    upload.id, start, [piece], whole=whole, provisional=self._provisional
                )
        finally:
            self._share.give_back(len(data))
        run.written = run.received
        self._claim.caught_up()
        if not self._provisional:
            self._uploads.commit.wrote(upload)
        if at < HEAD <= run.written and self._uploads.types.restrict:
            await self._uploads.check_content(upload)

    async def credit(self) -> None:
        """Wait until another mebibyte may come: the disk must not fall behind without bound."""
        while not self._grants():
            self._uploads.commit.flush(self._upload)
            await self._holder.moved()

    def _grants(self) -> bool:
        """Raise the credit as far as it goes; whether another mebibyte may come."""
        run = self._run
        return run.grant(run.offset(self._upload), CREDIT) >= run.received + CREDIT


class Body(Writer):
    """The whole body of *exchange*, for one upload; *flow* is what it has to keep to."""

    def __init__(
        self,
        uploads: Uploads,
        exchange: Exchange,
        claim: Claim,
        holder: Holder,
        share: Share,
        flow: Flow | None = None,
    ) -> None:
        super().__init__(uploads, claim, holder, share)
        self._exchange, self._flow = exchange, flow
        self._pace = Pace(exchange.least_rate, claim)

    async def take(self) -> None:
        """Write all of it.  Raises LengthExceeded, TooLarge, StoreError, TooSlow,
        BrokenResourceError: what came before counts.
        """
        length, stream = self._exchange.length, self._exchange.stream
        self._check_length(length)
        if length is not None and length <= AT_HAND:
            data = self._exchange.body_at_hand()
            if data is not None:  # it is in memory already: nothing to wait for
                if data:
                    await self.write(data)
                    await self._pay(len(data))
                return
        store = self._uploads.store
        large = length is not None and length >= LEAST_PULL
        if large and isinstance(stream, trio.SocketStream) and isinstance(store, Pulls):
            await self._pull(store, stream.socket)
        else:
            await self._read()

    def _check_length(self, length: int | None) -> None:
        """Refuse a body that is too long before its first byte."""
        end = self._upload.length if self._run.end is None else self._run.end
        if length is not None and end is not None and self._run.received + length > end:
            raise beyond(self._upload, end, self._run.received + length)

    async def _read(self) -> None:
        """Read and write in turn."""
        while True:
            with self._pace.held_back():
                await self._share.room()
                await self.credit()
            data = await self._exchange.receive_body()
            if not data:
                return
            with self._pace.held_back():
                await self._write_within(data)
                await self._pay(len(data))
            self._pace.came(len(data))

    async def _write_within(self, data: bytes) -> None:
        """Write *data* up to the end of the upload.  Raises as `accept` when it goes beyond."""
        end = self._upload.length if self._run.end is None else self._run.end
        room = len(data) if end is None else end - self._run.received
        if 0 < room < len(data):
            await self.write(data[:room])
            data = data[room:]
        await self.write(data)

    async def _pull(self, store: Pulls, socket: trio.socket.SocketType) -> None:
        """Let the kernel move it; what is not worth a turn in a thread is read and written."""
        first, left = await self._exchange.hand_over_body()
        if first:
            await self.write(first)
            await self._pay(len(first))
        while left:
            if not self._grants():
                with self._pace.held_back():
                    await self.credit()
            with trio.move_on_after(IDLE) as patience:
                await trio.lowlevel.wait_readable(socket)
            if patience.cancelled_caught:
                raise errors.TooSlow(f"no byte of the body came for {IDLE:.0f} s")
            if _ready(socket) < min(left, LEAST_PULL):
                count = await self._piece(socket, min(left, LEAST_PULL))
            else:
                count = await self._slice(store, socket, left)
            left -= count
            if self._flow is not None:
                with self._pace.held_back():
                    await self._pay(count)
            if left:
                self._pace.came(count)

    async def _pay(self, count: int) -> None:
        """Wait until as many bytes may have come."""
        if self._flow is not None:
            await self._flow.pay(count)

    async def _piece(self, socket: trio.socket.SocketType, most: int) -> int:
        """Read and write what is there; how many bytes."""
        if data := _read_now(socket, most):
            self._exchange.body_moved(len(data))
            with self._pace.held_back():
                await self.write(data)
        return len(data)

    async def _slice(self, store: Pulls, socket: trio.socket.SocketType, left: int) -> int:
        """One turn in a thread; how many bytes were moved."""
        upload, run, claim = self._upload, self._run, self._claim
        count = min(left, SLICE, run.limit - run.received)
        if self._flow is not None:
            count = min(count, self._flow.step)
        if upload.length is None:
            self._uploads.reserve(upload, run.received + count)

        def stop() -> bool:  # in a thread
            return claim.ended is not None or claim.awaited is not None

        claim.pulling = True
        try:
            pulled = await store.pull(upload.id, socket.fileno(), run.received, count, stop)
            self._exchange.body_moved(pulled.moved)
            accept(upload, run, run.received, pulled.moved)
            run.written = run.received
        except StoreError:
            self._exchange.body_lost()
            raise
        finally:
            claim.caught_up()
        if pulled.moved:
            claim.came()
            self._uploads.commit.wrote(upload)
            if run.received - pulled.moved < HEAD and self._uploads.types.restrict:
                await self._uploads.check_content(upload)
        if pulled.ended and pulled.moved < left:
            raise trio.BrokenResourceError("the peer closed in the middle of its body")
        return pulled.moved


def _read_now(socket: trio.socket.SocketType, most: int) -> bytes:
    """What can be read at once; nothing after a false alarm.  Raises BrokenResourceError."""
    try:
        data = os.read(socket.fileno(), most)
    except BlockingIOError:
        return b""
    except OSError as error:
        raise trio.BrokenResourceError("the connection broke in the middle of a body") from error
    if not data:
        raise trio.BrokenResourceError("the peer closed in the middle of its body")
    return data


def _ready(socket: trio.socket.SocketType) -> int:
    """Bytes that can be read at once (tcp(7) SIOCINQ); none at the end of the stream."""
    answer = fcntl.ioctl(socket.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(answer, sys.byteorder)
