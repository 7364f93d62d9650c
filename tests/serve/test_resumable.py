"""Resuming over HTTP: whatever the dialect and wherever it is cut, no byte is lost or doubled."""

from __future__ import annotations

import base64
import errno
import hashlib
import zlib
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests import wire
from tests.caller import Answer, Caller
from tests.serve.desk import virtual
from tests.serve.test_connection import LOCAL, House, open_house
from tests.strategies import chunked
from tests.wire import BINARY, frame, head
from uploadd.protocol.origins import Origin
from uploadd.protocol.upload import State

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
CHUNK = b"Content-Type: application/offset+octet-stream"
PARTIAL = b"Content-Type: application/partial-upload"
SPOKEN = b"Tus-Resumable: 1.0.0"
DRAFT = b"Upload-Draft-Interop-Version: 8"
DATA = bytes(range(256)) * 8


def length(body: bytes) -> bytes:
    """The field that declares *body*."""
    return b"Content-Length: %d" % len(body)


def tus(method: bytes, target: bytes, *lines: bytes, body: bytes | None = None) -> bytes:
    """A request of tus."""
    more = [length(body)] if body is not None else []
    said = head(SPOKEN, *lines, *more, method=method, target=target, host=LOCAL)
    return said + (body or b"")


def patch(target: bytes, at: int, body: bytes, *lines: bytes) -> bytes:
    """*body* at *at*, in tus."""
    return tus(b"PATCH", target, CHUNK, b"Upload-Offset: %d" % at, *lines, body=body)


def patch_chunked(target: bytes, at: int, body: bytes, *lines: bytes, behind: bytes = b"") -> bytes:
    """The same, of unknown length, with the fields *behind* it."""
    line = b"Transfer-Encoding: chunked"
    said = tus(b"PATCH", target, CHUNK, b"Upload-Offset: %d" % at, line, *lines)
    return said + b"%x\r\n%b\r\n0\r\n%b\r\n" % (len(body), body, behind)


def append(target: bytes, at: int, body: bytes, *, whole: bool, version: bytes = DRAFT) -> bytes:
    """*body* at *at*, in the IETF's words."""
    lines = (PARTIAL, version, b"Upload-Offset: %d" % at, b"Upload-Complete: ?%d" % whole)
    return head(*lines, length(body), method=b"PATCH", target=target, host=LOCAL) + body


async def created(house: House, *lines: bytes, body: bytes | None = None) -> bytes:
    """The path of a new upload."""
    answer = await house.call().ask(tus(b"POST", b"/files/", *lines, body=body), "POST")
    assert answer.status == 201, answer
    return answer.fields["location"].encode()


async def offset(house: House, target: bytes) -> int:
    """Where a client is told to go on."""
    answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
    assert answer.status == 200, answer
    assert answer.fields["cache-control"] == "no-store"
    return int(answer.fields["upload-offset"])


def id_of(target: bytes) -> str:
    """The id in the path of an upload."""
    return target.decode().rpartition("/")[2]


# --- going on ---------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=40, deadline=None)
@virtual
async def test_cut_anywhere_it_goes_on_where_it_is_told(data: st.DataObject) -> None:
    """In tus and in the IETF's words in turn; what had arrived is not sent again."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: %d" % len(DATA))
        at = 0
        for _ in range(10):
            count = data.draw(st.integers(0, len(DATA) - at))
            body = DATA[at : at + count]
            said = data.draw(
                st.sampled_from(
                    [
                        patch(target, at, body),
                        patch_chunked(target, at, body),
                        append(target, at, body, whole=False),
                    ]
                )
            )
            caller = house.call()
            for piece in data.draw(chunked(said)):
                await caller.say(piece)
            if data.draw(st.booleans()):
                answer = await caller.answer("PATCH")
                # What was cut off may still have been moving when the offset was told.
                assert answer.status in (204, 201, 409), answer
            else:
                cut = house.call()
                await cut.say(said[: data.draw(st.integers(0, len(said)))])
                await cut.stream.aclose()
                await caller.stream.aclose()
            at = await offset(house, target)
            if at == len(DATA):
                break
        await wait_all_tasks_blocked()
        at = await offset(house, target)
        if at < len(DATA):
            answer = await house.call().ask(patch(target, at, DATA[at:]), "PATCH")
            assert answer.fields["upload-offset"] == str(len(DATA))
        else:
            await house.call().ask(append(target, at, b"", whole=True), "PATCH")
        assert house.desk.store.published(id_of(target)) == DATA


@virtual
async def test_any_way_continues_any_other() -> None:
    """Begun over WebSocket, continued in tus, finished in the IETF's words."""
    async with open_house() as house:
        session = house.call()
        await session.hello()
        await session.say(wire.text({"type": "begin", "ref": 1, "name": "x", "length": 9}))
        ready = await session.message()
        await session.say(frame(BINARY, wire.chunk(1, 0, b"abc", flush=True)))
        while (await session.message())["offset"] < 3:
            pass
        target = b"/files/" + ready["upload"].encode()
        answer = await house.call().ask(patch(target, 3, b"def"), "PATCH")
        assert (answer.status, answer.fields["upload-offset"]) == (204, "6")
        gone = await session.message()
        while gone["type"] == "ack":
            gone = await session.message()
        assert (gone["type"], gone["reason"]) == ("gone", "taken-over")
        answer = await house.call().ask(append(target, 6, b"ghi", whole=True), "PATCH")
        assert answer.status == 201
        assert answer.fields["upload-complete"] == "?1"
        assert house.desk.store.published("x") == b"abcdefghi"


