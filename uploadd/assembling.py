"""Uploads that are put together from others (tus concatenation), in the background.

What is done is in the ledger like any other append, so that a restart goes on in the middle.
"""

from __future__ import annotations

import logging
import math
from typing import Final

import trio

from uploadd.claim import Claim
from uploadd.errors import UploadError
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import Input, State, Upload, accept
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd.assembling")
STEP: Final = 64 << 20
"""Bytes of one turn in a thread."""
AT_ONCE: Final = 4


class Assembling:
    """Run `run` as long as *uploads* are served."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._busy = trio.CapacityLimiter(AT_ONCE)
        self._send, self._receive = trio.open_memory_channel[Upload](math.inf)

    def start(self, upload: Upload) -> None:
        """Put *upload* together from the parts that it names."""
        self._send.send_nowait(upload)

    async def run(self) -> None:
        """Go on with what the last daemon left, then with what comes."""
        async with trio.open_nursery() as nursery:
            for upload in await self._uploads.unfinished():
                if parts_of(upload.echo):
                    nursery.start_soon(self._assemble, upload)
            async for upload in self._receive:
                nursery.start_soon(self._assemble, upload)

    async def _assemble(self, upload: Upload) -> None:
        scope = trio.CancelScope()

        def stop(error: UploadError) -> None:
            scope.cancel(reason=error.code)

        def fault(error: Exception) -> None:
            log.error("putting together %s: %r", upload.id, error)

        try:
            claim = self._uploads.contend(upload, stop, lambda: None, fault)
            try:
                with scope:
                    await self._uploads.settle(claim)
                    await self._copy_all(claim)
                    await self._uploads.complete(upload, claim=claim)
                    log.info("put together %s, %d bytes", upload.id, upload.length)
            finally:
                self._uploads.release(claim)
        except UploadError as error:
            log.warning("cannot put together %s: %s", upload.id, error)

    async def _copy_all(self, claim: Claim) -> None:
        """Append every part, whole; those that are not whole yet are waited for."""
        upload, at, total = claim.upload, 0, 0
        parts = [await self._whole(id) for id in parts_of(upload.echo)]
        total = sum(part.length or 0 for part in parts)
        if upload.length is None:
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
