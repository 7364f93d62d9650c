"""The group commit: when a batch starts, what is in it, and in which order things become true."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from tests.rings import NEVER, remembered, rings, watched
from uploadd.commit import ALONE, BATCH

# --- when it starts -------------------------------------------------------------------------


async def test_a_batch_starts_at_once_when_somebody_waits(tmp_path: Path) -> None:
    """There is never a timer between a waiting peer and the disk."""
    async with rings(tmp_path, flush_bytes=1 << 40) as r:
        upload = await r.written(b"data")
        r.commit.wrote(upload)
        await r.commit.settle(upload)
        assert upload.offset == (await remembered(r, upload)).offset == 4


async def test_what_nobody_waits_for_is_durable_after_the_interval(tmp_path: Path) -> None:
    """And not before: small writes are gathered."""
    moved = trio.Event()
    async with rings(tmp_path, flush_interval=0.05) as r:
        upload = await r.written(b"data")
        r.commit.moved = lambda upload: moved.set()
        start = trio.current_time()
        r.commit.wrote(upload)
        await moved.wait()
        assert trio.current_time() - start >= 0.05
        assert upload.offset == 4
        assert len(watched(r)[1].batches) == 1


async def test_many_bytes_do_not_wait_for_the_interval(tmp_path: Path) -> None:
    """From flush_bytes on they are flushed."""
    moved = trio.Event()
    async with rings(tmp_path, flush_bytes=10) as r:
        r.commit.moved = lambda upload: moved.set()
        upload = await r.written(b"123456789")
        r.commit.wrote(upload)
        await trio.testing.wait_all_tasks_blocked()
        assert not moved.is_set()
        await r.store.write(upload.id, 9, [b"0"])
        r.commit.wrote(upload)
        await moved.wait()
        assert upload.offset == 10


async def test_a_later_wish_does_not_put_off_an_earlier_one(tmp_path: Path) -> None:
    """Of two deadlines the nearer one counts, whichever came first."""
    moved = trio.Event()
    async with rings(tmp_path) as r:
        r.commit.moved = lambda upload: moved.set()
        r.commit.wrote(await r.written())
        r.commit._agenda.later(0.01)
        r.commit._agenda.later(NEVER)
        await moved.wait()


async def test_nothing_to_do_is_no_transaction(tmp_path: Path) -> None:
    """Settling what is settled does not touch the disk."""
    async with rings(tmp_path) as r:
        upload = await r.written()
        await r.commit.settle(upload)
        for _ in range(3):
            await r.commit.settle(upload)
            r.commit.flush(upload)
            await trio.testing.wait_all_tasks_blocked()
        assert len(watched(r)[1].batches) == 1
        assert watched(r)[0].log.count(("flush", upload.id)) == 1


# --- what is in it --------------------------------------------------------------------------


async def test_all_that_come_while_a_batch_runs_are_one_transaction_in_the_next(
    tmp_path: Path,
) -> None:
    """One flush of all files, one commit of all rows."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        first, *others = [await r.written() for _ in range(101)]
        ledger.gate = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.settle, first)
            await trio.testing.wait_all_tasks_blocked()
            for upload in others:
                nursery.start_soon(r.commit.settle, upload)
            await trio.testing.wait_all_tasks_blocked()
            ledger.gate.set()
        assert [len(entries.rows) for entries in ledger.batches] == [1, 100]
        assert [len(verb) - 1 for verb in store.log if verb[0] == "flush"] == [1, 100]
        assert {upload.offset for upload in others} == {4}


async def test_a_batch_is_of_512_uploads_at_most(tmp_path: Path) -> None:
    """The rest follows at once, in the order in which they came."""
    async with rings(tmp_path) as r:
        ledger = watched(r)[1]
        ledger.gate = trio.Event()
        uploads = [r.uploads.create() for _ in range(2 * BATCH + 76)]
        for upload in uploads:
            r.commit.enrol(upload)
        ledger.gate.set()
        await r.commit.drain()
        assert [len(entries.rows) for entries in ledger.batches] == [BATCH, BATCH, 76]
        told = [row[0] for entries in ledger.batches for row in entries.rows]
        assert told == [upload.id for upload in uploads]
        assert all(upload.enrolled for upload in uploads)


