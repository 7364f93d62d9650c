"""Who has an upload, and who gets it: whatever the wires, whoever waits for us is left alone."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests import wire
from tests.caller import Caller
from tests.serve.desk import virtual
from tests.serve.test_connection import LOCAL, House, open_house
from tests.serve.test_resumable import (
    CHUNK,
    DATA,
    DRAFT,
    GONE,
    append,
    created,
    id_of,
    offset,
    patch,
    tus,
)
from tests.wire import BINARY, frame, head
from uploadd.claim import QUIET
from uploadd.claims import FLUSHED, LET_GO
from uploadd.protocol import upload as rules

MIB = 1 << 20
LONGER = QUIET + 0.2


# --- who waits for us is not quiet ----------------------------------------------------------------


@pytest.fixture
def little_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mebibyte may be under way, and not 32: tests send less."""
    monkeypatch.setattr(rules, "AHEAD_OF_DURABLE", MIB)


async def say_all(caller: Caller, said: bytes) -> None:
    """Send as fast as it is taken, and no more once nobody listens."""
    with suppress(*GONE):
        await caller.say(said)


@pytest.mark.usefixtures("little_ahead")
@virtual
async def test_who_waits_for_our_flush_is_left_alone_by_a_head() -> None:
    """The disk is slow, not the sender: it never paused."""
    body = bytes(4 * MIB)
    async with open_house() as house:
        target = await created(house, b"Upload-Length: %d" % len(body))
        gate = house.desk.store.clog("flush")
        holder = house.call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say_all, holder, patch(target, 0, body))
            await trio.sleep(LONGER)
            nursery.start_soon(offset, house, target)
            await trio.sleep(LONGER)
            gate.set()
            assert (await holder.answer("PATCH")).status == 204
        assert house.desk.store.published(id_of(target)) == body


@pytest.mark.usefixtures("little_ahead")
@virtual
async def test_of_two_at_the_same_place_one_appends_on_a_slow_disk() -> None:
    """The second comes when the first has waited for long."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: %d" % (4 * MIB))
        gate = house.desk.store.clog("flush")
        first, second = house.call(), house.call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say_all, first, patch(target, 0, b"1" * 4 * MIB))
            await trio.sleep(LONGER)
            nursery.start_soon(say_all, second, patch(target, 0, b"2" * 4 * MIB))
            assert (await second.answer("PATCH")).status == 409
            gate.set()
            assert (await first.answer("PATCH")).status == 204
            await second.stream.aclose()
        assert house.desk.store.published(id_of(target)) == b"1" * 4 * MIB


@pytest.mark.parametrize("verb", ["read", "publish", "write"])
@virtual
async def test_a_session_that_finishes_is_left_alone_by_a_head(verb: str) -> None:
    """However long we take to write, to hash, or to give it its name."""
    async with open_house() as house:
        session = house.call()
        await session.hello()
        await session.say(wire.text({"type": "begin", "ref": 1, "name": "x", "length": 3}))
        target = b"/files/" + (await session.message())["upload"].encode()
        gate = house.desk.store.clog(verb)
        await session.say(frame(BINARY, wire.chunk(1, 0, b"abc")))
        sum_ = base64.b64encode(hashlib.sha256(b"abc").digest()).decode()
        await session.say(wire.text({"type": "finish", "ref": 1, "digest": f"sha-256=:{sum_}:"}))
        async with trio.open_nursery() as nursery:
            await trio.sleep(LONGER)
            nursery.start_soon(house.call().ask, tus(b"HEAD", target), "HEAD")
            await wait_all_tasks_blocked()
            gate.set()
            while (told := await session.message())["type"] == "ack":
                pass
        assert told["type"] == "done", told


@virtual
async def test_who_waits_for_its_turn_in_the_ledger_is_left_alone_by_a_head() -> None:
    """An append without a byte, that tells the length, behind a flush of others that is slow."""
    async with open_house() as house:
        target = await created(house, b"Upload-Defer-Length: 1")
        other = await created(house, b"Upload-Length: 3")
        gate = house.desk.store.clog("flush")
        neighbour, holder = house.call(), house.call()
        await neighbour.say(patch(other, 0, b"abc"))
        await wait_all_tasks_blocked()
        await holder.say(patch(target, 0, b"", b"Upload-Length: 7"))
        await trio.sleep(LONGER)
        assert await offset(house, target) == 0
        gate.set()
        assert (await holder.answer("PATCH")).status == 204


@virtual
async def test_a_session_that_is_not_read_for_want_of_memory_is_left_alone() -> None:
    """What it sends lies in the socket."""
    async with open_house() as house:
        session = house.call()
        await session.hello()
        await session.say(wire.text({"type": "begin", "ref": 1, "length": 3}))
        id = (await session.message())["upload"]
        [claim] = house.desk.uploads._claims[id]
        budget = house.desk.budget
        other = budget.share()
        other.take(budget.total)
        [one] = house.door.sessions
        one.share.take(budget.total)
        await trio.sleep(10 * QUIET)
        assert not claim.quiet
        other.give_back(budget.total)
        one.share.give_back(budget.total)
        other.close()
        assert claim.quiet


# --- who is stuck in the disk ---------------------------------------------------------------------

DIALECTS = {
    "tus": lambda target: tus(b"HEAD", target),
    "ietf": lambda target: head(DRAFT, method=b"HEAD", target=target, host=LOCAL),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("wire_", ["http", "session"])
@virtual
async def test_a_head_waits_a_second_for_a_holder_that_is_stuck_in_the_disk(
    dialect: str, wire_: str
) -> None:
    """423 says when to ask again; when the disk is back the whole step counts."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 100", CHUNK, body=b"abc")
        stuck = house.desk.store.stick(id_of(target), firmly=True)
        holder = house.call()
        if wire_ == "http":
            await holder.say(patch(target, 3, bytes(97))[:-50])
        else:
            await resumed(holder, target, 3)
            await holder.say(frame(BINARY, wire.chunk(1, 3, bytes(47), flush=True)))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        answer = await house.call().ask(DIALECTS[dialect](target), "HEAD")
        assert (answer.status, answer.fields["retry-after"]) == (423, "1")
        assert trio.current_time() - began == pytest.approx(LET_GO)
        stuck.set()
        answer = await house.call().ask(DIALECTS[dialect](target), "HEAD")
        assert answer.status in (200, 204)
        assert answer.fields["upload-offset"] == "50"