@virtual
async def test_a_wrong_offset_changes_nothing_and_tells_the_right_one() -> None:
    """In both dialects, too low and too high."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 10", CHUNK, body=b"12345")
        for at in (0, 4, 6, 10, 10**14):
            for said in (patch(target, at, b""), append(target, at, b"", whole=False)):
                answer = await house.call().ask(said, "PATCH")
                assert (answer.status, answer.fields["upload-offset"]) == (409, "5")
        assert await offset(house, target) == 5


@virtual
async def test_a_moving_holder_is_left_alone_and_a_silent_one_is_not() -> None:
    """By who asks in tus; the IETF's retrieval ends an append in any case."""
    async with open_house() as house:
        for ends, ask in (
            (False, lambda target: tus(b"HEAD", target)),
            (True, lambda target: head(DRAFT, method=b"HEAD", target=target, host=LOCAL)),
        ):
            target = await created(house, b"Upload-Length: 100")
            holder = house.call()
            await holder.say(patch(target, 0, bytes(100))[:-50])
            await wait_all_tasks_blocked()
            answer = await house.call().ask(ask(target), "HEAD")
            assert answer.fields["upload-offset"] == "50", "durable, to the last byte"
            await holder.say(bytes(10))
            await wait_all_tasks_blocked()
            if ends:
                assert (await holder.answer("PATCH")).code == "taken-over"
                continue
            await trio.sleep(2)
            assert (await house.call().ask(ask(target), "HEAD")).fields["upload-offset"] == "60"
            assert (await holder.answer("PATCH")).code == "taken-over"


@virtual
async def test_of_many_at_the_same_place_one_appends() -> None:
    """And the bytes are of that one alone."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 2000")
        callers = [house.call() for _ in range(20)]
        answers: list[tuple[int, Answer]] = []

        async def one(number: int, caller: Caller) -> None:
            said = patch(target, 0, bytes([number]) * 2000)
            with suppress(*GONE):
                await caller.say(said[:-1000])
                await trio.sleep(0.01)
                await caller.say(said[-1000:])
            answers.append((number, await caller.answer("PATCH")))

        async with trio.open_nursery() as nursery:
            for number, caller in enumerate(callers):
                nursery.start_soon(one, number, caller)
        won = [number for number, answer in answers if answer.status == 204]
        assert len(won) == 1
        assert {answer.status for _, answer in answers} == {204, 409}
        assert house.desk.store.published(id_of(target)) == bytes(won) * 2000


@virtual
async def test_a_body_that_dribbles_is_let_go_and_kept() -> None:
    """A byte now and then would hold the upload for ever; a slow but honest one goes on."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 1000000")
        for step, pause, status in ((1, 9, 408), (20_000, 10, 204)):
            at = await offset(house, target)
            caller = house.call()
            body = bytes(1_000_000 - at)
            said = patch(target, at, body)
            head_end = len(said) - len(body)
            await caller.say(said[:head_end])
            answers: list[Answer] = []

            async def hear(caller: Caller = caller, answers: list[Answer] = answers) -> None:
                answers.append(await caller.answer("PATCH"))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(hear)
                while not answers and head_end < len(said):
                    with suppress(*GONE):
                        await caller.say(said[head_end : head_end + step])
                    head_end += step
                    await trio.sleep(pause)
            assert answers[0].status == status
            await caller.stream.aclose()
        assert house.desk.store.published(id_of(target)) == bytes(1_000_000)


@pytest.mark.parametrize("begun", [b"1;", b"1\r\nx\r\n0\r\nA: "])
@virtual
async def test_what_frames_a_body_does_not_keep_it_alive(begun: bytes) -> None:
    """The extension of a chunk, or a field behind the last, a byte of it now and then."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 3")
        said = (CHUNK, b"Upload-Offset: 0", b"Transfer-Encoding: chunked")
        caller, started = house.call(), trio.current_time()
        await caller.say(tus(b"PATCH", target, *said) + begun)
        with suppress(*GONE):
            for _ in range(9):
                await trio.sleep(50)
                await caller.say(b"a")
        answer = await caller.answer("PATCH")
        assert (answer.status, answer.code) == (408, "too-slow")
        assert trio.current_time() - started < 9 * 50 + 60, "it was not waited for to the end"


@virtual
async def test_a_disk_that_fails_does_not_make_head_fail() -> None:
    """A 5xx there lets some clients begin again from nothing: what is durable is told."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 100", CHUNK, body=b"abc")
        house.desk.store.fail_next["flush"] = 5
        answer = await house.call().ask(patch(target, 3, b"def"), "PATCH")
        assert answer.status == 500
        for _ in range(3):
            assert await offset(house, target) == 3
        assert (await house.call().ask(patch(target, 3, b"def"), "PATCH")).status == 204


