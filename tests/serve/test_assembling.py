"""Uploads that are put together from others: what waits in vain ends, and what waits is bounded."""

from __future__ import annotations

from base64 import b64encode

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.rings import rings
from tests.serve.desk import virtual
from tests.serve.test_connection import House, open_house
from tests.serve.test_resumable import CHUNK, created, id_of, patch, tus
from uploadd import assembling
from uploadd.protocol.upload import State

PART = b"Upload-Concat: partial"
LATER = 1.0


async def part(house: House, length: int = 3) -> bytes:
    """The path of a new part, without a byte."""
    return await created(house, b"Upload-Length: %d" % length, PART)


async def final(house: House, *parts: bytes) -> bytes:
    """The path of a new upload that is made of *parts*."""
    return await created(house, b"Upload-Concat: final;" + b" ".join(parts))


async def whole(house: House, body: bytes) -> bytes:
    """The path of a part that has all its bytes."""
    return await created(house, b"Upload-Length: %d" % len(body), CHUNK, PART, body=body)


async def sweep(house: House) -> int:
    """Expire what has not moved until now; how many it was."""
    await wait_all_tasks_blocked()
    return await house.desk.uploads.sweep(house.desk.uploads._now() + LATER)


def tasks() -> int:
    """How many there are in all."""
    return trio.lowlevel.current_statistics().tasks_living


@virtual
async def test_what_waits_for_parts_in_vain_expires() -> None:
    """Its bytes, its task and what it pins: then the parts expire as well."""
    async with open_house() as house:
        missing = await part(house)
        await wait_all_tasks_blocked()
        before = tasks()
        finals = [await final(house, missing, missing) for _ in range(50)]
        assert house.desk.claimed() == []
        assert await sweep(house) == 50
        await house.hang_up()
        await wait_all_tasks_blocked()
        assert tasks() == before - 1, "the caller has hung up"
        assert (house.desk.uploads._pins, house.desk.uploads._movements) == ({}, {})
        for target in finals:
            answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
            assert answer.status == 410
        assert await sweep(house) == 1
        assert house.desk.store._growing == {}


@virtual
async def test_a_part_that_moves_keeps_alive_what_waits_for_it() -> None:
    """Also when the daemon has just started and knows of nothing but its ledger."""
    async with open_house() as house:
        uploads = house.desk.uploads
        now = uploads._now()
        uploads._now = house.desk.commit._now = lambda: now
        one = await part(house)
        target = await final(house, one)
        now += 100
        assert (await house.call().ask(patch(one, 0, b"a"), "PATCH")).status == 204
        await wait_all_tasks_blocked()
        assert await uploads.sweep(now - 50) == 0
        assert (await uploads.find(id_of(target))).state is State.RECEIVING
        now += 100
        assert await uploads.sweep(now - 50) == 1


@virtual
async def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the parts that are waited for; when one has ended there is a place again."""
    monkeypatch.setattr(assembling, "MOST", 5)
    async with open_house() as house:
        one, ready = await part(house), await whole(house, b"abc")
        first = await final(house, one, one)
        await final(house, one, one)
        said = tus(b"POST", b"/files/", b"Upload-Concat: final;" + one + b" " + one)
        answer = await house.call().ask(said, "POST")
        assert (answer.status, answer.code) == (429, "too-many")
        for _ in range(20):
            target = await final(house, ready)  # it does not wait for long
            await wait_all_tasks_blocked()
            assert house.desk.store.published(id_of(target)) == b"abc"
        assert (await house.call().ask(tus(b"DELETE", first), "DELETE")).status == 204
        await wait_all_tasks_blocked()
        await final(house, one, one)


@virtual
async def test_the_length_is_told_once_all_are_known() -> None:
    """Long before the parts are whole."""
    async with open_house() as house:
        first = await part(house)
        second = await created(house, b"Upload-Defer-Length: 1", PART)
        target = await final(house, first, second)
        said = patch(second, 0, b"", b"Upload-Length: 4")
        assert (await house.call().ask(said, "PATCH")).status == 204
        await wait_all_tasks_blocked()
        answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert answer.fields["upload-length"] == "7"


@virtual
async def test_a_part_that_is_needed_meanwhile_is_not_cancelled() -> None:
    """Whoever deletes it waits for a holder that is stuck; the final upload comes in between."""
    async with open_house() as house:
        one = await part(house, 100)
        holder = house.call()
        stuck = house.desk.store.stick(id_of(one), firmly=True)
        await holder.say(patch(one, 0, bytes(100))[:-50])
        await wait_all_tasks_blocked()
        deleter = house.call()
        await deleter.say(tus(b"DELETE", one))
        await trio.sleep(0.1)
        target = await final(house, one)
        stuck.set()
        assert (await deleter.answer("DELETE")).status == 409
        assert (await house.call().ask(patch(one, 50, bytes(50)), "PATCH")).status == 204
        await wait_all_tasks_blocked()
        assert house.desk.store.published(id_of(target)) == bytes(100)


# --- stopping -------------------------------------------------------------------------------------


@virtual
async def test_a_daemon_that_stops_ends_what_is_put_together_before_it_drains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is written behind its back; what was copied is durable, and goes on from there."""
    monkeypatch.setattr(assembling, "STEP", 1)
    async with open_house() as house:
        one = await whole(house, b"abc")
        await final(house, await part(house))
        gate = house.desk.store.clog("flush")
        target = await final(house, one)
        await wait_all_tasks_blocked()
        assert house.desk.claimed() == [id_of(target)]
        await house.assembling.stop()
        assert house.desk.claimed() == []
        gate.set()
        await house.desk.commit.drain()
        found = await house.desk.ledger.find(id_of(target))
        assert found is not None
        assert (found.state, found.offset) == (State.RECEIVING, 1)
        again = assembling.Assembling(house.desk.uploads)
        house.desk.nursery.start_soon(again.run)
        await wait_all_tasks_blocked()
        assert house.desk.store.published(id_of(target)) == b"abc"
        await again.stop()


@virtual
async def test_a_daemon_that_starts_has_in_memory_what_it_puts_together_and_nothing_else() -> None:
    """Whatever else has begun, and whatever its client says of it."""
    async with open_house() as house:
        said = b"Upload-Metadata: x " + b64encode(b'"parts":"')
        for _ in range(3):
            await created(house, b"Upload-Length: 3", said)
        one = await part(house)
        target = await final(house, one)
        await house.assembling.stop()
        async with rings(None, house.desk.store, house.desk.ledger, closing=False) as r:
            await r.nursery.start(assembling.Assembling(r.uploads).run)
            await wait_all_tasks_blocked()
            assert set(r.uploads._live) == {id_of(target), id_of(one)}


@virtual
async def test_a_step_that_is_stuck_in_the_disk_is_not_waited_for_without_end() -> None:
    """Else a restart would never come."""
    async with open_house() as house:
        gate = house.desk.store.clog("read")
        target = await final(house, await whole(house, b"abc"))
        stuck = house.desk.store.stick(id_of(target), firmly=True)
        gate.set()
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await house.assembling.stop()
        assert trio.current_time() - began == pytest.approx(assembling.STOP_SECONDS)
        stuck.set()
