"""Uploads that are put together from others (tus concatenation), in the background.

What is done is in the ledger like any other append, so that a restart goes on in the middle.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Final

import trio

from uploadd.claim import Claim
from uploadd.errors import StoreError, UploadError
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import Input, State, Upload, accept
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd.assembling")
STEP: Final = 64 << 20
"""Bytes of one turn in a thread."""
AT_ONCE: Final = 4
PAUSE: Final = 5.0
"""Seconds until it is tried again after the disk failed."""


class Assembling:
    """Run `run` as long as *uploads* are served."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._busy = trio.CapacityLimiter(AT_ONCE)
        self._send, self._receive = trio.open_memory_channel[tuple[Upload, trio.Event]](math.inf)

    async def begin(self, upload: Upload) -> None:
        """Put *upload* together from the parts that it names, which are `pinned` until it is."""
        taken = trio.Event()
        self._send.send_nowait((upload, taken))
        await taken.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with what the last daemon left, then with what comes.

        Started, nobody can end the parts that are needed.
        """
        async with trio.open_nursery() as nursery:
            for upload in await self._uploads.unfinished():
                if parts_of(upload.echo):
                    await nursery.start(self._keep_on, upload)
            task_status.started()
            async for upload, taken in self._receive:
                await nursery.start(self._keep_on, upload)
                taken.set()

    async def _keep_on(
        self, upload: Upload, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until it is complete, or cannot be any more."""
        with self._uploads.pinned(parts_of(upload.echo)):
            task_status.started()
            while True:
                if await self._tried(upload):
                    return
                await trio.sleep(PAUSE)

    async def _tried(self, upload: Upload) -> bool:
        """One attempt; whether there is to be no other."""
        try:
            await self._assemble(upload)
        except StoreError as error:
            log.warning("putting together %s: %s; trying again", upload.id, error)
            return False
        except UploadError as error:
            log.warning("cannot put together %s: %s", upload.id, error)
            with suppress(UploadError):
                await self._uploads.cancel(upload)
        return True

    async def _assemble(self, upload: Upload) -> None:
        """Raises UploadError."""
        scope = trio.CancelScope()

        def stop(error: UploadError) -> None:
            scope.cancel(reason=error.code)

        def fault(error: Exception) -> None:
            log.error("putting together %s: %r", upload.id, error)

        claim = self._uploads.contend(upload, stop, lambda: None, fault)
        try:
            with scope:
                await self._uploads.settle(claim)
                if upload.length is None or claim.run.received < upload.length:
                    await self._copy_all(claim)
                await self._uploads.complete(upload, claim=claim)
                log.info("put together %s, %d bytes", upload.id, upload.length)
        finally:
            self._uploads.release(claim)
        if isinstance(claim.ended, StoreError):  # else somebody has ended it, and knows
            raise claim.ended

    async def _copy_all(self, claim: Claim) -> None:
        """Append every part, whole; those that are not whole yet are waited for."""
        upload, at = claim.upload, 0
        parts = [await self._whole(id) for id in parts_of(upload.echo)]
        total = sum(part.length or 0 for part in parts)
        if upload.length is None:
            await self._uploads.room_for(total)
            upload.declare(total)
            claim.run.end = None
        async with self._busy:
            for part in parts:
                length = part.length or 0
                skip = min(max(claim.run.received - at, 0), length)
                await self._copy(claim, part, skip, length)
                at += length

    async def _whole(self, id: str) -> Upload:
        part = await self._uploads.find(id)
        while part.length is None or part.offset < part.length:
            if part.state is not State.RECEIVING:
                part.check(Input.APPEND)  # raises what has become of it
            await self._uploads.movement(part)
        return part

    async def _copy(self, claim: Claim, part: Upload, start: int, end: int) -> None:
        uploads, upload, run = self._uploads, claim.upload, claim.run
        while start < end:
            count, at = min(STEP, end - start), run.received
            accept(upload, run, at, count)
            await uploads.store.copy(part.id, start, start + count, upload.id, at)
            run.written = run.received
            claim.heard = trio.current_time()
            uploads.commit.wrote(upload)
            await uploads.commit.settle(upload)  # a restart goes on here
            start += count
