"""MemoryStore, the reference: it passes what every store must pass, and its own knobs work."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
import trio

from uploadd.errors import NoSpace, StoreError
from uploadd.protocol.extents import NOTHING
from uploadd.store.contract import Publication, Store
from uploadd.store.memory import MemoryStore
from uploadd.testing import check_store


async def _make() -> Store:
    return MemoryStore()


async def _make_clogged() -> tuple[Store, Callable[[], object]]:
    store = MemoryStore()
    return store, store.clog("flush").set


async def _make_failing() -> tuple[Store, Callable[[str, int], object]]:
    store = MemoryStore()
    return store, store.fail_next.__setitem__


async def _reopen(store: Store) -> Store:
    assert isinstance(store, MemoryStore)
    store.crash()
    return store


async def test_it_keeps_the_promises_of_a_store() -> None:
    """The whole of check_store, with clogged and failing ones and crashes."""
    await check_store(_make, _make_clogged, _make_failing, reopen=_reopen)


async def test_in_parts_it_keeps_them_as_well() -> None:
    """Those of a store whose bytes become durable many together, as on S3."""

    async def in_parts() -> Store:
        return MemoryStore(grain=64)

    await check_store(in_parts, reopen=_reopen)


async def test_what_is_no_whole_part_is_durable_when_it_is_published() -> None:
    """It waits for the rest of its part, or for the end of the upload."""
    store = MemoryStore(grain=4)
    await store.write("a", 0, [b"0123456789"])
    assert await store.flush(["a"]) == {"a": NOTHING.add(0, 8)}
    assert store.unflushed("a") == 2
    assert await store.flush(["a"]) == {"a": NOTHING}
    await store.write("a", 10, [b"a"])
    assert await store.flush(["a"], {"a"}) == {"a": NOTHING.add(8, 11)}
    assert store.unflushed("a") == 0


async def test_a_crash_leaves_what_was_flushed_and_nothing_else() -> None:
    """As a power cut would: bytes that were only written are gone, published files are not."""
    store = MemoryStore()
    await store.write("a", 0, [b"durable"])
    await store.write("p", 0, [b"published"])
    await store.flush(["a", "p"])
    [published] = (await store.publish([Publication("p", "p")])).values()
    await store.write("a", 7, [b" and not"])
    await store.write("n", 0, [b"nameless"], whole=True)
    await store.flush(["n"], {"n"})
    store.crash()
    assert await store.read("a", 0, 99) == b"durable"
    assert await store.read("n", 0, 99) == b""
    assert store.published("p") == b"published"
    assert not isinstance(published, StoreError)


async def test_it_is_full_at_its_capacity_and_not_before() -> None:
    """Writing again over what is there needs no room."""
    store = MemoryStore(capacity=10)
    await store.write("a", 0, [b"12345", b"67890"])
    await store.write("a", 2, [b"34567"])
    assert await store.room() == 0
    with pytest.raises(NoSpace):
        await store.write("b", 0, [b"x"])
    await store.remove(["a"])
    assert await store.room() == 10
    await store.write("b", 0, [b"x"])


async def test_a_clog_holds_every_call_until_it_is_opened() -> None:
    """Not only those of one verb, when none is named."""
    store = MemoryStore()
    gate = store.clog()
    for call in (store.write("a", 0, [b"x"]), store.flush(["a"]), store.room()):
        with trio.move_on_after(0.001) as scope:
            await call
        assert scope.cancelled_caught
    gate.set()
    await store.write("a", 0, [b"x"])


async def test_only_the_next_call_of_a_verb_fails() -> None:
    """With the error that the errno stands for."""
    store = MemoryStore()
    store.fail_next["write"] = errno.EDQUOT
    assert await store.flush([]) == {}
    with pytest.raises(NoSpace):
        await store.write("a", 0, [b"x"])
    await store.write("a", 0, [b"x"])
    assert await store.flush(["a"]) == {"a": NOTHING.add(0, 1)}
