"""Claims: the newest has the upload, and what the older ones took is true before it goes on."""

from __future__ import annotations

import random
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.rings import WatchedStore, rings
from uploadd import claims as module
from uploadd import errors
from uploadd.errors import UploadError
from uploadd.protocol.upload import State
from uploadd.store.memory import MemoryStore
from uploadd.tally import Way


async def test_the_newest_claim_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    """What the old one had taken is durable before the new one hears its offset."""
    async with rings(tmp_path) as r:
        told: list[UploadError] = []
        upload, _ = r.new(length=8, name="x")
        claim = r.claim(upload, told.append)
        r.uploads.release(r.uploads._claims[upload.id][0])
        await r.uploads.settle(claim)
        await r.append(claim, b"1234")
        newer = r.claim(upload)
        assert [type(error) for error in told] == [errors.TakenOver]
        r.uploads.release(claim)
        r.uploads.release(claim)
        await r.uploads.settle(newer)
        assert (newer.run.start, upload.offset) == (4, 4)
        assert newer.run.fence > claim.run.fence
        with pytest.raises(errors.TakenOver):
            await r.append(claim, b"5678")
        await r.append(newer, b"5678", finish=True)
        await r.uploads.complete(upload)


@pytest.mark.parametrize("seed", range(12))
async def test_whoever_races_for_an_upload_the_newest_has_it(tmp_path: Path, seed: int) -> None:
    """Whether the older ones are interrupted or come to it by themselves: no hole, no overlap."""
    chance = random.Random(seed)
    truth = chance.randbytes(400)
    async with rings(tmp_path) as r:
        upload, first = r.new(length=len(truth), name="x")
        r.uploads.release(first)
        ended: list[str] = []

        async def claimer(number: int) -> None:
            interrupted = chance.random() < 0.5
            scope = trio.CancelScope()
            claim = r.claim(upload, lambda error: scope.cancel() if interrupted else None)
            try:
                with scope:
                    await r.uploads.settle(claim)
                    while claim.run.received < len(truth):
                        at, count = claim.run.received, chance.randint(1, 20)
                        await r.append(claim, truth[at : at + count])
                ended.append("whole" if claim.run.received == len(truth) else "interrupted")
            except errors.TakenOver:
                ended.append("taken over")
            finally:
                r.uploads.release(claim)

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(claimer, number)
                for _ in range(chance.choice([0, 0, 1, 5, 20])):
                    await trio.lowlevel.checkpoint()
        assert ended.count("whole") >= 1
        assert not r.uploads._claims
        await r.uploads.complete(upload)
        store = r.store
        assert isinstance(store, WatchedStore)
        assert store.published("x") == truth
        writes = [(int(v[2]), int(v[2]) + int(v[3])) for v in store.log if v[0] == "write"]
        assert all(one[1] == other[0] for one, other in pairwise(writes))