@virtual
async def test_a_daemon_that_stops_waits_for_nobody_who_can_go_on() -> None:
    """They are told to come back, and what came is durable; a raw PUT could not."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 100")
        goer, stayer = house.call(), house.call()
        await goer.say(patch(target, 0, bytes(100))[:-50])
        put = head(b"Content-Length: 9", method=b"PUT", target=b"/x", host=LOCAL) + b"123456789"
        await stayer.say(put[:-4])
        await wait_all_tasks_blocked()
        house.door.drain(1, 1)
        answer = await goer.answer("PATCH")
        assert (answer.status, answer.code, answer.closes) == (503, "draining", True)
        upload = await house.desk.uploads.find(id_of(target))
        await house.desk.commit.settle(upload)
        assert upload.offset == 50
        await stayer.say(put[-4:])
        assert (await stayer.answer("PUT")).status == 201


# --- lengths ----------------------------------------------------------------------------------


@virtual
async def test_a_length_that_was_put_off_is_fixed_by_an_append() -> None:
    """Once; the same again is no conflict, another is, and less than is here cannot be."""
    async with open_house() as house:
        target = await created(house, b"Upload-Defer-Length: 1")
        answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert answer.fields["upload-defer-length"] == "1"
        assert (await house.call().ask(patch(target, 0, b"12345"), "PATCH")).status == 204
        low = patch(target, 5, b"", b"Upload-Length: 4")
        assert (await house.call().ask(low, "PATCH")).status == 400
        said = patch(target, 5, b"", b"Upload-Length: 7")
        assert (await house.call().ask(said, "PATCH")).status == 204
        assert (await house.call().ask(said, "PATCH")).status == 204
        other = patch(target, 5, b"", b"Upload-Length: 8")
        assert (await house.call().ask(other, "PATCH")).status == 400
        assert (await house.call().ask(patch(target, 5, b"67"), "PATCH")).status == 204
        assert house.desk.store.published(id_of(target)) == b"1234567"


@pytest.mark.parametrize("known", [True, False])
@virtual
async def test_more_than_the_length_is_refused(known: bool) -> None:
    """By a declared length before a byte; of a chunked body what belongs to it is kept, and is
    all of it: the offset says so, and no client would come back.
    """
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 10")
        make = patch if known else patch_chunked
        caller = house.call()
        with suppress(*GONE):
            await caller.say(make(target, 0, bytes(50)))
        answer = await caller.answer("PATCH")
        assert answer.status == 413
        assert [data for _, data in house.desk.store._files.values()] == [bytes(10)] * (not known)
        assert await offset(house, target) == (0 if known else 10)


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("whole", [None, True, False])
@virtual
async def test_of_unknown_length_an_upload_ends_where_every_upload_must(
    whole: bool | None, known: bool
) -> None:
    """In tus (None) and in the IETF's words, by a body of known length and one in chunks."""
    async with open_house() as house:
        house.desk.uploads.max_length = 10
        defer = b"Upload-Defer-Length: 1"
        target = await created(house, defer, CHUNK, body=b"abc")
        said = patch(target, 3, bytes(8))
        if whole is not None:
            said = append(target, 3, bytes(8), whole=whole)
        if not known:
            field = length(bytes(8))
            assert said.count(field) == 1
            said = said.replace(field, b"Transfer-Encoding: chunked")
            said = said.removesuffix(bytes(8)) + b"8\r\n" + bytes(8) + b"\r\n0\r\n\r\n"
        caller = house.call()
        with suppress(*GONE):
            await caller.say(said)
        answer = await caller.answer("PATCH")
        assert (answer.status, answer.code) == (413, "too-large")
        assert house.desk.store._files == {}
        assert await offset(house, target) in (3, 10)


@virtual
async def test_an_empty_upload_is_complete_at_once() -> None:
    """In tus without a byte or a second request."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 0")
        assert house.desk.store.published(id_of(target)) == b""


@virtual
async def test_complete_is_what_was_declared_in_the_words_of_the_ietf() -> None:
    """All bytes of a known length are not yet a complete upload."""
    async with open_house() as house:
        said = head(
            *(DRAFT, b"Upload-Complete: ?0", b"Upload-Length: 3", length(b"abc")),
            method=b"POST",
            target=b"/files/",
            host=LOCAL,
        )
        caller = house.call()
        await caller.say(said + b"abc")
        informed = await caller.stream.receive_some(9999)
        assert informed.startswith(b"HTTP/1.1 104 ")
        answer = await caller.answer("POST")
        assert (answer.status, answer.fields["upload-complete"]) == (201, "?0")
        assert house.desk.store._files == {}
        target = answer.fields["location"].encode()
        assert target in informed
        answer = await house.call().ask(append(target, 3, b"", whole=True), "PATCH")
        assert answer.fields["upload-complete"] == "?1"
        assert house.desk.store.published(id_of(target)) == b"abc"


@virtual
async def test_the_last_answer_can_be_asked_for_again() -> None:
    """By a client that did not hear it; anything else is told that it is complete."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 3", CHUNK, body=b"abc")
        assert (await house.call().ask(patch(target, 3, b""), "PATCH")).status == 204
        answer = await house.call().ask(patch(target, 0, b"abc"), "PATCH")
        assert (answer.status, answer.fields["upload-offset"]) == (409, "3")
        assert await offset(house, target) == 3


