"""Hashing: as many at a time as there are processors, whoever asks for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Condition

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rings import rings
from tests.serve.test_connection import open_house
from tests.serve.test_plain import form, part
from tests.serve.test_resumable import checksum, created, patch_chunked
from uploadd.digests import AT_ONCE, Digests
from uploadd.protocol.upload import Upload
from uploadd.store.memory import MemoryStore

LARGE = bytes(AT_ONCE + 1)


class Slow:
    """A hash that waits until it may go on, and knows how many of its kind run."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.running = self.most = 0
        self.open = False

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        """Wait."""
        with self.changed:
            self.running += 1
            self.most = max(self.most, self.running)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.open)
            self.running -= 1

    def digest(self) -> bytes:
        """Of nothing."""
        return b""

    def go(self, count: int) -> None:
        """Wait until *count* run, then let all go on."""
        with self.changed:
            assert self.changed.wait_for(lambda: self.running == count, timeout=20)
            self.open = True
            self.changed.notify_all()


async def test_as_many_at_a_time_as_there_are_processors() -> None:
    """What is small needs no thread."""
    digests, slow = Digests(MemoryStore()), Slow()
    processors = os.cpu_count() or 1
    async with trio.open_nursery() as nursery:
        for _ in range(processors + 3):
            nursery.start_soon(digests.update, slow, LARGE)
        await wait_all_tasks_blocked()
        await trio.to_thread.run_sync(slow.go, processors)
    assert (slow.most, slow.running) == (processors, 0)
    small = hashlib.sha256()
    with all_taken(digests):
        await digests.update(small, bytes(AT_ONCE))
    assert small.digest() == hashlib.sha256(bytes(AT_ONCE)).digest()


@contextmanager
def all_taken(digests: Digests) -> Iterator[trio.CapacityLimiter]:
    """While the block runs nothing more is hashed in a thread."""
    limiter = digests._hashing
    holders = [object() for _ in range(int(limiter.total_tokens))]
    for holder in holders:
        limiter.acquire_on_behalf_of_nowait(holder)
    try:
        yield limiter
    finally:
        for holder in holders:
            limiter.release_on_behalf_of(holder)


async def test_those_who_wait_for_their_turn_have_read_nothing() -> None:
    """Of 20 uploads that are checked at one time only those have a step in memory that hash it."""
    reads = list[str]()

    class Store(MemoryStore):
        async def read(self, id: str, start: int, end: int) -> bytes:
            reads.append(id)
            return await super().read(id, start, end)

    store = Store()
    digests, right = Digests(store), hashlib.sha256(LARGE).digest()
    async with trio.open_nursery() as nursery:
        with all_taken(digests):
            for n in range(20):
                await store.write(f"{n}", 0, [LARGE])
                nursery.start_soon(digests.check, Upload(f"{n}"), len(LARGE), right)
            await wait_all_tasks_blocked()
            assert len(reads) == (os.cpu_count() or 1)
    assert len(reads) == 20


async def test_what_is_stored_is_hashed_once(tmp_path: Path) -> None:
    """However many ask at one time, and whoever of them goes away."""
    async with rings(tmp_path) as r:
        upload, hashed = await r.published(LARGE, name="x"), list[int]()
        read = r.uploads.digests.read

        async def noted(fd: int, length: int) -> bytes:
            hashed.append(length)
            if len(hashed) == 1:
                await trio.sleep_forever()
            return await read(fd, length)

        r.uploads.digests.read = noted  # type: ignore[method-assign]
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def leaver() -> None:
                with scope:
                    await r.uploads.digest(upload)

            nursery.start_soon(leaver)
            await wait_all_tasks_blocked()
            for _ in range(20):
                nursery.start_soon(r.uploads.digest, upload)
            await wait_all_tasks_blocked()
            scope.cancel()
        assert hashed == [len(LARGE)] * 2
        assert await r.uploads.digest(upload) == hashlib.sha256(LARGE).digest()
        assert len(hashed) == 2


@pytest.mark.parametrize("kind", ["form", "checksum"])
async def test_bodies_are_hashed_under_the_same_limit(kind: str) -> None:
    """Of forms, and those with a checksum."""
    async with open_house() as house:
        caller = house.call()
        said = form(part(LARGE * 4, "f", "x"))
        if kind == "checksum":
            target = await created(house, b"Upload-Length: 1000000")
            behind = checksum("sha1", LARGE * 4) + b"\r\n"
            line = b"Trailer: Upload-Checksum"
            said = patch_chunked(target, 0, LARGE * 4, line, behind=behind)
        async with trio.open_nursery() as nursery:
            with all_taken(house.desk.uploads.digests) as limiter:
                nursery.start_soon(caller.say, said)
                await wait_all_tasks_blocked()
                assert limiter.statistics().tasks_waiting == 1
        assert (await caller.answer("PATCH")).status in (201, 204)
