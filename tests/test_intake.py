"""The intake: every byte once, in order, and all memory given back, wherever it is cut."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rings import Rings, WatchedStore, fail, rings
from tests.strategies import chunked
from uploadd import errors
from uploadd import intake as module
from uploadd.intake import Intake, drain
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Upload
from uploadd.store.memory import MemoryStore
from uploadd.testing import cancel_at_every_step
from uploadd.testing.sweep import Check, Flow
from uploadd.uploads import Claim

COST = 1000


class Memory:
    """What the chunks under way cost; never less than nothing."""

    def __init__(self) -> None:
        self.used = 0

    def put(self, intake: Intake, data: bytes, **how: Any) -> None:
        """Hand over *data*; refused, the cost is the caller's again."""
        cost = len(data) + COST
        intake.put(intake.claim.run.received, data, cost=cost, **how)
        self.used += cost

    def taken(self, cost: int) -> None:
        """The intake gives back."""
        self.used -= cost
        assert self.used >= 0


def opened(r: Rings, memory: Memory, **fields: Any) -> tuple[Upload, Claim, Intake]:
    """A new upload that takes bytes."""
    upload, claim = r.new(**fields)
    return upload, claim, r.intake(claim, memory.taken)


# --- what arrives ---------------------------------------------------------------------------


@given(data=st.data(), whole=st.binary(max_size=300))
@settings(max_examples=60)
async def test_any_chunking_gives_the_same_file(data: st.DataObject, whole: bytes) -> None:
    """However it is cut, and however reader and writer take turns."""
    pieces = data.draw(chunked(whole))
    pauses = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    memory, store = Memory(), WatchedStore()
    async with rings(None, store) as r:
        upload, claim, intake = opened(r, memory, length=len(whole), name="x")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, claim, intake)
            for piece, pause in zip(pieces, pauses, strict=True):
                memory.put(intake, piece)
                if pause:
                    await trio.testing.wait_all_tasks_blocked()
                assert upload.offset <= claim.run.written <= claim.run.received
            intake.finish()
        assert claim.run.written == claim.run.received == len(whole)
        assert memory.used == 0
        await r.uploads.complete(upload)
        assert store.published("x") == whole


async def test_what_waits_is_written_in_one_go_up_to_a_bound() -> None:
    """Small chunks cost no write each; a takeover never waits for more than one write."""
    memory, store = Memory(), WatchedStore()
    async with rings(None, store) as r:
        upload, claim, intake = opened(r, memory)
        size = module.GATHER_BYTES // 8
        for _ in range(20):
            memory.put(intake, bytes(size))
        for _ in range(2 * module.GATHER_CHUNKS + 5):
            memory.put(intake, b"x")
        intake.close()
        await intake.run()
        writes = [int(verb[3]) for verb in store.log if verb[0] == "write"]
        assert writes[:2] == [8 * size, 8 * size]
        assert len(writes) == 5
        assert max(writes) <= module.GATHER_BYTES + size
        assert memory.used == 0
        await r.commit.settle(upload)
        assert upload.offset == claim.run.written


@given(
    held=st.lists(st.integers(0, 40), max_size=6).map(sorted),
    sizes=st.lists(st.integers(1, 15), min_size=1, max_size=6),
)
@settings(max_examples=60)
async def test_bytes_that_are_held_already_are_not_written_again(
    held: list[int], sizes: list[int]
) -> None:
    """And count as received and written all the same."""
    truth, memory, store = bytes(range(1, 101)), Memory(), WatchedStore()
    async with rings(None, store) as r:
        upload, claim, intake = opened(r, memory)
        extents = Extents((a, b) for a, b in zip(held[::2], held[1::2], strict=False))
        for start, end in extents:
            await store.write(upload.id, start, [truth[start:end]])
        await r.commit.settle(upload)
        store.log.clear()
        for size in sizes:
            at = claim.run.received
            memory.put(intake, truth[at : at + size], flush=True)
        intake.close()
        await intake.run()
        end = sum(sizes)
        wrote = [(int(v[2]), int(v[2]) + int(v[3])) for v in store.log if v[0] == "write"]
        assert wrote == extents.missing(0, end)
        assert claim.run.received == claim.run.written == end
        await r.commit.settle(upload)
        assert upload.held == extents.union(NOTHING.add(0, end))
        assert await store.read(upload.id, 0, end) == truth[:end]
        assert memory.used == 0


async def test_an_upload_that_comes_whole_may_stay_nameless_and_no_other() -> None:
    """Whole: all bytes in one write, and nothing more can come."""
    for finished, length, nameless in ((True, 6, True), (True, 7, False), (False, 6, False)):
        async with rings(None) as r:
            upload, claim, intake = opened(r, memory := Memory(), length=length)
            memory.put(intake, b"123")
            memory.put(intake, b"456")
            intake.finish() if finished else intake.close()
            assert await drain(claim, intake) is None
            assert r.store.nameless(upload.id) == nameless