@virtual
async def test_a_length_is_durable_when_it_is_acknowledged() -> None:
    """Also when not a byte comes with it: after a crash nothing else would ever complete it."""
    async with open_house() as house:
        target = await created(house, b"Upload-Defer-Length: 1")
        said = patch(target, 0, b"", b"Upload-Length: 7")
        assert (await house.call().ask(said, "PATCH")).status == 204
        found = await house.desk.ledger.find(id_of(target))
        assert found is not None
        assert found.length == 7


@virtual
async def test_a_creation_that_broke_off_before_it_was_answered_leaves_nothing() -> None:
    """Nobody was told where it is."""
    async with open_house() as house:
        said = tus(b"POST", b"/files/", CHUNK, b"Upload-Length: 5000", body=bytes(5000))
        caller = house.call()
        await caller.say(said[:-1000])
        await wait_all_tasks_blocked()
        await caller.stream.aclose()
        await trio.sleep(1)
        assert house.desk.store._growing == {}


@virtual
async def test_who_waits_for_100_is_told_104_first_and_100_then() -> None:
    """To a client only one of the two ends the waiting."""
    async with open_house() as house:
        caller = house.call()
        said = head(
            *(DRAFT, b"Upload-Complete: ?1", b"Expect: 100-continue", length(b"abc")),
            method=b"POST",
            target=b"/files/",
            host=LOCAL,
        )
        await caller.say(said)
        told = b""
        while b"100 Continue" not in told:
            told += await caller.stream.receive_some(9999)
        assert told.startswith(b"HTTP/1.1 104 ")
        await caller.say(b"abc")
        assert (await caller.answer("POST")).status == 201


@virtual
async def test_a_creation_without_its_mark_is_no_empty_file() -> None:
    """A proxy may have removed it."""
    async with open_house() as house:
        for lines in ((b"Upload-Length: 100",), ()):
            request = head(*lines, method=b"POST", target=b"/files/", host=LOCAL)
            answer = await house.call().ask(request, "POST")
            assert answer.status == 412
            assert "tus" in answer.body.decode().lower()
        assert house.desk.store._files == {}


# --- at the end: in tus an offset that is the length is a promise ---------------------------------


async def all_received(house: House, *lines: bytes) -> bytes:
    """The path of an upload of three bytes that are all durable, and that nobody declared whole."""
    said = head(
        *(DRAFT, b"Upload-Complete: ?0", b"Upload-Length: 3", length(b"abc"), *lines),
        method=b"POST",
        target=b"/files/",
        host=LOCAL,
    )
    caller = house.call()
    await caller.say(said + b"abc")
    assert b" 104 " in await caller.stream.receive_some(9999)
    answer = await caller.answer("POST")
    assert (answer.status, answer.fields["upload-complete"]) == (201, "?0")
    return answer.fields["location"].encode()


