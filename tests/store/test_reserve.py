"""What uploads leave free, by whichever way they are written."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.kit import told
from uploadd.errors import NoSpace
from uploadd.protocol.extents import NOTHING
from uploadd.store import reserve as module
from uploadd.store.file import FileStore
from uploadd.store.reserve import Reserve

MIB = 1 << 20
Way = Callable[[FileStore, str], Awaitable[object]]


class Disk:
    """A disk that has as many bytes free as a test says, less those in its files."""

    def __init__(self, folder: Path, free: int) -> None:
        self.free, self.looks, self._folder = free, 0, folder

    @property
    def left(self) -> int:
        """Bytes that are free now."""
        growing = self._folder / ".uploadd/growing"
        return self.free - sum(file.stat().st_size for file in growing.iterdir())

    def fstatvfs(self, fd: int) -> os.statvfs_result:
        """What the disk tells."""
        self.looks += 1
        return os.statvfs_result((1, 1, 0, 0, max(0, self.left), 0, 0, 0, 0, 255))


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Ten mebibytes are free."""
    disk = Disk(tmp_path, 10 * MIB)
    monkeypatch.setattr(os, "fstatvfs", disk.fstatvfs)
    return disk


async def write(store: FileStore, id: str) -> None:
    """A mebibyte, through this process."""
    await store.write(id, 0, [bytes(MIB)])


async def write_whole(store: FileStore, id: str) -> None:
    """A small one that comes whole is written by its flush."""
    for number in range(16):
        await store.write(f"{id}.{number}", 0, [bytes(MIB // 16)], whole=True)
        if isinstance(error := await told(store, f"{id}.{number}"), NoSpace):
            raise error


async def pull(store: FileStore, id: str) -> None:
    """A mebibyte, by the kernel's way."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, feed, theirs)
            done = 0
            try:
                while done < MIB:
                    await trio.lowlevel.wait_readable(ours)
                    step = await store.pull(id, ours.fileno(), done, MIB - done, lambda: False)
                    done += step.moved
            finally:
                ours.shutdown(socket.SHUT_RDWR)


def feed(peer: socket.socket) -> None:
    """Send a mebibyte, as long as somebody takes it."""
    try:
        peer.sendall(bytes(MIB))
    except OSError:
        return


async def copy(store: FileStore, id: str) -> None:
    """A mebibyte of another upload."""
    await store.copy("source", 0, MIB, id, 0)


@pytest.mark.parametrize("way", [write, write_whole, pull, copy], ids=lambda way: way.__name__)
async def test_uploads_at_once_leave_the_reserve_alone(
    tmp_path: Path, disk: Disk, way: Way
) -> None:
    """As many as fit are taken, the others are told; and there is room again when there is."""
    store = FileStore(str(tmp_path), min_free=3 * MIB)
    await write(store, "source")
    refused: list[str] = []

    async def one(id: str) -> None:
        try:
            await way(store, id)
        except* NoSpace:
            refused.append(id)

    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(one, f"u{number}")
    assert refused
    assert disk.left >= 3 * MIB
    disk.free += 40 * MIB
    await way(store, "later")
    assert disk.left < 46 * MIB
    await store.aclose()


async def test_the_disk_is_not_asked_for_every_write(tmp_path: Path, disk: Disk) -> None:
    """Once for many mebibytes, or for a moment."""
    disk.free = 1 << 40
    store = FileStore(str(tmp_path), min_free=MIB)
    looks = disk.looks
    for number in range(200):
        await store.write("a", number * 100, [bytes(100)])
    assert disk.looks - looks < 100
    assert await told(store, "a") == NOTHING.add(0, 20_000)
    await store.aclose()


async def test_without_a_reserve_nothing_is_asked(tmp_path: Path, disk: Disk) -> None:
    """The disk says by itself that it is full."""
    store = FileStore(str(tmp_path))
    await store.write("a", 0, [bytes(12 * MIB)])
    assert disk.looks == 0
    await store.aclose()


grants = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), max_size=40)


@given(free=st.integers(0, 40_000), grants=grants, known=st.integers(1, 9000))
@settings(max_examples=200)
def test_what_is_granted_never_reaches_into_the_reserve(
    free: int, grants: list[tuple[int, int]], known: int
) -> None:
    """Whoever asks while others write: nested as deep as there are threads."""
    left = free

    def fstatvfs(fd: int) -> os.statvfs_result:
        return os.statvfs_result((1, 1, 0, 0, left, 0, 0, 0, 0, 255))

    def use(reserve: Reserve, rest: list[tuple[int, int]]) -> None:
        nonlocal left
        if not rest:
            return
        (count, written), *others = rest

        def move() -> tuple[int, OSError | None]:
            nonlocal left
            use(reserve, others)  # another thread, meanwhile
            left -= min(count, written)
            return min(count, written), None

        moved, error = reserve.within(count, move)
        assert (moved == 0) if error else (moved == min(count, written))
        if error:
            use(reserve, others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fstatvfs", fstatvfs)
        patch.setattr(module, "LOOK_BYTES", known)
        use(Reserve(0, 1000), grants)
    assert left >= min(free, 1000)
