"""Every refusal has its line in the log, on every wire: one, with the code that the peer heard."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests import wire
from tests.serve.desk import open_desk, virtual
from tests.serve.test_api import SECRET, post
from tests.serve.test_connection import OFFENCES, get, open_house
from tests.serve.test_plain import put
from tests.serve.test_plainsocket import listen
from uploadd.auth import Access

KEY = "k" * 22
SHA = "sha-256=:" + "A" * 43 + "=:"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "uploadd.refused")


def fields(caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """What was refused, in order."""
    lines = [line for line in caplog.records if line.name == "uploadd.refused"]
    return [vars(line)["uploadd"] for line in lines]


def codes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Their codes."""
    return [told["code"] for told in fields(caplog)]


# --- in a session -----------------------------------------------------------------------------

BEGIN = {"type": "begin", "ref": 1, "length": 10}
SAID: dict[str, tuple[list[dict[str, Any] | str | bytes], list[str]]] = {
    "what is no message": (["no JSON"], ["bad-message"]),
    "what cannot be at this place": ([{"type": "hello"}], ["bad-message"]),
    "what is not offered": ([{"type": "fetch"}] * 2, ["unsupported"] * 2),
    "more uploads than may be": ([BEGIN | {"ref": n} for n in range(4)], ["too-many"]),
    "more than may be watched": ([{"type": "watch", "uploads": ["a", "b", "c"]}], ["too-many"]),
    "what only few may watch": ([{"type": "watch", "uploads": "all"}], ["forbidden"]),
    "a key that anybody could guess": ([BEGIN | {"key": "k"}], ["unsupported"]),
    "a digest that nobody can check": ([BEGIN | {"digest": "md5=:AA==:"}], ["unsupported"]),
    "the same at the end": (
        [BEGIN, {"type": "finish", "ref": 1, "digest": "md5=:AA==:"}],
        ["unsupported"],
    ),
    "another digest than it has": (
        [BEGIN | {"digest": SHA}, wire.chunk(1, 0, bytes(10), last=True)],
        ["digest-mismatch"],
    ),
    "an upload that there is not": ([BEGIN | {"upload": "u" * 24}], ["not-found"]),
    "a chunk beyond the credit": ([BEGIN, wire.chunk(1, MIB, b"x")], ["credit-exceeded"]),
    "chunks that were damaged": (
        [BEGIN, wire.chunk(1, 0, b"x", crc32=0), wire.chunk(1, 0, b"x", crc32=0)],
        ["checksum-mismatch"],
    ),
    "chunks that leave a gap": (
        [BEGIN, wire.chunk(1, 1, b"x"), wire.chunk(1, 2, b"x")],
        ["offset-mismatch"],
    ),
    "more than was declared": ([BEGIN, wire.chunk(1, 0, bytes(11))], ["length-exceeded"]),
    "an end before the end": ([BEGIN, {"type": "finish", "ref": 1}], ["incomplete"]),
}