@virtual
async def test_who_is_told_in_tus_that_all_is_here_can_have_it() -> None:
    """Whatever came between its last byte and its name: clients stop at that offset."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 3")
        house.desk.store.fail_next["publish"] = errno.ENOSPC
        assert (await house.call().ask(patch(target, 0, b"abc"), "PATCH")).status == 507
        assert house.desk.store._files == {}
        assert await offset(house, target) == 3
        assert house.desk.store.published(id_of(target)) == b"abc"
        answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert answer.fields["upload-complete"] == "?1"


@virtual
async def test_a_session_that_was_lost_before_it_finished_is_finished_in_tus() -> None:
    """As by a takeover, a restart or a crash between the last write and the name."""
    async with open_house() as house:
        session = house.call()
        await session.hello()
        await session.say(wire.text({"type": "begin", "ref": 1, "name": "x", "length": 3}))
        target = b"/files/" + (await session.message())["upload"].encode()
        await session.say(frame(BINARY, wire.chunk(1, 0, b"abc", flush=True)))
        while (await session.message())["offset"] < 3:
            pass
        assert house.desk.store._files == {}
        await session.stream.aclose()
        assert await offset(house, target) == 3
        assert house.desk.store.published("x") == b"abc"


@pytest.mark.parametrize("body", [b"", b"more"])
@virtual
async def test_a_patch_at_the_end_completes(body: bytes) -> None:
    """Empty, or with more than belongs to it, which is refused."""
    async with open_house() as house:
        target = await all_received(house)
        answer = await house.call().ask(patch(target, 3, body), "PATCH")
        assert answer.status == (413 if body else 204)
        assert house.desk.store.published(id_of(target)) == b"abc"


@virtual
async def test_only_who_speaks_tus_completes_by_looking() -> None:
    """For others the last byte says nothing; and a part is never whole by itself."""
    async with open_house() as house:
        target = await all_received(house)
        for line in (DRAFT, b"Accept: */*"):
            said = head(line, method=b"HEAD", target=target, host=LOCAL)
            answer = await house.call().ask(said, "HEAD")
            assert (answer.fields["upload-offset"], answer.fields["upload-complete"]) == ("3", "?0")
        part = b"Upload-Concat: partial"
        assert await offset(house, await created(house, b"Upload-Length: 0", part)) == 0
        assert house.desk.store._files == {}
        assert await offset(house, target) == 3
        assert house.desk.store.published(id_of(target)) == b"abc"


@virtual
async def test_while_it_cannot_be_published_head_asks_for_patience() -> None:
    """423: at a 5xx some clients would begin again from nothing."""
    async with open_house() as house:
        target = await all_received(house)
        for code in (errno.ENOSPC, errno.EIO, errno.EROFS):
            house.desk.store.fail_next["publish"] = code
            answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
            assert (answer.status, answer.fields["retry-after"]) == (423, "1")
            assert "upload-offset" not in answer.fields
        assert await offset(house, target) == 3
        assert house.desk.store.published(id_of(target)) == b"abc"


@virtual
async def test_who_completes_it_is_not_disturbed_by_who_looks() -> None:
    """Who looks waits a second for it, and is then asked for patience."""
    async with open_house() as house:
        session = house.call()
        await session.hello()
        await session.say(wire.text({"type": "begin", "ref": 1, "name": "x", "length": 3}))
        target = b"/files/" + (await session.message())["upload"].encode()
        await session.say(frame(BINARY, wire.chunk(1, 0, b"abc", flush=True)))
        while (await session.message())["offset"] < 3:
            pass
        gate = house.desk.store.clog("read")
        digest = f"sha-256=:{base64.b64encode(hashlib.sha256(b'abc').digest()).decode()}:"
        await session.say(wire.text({"type": "finish", "ref": 1, "digest": digest}))
        answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert answer.status == 423
        gate.set()
        assert (await session.message())["type"] == "done"
        assert await offset(house, target) == 3


@virtual
async def test_bytes_that_are_not_what_was_announced_are_not_told_as_complete() -> None:
    """More patience would not mend that: begin again."""
    async with open_house() as house:
        wrong = base64.b64encode(hashlib.sha256(b"abd").digest())
        target = await all_received(house, b"Repr-Digest: sha-256=:" + wrong + b":")
        assert (await house.call().ask(tus(b"HEAD", target), "HEAD")).status == 400
        assert house.desk.store._files == {}


# --- more than the length, and after the end --------------------------------------------------


@pytest.mark.parametrize("version", range(3, 10))
@pytest.mark.parametrize("said", [b"?0", b"?1", b"chunked"])
@virtual
async def test_beyond_the_known_length_an_upload_of_the_ietf_ends(
    version: int, said: bytes
) -> None:
    """For good from version 7 on; before, it goes on from what belongs to it."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 10", CHUNK, body=b"abc")
        framing = length(bytes(20)) if said != b"chunked" else b"Transfer-Encoding: chunked"
        complete = said if said != b"chunked" else b"?1"
        lines = [PARTIAL, b"Upload-Draft-Interop-Version: %d" % version, b"Upload-Offset: 3"]
        field = b"Upload-Complete: " + complete
        if version == 3:
            field = b"Upload-Incomplete: " + (b"?0" if complete == b"?1" else b"?1")
        request = head(*lines, field, framing, method=b"PATCH", target=target, host=LOCAL)
        caller = house.call()
        with suppress(*GONE):
            body = bytes(20) if said != b"chunked" else b"14\r\n" + bytes(20) + b"\r\n0\r\n\r\n"
            await caller.say(request + body)
        answer = await caller.answer("PATCH")
        assert (answer.status, answer.code) == (400, "length-conflict")
        assert house.desk.store._files == {}
        after = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert after.status == (404 if version >= 7 else 200)


@pytest.mark.parametrize(
    ("at", "body", "line", "status"),
    [
        (3, b"", b"Upload-Length: 3", 204),
        (3, b"", b"Upload-Length: 20", 400),
        (3, b"xyz", b"Accept: */*", 413),
        (0, b"abc", b"Accept: */*", 409),
    ],
)
@virtual
async def test_after_the_end_tus_is_told_what_it_would_have_been_before(
    at: int, body: bytes, line: bytes, status: int
) -> None:
    """Another length, or bytes beyond it; once more for nothing is no fault."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 3", CHUNK, body=b"abc")
        for make in (patch, patch_chunked):
            caller = house.call()
            with suppress(*GONE):
                await caller.say(make(target, at, body, line))
            assert (await caller.answer("PATCH")).status == status
        assert house.desk.store.published(id_of(target)) == b"abc"


@virtual
async def test_who_missed_the_end_is_told_of_it_in_the_words_of_the_ietf() -> None:
    """A wrong offset on a complete upload: there is nothing to go on with."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 3", CHUNK, body=b"abc")
        answer = await house.call().ask(append(target, 0, b"abc", whole=True), "PATCH")
        assert (answer.status, answer.fields["upload-complete"]) == (409, "?1")
        assert answer.fields["upload-offset"] == "3"


