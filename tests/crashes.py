"""A medium that can crash, a day of uploads on it, and what must be true afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.rings import Killed, Life, Mortal, Rings, copied, everything, rings
from uploadd.ledger import Ledger
from uploadd.protocol.upload import GONE, State, Upload
from uploadd.store.file import FileStore
from uploadd.store.memory import MemoryStore

Told = dict[str, tuple[str, int, bytes]]
"""What peers were told of each upload: the state, the offset, and the bytes up to it."""

Folders = Iterator[Path]


@contextmanager
def new_folders() -> Iterator[Folders]:
    """As many as are wanted; in memory where there is such a place, for crashes are played."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="uploadd-test-", dir=base) as top:
        yield (Path(tempfile.mkdtemp(dir=top)) for _ in count())


# --- the medium, before and after a crash ---------------------------------------------------


class Medium:
    """Store and ledger in a folder.  `crash` leaves what a crash would."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder, self.kind, self.generation = folder, kind, 0
        self.memory, self.path = MemoryStore(), str(folder / "0/ledger.db")
        (folder / "0").mkdir()
        self.files_of = folder / "served"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[tuple[Any, Ledger]]:
        """Both; then closed without a flush and without folding the log of the ledger."""
        store = FileStore(str(self.files_of)) if self.kind == "file" else self.memory
        ledger = Ledger(self.path)
        try:
            yield store, ledger
        finally:
            self.generation += 1
            folder = self.folder / str(self.generation)
            with trio.CancelScope(shield=True):
                self.path = copied(self.path, folder)
                await ledger.aclose()
                await _close_files(store)
            self.memory.crash()

    def files(self) -> dict[str, bytes]:
        """What is published, by path."""
        if self.kind == "memory":
            return {path: data for path, (_, data) in self.memory._files.items()}
        found = (path for path in self.files_of.iterdir() if path.is_file())
        return {path.name: path.read_bytes() for path in found}

    def growing(self) -> set[str]:
        """The ids whose unfinished bytes are there."""
        if self.kind == "memory":
            return set(self.memory._growing)
        return set(os.listdir(self.files_of / ".uploadd/growing"))


async def _close_files(store: Any) -> None:
    if isinstance(store, FileStore):
        for fd in [e.fd for e in store._growing._entries.values()] + [store._folder, store._root]:
            with suppress(OSError):
                os.close(fd)


# --- a day in the life ----------------------------------------------------------------------


async def live(r: Rings, told: Told, owed: dict[str, bytes]) -> None:
    """Every way in which an upload may go; *told* is written after each positive answer."""

    def tell(upload: Upload, data: bytes) -> None:
        told[upload.id] = (upload.state.value, upload.offset, data[: upload.offset])

    linear, claim = r.new(name="x", length=8)
    owed[linear.id] = b"12345678"
    await r.append(claim, b"1234")
    await r.commit.settle(linear)
    tell(linear, b"1234")
    await r.append(claim, b"5678", finish=True)
    await r.uploads.complete(linear)
    tell(linear, b"12345678")
    for name, data in (("x", b"nameless"), ("y", b"")):
        whole, claim = r.new(name=name, length=len(data))
        owed[whole.id] = data
        if data:
            await r.append(claim, data, finish=True)
        await r.uploads.complete(whole)
        tell(whole, data)
        r.uploads.release(claim)
    gone, claim = r.new(name="x", key="k")
    await r.append(claim, b"cancelled")
    await r.commit.settle(gone)
    tell(gone, b"cancelled")
    r.uploads.release(claim)
    await r.uploads.cancel(gone)
    tell(gone, b"")
    taken, claim = r.new(name="z", length=12)
    owed[taken.id] = b"abcdefghijkl"
    await r.append(claim, b"abcd")
    newer = r.claim(taken)
    r.uploads.release(claim)
    await r.uploads.settle(newer)
    tell(taken, b"abcd")
    await r.append(newer, b"efgh")


async def after(medium: Medium, ledger: Ledger, told: Told, owed: dict[str, bytes]) -> None:
    """What must be true after any recovery, whenever the crash came."""
    uploads, files = everything(ledger), medium.files()
    for id, (state, offset, data) in told.items():
        upload = uploads[id]
        assert upload.offset >= offset or upload.state in GONE
        if State(state) in GONE:
            assert upload.state is State(state), "gone stays gone"
        elif state == "published":
            assert upload.state is State.PUBLISHED, "complete stays complete"
            assert upload.published is not None
            assert files[upload.published.path] == data
    published = {u.published.path: owed[u.id] for u in uploads.values() if u.published}
    assert files == published, "a file for every published upload, whole, and no other"
    unfinished = {u.id for u in uploads.values() if u.state is State.RECEIVING}
    assert medium.growing() <= unfinished
    assert not any(u.state is State.FINALIZING or u.state is State.LOST for u in uploads.values())


async def run_on(store: Any, ledger: Ledger, owed: dict[str, bytes]) -> None:
    """Every unfinished upload can be carried to its end, from the offset that is told."""
    async with rings(None, store, ledger, closing=False) as r:
        for id in [one.id for one in await ledger.unfinished()]:
            upload = await r.uploads.find(id)
            if id not in owed:
                await r.uploads.cancel(upload)
                continue
            claim = r.claim(upload)
            await r.uploads.settle(claim)
            there = await store.read(id, 0, 99)
            assert there == owed[id][: upload.offset], "nothing beyond what is held"
            await r.append(claim, owed[id][upload.offset :], finish=True)
            await r.uploads.complete(upload)
            r.uploads.release(claim)
        await r.commit.drain()


async def until_killed(
    medium: Medium, life: Life, told: Told, owed: dict[str, bytes], *, in_kernel: bool
) -> bool:
    """Live until the end of the day or of *life*; whether it was killed.

    It ends before or after a call of store or ledger, or before one of the system.
    """
    killed = False
    try:
        async with medium.opened() as (store, ledger):
            dying = (store if in_kernel else Mortal(store, life)), Mortal(ledger, life)
            with deadly_system_calls(life) if in_kernel else nullcontext():
                async with rings(None, *dying, closing=False, flush_interval=0.0) as r:
                    await live(r, told, owed)
    except* Killed:
        killed = True
    return killed


@contextmanager
def deadly_system_calls(life: Life) -> Iterator[None]:
    """Each that changes something may be the last."""
    calls = ("open", "link", "unlink", "mkdir", "ftruncate", "fsync", "fdatasync", "pwritev")

    def counted(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            life.step()
            return real(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in calls:
            patch.setattr(os, name, counted(getattr(os, name)))
        yield
