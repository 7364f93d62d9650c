"""A full disk: told clearly, nothing that was told is lost, and it goes on when there is room.

The ledger lies on the same 16 MiB as the uploads.
"""

from __future__ import annotations

import itertools
import os
import random
import resource
import signal
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from tests.e2e.daemon import Daemon
from tests.e2e.driver import PATIENCE, Bench, Plan, Sender, carry, opened, some_plan
from tests.e2e.oracle import GROWING, LEDGER, History, read_history, verify
from tests.e2e.test_kernel_path import Peer, head, send_from, stored
from tests.e2e.zygote import Zygote
from uploadd.errors import Incomplete, NoSpace
from uploadd.protocol.upload import State, Upload

MIB = 1 << 20
SIZE = 16 * MIB


class Disk:
    """16 MiB of memory with a store on it, and a history beside it."""

    def __init__(self, folder: Path, history: Path) -> None:
        self.folder, self.store, self.history = folder, folder / "store", history
        self.store.mkdir()
        self._filler = folder / "somebody else's"
        self._files = folder / "somebody else's files"

    def play(self, *scenes: Callable[[Bench], Awaitable[None]]) -> None:
        """Play *scenes* between a start and an end of the daemon."""

        async def main() -> None:
            history = History(str(self.history))
            with trio.fail_after(PATIENCE):
                async with opened(str(self.store), history) as bench:
                    for scene in scenes:
                        await scene(bench)
            history.close()

        trio.run(main)

    def judge(self) -> None:
        """Ask the oracle."""
        assert verify(str(self.store), str(self.history))["problems"] == []

    @property
    def room(self) -> int:
        """Bytes that anybody can still write."""
        stat = os.statvfs(self.folder)
        return stat.f_bavail * stat.f_frsize

    def fill(self, *, but: int = 0) -> None:
        """Take all room but *but* bytes."""
        with self._filler.open("ab") as file:
            while (room := self.room) > but:
                with suppress(OSError):  # a writer was faster: there is less room now
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, room - but)

    def free(self) -> None:
        """Give back what `fill` took."""
        self._filler.unlink(missing_ok=True)

    def take_all_names(self) -> None:
        """Make files until there can be no more of them."""
        self._files.mkdir()
        with suppress(OSError):
            for number in range(10_000):
                (self._files / str(number)).touch()

    def give_a_name(self) -> None:
        """Make room for one more file."""
        next(self._files.iterdir()).unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A file system of its own."""
    folder = Path(tempfile.mkdtemp(prefix="uploadd-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},nr_inodes=200", "uploadd"]
    mounted = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    if mounted.returncode:
        folder.rmdir()
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield Disk(folder, tmp_path / "history")
    subprocess.run(["umount", folder], check=True)
    folder.rmdir()


async def begun(bench: Bench, plan: Plan) -> Sender:
    """The first sender of a new upload."""
    sender = Sender(bench, bench.create(plan), plan.data)
    sender.open_new()
    await sender.enrolled()
    return sender


async def resumed(bench: Bench, plan: Plan) -> Sender:
    """The next sender of one that is there."""
    sender = Sender(bench, await bench.uploads.find(plan.id), plan.data)
    await sender.resume()
    return sender


async def half(bench: Bench, seed: int, length: int) -> Upload:
    """An upload of twice *length*, half of it durable, that nobody holds."""
    sender = await begun(bench, Plan(seed, f"{seed}.bin", (length, length)))
    sender.put(length, flush=True)
    await sender.durable()
    await sender.leave()
    return sender.upload


async def send_until_refused(sender: Sender) -> None:
    """A MiB at a time."""
    while True:
        sender.put(MIB, flush=True)
        await sender.durable()


# --- no room for bytes ------------------------------------------------------------------------


def test_an_upload_goes_on_when_there_is_room_again(disk: Disk) -> None:
    """It is told that there is none, keeps what it had, and finishes without a restart."""

    async def scene(bench: Bench) -> None:
        disk.fill(but=5 * MIB)
        plan = Plan(1, "a.bin", [MIB] * 8)
        sender = await begun(bench, plan)
        with pytest.raises(NoSpace):
            await send_until_refused(sender)
        upload = sender.upload
        assert 3 * MIB <= upload.offset <= 5 * MIB
        growing = (disk.store / GROWING / upload.id).read_bytes()
        assert growing[: upload.offset] == plan.data[: upload.offset]
        disk.free()
        await carry(bench, plan)
        assert upload.state is State.PUBLISHED

    disk.play(scene)
    disk.judge()


def test_refused_again_and_again_it_still_goes_on(disk: Disk) -> None:
    """Every try ends at the same place; a finish in between is Incomplete, not half a file."""

    async def scene(bench: Bench) -> None:
        disk.fill(but=3 * MIB)
        plan = Plan(1, "a.bin", [MIB] * 5)
        with pytest.raises(NoSpace):
            await send_until_refused(await begun(bench, plan))
        upload = await bench.uploads.find(plan.id)
        for _ in range(3):
            await bench.forget()
            with pytest.raises(NoSpace):
                await send_until_refused(await resumed(bench, plan))
            with suppress(NoSpace), pytest.raises(Incomplete):
                await bench.publish(upload, None)
        disk.free()
        await carry(bench, plan)
        assert upload.state is State.PUBLISHED

    disk.play(scene)
    disk.judge()


def test_many_clients_on_a_disk_that_fills_and_empties(disk: Disk) -> None:
    """Whenever a few more facts were told, somebody else takes all room or gives it back."""

    async def scene(bench: Bench) -> None:
        plans = [some_plan(random.Random(seed)) for seed in range(60)]
        for number, plan in enumerate(plans):
            plan.fate = "cancel" if number % 5 == 4 else "publish"
        bench.history.told = neighbour
        async with trio.open_nursery() as nursery:
            for client in range(6):
                nursery.start_soon(one_after_another, bench, plans[client::6])
        bench.history.told = lambda: None
        disk.free()
        assert disk.history.read_bytes().count(b"no-space") > 10

    lines = iter(range(10**6))

    def neighbour() -> None:
        match next(lines) % 16:
            case 0:
                disk.fill(but=64 * 1024)
            case 8:
                disk.free()

    disk.play(scene)
    disk.judge()


async def one_after_another(bench: Bench, plans: list[Plan]) -> None:
    """What one client does."""
    for plan in plans:
        await carry(bench, plan)


# --- no room for the ledger -------------------------------------------------------------------


def test_cancelling_works_without_a_byte_of_room(disk: Disk) -> None:
    """Again and again, while somebody else takes every byte that becomes free."""

    async def scene(bench: Bench) -> None:
        uploads = [await half(bench, seed, 50_000) for seed in range(20)]
        await bench.forget()
        for upload in uploads:
            disk.fill()
            await bench.cancel(upload)
        with pytest.raises(NoSpace):
            await begin_until_refused(bench)

    async def begin_until_refused(bench: Bench) -> None:
        for seed in itertools.count(100):
            disk.fill()
            await half(bench, seed, 100)

    disk.play(scene)
    disk.judge()
    assert all(told.gone for told in list(read_history(str(disk.history)).values())[:20])


@pytest.mark.parametrize("ballast", [True, False])
def test_it_starts_on_a_full_disk(disk: Disk, ballast: bool) -> None:
    """With what it keeps aside for that; without it, it says what is wrong and harms nothing."""
    seeds = range(4)

    async def before(bench: Bench) -> None:
        for seed in seeds:
            await half(bench, seed, 50_000)

    async def after(bench: Bench) -> None:
        for id in read_history(str(disk.history)):
            await bench.cancel(await bench.uploads.find(id))

    disk.play(before)
    if not ballast:
        (disk.store / f"{LEDGER}-ballast").unlink()
    disk.fill()
    if not ballast:
        with pytest.raises(NoSpace, match="no room on the disk to open the ledger"):
            disk.play(after)
        disk.free()
    disk.play(after)
    disk.judge()


# --- no room for names ------------------------------------------------------------------------


def test_publishing_is_refused_where_no_name_fits_and_works_when_one_does(disk: Disk) -> None:
    """Also when everybody had left in between, and the upload is looked up again."""

    async def scene(bench: Bench) -> None:
        plan = Plan(1, "a.bin", (50_000,), waits=frozenset({0}))
        sender = await begun(bench, plan)
        sender.put(50_000, flush=True)
        await sender.durable()
        disk.take_all_names()
        with pytest.raises(NoSpace):
            await sender.complete()
        del sender
        await bench.forget()
        other = await begun(bench, Plan(2, "b.bin", (10,)))
        other.put(10, flush=True)
        with pytest.raises(NoSpace):
            await other.durable()
        for _ in range(3):  # a folder, the name, and one to spare
            disk.give_a_name()
        await carry(bench, plan)
        assert (await bench.uploads.find(plan.id)).state is State.PUBLISHED

    disk.play(scene)
    disk.judge()


# --- a limit on the size of files -------------------------------------------------------------


def test_a_limit_on_the_size_of_files_is_no_room(zygotes: list[Zygote], memory: Path) -> None:
    """RLIMIT_FSIZE: SIGXFSZ kills nobody, and a higher limit lets the same upload go on."""
    (store := memory / "store").mkdir()
    where = {"dir": str(store), "history": str(memory / "history")}
    offset = zygotes[0].result("tests.e2e.test_full_disk:limited", **where)
    assert offset == 2 * MIB
    assert verify(**where)["problems"] == []


def limited(dir: str, history: str) -> int:
    """Upload 4 MiB where a file may have 2.5; the offset at which it is refused."""
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN
    offsets: list[int] = []

    async def main() -> None:
        told = History(history)
        async with opened(dir, told) as bench:
            plan = Plan(1, "a.bin", [MIB] * 4)
            sender = await begun(bench, plan)
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (5 * MIB // 2, hard))
            with pytest.raises(NoSpace):
                await send_until_refused(sender)
            offsets.append(sender.upload.offset)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            await carry(bench, plan)
            assert sender.upload.state is State.PUBLISHED

    trio.run(main)
    return offsets[0]


# --- a body that the kernel moves ---------------------------------------------------------------


def test_an_answer_comes_although_bytes_were_in_the_pipe(disk: Disk) -> None:
    """507 while the peer still sends; HEAD stays 200, and it goes on when there is room."""
    data = random.Random(1).randbytes(8 * MIB)
    with Daemon(disk.store, "--set", "storage.min_free=1 MiB") as daemon:
        daemon.start()
        with Peer(daemon) as peer:
            target = peer.create(len(data))
        disk.fill(but=3 * MIB)
        with Peer(daemon) as peer:
            peer.patch(target, 0, len(data))
            send_from(peer, data, 0)
            answer = peer.answer()
            assert answer.status == 507
            assert int(answer.fields["retry-after"]) > 0
        at = head(daemon, target, ends=False)
        assert 0 < at <= 3 * MIB
        disk.free()
        with Peer(daemon) as peer:
            peer.patch(target, at, len(data) - at)
            send_from(peer, data, at)
            assert peer.answer().status == 204
        assert stored(daemon, target) == data
        assert "Traceback" not in daemon.log, daemon.log
