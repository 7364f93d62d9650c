"""What a store promises while nothing fails, one function each."""

from __future__ import annotations

import os
import random
from collections.abc import Awaitable
from typing import Final

import trio

from uploadd.errors import NotFound, StoreError
from uploadd.protocol.extents import NOTHING, Extents
from uploadd.protocol.upload import Published
from uploadd.store.contract import Publication, Store

UNITS: Final = 12
"""The length of the uploads, in units of the grain."""


def some(store: Store, units: int, seed: int = 0) -> bytes:
    """Random bytes, so many times the grain of *store*; the same for the same *seed*."""
    return random.Random(seed).randbytes(units * store.grain)


async def flush(store: Store, id: str) -> Extents:
    """What a flush tells of one upload, nothing if nothing.  Raises StoreError."""
    told = (await store.flush([id])).get(id, NOTHING)
    if isinstance(told, StoreError):
        raise told
    return told


async def publish(store: Store, id: str, path: str) -> Published:
    """Publish one upload.  Raises StoreError."""
    told = (await store.publish([Publication(id, path)]))[id]
    if isinstance(told, StoreError):
        raise told
    return told


async def content(store: Store, published: Published, length: int) -> bytes:
    """The bytes of a published file, and one more if there is one."""
    try:
        fd = await store.open_published(published, length)
    except NotFound as error:
        raise AssertionError(f"{published.path} is not found") from error
    try:
        return os.pread(fd, length + 1, 0)
    finally:
        os.close(fd)


async def raises(kind: type[Exception], call: Awaitable[object]) -> None:
    """Await *call*, which must raise *kind*."""
    try:
        await call
    except kind:
        return
    raise AssertionError(f"{kind.__name__} should have been raised")


# --- writing and flushing -------------------------------------------------------------------


async def any_order_of_writes_gives_the_same_bytes(store: Store, chance: random.Random) -> None:
    """With repeats and overlaps; and what flushes tell is all that was written."""
    whole, written, told = some(store, UNITS), NOTHING, NOTHING
    for _ in range(30):
        first, last = sorted(chance.choices(range(UNITS + 1), k=2))
        start, end = first * store.grain, last * store.grain
        middle = chance.randint(start, end)
        await store.write("a", start, [whole[start:middle], whole[middle:end]])
        written = written.add(start, end)
        if chance.random() < 0.3:
            told = told.union(await flush(store, "a"))
            assert told == written, "a flush tells all that was written"
    told = told.union(await flush(store, "a"))
    assert told == written
    for start, end in written:
        assert await store.read("a", start, end) == whole[start:end]


async def _only_a_flush_tells(store: Store) -> None:
    data = some(store, 2)
    assert not await store.flush(["a"]), "nothing can be told of an upload without bytes"
    assert store.unflushed("a") == 0
    await store.write("a", 0, [data])
    assert store.unflushed("a") == len(data)
    assert await flush(store, "a") == NOTHING.add(0, len(data))
    assert store.unflushed("a") == 0
    assert await flush(store, "a") == NOTHING, "a flush tells what is newly durable, once"
    assert not store.failed("a")


async def _what_is_provisional_is_not_told(store: Store) -> None:
    """Before it is confirmed; discarded, it has never been."""
    data = some(store, 2)
    await store.write("a", 0, [data])
    for keep in (False, True):
        await store.write("a", len(data), [some(store, 3, 1)], provisional=True)
        assert (await flush(store, "a")).end in (0, len(data))
        assert store.unflushed("a") == 0
        if keep:
            store.confirm("a")
            assert store.unflushed("a") == 3 * store.grain
            assert await flush(store, "a") == NOTHING.add(len(data), 5 * store.grain)
        else:
            await store.discard("a", len(data))
            assert await store.read("a", 0, 9 * store.grain) == data
    published = await publish(store, "a", "confirmed.bin")
    assert await content(store, published, 5 * store.grain) == data + some(store, 3, 1)


async def _uploads_do_not_mix(store: Store) -> None:
    bytes_of = {id: some(store, 3, seed) for seed, id in enumerate(("a", "b", "c"))}
    async with trio.open_nursery() as nursery:
        for id, data in bytes_of.items():
            nursery.start_soon(store.write, id, 0, [data])
    told = await store.flush(list(bytes_of))
    for id, data in bytes_of.items():
        assert told[id] == NOTHING.add(0, len(data))
        assert await store.read(id, 0, len(data) + 1) == data


async def _a_whole_upload_may_stay_nameless(store: Store) -> None:
    """Until it is published: what is told of it before then is not counted as flushed."""
    data = some(store, 2)
    await store.write("a", 0, [data], whole=True)
    told = await store.flush(["a"], {"a"})
    assert told["a"] == NOTHING.add(0, len(data))
    assert store.unflushed("a") == (len(data) if store.nameless("a") else 0)
    published = await publish(store, "a", "whole.bin")
    assert store.unflushed("a") == 0
    assert not store.nameless("a"), "it has its name: another would be cut back by recovery"
    assert await flush(store, "a") == NOTHING
    assert await content(store, published, len(data)) == data


