"""A disk that is full, limited or read-only: told clearly, and nothing that was told is lost.

The ledger lies on the same 16 MiB as the uploads.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.driver import Bench, Plan, Sender, carry, opened
from tests.e2e.oracle import GROWING, History, content, read_history, verify
from uploadd.errors import Gone, NoSpace, NotWritable
from uploadd.protocol.upload import State, Upload

MIB = 1 << 20
SIZE = 16 * MIB


class Disk:
    """16 MiB of memory with a store on it, and a history beside it."""

    def __init__(self, folder: Path, history: Path) -> None:
        self.folder, self.store, self.path = folder, folder / "store", history
        self.store.mkdir()
        self._filler = folder / "somebody else's"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Bench]:
        history = History(str(self.path))
        async with opened(str(self.store), history) as bench:
            yield bench
        history.close()

    def fill(self, *, but: int = 0) -> None:
        """Leave *but* bytes of room."""
        stat = os.statvfs(self.folder)
        with self._filler.open("ab", buffering=0) as file:
            os.posix_fallocate(file.fileno(), file.tell(), max(1, stat.f_bavail * stat.f_frsize - but))
            assert but or os.statvfs(self.folder).f_bavail == 0

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink()

    def play(self, scene: Callable[[Bench], Awaitable[None]]) -> None:
        """Run *scene* on the bench."""

        async def main() -> None:
            async with self.opened() as bench:
                await scene(bench)

        trio.run(main)

    def judge(self) -> None:
        verdict = verify(str(self.store), str(self.path))
        assert not verdict["problems"]

    @property
    def room(self) -> int:
        stat = os.statvfs(self.folder)
        return stat.f_bavail * stat.f_frsize


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 16 MiB."""
    folder = Path(tempfile.mkdtemp(prefix="uploadd-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "uploadd", folder]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield Disk(folder, tmp_path / "history")
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


async def left(bench: Bench, seed: int, length: int) -> Upload:
    """An upload of twice *length* of which the first half is durable."""
    plan = Plan(seed, f"{seed}.bin", (length, length))
    sender = Sender(bench, bench.create(plan), plan.data)
    sender.open_new()
    await sender.enrolled()
    sender.put(length, flush=True)
    await sender.durable()
    await sender.leave()
    return sender.upload


def test_an_upload_goes_on_when_there_is_room_again(disk: Disk) -> None:
    """It is told that there is none, where it stands, and finishes without a restart."""

    async def scene(bench: Bench) -> None:
        disk.fill(but=5 * MIB)
        plan = Plan(1, "a.bin", [MIB] * 8)
        sender = Sender(bench, bench.create(plan), plan.data)
        sender.open_new()
        await sender.enrolled()
        with pytest.raises(NoSpace) as refused:
            while True:
                sender.put(MIB, flush=True)
                await sender.durable()
        upload = sender.upload
        assert refused.value.offset in (None, upload.offset)
        assert 3 * MIB <= upload.offset < 8 * MIB
        print(upload.offset)
        growing = (disk.store / GROWING / upload.id).read_bytes()
        assert growing[: upload.offset] == plan.data[: upload.offset]
        disk.free()
        await carry(bench, plan)
        assert upload.state is State.PUBLISHED
    disk.play(scene)
    disk.judge()


def test_cancelling_works_on_a_disk_without_a_byte_of_room(disk: Disk) -> None:
    async def scene(bench: Bench) -> None:
        uploads = [await left(bench, seed, 50_000) for seed in range(40)]
        await bench.forget()
        for upload in uploads[:20]:
            disk.fill()
            try:
              await bench.cancel(upload)
            except NoSpace as e:
                print('NOSPACE', upload.id, e, disk.room)
                with suppress(Gone): await bench.cancel(upload)
        with suppress(NoSpace):
            await left(bench, 1000, 100)
        print([u.state for u in uploads], os.listdir(disk.store/'.uploadd'))
    disk.play(scene)
    disk.judge()


def test_it_starts_on_a_full_disk(disk: Disk) -> None:
    uploads = []
    async def scene(bench: Bench) -> None:
        uploads.extend([await left(bench, seed, 50_000) for seed in range(4)])
        await bench.forget()
    disk.play(scene)
    disk.fill()
    #(disk.store/".uploadd/ledger.db-ballast").unlink(); disk.fill()
    async def scene(bench: Bench) -> None:
        for upload in uploads:
            await bench.cancel(await bench.uploads.find(upload.id))
    disk.play(scene)
    disk.judge()