@pytest.mark.parametrize("dialect", DIALECTS)
@virtual
async def test_a_head_waits_for_a_flush_and_not_without_end(dialect: str) -> None:
    """A slow disk is waited for, one that does not answer is told of."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 100")
        gate = house.desk.store.clog("flush")
        holder = house.call()
        await holder.say(patch(target, 0, bytes(100))[:-50])
        await wait_all_tasks_blocked()
        await holder.stream.aclose()
        began = trio.current_time()
        answer = await house.call().ask(DIALECTS[dialect](target), "HEAD")
        assert (answer.status, answer.fields["retry-after"]) == (423, "1")
        assert trio.current_time() - began == pytest.approx(FLUSHED)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(offset, house, target)
            await trio.sleep(FLUSHED / 2)
            gate.set()
        assert await offset(house, target) == 50


async def resumed(caller: Caller, target: bytes, at: int) -> None:
    """Go on with the upload at *target* in a session, as its ref 1."""
    await caller.hello()
    await caller.say(wire.text({"type": "begin", "ref": 1, "upload": id_of(target)}))
    ready = await caller.message()
    assert (ready["type"], ready["offset"]) == ("ready", at)


# --- whoever comes has it at once -----------------------------------------------------------------

SOON = 0.1
OLD = ("session", "tus", "ietf", "raw")
NEW = ("session", "tus", "ietf")


@pytest.mark.parametrize("new", NEW)
@pytest.mark.parametrize("old", OLD)
@given(cut=st.integers(0, len(DATA) - 1))
@settings(max_examples=10, deadline=None)
@virtual
async def test_the_newest_has_it_at_once_and_the_old_one_is_told(
    old: str, new: str, cut: int
) -> None:
    """After one flush; not a byte is lost or doubled, on whatever wires they came."""
    async with open_house() as house:
        store = house.desk.store
        holder = house.call()
        target = await held(house, holder, old, DATA[:cut])
        began, flushes = trio.current_time(), store.flushed.count(id_of(target))
        comer = house.call()
        if new == "session":
            await resumed(comer, target, cut)
        else:
            answer = await comer.ask(DIALECTS[new](target), "HEAD")
            assert int(answer.fields["upload-offset"]) == cut
        assert store.flushed.count(id_of(target)) <= flushes + 1
        assert trio.current_time() - began <= SOON
        began = trio.current_time()
        await go_on(comer, target, new, cut)
        await is_told(holder, old)
        assert trio.current_time() - began <= SOON
        [data] = [data for _, data in store._files.values()]
        assert data == DATA


async def held(house: House, holder: Caller, way: str, data: bytes) -> bytes:
    """The path of an upload of DATA that *holder* has begun, and of which *data* has come."""
    if way == "session":
        await holder.hello()
        await holder.say(wire.text({"type": "begin", "ref": 1, "length": len(DATA)}))
        target = b"/files/" + (await holder.message())["upload"].encode()
        if data:
            await holder.say(frame(BINARY, wire.chunk(1, 0, data)))
    elif way == "raw":
        line = b"Content-Length: %d" % len(DATA)
        await holder.say(head(line, method=b"PUT", target=b"/x", host=LOCAL) + data)
        await wait_all_tasks_blocked()
        [id] = house.desk.claimed()
        target = b"/files/" + id.encode()
    else:
        target = await created(house, b"Upload-Length: %d" % len(DATA))
        said = patch(target, 0, DATA) if way == "tus" else append(target, 0, DATA, whole=True)
        await holder.say(said[: -len(DATA)] + data)
    await wait_all_tasks_blocked()
    return target


async def go_on(comer: Caller, target: bytes, way: str, at: int) -> None:
    """Send the rest, and hear that it is complete."""
    rest = DATA[at:]
    if way == "session":
        await comer.say(frame(BINARY, wire.chunk(1, at, rest, last=True)))
        while (told := await comer.message())["type"] == "ack":
            pass
        assert told["type"] == "done", told
        return
    said = patch(target, at, rest) if way == "tus" else append(target, at, rest, whole=True)
    answer = await comer.ask(said, "PATCH")
    assert answer.status in (200, 201, 204), answer


async def is_told(holder: Caller, way: str) -> None:
    """That somebody has taken over."""
    if way != "session":
        assert (await holder.answer("PUT")).code == "taken-over"
        return
    while (told := await holder.message())["type"] == "ack":
        pass
    assert (told["type"], told["reason"]) == ("gone", "taken-over")
