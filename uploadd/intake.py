"""From one reader to one upload: all the backpressure there is.

The reader hands over with `put`, which never waits: what may be under way is bounded by the
credit of the run and by the daemon's memory budget.  `run` is the writer: it takes all that
waits, writes it in one go, and lets the group commit know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

import trio

from uploadd.claim import Claim
from uploadd.commit import Commit
from uploadd.errors import UploadError
from uploadd.protocol.upload import accept
from uploadd.store.contract import Bytes, Store

GATHER_BYTES: Final = 4 << 20
"""As much as one write takes; a takeover waits for one."""
GATHER_CHUNKS: Final = 1024


class _Chunk(NamedTuple):
    at: int
    data: Bytes
    end: int
    """What the run has written once this is; beyond the data where more was held already."""
    cost: int = 0
    flush: bool = False


class Intake:
    """Chunks on their way to the upload of *claim*.  One reader and one writer.

    *taken* is called with the cost of chunks, in bytes, when they have left memory.
    *max_chunk* is the largest chunk that the peer may send, in bytes.
    """

    def __init__(
        self,
        claim: Claim,
        store: Store,
        commit: Commit,
        *,
        taken: Callable[[int], None],
        max_chunk: int,
    ) -> None:
        self.claim, self._store, self._commit = claim, store, commit
        self._taken, self._max_chunk = taken, max_chunk
        self.finished = False
        self._waiting: deque[_Chunk] = deque()
        self._closed = False
        self._writer = trio.lowlevel.ParkingLot()

    # --- the reader -------------------------------------------------------------------------

    def put(self, at: int, data: Bytes, *, cost: int, flush: bool = False) -> None:
        """Take *data* at position *at*.  Never waits.

        Raises what `accept` raises, or what the claim was stopped for: nothing was taken, and
        *cost* stays with the caller.
        """
        self.claim.check()
        assert not self._closed
        pieces = accept(self.claim.upload, self.claim.run, at, len(data)) or [(at, at)]
        self.claim.came()
        view = memoryview(data)
        for start, end in pieces[:-1]:
            self._waiting.append(_Chunk(start, view[start - at : end - at], end))
        start, end = pieces[-1]
        last = _Chunk(start, view[start - at : end - at], at + len(data), cost, flush)
        self._waiting.append(last)
        if self._writer:
            self._writer.unpark_all()

    def finish(self) -> None:
        """No more chunks: the upload has all its bytes."""
        self.finished = True
        self.close()

    def close(self) -> None:
        """No more chunks from here; the writer runs dry."""
        self._closed = True
        self._writer.unpark_all()

    # --- the writer -------------------------------------------------------------------------

    async def run(self) -> None:
        """Write until the reader ends and all is written.

        Raises StoreError: what was written counts, the rest is thrown away.
        Cancelled: what is being written is finished and counted.
        """
        chunks: list[_Chunk] = []
        try:
            while await self._any():
                self._gather(chunks)
                await self._write(chunks)
        finally:
            for chunk in chunks:
                self._taken(chunk.cost)
            self.abandon()

    async def _any(self) -> bool:
        """Wait until something waits; False when nothing will any more."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting and not self._closed:
            await self._writer.park()
        return bool(self._waiting)

    def _gather(self, chunks: list[_Chunk]) -> None:
        """All that waits, up to the size of one write."""
        size = 0
        while self._waiting and size < GATHER_BYTES and len(chunks) < GATHER_CHUNKS:
            chunks.append(chunk := self._waiting.popleft())
            size += len(chunk.data)

    async def _write(self, chunks: list[_Chunk]) -> None:
        upload, run = self.claim.upload, self.claim.run
        flush, last = any(chunk.flush for chunk in chunks), chunks[-1].end
        for at, buffers, end in _runs(chunks):
            whole = self.finished and at == 0 and upload.length == end == run.received
            await self._store.write(upload.id, at, buffers, whole=whole)
            run.written = max(run.written, end)
        run.written = last
        for chunk in chunks:
            self._taken(chunk.cost)
        chunks.clear()
        self._after(flush=flush)

    def _after(self, *, flush: bool) -> None:
        """What the peer waits for becomes durable at once, the rest before long."""
        upload, run = self.claim.upload, self.claim.run
        starved = run.written == run.received and run.limit - run.received < self._max_chunk
        self._commit.wrote(upload)
        if flush or (starved and not self.finished):
            self._commit.flush(upload)
        self.claim.caught_up()
        self.claim.moved()

    def abandon(self) -> None:
        """Throw away what waits, and give its memory back.  Idempotent."""
        self.close()
        while self._waiting:
            self._taken(self._waiting.popleft().cost)


def _runs(chunks: list[_Chunk]) -> list[tuple[int, list[Bytes], int]]:
    """Chunks that follow on joined into one write each: position, buffers, end."""
    joined: list[tuple[int, list[Bytes], int]] = []
    for chunk in chunks:
        count = len(chunk.data)
        if joined and joined[-1][2] == chunk.at:
            start, buffers, end = joined[-1]
            buffers.append(chunk.data)
            joined[-1] = (start, buffers, end + count)
        elif count:
            joined.append((chunk.at, [chunk.data], chunk.at + count))
    return joined


async def drain(claim: Claim, intake: Intake) -> UploadError | None:
    """Run the writer of *intake* dry; what ended it, if anything did."""
    try:
        await intake.run()
    except UploadError as error:
        claim.stop(error)
    return claim.ended