# --- when it becomes durable ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "flush", "soon"), [(1 << 30, False, False), (1 << 30, True, True), (0, False, True)]
)
async def test_what_the_peer_waits_for_is_flushed_at_once(
    autojump_clock: trio.testing.MockClock, limit: int, flush: bool, soon: bool
) -> None:
    """A chunk that asks for it, and the last one that the credit allows; the rest before long."""
    async with rings(None, flush_interval=0.2) as r:
        upload, durable = r.uploads.create(), trio.Event()
        start, moves = trio.current_time(), []

        def moved() -> None:
            moves.append(upload.offset)
            if upload.offset == 4:
                durable.set()

        claim = r.uploads.contend(upload, lambda error: None, moved, fail)
        r.uploads.settle_new(claim)
        claim.run.limit = limit
        intake = r.intake(claim)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(drain, claim, intake)
            intake.put(0, b"data", cost=4, flush=flush)
            await durable.wait()
            intake.close()
        assert moves == [0, 4], "written, then durable"
        assert trio.current_time() - start == pytest.approx(0 if soon else 0.2, abs=0.01)


# --- cut off --------------------------------------------------------------------------------


async def test_cancelled_at_any_step_it_leaves_a_prefix_and_gives_back_its_memory() -> None:
    """offset <= written <= received, and what is there is what was sent."""
    truth = bytes(range(200))

    async def stage() -> tuple[Flow, Check]:
        memory, store, whole = Memory(), WatchedStore(), trio.Event()
        upload_claim: list[tuple[Upload, Claim]] = []

        async def flow() -> None:
            async with rings(None, store) as r:
                upload, claim, intake = opened(r, memory)
                upload_claim.append((upload, claim))
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(intake.run)
                    for at in range(0, len(truth), 50):
                        memory.put(intake, truth[at : at + 50], flush=at == 50)
                        await trio.lowlevel.checkpoint()
                    intake.close()
                await r.commit.settle(upload)
            whole.set()

        async def check() -> None:
            assert memory.used == 0
            for upload, claim in upload_claim:
                there = await store.read(upload.id, 0, 999)
                assert there == truth[: len(there)]
                assert upload.offset <= claim.run.written <= len(there) <= claim.run.received
                assert upload.offset + store.unflushed(upload.id) <= len(there)
                assert not whole.is_set() or upload.offset == len(truth)

        return flow, check

    assert await cancel_at_every_step(stage) > 20


@pytest.mark.parametrize("when", ["before", "while"])
async def test_what_ends_the_writer_gives_back_all_memory(when: str) -> None:
    """A full store: what was written counts, the rest is thrown away, and the claim knows."""
    store, memory = MemoryStore(capacity=25), Memory()
    async with rings(None, store) as r:
        upload, claim, intake = opened(r, memory)
        async with trio.open_nursery() as nursery:
            if when == "while":
                nursery.start_soon(drain, claim, intake)
            for _ in range(5):
                memory.put(intake, bytes(10))
                if when == "while":
                    await trio.testing.wait_all_tasks_blocked()
                if claim.ended:
                    break
            if when == "before":
                assert isinstance(await drain(claim, intake), errors.NoSpace)
        assert memory.used == 0
        with pytest.raises(errors.NoSpace):
            memory.put(intake, b"more")
        r.uploads.release(claim)
        await r.commit.drain()
        assert upload.offset == 20


async def test_an_intake_that_never_ran_gives_back_its_memory() -> None:
    """Abandoned, twice."""
    memory = Memory()
    async with rings(None) as r:
        _, _, intake = opened(r, memory)
        memory.put(intake, b"data")
        intake.abandon()
        intake.abandon()
        assert memory.used == 0


async def test_a_claim_that_is_stopped_takes_nothing_more_and_runs_dry() -> None:
    """What was taken before is written; the reason is what whoever stopped it gave."""
    store, memory = WatchedStore(), Memory()
    async with rings(None, store) as r:
        upload, claim, intake = opened(r, memory)
        gate = store.clog("write")
        reasons: list[errors.UploadError | None] = []

        async def writer() -> None:
            reasons.append(await drain(claim, intake))
            r.uploads.release(claim)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(writer)
            for piece in (b"12", b"34", b"56"):
                memory.put(intake, piece)
                await trio.testing.wait_all_tasks_blocked()
            newer = r.claim(upload)
            with pytest.raises(errors.TakenOver):
                memory.put(intake, b"78")
            intake.close()
            nursery.start_soon(r.uploads.settle, newer)
            gate.set()
        assert [type(reason) for reason in reasons] == [errors.TakenOver]
        assert newer.run.start == upload.offset == 6
        assert memory.used == 0


async def test_what_is_refused_moves_nothing() -> None:
    """The cost stays with the caller, and the next chunk in place is taken."""
    async with rings(None) as r:
        _, claim, intake = opened(r, memory := Memory(), length=6)
        memory.put(intake, b"123")
        before = (claim.run.received, claim.run.written)
        for at, data, kind in (
            (4, b"x", errors.OffsetMismatch),
            (0, b"x", errors.OffsetMismatch),
            (3, b"4567", errors.LengthExceeded),
        ):
            with pytest.raises(kind):
                intake.put(at, data, cost=1)
            assert (claim.run.received, claim.run.written) == before
        memory.put(intake, b"456")
        intake.finish()
        assert await drain(claim, intake) is None
        assert memory.used == 0


async def test_a_claim_that_is_not_settled_takes_nothing() -> None:
    """Its offset is not known yet."""
    async with rings(None) as r:
        claim = r.claim(r.uploads.create())
        with pytest.raises(errors.TakenOver):
            r.intake(claim).put(0, b"x", cost=1)