# --- checksums --------------------------------------------------------------------------------

SUMS = {
    "sha1": lambda data: hashlib.sha1(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "md5": lambda data: hashlib.md5(data).digest(),
    "crc32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
}


def checksum(algorithm: str, data: bytes) -> bytes:
    """The field with the checksum of *data*."""
    value = base64.b64encode(SUMS[algorithm](data)).decode()
    return f"Upload-Checksum: {algorithm} {value}".encode()


@pytest.mark.parametrize("algorithm", SUMS)
@pytest.mark.parametrize("trailer", [False, True])
@virtual
async def test_a_damaged_body_never_was(algorithm: str, trailer: bool) -> None:
    """Said before it or behind it; and the same place is written again."""

    def said(data: bytes, of: bytes) -> bytes:
        field = checksum(algorithm, of)
        if not trailer:
            return patch(target, 3, data, field)
        return patch_chunked(target, 3, data, b"Trailer: Upload-Checksum", behind=field + b"\r\n")

    async with open_house() as house:
        target = await created(house, b"Upload-Length: 9", CHUNK, body=b"abc")
        answer = await house.call().ask(said(b"dxf", b"def"), "PATCH")
        assert (answer.status, answer.code) == (460, "checksum-mismatch")
        assert await offset(house, target) == 3
        answer = await house.call().ask(said(b"def", b"def"), "PATCH")
        assert (answer.status, answer.fields["upload-offset"]) == (204, "6")
        assert (await house.call().ask(patch(target, 6, b"ghi"), "PATCH")).status == 204
        assert house.desk.store.published(id_of(target)) == b"abcdefghi"


@virtual
async def test_what_was_wrong_first_is_told_when_it_cannot_be_thrown_away() -> None:
    """That the disk fails then, too, is the next one's trouble."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 3")
        house.desk.store.fail_next["discard"] = errno.EIO
        answer = await house.call().ask(patch(target, 0, b"dxf", checksum("sha1", b"def")), "PATCH")
        assert (answer.status, answer.code) == (460, "checksum-mismatch")


@virtual
async def test_a_body_with_a_checksum_that_breaks_off_is_thrown_away() -> None:
    """Against the rule that what came is kept: nobody can say whether it is right."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 100")
        caller = house.call()
        body = bytes(100)
        await caller.say(patch(target, 0, body, checksum("sha1", body))[:-10])
        await wait_all_tasks_blocked()
        await caller.stream.aclose()
        await wait_all_tasks_blocked()
        assert await offset(house, target) == 0
        answer = await house.call().ask(patch(target, 0, body, checksum("sha1", body)), "PATCH")
        assert answer.status == 204