async def test_what_is_written_while_a_batch_runs_is_for_the_next(tmp_path: Path) -> None:
    """Whoever waits for it waits for that one."""
    async with rings(tmp_path) as r:
        ledger = watched(r)[1]
        ledger.gate = trio.Event()
        upload = await r.written(b"1234")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.settle, upload)
            await trio.testing.wait_all_tasks_blocked()
            await r.store.write(upload.id, 4, [b"5678"])
            nursery.start_soon(r.commit.settle, upload)
            await trio.testing.wait_all_tasks_blocked()
            assert upload.offset == 0, "not told before it is remembered"
            ledger.gate.set()
        assert [row[2] for entries in ledger.batches for row in entries.rows] == ["0-4", "0-8"]


async def test_a_long_flush_holds_up_nobody(tmp_path: Path) -> None:
    """It runs alone; what it made durable is remembered even if as much again has come."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        long, short = await r.written(bytes(ALONE)), await r.written(b"short")
        gate = store.clog("flush")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.settle, long)
            await trio.testing.wait_all_tasks_blocked()
            store._gates.clear()
            await r.commit.settle(short)
            assert (short.offset, long.offset) == (5, 0)
            await store.write(long.id, ALONE, [bytes(2 * ALONE)])
            r.commit.wrote(long)
            second = store.clog("flush")
            gate.set()
            while long.offset == 0:
                await trio.testing.wait_all_tasks_blocked()
            assert long.offset == ALONE
            second.set()
            await r.commit.settle(long)
        assert long.offset == 3 * ALONE
        rows = [row[2] for entries in ledger.batches for row in entries.rows if row[0] == long.id]
        assert rows == [f"0-{ALONE}", f"0-{3 * ALONE}"]


async def test_a_long_flush_is_settled_when_it_is_remembered(tmp_path: Path) -> None:
    """Not when it has ended, and waits for its batch."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        short, long = await r.written(), await r.written(bytes(ALONE))
        flushing, ledger.gate = store.clog("flush"), trio.Event()
        r.commit.flush(long)
        await trio.testing.wait_all_tasks_blocked()
        store._gates.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.settle, short)
            await trio.testing.wait_all_tasks_blocked()
            flushing.set()
            await trio.testing.wait_all_tasks_blocked()
            assert store.unflushed(long.id) == 0
            with trio.move_on_after(0.01) as waiting:
                await r.commit.settle(long)
            assert waiting.cancelled_caught
            ledger.gate.set()
        await r.commit.settle(long)
        assert long.offset == ALONE


async def test_a_long_upload_is_flushed_alone_and_published(tmp_path: Path) -> None:
    """Nameless or not."""
    async with rings(tmp_path) as r:
        upload = await r.published(bytes(3 * ALONE), name="long")
        assert upload.offset == 3 * ALONE
        other = await r.written(bytes(ALONE), length=ALONE, name="other")
        await r.uploads.complete(other)
        assert len(watched(r)[0].published("other")) == ALONE


async def test_what_grows_is_not_taken_for_abandoned_after_a_crash(tmp_path: Path) -> None:
    """However long one claim has held it: each time bytes are remembered, so is the time."""
    times = iter(range(100, 200))
    async with rings(tmp_path, now=lambda: float(next(times))) as r:
        upload, claim = r.new()
        seen = []
        for _ in range(3):
            await r.append(claim, b"data")
            await r.commit.settle(upload)
            seen.append((await remembered(r, upload)).modified)
        assert seen == sorted(seen)
        assert seen[0] >= 100
        assert len(set(seen)) == 3