@pytest.mark.parametrize("what", SAID)
@virtual
async def test_what_a_session_refuses_is_what_the_log_says(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever refuses it: the machine, its watches, or the run of an upload."""
    said, wanted = SAID[what]
    rules = {"max_refs": 3, "max_watched": 2, "access": Access(listing=False)}
    async with open_desk() as desk:
        peer = await desk.greeted(**rules)
        for message in said:
            if isinstance(message, dict):
                await peer.say(**message)
            else:
                peer.tell(message)
        heard = []
        while len(heard) < len(wanted):
            told = await peer.hear()
            heard += [told["code"]] if told["type"] == "error" else []
        await wait_all_tasks_blocked()
        assert heard == codes(caplog) == wanted
        assert {told["request_id"] for told in fields(caplog)} == {peer.session.id}


@virtual
async def test_what_is_refused_of_an_upload_names_it(caplog: pytest.LogCaptureFixture) -> None:
    """Where the run of it refused that, and so knew which it was."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(length=10)
        await peer.chunk(1, 5, b"a gap")
        await peer.hear_of("error")
    assert fields(caplog) == [
        {"request_id": "s0", "code": "offset-mismatch", "upload_id": id},
    ]


@virtual
async def test_who_is_sent_away_because_the_daemon_stops_is_written_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before hello, and with what is begun while others end."""
    async with open_desk() as desk:
        stranger, peer = desk.peer(), await desk.greeted()
        await peer.up()
        for one in (stranger, peer):
            one.session.drain(1, 5)
        assert (await peer.hear())["type"] == "drain"
        await peer.begin(2)
        assert (await peer.hear())["code"] == "draining"
    told = [(told["request_id"], told["code"]) for told in fields(caplog)]
    assert told == [("s0", "draining"), ("s1", "draining")]


@virtual
async def test_a_session_that_waits_for_a_slow_disk_is_refused_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is looked after every second, and the disk takes minutes."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up()
        gate = desk.store.clog("flush")
        await peer.chunk(1, 0, b"abc")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.rest)
            await trio.sleep(300)
            assert not peer.ended.is_set()
            gate.set()
        assert codes(caplog) == ["too-slow"]
        assert desk.uploads.tally.rejected == {"rate": 1}


@pytest.mark.parametrize("what", OFFENCES)
@virtual
async def test_what_breaks_the_rules_of_websocket_is_written_down(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with the code that our Close has where it is none of ours."""
    offence, close = OFFENCES[what]
    async with open_house() as house:
        caller = house.call()
        await caller.upgraded()
        await caller.say((b"" if what == "no hello" else wire.text({"type": "hello"})) + offence)
        assert await caller.close_code() == close
    assert codes(caplog) == ["bad-message"]
    assert close >= 4000 or what == "no chunk" or f"(closed with {close})" in caplog.text


# --- elsewhere --------------------------------------------------------------------------------


@virtual
async def test_a_socket_that_only_listens_is_refused_in_the_log_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its silence, and too large a message."""
    async with open_house() as house:
        socket = await listen(house)
        await socket.say(wire.frame(wire.BINARY, bytes(10_000)))
        assert await socket.close_code() == 1009
        socket = await listen(house)
        [session] = house.door.sessions
        for _ in range(2):
            session.look_after(trio.current_time() + 100)
        assert await socket.close_code() == 4408
    assert codes(caplog) == ["bad-message", "too-slow"]


@virtual
async def test_a_condition_that_does_not_hold_is_written_down_for_who_wants_to_know_all(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is how clients ask; so is a range behind the end."""
    async with open_house() as house:
        caller = house.call()
        path = (await caller.ask(put(b"/a", b"abc"), "PUT")).fields["location"].encode()
        for line, status in ((b'If-Match: "other"', 412), (b"Range: bytes=9-", 416)):
            assert (await caller.ask(get(path, line))).status == status
        etag = (await caller.ask(get(path))).fields["etag"].encode()
        assert (await caller.ask(get(path, b"If-None-Match: " + etag))).status == 304
    assert codes(caplog) == ["precondition-failed", "range-not-satisfiable"]
    assert {line.levelname for line in caplog.records if line.name == "uploadd.refused"} == {
        "DEBUG"
    }


@virtual
async def test_a_key_that_is_nobodys_is_written_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """For who has no owner it is a secret: there may be an upload tomorrow that it opens."""
    async with open_house() as house:
        caller = house.call()
        for path, method in (("", "DELETE"), ("", "GET"), ("/status", "GET"), ("/cancel", "POST")):
            target = f"/api/upload/{KEY}{path}".encode()
            answer = await caller.ask(get(target, method=method.encode()), method)
            assert (answer.status, answer.code) == (404, "not-found")
        named = b"X-Upload-Id: " + KEY.encode()
        assert (await caller.ask(post(SECRET, named), "POST")).status == 201
        answer = await caller.ask(post(SECRET, named, data=b"other"), "POST")
        assert (answer.status, answer.code) == (409, "key-conflict")
    assert codes(caplog) == ["not-found"] * 4 + ["key-conflict"]
    assert KEY not in caplog.text
