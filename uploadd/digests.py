"""The digest of a whole upload, compared before it is published."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import trio

from uploadd import errors
from uploadd.claim import Claim
from uploadd.protocol.checksums import Hasher
from uploadd.protocol.upload import Upload
from uploadd.store.contract import Store

STEP: Final = 4 << 20
AT_ONCE: Final = 64 * 1024
"""Bytes that are hashed without a thread."""


class Digests:
    """All hashing there is, of what *store* has and of what comes by.

    As many at a time as there are processors.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hashing = trio.CapacityLimiter(os.cpu_count() or 1)
        self._reading = trio.CapacityLimiter(os.cpu_count() or 1)
        """Of steps of what is stored: those who wait for their turn hold nothing in memory."""
        self._alone: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    def alone(self, id: str) -> trio.Lock:
        """While it is held, nobody else computes the digest of the upload *id*."""
        return self._alone.setdefault(id, trio.Lock())

    async def update(self, into: Hasher, data: bytes) -> None:
        """Let *into* take *data* in."""
        if len(data) <= AT_ONCE:
            into.update(data)
        else:
            await trio.to_thread.run_sync(into.update, data, limiter=self._hashing)

    async def check(
        self, upload: Upload, length: int, wanted: bytes, claim: Claim | None = None
    ) -> None:
        """Compare the SHA-256 of the *length* bytes of *upload* with *wanted*.

        What is missing is no mismatch: who completes the upload says so.
        Raises DigestMismatch, StoreError, or what *claim* was stopped for meanwhile.
        """
        digest, at = hashlib.sha256(), 0  # in steps, so that cancelling waits for one
        while at < length:
            if claim is not None:
                claim.check()  # a takeover does not wait for gigabytes
            async with self._reading:
                data = await self._store.read(upload.id, at, min(at + STEP, length))
                await self.update(digest, data)
            if not data:
                return
            at += len(data)
        if digest.digest() != wanted:
            raise errors.DigestMismatch(
                f"the bytes of upload {upload.id} do not have the digest that was announced",
                hint="resume and finish again with the right digest, or cancel",
            )

    async def read(self, fd: int, length: int) -> bytes:
        """The SHA-256 of the *length* bytes of the open file *fd*.  Raises StoreError."""
        digest, at = hashlib.sha256(), 0
        while at < length:
            step = partial(_read, fd, at, min(STEP, length - at), digest)
            at += await trio.to_thread.run_sync(step, limiter=self._hashing)
        return digest.digest()


def _read(fd: int, at: int, count: int, digest: hashlib._Hash) -> int:
    try:
        data = os.pread(fd, count, at)
    except OSError as error:
        raise errors.StoreError(f"the file cannot be read: {error.strerror}") from error
    if not data:
        raise errors.StoreError(f"the file ends at {at}")
    digest.update(data)
    return len(data)
