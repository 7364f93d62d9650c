"""The group commit when the medium fails, is full, or ends."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.rings import NEVER, remembered, rings, watched
from tests.witness import outbox
from uploadd import commit as module
from uploadd.commit import ALONE
from uploadd.errors import Gone, NoSpace, StoreError, UploadError
from uploadd.protocol.upload import Input, State, Upload
from uploadd.store.contract import MediumFailed


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction that found no room is tried again very soon."""
    monkeypatch.setattr(module, "NO_ROOM_PAUSE", 0.01)


# --- a flush that fails ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, ALONE])
async def test_a_failed_flush_is_told_to_that_upload_alone(tmp_path: Path, size: int) -> None:
    """To its claims and to who waits for it; its neighbours in the batch are durable."""
    told: list[tuple[Upload, UploadError]] = []
    async with rings(tmp_path) as r:
        store = watched(r)[0]
        bad, good = await r.written(bytes(size)), await r.written(b"good")
        store.broken.add(bad.id)
        r.commit.failed = lambda upload, error: told.append((upload, error))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.commit.settle, good)
            with pytest.raises(StoreError):
                await r.commit.settle(bad)
        assert [upload for upload, _ in told] == [bad]
        assert (bad.offset, good.offset) == (0, 4)
        assert store.failed(bad.id)
        assert await r.ledger.find(bad.id) is None


async def test_each_of_several_that_fail_is_told_its_own_offset(tmp_path: Path) -> None:
    """One full ledger concerns all, and no two go on at the same place."""
    async with rings(tmp_path) as r:
        ledger = watched(r)[1]
        claims = []
        for size in (3, 5):
            upload, claim = r.new()
            claims.append(claim)
            await r.append(claim, bytes(size))
            await r.commit.settle(upload)
            await r.store.write(upload.id, size, [b"more"])
        ledger.faults.append(NoSpace("full"))
        for claim in claims:
            r.commit.flush(claim.upload)
        await r.commit.drain()
        assert [claim.ended and claim.ended.offset for claim in claims] == [3, 5]


async def test_what_failed_goes_on_after_the_next_claim_has_rewound_it(tmp_path: Path) -> None:
    """From the durable offset, with new bytes; the lost ones were promised to nobody."""
    async with rings(tmp_path) as r:
        store = watched(r)[0]
        upload, claim = r.new(length=8, name="x")
        await r.append(claim, b"1234")
        await r.commit.settle(upload)
        await r.append(claim, b"lost")
        store.broken.add(upload.id)
        with pytest.raises(StoreError):
            await r.commit.settle(upload)
        assert isinstance(claim.ended, StoreError)
        r.uploads.release(claim)
        store.broken.clear()
        newer = r.claim(upload)
        await r.uploads.settle(newer)
        assert newer.run.start == 4
        await r.append(newer, b"5678", finish=True)
        await r.uploads.complete(upload)
        assert store.published("x") == b"12345678"


async def test_a_failed_upload_can_be_given_up(tmp_path: Path) -> None:
    """Nothing of it has to be flushed for that; also while its long flush is under way."""
    async with rings(tmp_path) as r:
        store = watched(r)[0]
        for size in (4, ALONE):
            upload = await r.written(bytes(size))
            store.broken.add(upload.id)
            gate = store.clog("flush")
            r.commit.flush(upload)
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                upload.move(Input.CANCEL)
                nursery.start_soon(r.commit.forget, upload)
                await trio.testing.wait_all_tasks_blocked()
                gate.set()
            assert (await remembered(r, upload)).state is State.CANCELLED


async def test_publishing_that_fails_can_be_asked_for_again(tmp_path: Path) -> None:
    """Nameless bytes included: they stay until then."""
    async with rings(tmp_path) as r:
        store = watched(r)[0]
        upload, claim = r.new(length=4, name="x")
        await r.append(claim, b"data", finish=True)
        for code, kind in ((errno.ENOSPC, NoSpace), (errno.EIO, StoreError)):
            store.fail_next["publish"] = code
            with pytest.raises(kind):
                await r.uploads.complete(upload)
            assert upload.state is State.RECEIVING
        await r.uploads.complete(upload)
        assert store.published("x") == b"data"
        assert upload.state is State.PUBLISHED


# --- a ledger without room ------------------------------------------------------------------


async def test_a_ledger_without_room_loses_nothing_and_goes_on(tmp_path: Path) -> None:
    """It is told; what is durable is remembered as soon as there is room, whoever asks."""
    async with rings(tmp_path) as r:
        ledger = watched(r)[1]
        upload = await r.written(b"data")
        moved = trio.Event()
        r.commit.moved = lambda upload: moved.set()
        ledger.faults += [NoSpace("full"), NoSpace("full")]
        with pytest.raises(NoSpace):
            await r.commit.settle(upload)
        assert upload.offset == 0
        while upload.offset == 0:
            await moved.wait()
        assert (await remembered(r, upload)).offset == 4
        await r.store.write(upload.id, 4, [b"more"])
        await r.commit.settle(upload)
        assert upload.offset == 8


