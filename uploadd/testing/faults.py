"""What a store promises when it is cancelled, slow, full, failing, or ended by a crash."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import trio.testing

from uploadd.errors import NoSpace, StoreError
from uploadd.protocol.extents import NOTHING
from uploadd.protocol.upload import Published
from uploadd.store.contract import Publication, Store
from uploadd.testing.promises import content, fill, flush, publish, raises, some
from uploadd.testing.sweep import Check, Flow, cancel_at_every_step

Fail: TypeAlias = Callable[[str, int], object]
Reopen: TypeAlias = Callable[[Store], Awaitable[Store]]

# --- cancelled and slow ---------------------------------------------------------------------


async def cancelled_anywhere_it_is_old_or_new(make: Callable[[], Awaitable[Store]]) -> None:
    """A write leaves a prefix that is counted; a flush told all that it made durable."""

    async def stage() -> tuple[Flow, Check]:
        store = await make()
        data, held = some(store, 4), []
        cut = 2 * store.grain

        async def flow() -> None:
            await store.write("a", 0, [data[:cut]])
            held.append(await flush(store, "a"))
            await store.write("a", cut, [data[cut:]])
            held.append(await flush(store, "a"))

        async def check() -> None:
            told = NOTHING
            for extents in held:
                told = told.union(extents)
            there = await store.read("a", 0, len(data))
            assert there == data[: len(there)], "a prefix"
            assert told.offset + store.unflushed("a") == len(there), "counted once"
            assert await flush(store, "a") == NOTHING.add(told.offset, len(there))
            await store.aclose()

        return flow, check

    assert await cancel_at_every_step(stage) > 0


async def a_flush_does_not_speak_of_later_bytes(
    store: Store, release: Callable[[], object]
) -> None:
    """What is written while a flush runs is for the next: the watermark is read before."""
    data, unit = some(store, 2), store.grain
    told = []

    async def flushing() -> None:
        told.append(await flush(store, "a"))

    await store.write("a", 0, [data[:unit]])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flushing)
        await trio.testing.wait_all_tasks_blocked()
        await store.release(["a"])
        assert store.unflushed("a") == unit
        await store.write("a", unit, [data[unit:]])
        assert not told, "the flush should be waiting"
        assert store.unflushed("a") == 2 * unit
        release()
    assert told == [NOTHING.add(0, unit)]
    assert store.unflushed("a") == unit
    assert await flush(store, "a") == NOTHING.add(unit, 2 * unit)


# --- full and failing -----------------------------------------------------------------------


async def _a_full_medium_is_told(store: Store, fail: Fail) -> None:
    """What was held stays so, and the upload goes on when there is room."""
    data, unit = some(store, 3), store.grain
    await fill(store, "a", data[:unit])
    fail("write", errno.ENOSPC)
    await raises(NoSpace, store.write("a", unit, [data[unit:]]))
    assert not store.failed("a")
    assert await store.read("a", 0, unit) == data[:unit]
    await store.write("a", unit, [data[unit:]])
    assert await flush(store, "a") == NOTHING.add(unit, len(data))
    assert await content(store, await publish(store, "a", "a"), len(data)) == data


async def _a_failed_flush_is_not_tried_again(store: Store, fail: Fail) -> None:
    """The upload has failed until it is rewound; the others have not."""
    data, unit = some(store, 3), store.grain
    await fill(store, "a", data[:unit])
    held = NOTHING.add(0, unit)
    await store.write("a", unit, [some(store, 2, 1)])
    fail("flush", errno.EIO)
    assert isinstance((await store.flush(["a"]))["a"], StoreError)
    assert store.failed("a")
    await raises(StoreError, store.write("a", unit, [data[unit:]]))
    await fill(store, "b", data)
    told = await store.flush(["a", "b"])
    assert isinstance(told["a"], StoreError)
    assert store.failed("a")
    await store.release(["a"])
    assert store.failed("a"), "failing is not forgotten"
    await store.rewind("a", held)
    assert not store.failed("a")
    assert await store.read("a", 0, len(data)) == data[:unit]
    await store.write("a", unit, [data[unit:]])
    assert await flush(store, "a") == NOTHING.add(unit, len(data))


async def _a_failed_upload_can_be_removed(store: Store, fail: Fail) -> None:
    """And begun again under the same id."""
    await store.write("a", 0, [some(store, 1)])
    fail("flush", errno.EIO)
    await raises(StoreError, flush(store, "a"))
    await store.remove(["a"])
    assert not store.failed("a")
    await fill(store, "a", some(store, 1))


async def _publishing_is_all_or_nothing(store: Store, fail: Fail) -> None:
    """What could not be published can be published later, under the same name."""
    data = some(store, 2)
    await fill(store, "a", data)
    for code, kind in ((errno.ENOSPC, NoSpace), (errno.EIO, StoreError)):
        fail("publish", code)
        told = await store.publish([Publication("a", "a")])
        assert isinstance(told["a"], kind)
    published = await publish(store, "a", "a")
    assert published.path == "a"
    assert await content(store, published, len(data)) == data


FAULTS: Final = (
    *(_a_full_medium_is_told, _a_failed_flush_is_not_tried_again),
    *(_a_failed_upload_can_be_removed, _publishing_is_all_or_nothing),
)

# --- ended by a crash -----------------------------------------------------------------------


async def _what_is_held_survives_a_crash(store: Store, reopen: Reopen) -> None:
    """What is not held is cut off, unknown bytes are removed, what is lost is told; twice."""
    data, unit = some(store, 3), store.grain
    for id in ("a", "b", "unknown"):
        await fill(store, id, data)
    await store.write("c", 0, [data])
    held = {
        "a": NOTHING.add(0, len(data)),
        "b": NOTHING.add(0, unit),  # the ledger did not hear of the rest
        "c": NOTHING,
        "row-only": NOTHING,
        "lost": NOTHING.add(0, unit),
    }
    for _ in range(2):
        store = await reopen(store)
        assert await store.recover(held) == {"lost"}
        assert await store.read("a", 0, len(data)) == data
        assert await store.read("b", 0, len(data)) == data[:unit]
        assert await store.read("c", 0, len(data)) == b""
        assert not await store.identities(["unknown"])
    await store.write("b", unit, [data[unit:]])
    assert await flush(store, "b") == NOTHING.add(unit, len(data))
    await store.aclose()


async def _what_is_shorter_than_held_is_lost(store: Store, reopen: Reopen) -> None:
    """It is never taken for a smaller upload."""
    await fill(store, "a", some(store, 2))
    held = {"a": NOTHING.add(0, 3 * store.grain)}
    for _ in range(2):
        store = await reopen(store)
        assert await store.recover(held) == {"a"}
    await raises(LookupError, store.rewind("a", held["a"]))
    await store.aclose()


async def _what_was_intended_is_carried_out(store: Store, reopen: Reopen) -> None:
    """Linked already or not; what had no name and was not linked has vanished; twice."""
    data = some(store, 2)
    whole = NOTHING.add(0, len(data))
    for id in ("linked", "intended"):
        await fill(store, id, data)
    for id in ("nameless", "vanished"):
        await store.write(id, 0, [data], whole=True)
    await store.flush(["nameless", "vanished"], {"nameless", "vanished"})
    may_vanish = store.nameless("vanished")
    ids = ("linked", "intended", "nameless", "vanished")
    nameless = await store.identities([id for id in ids if store.nameless(id)])
    [expected] = (await store.identities(["intended"])).values()
    before = {id: await publish(store, id, "x.bin") for id in ("linked", "nameless")}
    wanted = [Publication(id, "x.bin") for id in ids]
    for _ in range(2):
        store = await reopen(store)
        held = {id: whole if id in ("linked", "intended") else NOTHING for id in ids}
        assert not await store.recover(held)
        told = await store.settle(wanted, nameless)
        assert {id: told[id] for id in before} == before
        assert told["intended"] == Published("x-3.bin", *expected)
        assert not may_vanish or told["vanished"] is None
    for id in (*before, "intended"):
        published = told[id]
        assert isinstance(published, Published)
        assert await content(store, published, len(data)) == data
    await store.aclose()


async def _a_stray_beginning_is_not_published(store: Store, reopen: Reopen) -> None:
    """What is whole may come after a beginning that a crash cut off: it alone is carried out."""
    data = some(store, 2)
    await store.write("a", 0, [data])
    store = await reopen(store)
    assert not await store.recover({"a": NOTHING})
    await store.write("a", 0, [data], whole=True)
    await store.flush(["a"], {"a"})
    held = NOTHING if store.nameless("a") else NOTHING.add(0, len(data))
    nameless = await store.identities(["a"]) if store.nameless("a") else {}
    published = await publish(store, "a", "a")
    for _ in range(2):
        store = await reopen(store)
        assert not await store.recover({"a": held})
        assert await store.settle([Publication("a", "a")], nameless) == {"a": published}
        assert await content(store, published, len(data)) == data
    await store.aclose()


async def _what_was_cut_off_is_not_published(store: Store, reopen: Reopen) -> None:
    """Intended while it was nameless, given a name later, and that was not remembered."""
    await store.write("a", 0, [some(store, 2)], whole=True)
    await store.flush(["a"], {"a"})
    if not store.nameless("a"):
        await store.aclose()
        return
    nameless = await store.identities(["a"])
    await flush(store, "a")
    for _ in range(2):
        store = await reopen(store)
        assert not await store.recover({"a": NOTHING})
        assert await store.settle([Publication("a", "a")], nameless) == {"a": None}
        assert await store.read("a", 0, 1) == b""
    await store.aclose()


RECOVERIES: Final = (
    *(_what_is_held_survives_a_crash, _what_is_shorter_than_held_is_lost),
    *(_what_was_intended_is_carried_out, _a_stray_beginning_is_not_published),
    _what_was_cut_off_is_not_published,
)