async def test_a_holder_that_is_stuck_in_the_disk_is_told_of_and_waited_for_no_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HolderStuck, also to who would cancel; when the disk comes back it goes on."""
    monkeypatch.setattr(module, "LET_GO", 0.05)
    store = MemoryStore()
    async with rings(tmp_path, store) as r:
        upload, claim = r.new(length=4, name="x")
        gate = store.clog("write")

        async def holder() -> None:
            with pytest.raises(errors.TakenOver):
                await r.append(claim, b"data")
            r.uploads.release(claim)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(holder)
            await trio.testing.wait_all_tasks_blocked()
            newer = r.claim(upload)
            with pytest.raises(errors.HolderStuck):
                await r.uploads.settle(newer)
            r.uploads.release(newer)
            with pytest.raises(errors.HolderStuck):
                await r.uploads.cancel(upload)
            assert upload.state is State.RECEIVING
            gate.set()
        last = r.claim(upload)
        await r.uploads.settle(last)
        assert last.run.start == 4


async def test_who_is_taken_over_while_settling_hears_it(tmp_path: Path) -> None:
    """And opens no run; the newer one does not wait for longer than that."""
    async with rings(tmp_path) as r:
        upload, first = r.new()
        second, third = r.claim(upload), r.claim(upload)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(r.uploads.settle, third)
            r.uploads.release(first)
            with pytest.raises(errors.TakenOver):
                await r.uploads.settle(second)
            assert second.run.fence < 0
            r.uploads.release(second)
        assert third.run.fence == upload.fence


async def test_bytes_that_the_medium_lost_end_the_upload(tmp_path: Path) -> None:
    """410 for good, never a smaller offset; after a failed flush as at start."""
    async with rings(tmp_path) as r:
        store = r.store
        assert isinstance(store, WatchedStore)
        upload, claim = r.new()
        await r.append(claim, b"1234")
        await r.commit.settle(upload)
        await r.append(claim, b"5678")
        store.broken.add(upload.id)
        with pytest.raises(errors.StoreError):
            await r.commit.settle(upload)
        del store._growing[upload.id].data[2:]
        r.uploads.release(claim)
        newer = r.claim(upload)
        with pytest.raises(errors.Gone) as told:
            await r.uploads.settle(newer)
        assert told.value.reason == "lost"
        r.uploads.release(newer)
        found = await r.ledger.find(upload.id)
        assert found is not None
        assert (found.state, found.offset) == (State.LOST, 4)


# --- holders that are wrong -----------------------------------------------------------------


async def test_what_one_holder_does_wrong_is_told_to_that_holder(tmp_path: Path) -> None:
    """The commit that tells them goes on, and so does the neighbour in its batch."""
    async with rings(tmp_path) as r:
        faults: list[Exception] = []

        def wrong(*args: object) -> None:
            raise RuntimeError("a bug")

        bad = r.uploads.create(length=4)
        claim = r.uploads.contend(bad, wrong, wrong, faults.append)
        r.uploads.settle_new(claim)
        good, other = r.new(length=4)
        await r.append(claim, b"1234")
        await r.append(other, b"5678")
        await r.commit.settle(bad)
        await r.commit.settle(good)
        assert (bad.offset, good.offset) == (4, 4)
        r.claim(bad)
        assert claim.ended is not None
        assert {type(fault) for fault in faults} == {RuntimeError}
        assert len(faults) >= 3, "while it was written, when it was durable, when it was taken"


async def test_what_claims_bring_is_counted_by_its_wire(tmp_path: Path) -> None:
    """While it comes and afterwards; how long it took until durable; what the disk refused."""
    async with rings(tmp_path) as r:
        store, tally = r.store, r.uploads.tally
        assert isinstance(store, WatchedStore)
        upload = r.uploads.create(length=8)
        claim = r.uploads.contend(upload, ignore, nothing, ignore, way=Way("tus", "a-1"))
        r.uploads.settle_new(claim)
        await r.append(claim, b"1234")
        assert [one.run.received for one in r.uploads.moving()] == [4]
        assert not tally.received["tus"]
        assert not tally.ack_seconds
        await r.commit.settle(upload)
        assert sum(tally.ack_seconds["tus"].counts) == 1
        r.uploads.release(claim)
        r.uploads.release(claim)
        assert (tally.received["tus"], r.commit.stored, list(r.uploads.moving())) == (4, 4, [])

        store.broken.add(upload.id)
        newer = r.uploads.contend(upload, ignore, nothing, ignore, way=Way("ws", "a-2"))
        await r.uploads.settle(newer)
        await r.append(newer, b"56")
        with pytest.raises(errors.StoreError):
            await r.commit.settle(upload)
        assert tally.store_errors == {"store-failed": 1}
        assert (tally.created, tally.resumed) == ({"tus": 1}, {"ws": 1})
        assert r.commit.stored == 4
        store.broken.clear()
        r.uploads.release(newer)


async def test_what_comes_again_is_counted_once(tmp_path: Path) -> None:
    """What came and had not become durable; never what was."""
    async with rings(tmp_path) as r:
        store, tally = r.store, r.uploads.tally
        assert isinstance(store, WatchedStore)

        async def send(data: bytes, *, broken: bool) -> None:
            if broken:
                store.broken.add(upload.id)
            claim = r.uploads.contend(upload, ignore, nothing, ignore, way=Way("tus", "x"))
            await r.uploads.settle(claim)
            await r.append(claim, data)
            with suppress(errors.StoreError):
                await r.commit.settle(upload)
            store.broken.clear()
            r.uploads.release(claim)

        upload = r.uploads.create(length=20)
        for data, broken, resent in (
            (b"0123", False, 0),
            (b"456789", True, 0),  # lost: they come again
            (b"45", True, 6),  # and those two once more
            (b"456789", False, 8),
            (b"abcd", False, 8),
        ):
            await send(data, broken=broken)
            assert tally.resent == resent
        assert (upload.offset, tally.received["tus"]) == (14, 22)


async def test_each_holder_ends_where_its_own_uploads_must(tmp_path: Path) -> None:
    """What one may send does not bound the next, nor the next lift what bounds the one."""
    async with rings(tmp_path) as r:
        r.uploads.max_length = 9
        upload = r.uploads.create()
        guest = r.uploads.contend(upload, ignore, nothing, ignore)
        guest.bound(5)
        r.uploads.settle_new(guest)
        await r.append(guest, b"12345")
        with pytest.raises(errors.TooLarge):
            r.uploads.declare(guest, 6)
        r.uploads.release(guest)
        owner = r.uploads.contend(upload, ignore, nothing, ignore)
        owner.bound(None)
        await r.uploads.settle(owner)
        assert (guest.run.end, owner.run.end) == (5, 9)
        with pytest.raises(errors.TooLarge):
            r.uploads.declare(owner, 10)
        r.uploads.declare(owner, 6)
        await r.append(owner, b"6")
        r.uploads.release(owner)


def ignore(error: Exception) -> None:
    """For claims that are not stopped here."""


def nothing() -> None:
    """Nobody is to be told."""