async def test_who_asks_again_hears_again_that_there_is_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Durable and not remembered is not settled, though nothing is left to flush."""
    monkeypatch.setattr(module, "NO_ROOM_PAUSE", NEVER)
    async with rings(tmp_path) as r:
        upload = await r.written(b"data")
        watched(r)[1].faults += [NoSpace("full"), NoSpace("full")]
        for _ in range(2):
            with pytest.raises(NoSpace):
                await r.commit.settle(upload)
        await r.commit.settle(upload)
        assert upload.offset == 4


async def test_an_end_is_remembered_as_soon_as_there_is_room(tmp_path: Path) -> None:
    """Neither comes back; what was cancelled makes room, what was published waits for it."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        cancelled = await r.written()
        await r.commit.settle(cancelled)
        published = await r.published(name="x")
        cancelled.move(Input.CANCEL)
        ledger.faults += [NoSpace("full")] * 3
        with pytest.raises(NoSpace):
            await r.commit.forget(cancelled)
        removed = [verb for verb in store.log if verb[0] == "remove"]
        assert removed == [("remove", cancelled.id)]
        while r.commit._agenda.pending:  # it gives up at every try that finds no room
            await r.commit.drain()
        await trio.testing.wait_all_tasks_blocked()
        assert any(published.id in verb for verb in store.log if verb[0] == "remove")
        assert (await remembered(r, published)).state is State.PUBLISHED
        assert (await remembered(r, cancelled)).state is State.CANCELLED
        assert [event.upload for event in await outbox(r.ledger)] == [published.id]


async def test_an_end_is_not_told_before_it_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor by a batch that was under way when it was asked for: who asks again waits again."""
    monkeypatch.setattr(module, "NO_ROOM_PAUSE", NEVER)
    async with rings(tmp_path) as r:
        ledger = watched(r)[1]
        upload = await r.written()
        ledger.gate = trio.Event()
        r.commit.flush(upload)
        await trio.testing.wait_all_tasks_blocked()
        moved = r.commit.moved

        def full_from_now_on(upload: Upload) -> None:
            ledger.faults += [NoSpace("full")] * 4  # each tries twice
            moved(upload)

        r.commit.moved = full_from_now_on

        async def cancel() -> None:
            with pytest.raises(NoSpace):
                await r.uploads.cancel(upload)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await trio.testing.wait_all_tasks_blocked()
            ledger.gate.set()
        await cancel()
        assert (await remembered(r, upload)).state is State.RECEIVING
        with pytest.raises(Gone):
            await r.uploads.cancel(upload)
        assert (await remembered(r, upload)).state is State.CANCELLED


async def test_an_intent_without_room_is_none(tmp_path: Path) -> None:
    """The upload is as before; finishing it again publishes it once."""
    async with rings(tmp_path) as r:
        store, ledger = watched(r)
        upload = await r.written(b"data", length=4, name="x")
        ledger.faults.append(NoSpace("full"))
        with pytest.raises(NoSpace):
            await r.uploads.complete(upload)
        assert upload.state is State.RECEIVING
        assert not any(verb[0] == "publish" for verb in store.log)
        await r.uploads.complete(upload)
        assert store.published("x") == b"data"


async def test_draining_leaves_nothing_to_do_and_gives_up_without_room(tmp_path: Path) -> None:
    """What could not be remembered was not acknowledged."""
    async with rings(tmp_path) as r:
        ledger = watched(r)[1]
        short, long = await r.written(), await r.written(bytes(ALONE))
        r.commit.wrote(short)
        r.commit.wrote(long)
        await r.commit.drain()
        assert (short.offset, long.offset) == (4, ALONE)
        await r.commit.drain()
        ledger.faults += [NoSpace("full")] * 1000
        more = await r.written()
        r.commit.wrote(more)
        await r.commit.drain()
        assert more.offset == 0


# --- fail-stop ------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["ledger", "flush", "long flush", "publish", "remove"])
async def test_a_medium_that_failed_ends_the_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Whoever waits hears nothing good any more; the error is no group."""

    async def fail(*args: object) -> None:
        await trio.lowlevel.checkpoint()
        raise MediumFailed("the disk is gone")

    upload = None
    with pytest.RaisesGroup(pytest.RaisesExc(MediumFailed, match="the disk is gone")):
        async with rings(tmp_path) as r:
            store, ledger = watched(r)
            upload = await r.written(bytes(ALONE if where == "long flush" else 4))
            upload.length = store.unflushed(upload.id)
            if where == "ledger":
                ledger.faults.append(MediumFailed("the disk is gone"))
            else:
                monkeypatch.setattr(store, where.split()[-1], fail)
            await r.commit.publish(upload, "x")
            assert where == "remove"
            await r.commit.drain()
            await trio.sleep_forever()
    assert upload is not None
    assert upload.offset == (upload.length if where == "remove" else 0) or where == "publish"
