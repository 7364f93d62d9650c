"""A body with a checksum: nothing of it counts before the last byte is here and right."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

import trio

from uploadd import errors
from uploadd.errors import StoreError
from uploadd.protocol.checksums import Announced, Checksum, Hasher, hasher
from uploadd.serve.appending import Body

STEP: Final = 1 << 20
DISCARD_SECONDS: Final = 5.0


class CheckedBody(Body):
    """Its bytes are written as they come, and thrown away if they are not what was announced."""

    async def take_checked(
        self,
        checksum: Checksum | Announced,
        trailer: Callable[[Iterable[tuple[bytes, bytes]]], Checksum | None] | None,
    ) -> None:
        """Write all of it.  Raises ChecksumMismatch and what `take` raises: nothing counts then."""
        self._provisional = True
        try:
            await self._take(checksum, trailer)
        except BaseException:
            # What cannot be thrown away is cut back later, and is not what went wrong first.
            with trio.move_on_after(DISCARD_SECONDS, shield=True), suppress(StoreError):
                await self._discard()
            raise
        self._uploads.store.confirm(self._upload.id)
        self._uploads.commit.wrote(self._upload)

    async def _take(
        self,
        checksum: Checksum | Announced,
        trailer: Callable[[Iterable[tuple[bytes, bytes]]], Checksum | None] | None,
    ) -> None:
        self._check_length(self._exchange.length)
        if isinstance(checksum, Announced):
            await self._read_hashed(None)
            assert trailer is not None
            told = trailer(self._exchange.trailers)
            if told is not None:  # only now it is known which
                await self._compare(await self._hashed_again(hasher(told.algorithm)), told)
        else:
            found = hasher(checksum.algorithm)
            await self._read_hashed(found)
            await self._compare(found, checksum)

    async def _read_hashed(self, into: Hasher | None) -> None:
        while True:
            with self._pace.held_back():
                await self._share.room()
            data = await self._exchange.receive_body()
            if not data:
                return
            with self._pace.held_back():
                await self.write(data)
                await self._pay(len(data))
                if into is not None:
                    await self._uploads.digests.update(into, data)
            self._pace.came(len(data))

    async def _hashed_again(self, into: Hasher) -> Hasher:
        at, end = self._run.start, self._run.received
        while at < end:
            data = await self._uploads.store.read(self._upload.id, at, min(at + STEP, end))
            if not data:
                raise StoreError(f"upload {self._upload.id} has lost bytes that were written")
            await self._uploads.digests.update(into, data)
            at += len(data)
        return into

    async def _compare(self, found: Hasher, wanted: Checksum) -> None:
        if found.digest() != wanted.value:
            raise errors.ChecksumMismatch(
                f"the body does not have the {wanted.algorithm} that was announced",
                offset=self._upload.offset,
            )

    async def _discard(self) -> None:
        await self._uploads.store.discard(self._upload.id, self._run.start)
