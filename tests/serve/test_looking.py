"""What clients call uploads, and who waits: bounded, each to its end."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio

from tests.serve.desk import open_desk, virtual
from uploadd.auth import NOBODY, anonymous
from uploadd.errors import NotFound, TooMany
from uploadd.protocol.wsmessages import Notice
from uploadd.serve import looking
from uploadd.serve.looking import Names, Waiters
from uploadd.watch import MAX_NOTICES, NOTICES


@virtual
async def test_the_newest_names_are_remembered() -> None:
    """The oldest are forgotten, the uploads are not; an id needs no name."""
    async with open_desk() as desk:
        names = Names(desk.uploads)
        peer = await desk.greeted()
        first = await desk.uploads.find(await peer.up(1, name="first"))
        other = await desk.uploads.find(await peer.up(2, name="other"))
        names.name(first, "first")
        assert await names.find("first", NOBODY) is first
        names.name(other, "first")
        assert await names.find("first", NOBODY) is other
        with pytest.raises(NotFound):
            await names.find("first", anonymous("somebody else"))
        for number in range(looking.MAX_NAMES):
            names.name(other, str(number))
        with pytest.raises(NotFound):
            await names.find("first", NOBODY)
        assert await names.find("0", NOBODY) is other
        assert await names.find(first.id, NOBODY) is first
        assert len(names._names) == looking.MAX_NAMES


@virtual
async def test_the_id_of_another_upload_is_no_name() -> None:
    """It stays the id of that one, also when that was cancelled."""
    async with open_desk() as desk:
        names = Names(desk.uploads)
        peer = await desk.greeted()
        first = await desk.uploads.find(await peer.up(1, name="first"))
        names.name(await desk.uploads.find(await peer.up(2, name="other")), first.id)
        desk.uploads.create(name="third", key=first.id)
        assert await names.find(first.id, NOBODY) is first
        await desk.uploads.cancel(first)
        with pytest.raises(NotFound):
            await names.find(first.id, NOBODY)


@virtual
async def test_many_names_are_found_as_each_of_them_is() -> None:
    """Ids, short names and keys, in memory or not, and what is none of them."""
    async with open_desk() as desk:
        names, who = Names(desk.uploads), anonymous("me")
        peer = await desk.greeted()
        first, other = [await peer.up(ref, name=str(ref)) for ref in range(2)]
        names.name(await desk.uploads.find(other), "short")
        await desk.forget(peer, first)
        mine = [desk.uploads.create(owner=who.owner, key=key) for key in ("key", first, "short")]
        called = Names(desk.uploads)
        called._names[who.owner, None, "called"] = mine[1].id
        for some in (names, called):
            asked = [first, other, "key", "short", "called", mine[0].id, "n" * 22, "nothing"]
            found = await some.find_all(asked, who)
            for name, upload in zip(asked, found, strict=True):
                with suppress(NotFound):
                    assert upload is await some.find(name, who)
                    continue
                assert upload is None


@virtual
async def test_so_many_wait_and_a_stop_wakes_them_all() -> None:
    """Who leaves makes room; a bell that rang before is heard."""
    waiters = Waiters(2)
    with waiters.one() as first, waiters.one() as second:
        with pytest.raises(TooMany), waiters.one():
            pass
        waiters.drain()
        assert waiters.draining
        with trio.fail_after(1):
            await first.rung()
            await second.rung()
        with trio.move_on_after(1) as patience:
            await first.rung()
        assert patience.cancelled_caught
    with waiters.one(), waiters.one():
        pass


@virtual
async def test_so_many_notices_wait_for_one_watcher() -> None:
    """The newest."""
    async with open_desk() as desk:
        watcher = desk.uploads.watch.watcher(lambda: None)
        watcher.add("oanybody")
        for number in range(MAX_NOTICES + 9):
            desk.uploads.watch.noted("anybody", Notice(str(number), "u", "failed", 1.0))
        told: list[str] = []
        while some := watcher.notices():
            assert len(some) <= NOTICES
            told += [one.notice for one in some]
        assert told == [str(number) for number in range(9, MAX_NOTICES + 9)]
        watcher.close()
