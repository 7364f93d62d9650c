"""What is shipped for those who write stores: the checks find what they are there to find."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pytest
import trio

from uploadd.errors import StoreError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Identity, Published
from uploadd.store.contract import Bytes, Publication, Store
from uploadd.store.memory import MemoryStore
from uploadd.testing import cancel_at_every_step, check_store
from uploadd.testing.sweep import Check, Flow

# --- the sweep ------------------------------------------------------------------------------


async def test_a_flow_is_cancelled_at_each_of_its_steps_and_then_not() -> None:
    """As many times as it has steps, and once to its end; the check runs each time."""
    came_to: list[int] = []

    async def stage() -> tuple[Flow, Check]:
        reached = [0]

        async def flow() -> None:
            for _ in range(4):
                await trio.lowlevel.checkpoint()
                reached[0] += 1

        async def check() -> None:
            await trio.lowlevel.checkpoint()
            came_to.append(reached[0])

        return flow, check

    steps = await cancel_at_every_step(stage)
    assert len(came_to) == steps + 1
    assert set(came_to) == {0, 1, 2, 3, 4}
    assert came_to == sorted(came_to)


async def test_tasks_of_the_flow_count_and_others_do_not() -> None:
    """A task beside it may take as many steps as it likes."""
    async with trio.open_nursery() as beside:

        async def busy() -> None:
            while True:
                await trio.lowlevel.checkpoint()

        async def stage() -> tuple[Flow, Check]:
            async def flow() -> None:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(trio.lowlevel.checkpoint)

            return flow, trio.lowlevel.checkpoint

        alone = await cancel_at_every_step(stage)
        beside.start_soon(busy)
        assert await cancel_at_every_step(stage) == alone > 1
        beside.cancel_scope.cancel()


async def test_what_the_check_finds_is_raised() -> None:
    """At the step at which it goes wrong; and a flow that never ends is found too."""

    async def stage(flow: Flow) -> tuple[Flow, Check]:
        async def check() -> None:
            raise AssertionError("wrong")

        return flow, check

    with pytest.raises(AssertionError, match="wrong"):
        await cancel_at_every_step(lambda: stage(trio.lowlevel.checkpoint))


# --- check_store ----------------------------------------------------------------------------


class ForgetsOverlaps(MemoryStore):
    """Appends, wherever it is told to write."""

    async def write(self, id: str, at: int, buffers: Sequence[Bytes], **how: Any) -> None:
        entry = self._growing.get(id)
        await super().write(id, len(entry.data) if entry else 0, buffers, **how)


class TellsWhatIsOnlyWritten(MemoryStore):
    """Reads the watermark after the flush."""

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        told = await super().flush(ids, publishing)
        return {
            id: one if isinstance(one, StoreError) else one.union(self._growing[id].dirty)
            for id, one in told.items()
        }


class ForgetsWhatItToldWhenCancelled(MemoryStore):
    """Flushes, and is cancelled before it can say so."""

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        told = await super().flush(ids, publishing)
        await trio.lowlevel.checkpoint()
        return told


class FlushesAgainAfterAFailure(MemoryStore):
    """Hopes."""

    async def flush(
        self, ids: Sequence[str], publishing: Collection[str] = ()
    ) -> Mapping[str, Extents | StoreError]:
        for id in ids:
            if id in self._growing:
                self._growing[id].failed = False
        return await super().flush(ids, publishing)


class Clobbers(MemoryStore):
    """Links over what is there."""

    async def publish(self, wanted: Sequence[Publication]) -> Mapping[str, Published | StoreError]:
        for one in wanted:
            self._files.pop(one.path, None)
        return await super().publish(wanted)


class PublishesAgain(MemoryStore):
    """Under the next name, each time it is asked."""

    async def publish(self, wanted: Sequence[Publication]) -> Mapping[str, Published | StoreError]:
        for one in wanted:
            if one.id in self._growing:
                self._growing[one.id].inode += 1000
        return await super().publish(wanted)


class RemovesWhatIsNotOurs(MemoryStore):
    """By name alone."""

    async def unpublish(self, published: Published, length: int) -> None:
        await trio.lowlevel.checkpoint()
        self._files.pop(published.path, None)


class LosesOnRelease(MemoryStore):
    """Lets go of what is not durable."""

    async def release(self, ids: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()
        for id in ids:
            if id in self._growing:
                self._growing[id].dirty = NOTHING


class TrustsTheSize(MemoryStore):
    """After a crash it takes what is there for what is held."""

    async def recover(self, held: Mapping[str, Extents]) -> set[str]:
        await trio.lowlevel.checkpoint()
        return set()


class PublishesTwiceAfterACrash(MemoryStore):
    """Links again without looking."""

    async def settle(
        self, wanted: Sequence[Publication], nameless: Mapping[str, Identity]
    ) -> Mapping[str, Published | StoreError | None]:
        for one in wanted:
            if one.id in self._growing:
                self._growing[one.id].inode += 1000
        return await super().settle(wanted, nameless)


class HalfWrites(MemoryStore):
    """Cancelled between two buffers, it forgets to count the first."""

    async def write(self, id: str, at: int, buffers: Sequence[Bytes], **how: Any) -> None:
        for data in buffers:
            half = len(data) // 2
            await super().write(id, at, [data[:half]], **how)
            self._growing[id].dirty = NOTHING
            await super().write(id, at + half, [data[half:]], **how)
            self._growing[id].dirty = self._growing[id].dirty.add(at, at + len(data))
            at += len(data)


@pytest.mark.parametrize(
    "kind",
    [
        *(ForgetsOverlaps, TellsWhatIsOnlyWritten, ForgetsWhatItToldWhenCancelled, Clobbers),
        *(FlushesAgainAfterAFailure, PublishesAgain, RemovesWhatIsNotOurs, LosesOnRelease),
        *(TrustsTheSize, PublishesTwiceAfterACrash, HalfWrites),
    ],
)
async def test_a_store_that_breaks_a_promise_is_found(kind: type[MemoryStore]) -> None:
    """Each of these passes everything else."""

    async def make() -> Store:
        return kind()

    async def make_clogged() -> tuple[Store, Callable[[], object]]:
        store = kind()
        return store, store.clog("flush").set

    async def make_failing() -> tuple[Store, Callable[[str, int], object]]:
        store = kind()
        return store, store.fail_next.__setitem__

    async def reopen(store: Store) -> Store:
        assert isinstance(store, MemoryStore)
        store.crash()
        return store

    with pytest.RaisesGroup(AssertionError, allow_unwrapped=True, flatten_subgroups=True):
        await check_store(make, make_clogged, make_failing, reopen=reopen)
