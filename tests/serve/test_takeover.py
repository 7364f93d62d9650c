"""Who has an upload, and who gets it: whatever the wires, whoever waits for us is left alone."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests import wire
from tests.caller import Caller
from tests.serve.desk import virtual
from tests.serve.test_connection import open_house
from tests.serve.test_resumable import GONE, created, id_of, offset, patch, tus
from tests.wire import BINARY, frame
from uploadd.claim import QUIET
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
