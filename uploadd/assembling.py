"""Uploads that are put together from others (tus concatenation), in the background.

What is done is in the ledger like any other append, so that a restart goes on in the middle.
As long as a part is not whole nobody holds a claim, so that what waits expires like any other
upload: when neither it nor the part that it waits for has moved for long.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

import trio

from uploadd import errors
from uploadd.claim import Claim
from uploadd.errors import StoreError, UploadError
from uploadd.protocol.requests import parts_of
from uploadd.protocol.upload import Input, State, Upload, accept
from uploadd.uploads import Uploads

log = logging.getLogger("uploadd.assembling")
STEP: Final = 64 << 20
"""Bytes of one turn in a thread."""
AT_ONCE: Final = 4
MOST: Final = 4096
"""Parts of all that wait for them, or for their turn."""
PAUSE: Final = 5.0
"""Seconds until it is tried again after the disk failed."""
STOP_SECONDS: Final = 5.0
"""How long a daemon that stops waits for the end of a step."""


class Assembling:
    """Run `run` as long as *uploads* are served."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._busy = trio.CapacityLimiter(AT_ONCE)
        self._send, self._receive = trio.open_memory_channel[tuple[Upload, trio.Event]](math.inf)
        self._count = 0
        self._running, self._ended = trio.CancelScope(), trio.Event()

    @contextmanager
    def place(self, parts: Sequence[str]) -> Iterator[None]:
        """A place for an upload that is made of *parts*, which `begin` takes.  Raises TooMany."""
        if self._count + len(parts) > MOST:
            raise errors.TooMany(
                f"{self._count} parts are waited for, at most {MOST} can be",
                hint="try again when others have been put together",
            )
        with self._counted(parts):
            yield

    @contextmanager
    def _counted(self, parts: Sequence[str]) -> Iterator[None]:
        self._count += len(parts)
        try:
            yield
        finally:
            self._count -= len(parts)

    async def begin(self, upload: Upload) -> None:
        """Put *upload* together from the parts that it names, which are `pinned` until it is."""
        taken = trio.Event()
        self._send.send_nowait((upload, taken))
        await taken.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with what the last daemon left, then with what comes.

        Started, nobody can end the parts that are needed.
        """
        try:
            with self._running:
                async with trio.open_nursery() as nursery:
                    for id in await self._uploads.ledger.assembled():
                        await nursery.start(self._keep_on, await self._uploads.find(id))
                    task_status.started()
                    async for upload, taken in self._receive:
                        await nursery.start(self._keep_on, upload)
                        taken.set()
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End `run`: when it returns nothing more is copied, unless a step is stuck in the disk.

        Nobody may `begin` any more.
        """
        self._running.cancel(reason="stopped")
        with trio.move_on_after(STOP_SECONDS):
            await self._ended.wait()

    async def _keep_on(
        self, upload: Upload, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Until it is complete, or cannot be any more."""
        parts = parts_of(upload.echo)
        with self._counted(parts), self._uploads.pinned(parts):
            task_status.started()
            while True:
                if await self._tried(upload):
                    return
                await trio.sleep(PAUSE)

    async def _tried(self, upload: Upload) -> bool:
        """One attempt; whether there is to be no other."""
        try:
            parts = await self._parts(upload)
            if upload.state is State.RECEIVING:
                async with self._busy:
                    await self._assemble(upload, parts)
        except StoreError as error:
            log.warning("putting together %s: %s; trying again", upload.id, error)
            return False
        except UploadError as error:
            log.warning("cannot put together %s: %s", upload.id, error)
            with suppress(UploadError):
                await self._uploads.cancel(upload)
        return True

    # --- waiting --------------------------------------------------------------------------------

    async def _parts(self, upload: Upload) -> list[Upload]:
        """All of its parts, whole, unless it has ended meanwhile.  Raises what became of one."""
        if upload.offset == upload.length:  # and it needs none any more
            return []
        found = {id: await self._uploads.find(id) for id in parts_of(upload.echo)}
        parts = [found[id] for id in parts_of(upload.echo)]
        for part in found.values():
            while upload.state is State.RECEIVING and not _is_whole(part):
                part.check(Input.APPEND)  # raises what has become of it
                upload.modified = max(upload.modified, part.modified)
                unknown = [one for one in found.values() if one.length is None]
                if upload.length is None and not unknown:
                    self._declare(upload, _total(parts))
                await self._uploads.movement(upload, part, *unknown)
        if upload.length is None and upload.state is State.RECEIVING:
            self._declare(upload, _total(parts))
        return parts

    def _declare(self, upload: Upload, length: int) -> None:
        self._uploads.reserve(upload, length)
        upload.declare(length)

    # --- putting together -----------------------------------------------------------------------

    async def _assemble(self, upload: Upload, parts: list[Upload]) -> None:
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
                if not claim.run.received:  # its length may have been put off
                    await self._uploads.room_for(upload.length)
                await self._copy_all(claim, parts)
                await self._uploads.complete(upload, claim=claim)
        finally:
            self._uploads.release(claim)
        if isinstance(claim.ended, StoreError):  # else somebody has ended it, and knows
            claim.check()

    async def _copy_all(self, claim: Claim, parts: list[Upload]) -> None:
        """Append every part that is not there yet."""
        at = 0
        for part in parts:
            length = part.length or 0
            skip = min(max(claim.run.received - at, 0), length)
            await self._copy(claim, part, skip, length)
            at += length

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


def _total(parts: list[Upload]) -> int:
    return sum(part.length or 0 for part in parts)


def _is_whole(part: Upload) -> bool:
    return part.length is not None and part.offset >= part.length