@virtual
async def test_a_silent_body_with_a_checksum_holds_nobody_up() -> None:
    """Nothing of it counts yet: who comes at the same place takes over."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 100")
        body = bytes(100)
        holder = house.call()
        await holder.say(patch(target, 0, body, checksum("sha1", body))[:-10])
        await trio.sleep(2)
        assert (await house.call().ask(patch(target, 0, body), "PATCH")).status == 204
        assert (await holder.answer("PATCH")).code == "taken-over"


@virtual
async def test_a_checksum_that_was_announced_has_to_come() -> None:
    """Else the body does not count."""
    async with open_house() as house:
        target = await created(house, b"Upload-Length: 9")
        said = patch_chunked(target, 0, b"abc", b"Trailer: Upload-Checksum")
        assert (await house.call().ask(said, "PATCH")).status == 400
        assert await offset(house, target) == 0


# --- concatenation ----------------------------------------------------------------------------


@virtual
async def test_an_upload_is_put_together_from_others() -> None:
    """In the given order, one of them twice; the parts themselves are never published."""
    async with open_house() as house:
        parts = []
        for body in (b"abc", b"", b"defg"):
            line = b"Upload-Length: %d" % len(body)
            parts.append(await created(house, line, CHUNK, b"Upload-Concat: partial", body=body))
        urls = b" ".join([parts[0], parts[2], parts[1], b"http://localhost" + parts[0]])
        target = await created(house, b"Upload-Concat: final;" + urls)
        while (await house.call().ask(tus(b"HEAD", target), "HEAD")).fields.get(
            "upload-offset"
        ) is None:
            await wait_all_tasks_blocked()
        assert house.desk.store.published(id_of(target)) == b"abcdefgabc"
        assert len(house.desk.store._files) == 1
        answer = await house.call().ask(patch(target, 10, b"x"), "PATCH")
        assert answer.status == 403


@virtual
async def test_parts_may_be_whole_later() -> None:
    """Until then nobody is told an offset; the length as soon as all are known."""
    async with open_house() as house:
        first = await created(house, b"Upload-Length: 3", b"Upload-Concat: partial")
        second = await created(house, b"Upload-Defer-Length: 1", b"Upload-Concat: partial")
        target = await created(house, b"Upload-Concat: final;" + first + b" " + second)
        answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert "upload-offset" not in answer.fields
        assert answer.fields["upload-concat"].startswith("final;/files/")
        assert "upload-length" not in answer.fields
        await house.call().ask(patch(second, 0, b"def", b"Upload-Length: 3"), "PATCH")
        answer = await house.call().ask(tus(b"HEAD", target), "HEAD")
        assert answer.fields["upload-length"] == "6"
        assert "upload-offset" not in answer.fields
        assert (await house.call().ask(patch(first, 0, b"abc"), "PATCH")).status == 204
        while house.desk.store._files == {}:
            await wait_all_tasks_blocked()
        assert house.desk.store.published(id_of(target)) == b"abcdef"


@virtual
async def test_what_is_no_part_is_not_taken_for_one() -> None:
    """Unknown, foreign, of another server, or an upload of its own: before a byte is copied."""
    async with open_house() as house:
        own = await created(house, b"Upload-Length: 3")
        for url, status in (
            (own, 400),
            (b"/files/" + b"A" * 24, 404),
            (b"../../etc/passwd", 404),
            (b"http://evil.example" + own, 400),
            (b"", 400),
        ):
            said = tus(b"POST", b"/files/", b"Upload-Concat: final;" + url)
            answer = await house.call().ask(said, "POST")
            assert answer.status == status, url
            assert "tus-resumable" in answer.fields


@virtual
async def test_a_part_that_is_needed_is_not_ended() -> None:
    """Neither by who made it nor before what needs it, and it is never published by itself."""
    async with open_house() as house:
        part = await created(house, b"Upload-Length: 3", b"Upload-Concat: partial")
        target = await created(house, b"Upload-Concat: final;" + part)
        assert (await house.call().ask(tus(b"DELETE", part), "DELETE")).status == 409
        assert await house.desk.uploads.sweep(house.desk.uploads._now() + 9) == 1
        assert (await house.call().ask(tus(b"HEAD", target), "HEAD")).status == 410
        assert (await house.call().ask(append(part, 0, b"abc", whole=True), "PATCH")).status == 403
        assert (await house.call().ask(tus(b"HEAD", part), "HEAD")).status == 200


@virtual
async def test_the_disk_may_fail_while_it_is_put_together() -> None:
    """It is tried again."""
    async with open_house() as house:
        part = await created(
            house, b"Upload-Length: 3", CHUNK, b"Upload-Concat: partial", body=b"abc"
        )
        house.desk.store.fail_next["read"] = 5
        target = await created(house, b"Upload-Concat: final;" + part)
        await trio.sleep(30)
        assert house.desk.store.published(id_of(target)) == b"abc"


@virtual
async def test_the_limit_holds_for_what_is_put_together() -> None:
    """Also when the lengths of the parts were put off."""
    async with open_house(max_length=1000) as house:
        house.desk.uploads.max_length = 1000
        part = await created(house, b"Upload-Defer-Length: 1", b"Upload-Concat: partial")
        target = await created(house, b"Upload-Concat: final;" + part + b" " + part)
        said = patch(part, 0, bytes(900), b"Upload-Length: 900")
        assert (await house.call().ask(said, "PATCH")).status == 204
        await trio.sleep(1)
        assert (await house.call().ask(tus(b"HEAD", target), "HEAD")).status == 404
        assert house.desk.store._files == {}


@virtual
async def test_putting_together_can_be_cancelled() -> None:
    """While it waits for a part that never comes."""
    async with open_house() as house:
        part = await created(house, b"Upload-Length: 3", b"Upload-Concat: partial")
        target = await created(house, b"Upload-Concat: final;" + part)
        await wait_all_tasks_blocked()
        assert (await house.call().ask(tus(b"DELETE", target), "DELETE")).status == 204
        assert (await house.call().ask(tus(b"HEAD", target), "HEAD")).status == 404
        assert (await house.call().ask(tus(b"DELETE", part), "DELETE")).status == 204


# --- endings ----------------------------------------------------------------------------------


@virtual
async def test_deleted_it_is_as_if_it_had_never_been() -> None:
    """Unfinished and complete; the file goes too."""
    async with open_house() as house:
        for body in (b"ab", b"abc"):
            target = await created(house, b"Upload-Length: 3", CHUNK, body=body)
            assert (await house.call().ask(tus(b"DELETE", target), "DELETE")).status == 204
            for method in ("HEAD", "DELETE", "PATCH"):
                said = patch(target, 3, b"") if method == "PATCH" else None
                answer = await house.call().ask(said or tus(method.encode(), target), method)
                assert answer.status == 404
                assert "upload-offset" not in answer.fields
        assert house.desk.store._files == {}


@virtual
async def test_what_nobody_goes_on_with_expires() -> None:
    """Not while somebody holds it; then it is gone for good, and says so."""
    async with open_house() as house:
        idle = await created(house, b"Upload-Length: 3")
        busy = await created(house, b"Upload-Length: 3")
        holder = house.call()
        await holder.say(patch(busy, 0, b"abc")[:-1])
        await wait_all_tasks_blocked()
        answer = await house.call().ask(tus(b"HEAD", idle), "HEAD")
        assert "upload-expires" in answer.fields
        assert await house.desk.uploads.sweep(house.desk.uploads._now() + 9) == 1
        assert (await house.call().ask(tus(b"HEAD", idle), "HEAD")).status == 410
        await holder.say(b"c")
        assert (await holder.answer("PATCH")).status == 204
        upload = await house.desk.uploads.find(id_of(busy))
        assert upload.state is State.PUBLISHED


# --- pages of other origins -------------------------------------------------------------------

APP = Origin("https", "app.example", 443)


@virtual
async def test_a_page_that_is_allowed_sees_every_answer() -> None:
    """Also a refusal: without the fields it would try for ever."""
    origin = b"Origin: https://app.example"
    async with open_house(origins=(APP,)) as house:
        for said, method in (
            (tus(b"POST", b"/files/", origin, b"Upload-Length: 3"), "POST"),
            (tus(b"POST", b"/files/", origin), "POST"),
            (tus(b"HEAD", b"/files/" + b"A" * 24, origin), "HEAD"),
            (head(origin, target=b"/nowhere", host=LOCAL), "GET"),
        ):
            answer = await house.call().ask(said, method)
            assert answer.fields["access-control-allow-origin"] == "https://app.example"
            assert "Upload-Offset" in answer.fields["access-control-expose-headers"]
            assert answer.fields["vary"] == "Origin"
        asks = b"Access-Control-Request-Method: PATCH"
        request = head(origin, asks, method=b"OPTIONS", target=b"/files/x", host=LOCAL)
        request = request.replace(b"/files/x", b"/files/" + b"A" * 24)
        answer = await house.call().ask(request, "OPTIONS")
        assert "PATCH" in answer.fields["access-control-allow-methods"]
        assert "Tus-Resumable" in answer.fields["access-control-allow-headers"]


@pytest.mark.parametrize(
    ("line", "status"),
    [(b"Bad Line", 400), (b"X: " + b"x" * 20_000, 431), (b"X: unfinished", 408)],
)
@virtual
async def test_a_page_sees_also_why_its_head_was_refused(line: bytes, status: int) -> None:
    """Else it would take that for a broken network."""
    async with open_house(origins=(APP,)) as house:
        for name, sees in ((b"app", True), (b"evil", False)):
            said = head(b"Origin: https://%b.example" % name, line, host=LOCAL)
            caller = house.call()
            with suppress(*GONE):
                await caller.say(said[:-4] if status == 408 else said)
            answer = await caller.answer()
            assert answer.status == status
            assert ("access-control-allow-origin" in answer.fields) is sees
            assert answer.fields["vary"] == "Origin"


@virtual
async def test_a_refused_method_is_not_named_as_one_that_is_allowed() -> None:
    """By the route or by the dialect."""
    async with open_house() as house:
        for said, method in ((tus(b"PUT", b"/files/"), "PUT"), (tus(b"PUT", b"/-/info"), "PUT")):
            answer = await house.call().ask(said, method)
            assert answer.status == 405
            assert method not in answer.fields["allow"].split(", ")


@virtual
async def test_an_error_of_ours_is_told_while_nothing_else_was() -> None:
    """500 and a problem document; HEAD hears nothing, so that no client begins again."""
    async with open_house(failures=2) as house:

        async def broken(id: str) -> None:
            raise RuntimeError("as nobody has foreseen")

        target = await created(house, b"Upload-Length: 3")
        house.desk.uploads.find = broken  # type: ignore[assignment,method-assign]  # a fault of ours
        answer = await house.call().ask(patch(target, 0, b"abc"), "PATCH")
        assert (answer.status, answer.code, answer.closes) == (500, "internal", True)
        assert answer.fields["content-type"] == "application/problem+json"
        assert answer.fields["tus-resumable"] == "1.0.0"
        caller = house.call()
        await caller.say(tus(b"HEAD", target))
        assert await caller.ended()


@virtual
async def test_a_foreign_page_learns_nothing_and_changes_nothing() -> None:
    """By default there is no list."""
    async with open_house() as house:
        origin = b"Origin: https://evil.example"
        answer = await house.call().ask(
            tus(b"POST", b"/files/", origin, b"Upload-Length: 3"), "POST"
        )
        assert answer.status == 403
        assert not any(name.startswith("access-control") for name in answer.fields)
        asked = head(origin, b"Access-Control-Request-Method: POST", method=b"OPTIONS", host=LOCAL)
        answer = await house.call().ask(asked, "OPTIONS")
        assert not any(name.startswith("access-control") for name in answer.fields)