async def _a_flush_gives_it_a_name(store: Store) -> None:
    """When nobody says that it is to be published, its bytes must survive without that."""
    data = some(store, 2)
    await store.write("a", 0, [data], whole=True)
    assert await flush(store, "a") == NOTHING.add(0, len(data))
    assert not store.nameless("a")
    assert store.unflushed("a") == 0
    assert await content(store, await publish(store, "a", "a"), len(data)) == data


async def _a_stray_beginning_is_not_in_the_way(store: Store) -> None:
    """What is whole may come after a beginning that was thrown away."""
    await store.write("a", 0, [some(store, 2)])
    await flush(store, "a")
    await store.rewind("a", NOTHING)
    data = some(store, 3, 1)
    await store.write("a", 0, [data], whole=True)
    assert await flush(store, "a") == NOTHING.add(0, len(data))
    assert await content(store, await publish(store, "a", "a"), len(data)) == data


async def _released_it_is_opened_again(store: Store) -> None:
    data = some(store, 3)
    unit = store.grain
    await store.write("a", 0, [data[:unit]])
    await store.release(["a", "b"])
    assert store.unflushed("a") == unit, "bytes that are not durable are not forgotten"
    assert await flush(store, "a") == NOTHING.add(0, unit)
    await store.release(["a"])
    assert await store.read("a", 0, unit) == data[:unit]
    await store.write("a", unit, [data[unit:]])
    assert await flush(store, "a") == NOTHING.add(unit, len(data))
    assert await store.read("a", 0, len(data)) == data


async def _rewound_it_holds_what_was_held(store: Store) -> None:
    data, unit = some(store, 3), store.grain
    await store.write("a", 0, [data[:unit]])
    held = await flush(store, "a")
    await store.write("a", unit, [some(store, 3, 1)])
    await store.rewind("a", held)
    assert store.unflushed("a") == 0
    assert await store.read("a", 0, len(data)) == data[:unit]
    await store.write("a", unit, [data[unit:]])
    assert await flush(store, "a") == NOTHING.add(unit, len(data))
    await store.rewind("b", NOTHING)
    await raises(LookupError, store.rewind("b", held))


async def _removed_it_is_no_more(store: Store) -> None:
    await store.write("a", 0, [some(store, 2)])
    await store.remove(["a", "never-there"])
    await store.remove(["a"])
    assert store.unflushed("a") == 0
    assert await store.read("a", 0, 1) == b""
    assert not await store.identities(["a"])
    assert await store.room() > 0


# --- publishing -----------------------------------------------------------------------------


async def fill(store: Store, id: str, data: bytes) -> None:
    """Have an upload that holds *data* durably."""
    await store.write(id, 0, [data])
    await flush(store, id)


async def _published_it_has_a_name_of_its_own(store: Store) -> None:
    """Never that of another; asked again, the same."""
    first, second = some(store, 2), some(store, 2, 1)
    await fill(store, "a", first)
    await fill(store, "b", second)
    known = await store.identities(["a", "b"])
    both = [Publication("a", "d/x.tar.gz"), Publication("b", "d/x.tar.gz")]
    told = await store.publish(both)
    assert told == {
        "a": Published("d/x.tar.gz", *known["a"]),
        "b": Published("d/x-2.tar.gz", *known["b"]),
    }
    assert await store.publish(both) == told
    await store.release(["a", "b"])
    assert await store.publish(both) == told
    await store.remove(["a", "b"])
    for data, published in zip((first, second), told.values(), strict=True):
        assert isinstance(published, Published)
        assert await content(store, published, len(data)) == data


async def _an_empty_upload_is_published(store: Store) -> None:
    await store.write("a", 0, [b""], whole=True)
    assert not (await store.flush(["a"], {"a"})).get("a")
    assert await content(store, await publish(store, "a", "empty"), 0) == b""


async def _what_is_not_there_is_not_published(store: Store) -> None:
    """And does not keep the others from it."""
    await fill(store, "a", some(store, 1))
    told = await store.publish([Publication("b", "b"), Publication("a", "a")])
    assert isinstance(told["b"], StoreError)
    assert isinstance(told["a"], Published)


async def _another_file_is_neither_read_nor_removed(store: Store) -> None:
    """Its identity and its length tell whether it is still the one that was published."""
    data = some(store, 2)
    await fill(store, "a", data)
    ours = await publish(store, "a", "a")
    others = [Published("a", ours.inode + 1, ours.mark)]
    if ours.mark is not None:
        others.append(Published("a", ours.inode, ours.mark + b"?"))
    for other, length in (*((one, len(data)) for one in others), (ours, len(data) + 1)):
        await raises(NotFound, store.open_published(other, length))
        await store.unpublish(other, length)
    assert await content(store, ours, len(data)) == data
    await store.unpublish(ours, len(data))
    await store.unpublish(ours, len(data))
    await raises(NotFound, store.open_published(ours, len(data)))


PROMISES: Final = (
    *(_only_a_flush_tells, _what_is_provisional_is_not_told),
    *(_uploads_do_not_mix, _a_whole_upload_may_stay_nameless),
    *(_a_flush_gives_it_a_name, _a_stray_beginning_is_not_in_the_way),
    *(_released_it_is_opened_again, _rewound_it_holds_what_was_held, _removed_it_is_no_more),
    *(_published_it_has_a_name_of_its_own, _an_empty_upload_is_published),
    *(_what_is_not_there_is_not_published, _another_file_is_neither_read_nor_removed),
)
