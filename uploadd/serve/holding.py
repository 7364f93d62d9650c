"""The claim that one HTTP exchange has on one upload, while it appends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from uploadd import errors
from uploadd.claim import Claim
from uploadd.errors import UploadError
from uploadd.protocol.upload import Upload
from uploadd.serve.exchange import Exchange
from uploadd.uploads import Uploads


class Holder:
    """A claim of one exchange: its loss cancels what the exchange is doing with the upload."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self.fault: Exception | None = None
        self._moved = trio.Event()

    def on_stop(self, error: UploadError) -> None:
        """The claim is lost."""
        self.scope.cancel(reason=error.code)

    def on_move(self) -> None:
        """There may be credit again."""
        self._moved.set()

    def on_fault(self, fault: Exception) -> None:
        """An error of ours."""
        self.fault = fault
        self.scope.cancel(reason="an error of ours")

    async def moved(self) -> None:
        """Wait until the offset or the state has changed."""
        self._moved = trio.Event()
        await self._moved.wait()


@asynccontextmanager
async def holding(
    uploads: Uploads,
    upload: Upload,
    exchange: Exchange,
    *,
    at: int | None = None,
    patient: bool = False,
) -> AsyncIterator[tuple[Claim, Holder]]:
    """Have the claim on *upload* while the block runs; *at*: where its next byte must be.

    None: it is new, and nobody else knows it.  *patient*: a daemon that stops waits for it.
    Raises OffsetMismatch, Gone, HolderStuck, and what the claim was lost for.
    """
    holder, way = Holder(), exchange.way
    claim = uploads.contend(upload, holder.on_stop, holder.on_move, holder.on_fault, at=at, way=way)
    claim.bound(exchange.who.most)
    if not patient:
        uploads.interruptible.add(claim)
    try:
        if at is None:
            uploads.settle_new(claim)
        else:
            await uploads.settle(claim)
            if upload.offset != at:
                told = f"upload {upload.id} goes on at {upload.offset}, not at {at}"
                raise errors.OffsetMismatch(told, offset=upload.offset)
        with holder.scope:
            yield claim, holder
        if holder.fault is not None:
            raise holder.fault
        if holder.scope.cancelled_caught:
            claim.check()
    finally:
        uploads.interruptible.discard(claim)
        uploads.release(claim)
