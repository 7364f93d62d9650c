"""One session over messages in memory, under a virtual clock: no socket, thread or disk.

`open_desk` looks after every test: whatever happened, all claims and all memory are given back.
"""

from __future__ import annotations

import errno
import gc
import json
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from tests import wire
from tests.serve.desk import TICK, Desk, Peer, open_desk, virtual
from uploadd.budget import RUN
from uploadd.protocol.frames import Refusal
from uploadd.protocol.upload import AHEAD_OF_WRITTEN
from uploadd.serve.receiving import CHUNK_COST
from uploadd.serve.ws import Farewell

MIB = 1 << 20
KEY = "a-key-of-22-characters"


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Memory is free when nothing refers to it, and not otherwise."""
    gc.disable()
    yield
    gc.enable()


# --- opening --------------------------------------------------------------------------------------


@virtual
async def test_who_says_hello_is_welcome() -> None:
    """And is told what to keep to."""
    async with open_desk() as desk:
        peer = desk.peer()
        await peer.say(type="hello", client="a test")
        assert await peer.hear() == {
            "type": "welcome",
            "session": "s0",
            "version": "1",
            "can": ["upload", "resume", "key", "crc32", "flush", "watch", "notices", "sha-256"],
            "limits": {
                "max_chunk": MIB,
                "max_length": None,
                "initial": MIB,
                "max_refs": 256,
                "max_watched": 1000,
            },
            "durability": "durable",
        }


@virtual
async def test_who_says_nothing_is_too_slow() -> None:
    """After five seconds, with a reason that a browser can read."""
    async with open_desk() as desk:
        start = trio.current_time()
        peer = desk.peer()
        error = await peer.hear()
        assert (error["type"], error["code"], error["final"]) == ("error", "too-slow", True)
        assert await peer.goodbye() == Farewell(4408, "too-slow")
        assert trio.current_time() - start == pytest.approx(5)


@pytest.mark.parametrize("first", [{"type": "begin", "ref": 1}, {"type": "drained"}, {"a": 1}])
@virtual
async def test_the_first_message_is_hello(first: dict[str, object]) -> None:
    """Or the session ends."""
    async with open_desk() as desk:
        peer = desk.peer()
        await peer.say(**first)
        assert (await peer.hear())["code"] == "bad-message"
        assert await peer.goodbye() == Farewell(4400, "bad-message")


@virtual
async def test_a_peer_that_hangs_up_ends_its_session() -> None:
    """Before hello, and after it."""
    async with open_desk() as desk:
        peers = [desk.peer(), await desk.greeted()]
        for peer in peers:
            peer.hang_up()
            await peer.ended.wait()
            assert peer.farewell == Farewell(1000, "")


# --- uploading ------------------------------------------------------------------------------------


@virtual
async def test_an_upload_from_begin_to_done() -> None:
    """Ready, acks, done; no ack follows done; the file is what was sent."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a.txt", length=10)
        await peer.chunk(1, 0, b"01234", flush=True)
        ack = await peer.hear_acked(1, 5)
        assert ack == {"type": "ack", "ref": 1, "received": 5, "offset": 5, "limit": ack["limit"]}
        await peer.chunk(1, 5, b"56789", last=True)
        done = await peer.hear_of("done")
        assert done == {
            "type": "done",
            "ref": 1,
            "upload": id,
            "url": f"/f/{id}/a.txt",
            "length": 10,
        }
        await peer.silence()
        assert desk.store.published("a.txt") == b"0123456789"


@virtual
async def test_chunks_become_smaller_while_many_share_the_memory() -> None:
    """Also for an upload that began before they came; and larger again when they have gone."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up()
        others = [desk.budget.share() for _ in range(255)]
        sizes = []
        for at in range(3):
            await trio.sleep(2 * TICK)
            await peer.chunk(1, at, b"x", flush=True)
            while (ack := await peer.hear())["offset"] < at + 1:
                sizes += [ack["max_chunk"]] if "max_chunk" in ack else []
            sizes += [ack["max_chunk"]] if "max_chunk" in ack else []
            if at == 1:
                for other in others:
                    other.close()
        assert sizes == [MIB // 4, MIB], "told once each time"


@virtual
async def test_chunks_may_follow_begin_at_once() -> None:
    """Up to the initial credit, and the end too: done may come without ready."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.begin(name="a", length=3)
        await peer.chunk(1, 0, b"abc", last=True)
        assert (await peer.hear())["type"] in ("ready", "done")
        await wait_all_tasks_blocked()
        assert desk.store.published("a") == b"abc"


@virtual
async def test_an_empty_file_is_a_file() -> None:
    """By finish, and by an empty last chunk; with its length known or not."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for ref, length in enumerate((0, None, 0, None)):
            await peer.begin(ref, name=f"{ref}", length=length)
            if ref < 2:
                await peer.say(type="finish", ref=ref)
            else:
                await peer.chunk(ref, 0, b"", last=True)
            while (told := await peer.hear())["type"] != "done":
                assert told["type"] == "ready"
            assert told["length"] == 0
            assert desk.store.published(f"{ref}") == b""


@virtual
async def test_a_length_that_is_not_known_is_told_at_the_end() -> None:
    """By finish or by the last chunk."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(name="a")
        await peer.chunk(1, 0, b"abc")
        await peer.say(type="finish", ref=1, length=3)
        assert (await peer.hear_of("done"))["length"] == 3


@virtual
async def test_too_few_bytes_are_incomplete_and_the_upload_goes_on() -> None:
    """The error says where."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc")
        await peer.say(type="finish", ref=1)
        error = await peer.hear_of("error")
        assert (error["code"], error["final"], error["offset"]) == ("incomplete", False, 3)
        assert await peer.back(1, id) == 3
        await peer.chunk(1, 3, b"def", last=True)
        assert (await peer.hear_of("done"))["length"] == 6
        assert desk.store.published("a") == b"abcdef"


@pytest.mark.parametrize("length", [None, 3])
@virtual
async def test_a_length_below_what_was_sent_is_refused_and_changes_nothing(
    length: int | None,
) -> None:
    """Whether those bytes are durable yet or not."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=length)
        await peer.chunk(1, 0, b"abc")
        await peer.say(type="finish", ref=1, length=2)
        error = await peer.hear_of("error")
        assert (error["code"], error["final"]) == ("length-conflict", True)
        assert await peer.back(1, id) == 3
        await peer.say(type="finish", ref=1, length=3)
        assert (await peer.hear_of("done"))["length"] == 3


@virtual
async def test_more_than_the_length_is_refused() -> None:
    """And what was in its place stays."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=4)
        await peer.chunk(1, 0, b"abc")
        await peer.chunk(1, 3, b"de")
        error = await peer.hear_of("error")
        assert (error["code"], error["final"]) == ("length-exceeded", True)
        assert await peer.back(1, id) == 3


@virtual
async def test_many_uploads_run_in_one_session() -> None:
    """Interleaved as one likes."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for ref in range(20):
            await peer.begin(ref, name=f"{ref}", length=40)
        for at in range(4):
            for ref in range(20):
                await peer.chunk(ref, 10 * at, b"%010d" % (ref + at), last=at == 3)
        done = set()
        while len(done) < 20:
            told = await peer.hear()
            if told["type"] == "done":
                done.add(told["ref"])
        for ref in range(20):
            assert desk.store.published(f"{ref}") == b"".join(
                b"%010d" % (ref + n) for n in range(4)
            )


# --- resuming -------------------------------------------------------------------------------------


@virtual
async def test_a_lost_session_keeps_what_was_taken() -> None:
    """Chunks without an ack too, when they were heard before the end."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc")
        await peer.chunk(1, 3, b"d")
        peer.hang_up()
        await peer.ended.wait()
        assert desk.claimed() == []
        other = await desk.greeted()
        assert await other.back(7, id) == 4
        await other.chunk(7, 4, b"ef", last=True)
        await other.hear_of("done")
        assert desk.store.published("a") == b"abcdef"


@pytest.mark.parametrize("resumed", [False, True])
@virtual
async def test_finish_counts_when_the_peer_leaves_right_behind_it(resumed: bool) -> None:
    """Also when the upload was not claimed yet; who comes back is told done."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=3)
        if resumed:
            await peer.chunk(1, 0, b"abc", flush=True)
            await peer.hear_acked(1, 3)
            await desk.forget(peer, id)
            peer = await desk.greeted()
            peer.tell(json.dumps({"type": "begin", "ref": 1, "upload": id}))
            peer.tell(json.dumps({"type": "finish", "ref": 1}))
        else:
            await peer.chunk(1, 0, b"abc", last=True)
        peer.hang_up()
        await peer.ended.wait()
        assert desk.store.published("a") == b"abc"
        other = await desk.greeted()
        await other.begin(upload=id)
        assert (await other.hear())["type"] == "done"


@virtual
async def test_finish_before_ready_completes_what_is_there() -> None:
    """The client knew that it had sent all."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=3)
        await peer.chunk(1, 0, b"abc", flush=True)
        await peer.hear_acked(1, 3)
        await peer.begin(2, upload=id)
        await peer.say(type="finish", ref=2)
        assert (await peer.hear())["reason"] == "taken-over"
        done = await peer.hear()
        assert (done["type"], done["ref"]) == ("done", 2)


@virtual
async def test_an_empty_last_chunk_before_ready_is_a_finish() -> None:
    """It needs no credit; what it says of the length may be wrong, and that is all."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=3)
        await peer.begin(2, upload=id)
        await peer.chunk(2, 0, b"", last=True)
        assert (await peer.hear())["reason"] == "taken-over"
        assert (await peer.hear())["code"] == "length-conflict"
        assert await peer.back(2, id) == 0


@virtual
async def test_two_begins_of_one_upload_in_one_session() -> None:
    """The newer has it; the older hears so and nothing else."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(1, name="a", length=6)
        await peer.chunk(1, 0, b"abc")
        await peer.begin(2, upload=id)
        gone = await peer.hear_of("gone")
        assert (gone["ref"], gone["reason"]) == (1, "taken-over")
        assert (await peer.hear_of("ready"))["offset"] == 3
        await peer.chunk(1, 3, b"xxx", last=True)
        await peer.silence()
        await peer.chunk(2, 3, b"def", last=True)
        assert (await peer.hear_of("done"))["ref"] == 2
        assert desk.store.published("a") == b"abcdef"


@virtual
async def test_many_begins_of_one_upload_leave_it_to_the_last() -> None:
    """However fast they come."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(0, name="a", length=3)
        for ref in range(1, 30):
            await peer.begin(ref, upload=id)
        told = [await peer.hear() for _ in range(30)]
        assert sorted(one["ref"] for one in told if one["type"] == "gone") == list(range(29))
        assert [one["ref"] for one in told if one["type"] == "ready"] == [29]


@virtual
async def test_a_takeover_by_another_session_finds_all_that_was_taken() -> None:
    """The old holder hears where it stands; what it sends on is dropped in silence."""
    async with open_desk() as desk:
        one, two = await desk.greeted(), await desk.greeted()
        id = await one.up(name="a", length=6)
        await one.chunk(1, 0, b"abc")
        assert await two.back(5, id) == 3
        gone = await one.hear_of("gone")
        assert (gone["ref"], gone["upload"], gone["reason"]) == (1, id, "taken-over")
        await one.chunk(1, 3, b"xxx", last=True)
        await one.silence()
        await two.chunk(5, 3, b"def", last=True)
        await two.hear_of("done")
        assert desk.store.published("a") == b"abcdef"
        other = await one.up(1, name="b")  # the ref is free again
        assert other != id


@virtual
async def test_a_holder_that_is_stuck_in_the_disk_cannot_be_taken_over() -> None:
    """The new one hears so after a second, and the old one is not harmed in its bytes."""
    async with open_desk() as desk:
        one, two = await desk.greeted(), await desk.greeted()
        id = await one.up(name="a", length=6)
        stuck = desk.store.stick(id)
        await one.chunk(1, 0, b"abc")
        await wait_all_tasks_blocked()
        await two.begin(1, upload=id)
        error = await two.hear_of("error")
        assert (error["code"], error["final"]) == ("holder-stuck", True)
        stuck.set()
        await wait_all_tasks_blocked()
        assert await two.back(1, id) == 3


@virtual
async def test_a_key_finds_its_upload_again() -> None:
    """In another session, finished or not; another name or length is a conflict."""
    async with open_desk() as desk:
        one, two = await desk.greeted(), await desk.greeted()
        id = await one.up(name="a", length=6, key=KEY)
        await one.chunk(1, 0, b"abc")
        await two.begin(1, name="a", length=6, key=KEY)
        ready = await two.hear()
        assert (ready["upload"], ready["offset"]) == (id, 3)
        await two.begin(2, name="b", length=6, key=KEY)
        assert (await two.hear())["code"] == "key-conflict"
        await two.chunk(1, 3, b"def", last=True)
        await two.hear_of("done")
        await two.begin(3, name="a", length=6, key=KEY)
        done = await two.hear()
        assert (done["type"], done["upload"]) == ("done", id)


@virtual
async def test_a_small_file_whose_answer_was_lost_is_stored_once() -> None:
    """Begin, key and the last chunk in one go, and the same again: done, and one file."""
    async with open_desk() as desk:
        urls = set()
        for _ in range(2):
            peer = await desk.greeted()
            await peer.begin(1, name="a", length=3, key=KEY)
            await peer.chunk(1, 0, b"abc", last=True)
            while (told := await peer.hear())["type"] != "done":
                assert told["type"] == "ready"
            urls.add(told["url"])
            peer.hang_up()
            await peer.ended.wait()
        assert len(urls) == 1
        assert desk.store.published("a") == b"abc"
        with pytest.raises(KeyError):
            desk.store.published("a-2")


@virtual
async def test_a_chunk_under_a_key_that_is_further_on_is_told_where_to_go_on() -> None:
    """Once, and not finally; the next begin is ready there, and no byte is written twice."""
    async with open_desk() as desk:
        one, two = await desk.greeted(), await desk.greeted()
        await one.up(name="a", length=6, key=KEY)
        await one.chunk(1, 0, b"abc", flush=True)
        await one.hear_acked(1, 3)
        await two.begin(1, name="a", length=6, key=KEY)
        await two.chunk(1, 0, b"xyz")
        error = await two.hear()
        assert (error["code"], error["final"], error["offset"]) == ("offset-mismatch", False, 3)
        await two.begin(1, name="a", length=6, key=KEY)
        assert (await two.hear_of("ready"))["offset"] == 3
        await two.chunk(1, 3, b"def", last=True)
        await two.hear_of("done")
        assert desk.store.published("a") == b"abcdef"


@virtual
async def test_chunks_may_follow_a_key_at_once() -> None:
    """Whenever they come, they keep their order, before it is known whose the key is and after."""
    for pause in range(20):
        async with open_desk() as desk:
            peer = await desk.greeted()
            await peer.begin(name="a", key=KEY)
            for at in range(3):
                peer.tell(wire.chunk(1, at, b"abc"[at : at + 1], last=at == 2))
                for _ in range(pause):
                    await trio.lowlevel.checkpoint()
            while (told := await peer.hear())["type"] != "done":
                assert told["type"] in ("ready", "ack"), told
            assert desk.store.published("a") == b"abc"


@virtual
async def test_what_follows_a_key_is_kept_when_the_peer_is_lost() -> None:
    """At any step; and it is never more than what was sent."""
    for pause in range(40):
        async with open_desk() as desk:
            peer = await desk.greeted()
            await peer.begin(name="a", key=KEY)
            peer.tell(wire.chunk(1, 0, b"abc"))
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            peer.hang_up()
            await peer.ended.wait()
            other = await desk.greeted()
            await other.begin(name="a", key=KEY)
            assert (await other.hear())["offset"] in ((0, 3) if pause < 20 else (3,))


@virtual
async def test_chunks_behind_a_key_whose_upload_is_further_on_are_refused() -> None:
    """And finish with them: ready comes after the next begin."""
    async with open_desk() as desk:
        one, two = await desk.greeted(), await desk.greeted()
        await one.up(name="a", key=KEY)
        await one.chunk(1, 0, b"abc", flush=True)
        await one.hear_acked(1, 3)
        two.tell(json.dumps({"type": "begin", "ref": 1, "name": "a", "key": KEY}))
        two.tell(wire.chunk(1, 0, b"ab"))
        two.tell(json.dumps({"type": "finish", "ref": 1, "length": 9}))
        error = await two.hear()
        assert (error["code"], error["offset"]) == ("offset-mismatch", 3)
        await two.silence()
        await two.begin(name="a", key=KEY)
        assert (await two.hear())["offset"] == 3
        await two.chunk(1, 3, b"def", last=True)
        await two.hear_of("done")
        assert desk.store.published("a") == b"abcdef"


@virtual
async def test_a_key_finds_its_upload_whose_length_was_told_at_the_end() -> None:
    """Whoever says again what it said at first is answered as at first."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", key=KEY)
        await peer.chunk(1, 0, b"abc", last=True)
        await peer.hear_of("done")
        await peer.begin(name="a", key=KEY)
        assert (await peer.hear())["upload"] == id


@virtual
async def test_done_of_a_published_upload_repeats_no_digest_that_nobody_checked() -> None:
    """It tells the one that was declared when the bytes came, or none."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=1)
        await peer.chunk(1, 0, b"a", last=True)
        await peer.hear_of("done")
        await peer.begin(upload=id, digest=f"sha-256=:{'A' * 43}=:")
        done = await peer.hear()
        assert done["type"] == "done"
        assert "digest" not in done


@virtual
async def test_an_upload_that_is_not_there_is_not_found() -> None:
    """And the session goes on."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.begin(upload="no-such-upload-anywhere")
        assert (await peer.hear())["code"] == "not-found"
        await peer.up(name="a")


# --- what is refused ------------------------------------------------------------------------------


@virtual
async def test_a_wrong_offset_is_said_once_and_begin_goes_on() -> None:
    """Until then everything is dropped in silence."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc")
        for at in (4, 5, 3):
            await peer.chunk(1, at, b"x")
        error = await peer.hear_of("error")
        assert (error["code"], error["final"]) == ("offset-mismatch", False)
        await peer.silence()
        assert await peer.back(1, id) == 3
        await peer.chunk(1, 3, b"def", last=True)
        await peer.hear_of("done")


@virtual
async def test_a_wrong_checksum_refuses_the_chunk_whole() -> None:
    """Nothing of it is stored, and the next begin says where to go on."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc", crc32=True)
        await peer.chunk(1, 3, b"xxx", crc32=1)
        error = await peer.hear_of("error")
        assert (error["code"], error["final"]) == ("checksum-mismatch", False)
        assert await peer.back(1, id) == 3
        await peer.chunk(1, 3, b"def", crc32=True, last=True)
        await peer.hear_of("done")
        assert desk.store.published("a") == b"abcdef"


@virtual
async def test_beginning_again_with_another_upload_leaves_the_refused_one_alone() -> None:
    """It can still be found."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc")
        await peer.chunk(1, 9, b"x")
        await peer.hear_of("error")
        other = await peer.up(1, name="b", length=1)
        await peer.chunk(1, 0, b"b", last=True)
        assert (await peer.hear_of("done"))["upload"] == other
        assert await peer.back(2, id) == 3


@virtual
async def test_credit_is_kept_to() -> None:
    """A chunk beyond it ends the ref; the ref can begin anew, and others never notice."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(2, name="b")
        await peer.begin(1, name="a")
        await peer.chunk(1, 0, bytes(MIB))
        await peer.chunk(1, MIB, b"x")
        told = [await peer.hear() for _ in range(1)]
        while told[-1]["type"] != "error":
            told.append(await peer.hear())
        assert (told[-1]["code"], told[-1]["final"]) == ("credit-exceeded", True)
        await peer.up(1, name="c")
        await peer.chunk(2, 0, b"b", last=True)
        assert (await peer.hear_of("done"))["ref"] == 2


@virtual
async def test_256_uploads_and_not_one_more() -> None:
    """The one too many is refused; when another has ended there is room."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for ref in range(257):
            await peer.begin(ref, name=f"{ref}")
        told = [await peer.hear() for _ in range(257)]
        refused = [one for one in told if one["type"] == "error"]
        assert [(one["ref"], one["code"], one["final"]) for one in refused] == [
            (256, "too-many", True)
        ]
        assert sorted(one["ref"] for one in told if one["type"] == "ready") == list(range(256))
        await peer.say(type="cancel", ref=17)
        assert (await peer.hear_of("gone"))["ref"] == 17
        await peer.up(256, name="256")


@virtual
async def test_as_many_uploads_are_under_way_as_there_is_memory_for() -> None:
    """Known or new; who comes late has a fair part; and when one has ended there is room."""
    async with open_desk() as desk:
        desk.budget.total = 20 * RUN
        glutton, other = await desk.greeted(), await desk.greeted()
        ids = [await glutton.up(ref, name=f"{ref}") for ref in range(10)]
        for ref, how in ((10, {"name": "new"}), (11, {"key": KEY}), (12, {"upload": ids[0]})):
            await glutton.begin(ref, **how)
            told = await glutton.hear_of("error")
            assert (told["ref"], told["code"], told["final"]) == (ref, "too-many", True)
            assert "limits.memory" in told["hint"]
        assert desk.claimed() == ids
        for ref in range(5):
            await other.up(ref, name=f"other {ref}")
        for ref in range(6):
            await glutton.say(type="cancel", ref=ref)
            await glutton.hear_of("gone")
        await glutton.up(13, name="room")


@virtual
async def test_what_has_ended_leaves_memory_at_once(no_collector: None) -> None:
    """However it ended: what lay about until it is collected could be a great deal."""
    async with open_desk() as desk:
        first, second = await desk.greeted(), await desk.greeted()
        ids = [await first.up(ref, name=f"{ref}") for ref in range(3)]
        ended = [weakref.ref(one) for one in first.session._receivings.values()]
        await first.chunk(0, 0, b"whole", last=True)
        await first.hear_of("done")
        await first.say(type="cancel", ref=1)
        await first.hear_of("gone")
        await second.back(2, ids[2])
        await first.hear_of("gone")
        await second.say(type="cancel", ref=2)
        await second.hear_of("gone")
        await wait_all_tasks_blocked()
        assert [one() for one in ended] == [None] * 3
        await first.up(3, name="3")
        ended = [weakref.ref(one) for one in first.session._receivings.values()]
        first.hang_up()
        await first.ended.wait()
        assert [one() for one in ended] == [None]


@virtual
async def test_a_type_that_is_not_known_is_answered_and_the_session_goes_on() -> None:
    """Somebody newer than we are."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.say(type="dance", uploads="all")
        error = await peer.hear()
        assert (error["code"], error["final"], "ref" in error) == ("unsupported", False, False)
        await peer.up(name="a")


@virtual
async def test_what_is_not_of_the_protocol_ends_the_session_and_keeps_the_bytes() -> None:
    """The reason comes before the close code."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc")
        peer.tell("no JSON")
        rest = await peer.rest()
        assert [one["code"] for one in rest if one["type"] == "error"] == ["bad-message"]
        assert peer.farewell == Farewell(4400, "bad-message")
        assert await (await desk.greeted()).back(1, id) == 3


@virtual
async def test_refs_that_ended_are_forgotten() -> None:
    """Whatever their last word was: a session must not grow with what it has behind it."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for ref in range(50):
            await peer.up(ref, name="a")
            await peer.chunk(ref, 7, b"x")  # refused, not finally
            await peer.hear_of("error")
            await peer.begin(ref, name="a", start=1)  # refused, finally, by the machine
            assert (await peer.hear())["final"]
        await wait_all_tasks_blocked()
        assert peer.session._receivings == {}


# --- cancelling -----------------------------------------------------------------------------------


async def cancelled(peer: Peer, ref: int = 1) -> None:
    await peer.say(type="cancel", ref=ref)
    gone = await peer.hear_of("gone")
    assert (gone["ref"], gone["reason"]) == (ref, "cancelled")


@virtual
async def test_cancel_removes_the_bytes() -> None:
    """Durably: who comes back is told so."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc", flush=True)
        await peer.hear_acked(1, 3)
        await cancelled(peer)
        await wait_all_tasks_blocked()
        assert id not in desk.store._growing
        await peer.begin(upload=id)
        error = await peer.hear()
        assert (error["code"], error["final"]) == ("gone", True)


@virtual
async def test_cancel_right_behind_begin() -> None:
    """Before there was a row or a claim."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(2, name="b", length=6)
        for members in ({"name": "a"}, {"name": "a", "key": KEY}, {"upload": id}):
            await peer.begin(1, **members)
            await peer.say(type="cancel", ref=1)
            told = await peer.hear()
            while told["type"] != "gone" or told["ref"] != 1:
                assert told["type"] == "gone"
                told = await peer.hear()
            assert told["reason"] == "cancelled"


@virtual
async def test_a_refused_ref_can_still_be_cancelled() -> None:
    """While the old run still writes, and long after it has ended."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for late in (False, True):
            id = await peer.up(name="a", length=6)
            await peer.chunk(1, 0, b"abc")
            await peer.chunk(1, 9, b"x")
            if late:
                await peer.hear_of("error")
                await wait_all_tasks_blocked()
                await cancelled(peer)
            else:
                await peer.say(type="cancel", ref=1)
                while (told := await peer.hear())["type"] != "gone":
                    assert told["type"] in ("ack", "error")
                assert told["reason"] == "cancelled"
            await wait_all_tasks_blocked()
            assert id not in desk.store._growing


@virtual
async def test_cancel_of_what_could_not_begin_has_one_last_word() -> None:
    """The error is it."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(2, name="b", key=KEY)
        for members, code in (
            ({"upload": "no-such-upload-anywhere"}, "not-found"),
            ({"name": "other", "key": KEY}, "key-conflict"),
        ):
            await peer.begin(1, **members)
            await peer.say(type="cancel", ref=1)
            error = await peer.hear()
            assert (error["code"], error["final"]) == (code, True)
            await peer.silence()


@virtual
async def test_cancel_while_it_is_published_ends_in_one_of_both() -> None:
    """With one last word, and the file is there or not, as it says."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for pause in range(12):
            await peer.up(name=f"{pause}", length=1)
            await peer.chunk(1, 0, b"x", last=True)
            for _ in range(pause):
                await trio.lowlevel.checkpoint()
            await peer.say(type="cancel", ref=1)
            last = await peer.hear_of("done", "gone")
            await peer.silence()
            assert (f"{pause}" in desk.store._files) == (last["type"] == "done")


@pytest.mark.parametrize("verb", ["flush", "write"])
@virtual
async def test_cancel_has_a_last_word_when_the_medium_fails_meanwhile(verb: str) -> None:
    """The failure concerns nobody any more."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(name="a", length=6)
        gate = desk.store.clog(verb)
        await peer.chunk(1, 0, b"abc", flush=True)
        await wait_all_tasks_blocked()
        await peer.say(type="cancel", ref=1)
        await wait_all_tasks_blocked()
        desk.store.fail_next[verb] = errno.EIO
        gate.set()
        gone = await peer.hear_of("gone")
        assert gone["reason"] == "cancelled"
        await peer.silence()


@virtual
async def test_who_lost_the_upload_meanwhile_does_not_cancel_it_for_the_new_holder() -> None:
    """Its last word was taken-over."""
    async with open_desk() as desk:
        one, two = await desk.greeted(), await desk.greeted()
        id = await one.up(name="a", length=6)
        stuck = desk.store.stick(id)
        await one.chunk(1, 0, b"abc")
        await wait_all_tasks_blocked()
        await one.say(type="cancel", ref=1)
        await wait_all_tasks_blocked()
        await two.begin(1, upload=id)
        await wait_all_tasks_blocked()
        stuck.set()
        gone = await one.hear_of("gone")
        assert gone["reason"] == "taken-over"
        assert (await two.hear())["offset"] == 3
        await two.chunk(1, 3, b"def", last=True)
        assert (await two.hear_of("done"))["upload"] == id


# --- the medium -----------------------------------------------------------------------------------


@virtual
async def test_without_room_it_stops_and_with_room_it_goes_on() -> None:
    """The session, its other uploads and all that was acknowledged stay."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a")
        await peer.chunk(1, 0, b"abc", flush=True)
        await peer.hear_acked(1, 3)
        desk.store.capacity = 3
        await peer.chunk(1, 3, b"def")
        error = await peer.hear_of("error")
        assert (error["code"], error["final"], error["offset"]) == ("no-space", False, 3)
        await peer.chunk(1, 6, b"dropped in silence")
        await peer.silence()
        desk.store.capacity = 100
        assert await peer.back(1, id) == 3
        await peer.chunk(1, 3, b"def", last=True)
        await peer.hear_of("done")
        assert desk.store.published("a") == b"abcdef"


@pytest.mark.parametrize("key", [None, KEY])
@virtual
async def test_an_upload_that_found_no_room_at_first_can_begin_again(key: str | None) -> None:
    """By its key as well: nobody has told the client an id."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        desk.store.capacity = 0
        members = {"name": "a", "length": 3} | ({"key": key} if key else {})
        await peer.begin(**members)
        error = await peer.hear()
        assert (error["code"], error["final"]) == ("no-space", False)
        desk.store.capacity = 100
        await trio.sleep(2)  # for a second the room counts as known
        await peer.up(1, **members)
        await peer.chunk(1, 0, b"abc", last=True)
        await peer.hear_of("done")


@virtual
async def test_a_failed_flush_is_told_and_loses_nothing_acknowledged() -> None:
    """Begin throws the rest away and goes on from there."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        await peer.chunk(1, 0, b"abc", flush=True)
        await peer.hear_acked(1, 3)
        desk.store.fail_next["flush"] = errno.EIO
        await peer.chunk(1, 3, b"de", flush=True)
        error = await peer.hear_of("error")
        assert (error["code"], error["final"], error["offset"]) == ("store-failed", False, 3)
        assert await peer.back(1, id) == 3
        await peer.chunk(1, 3, b"def", last=True)
        await peer.hear_of("done")
        assert desk.store.published("a") == b"abcdef"


@virtual
async def test_a_stalled_upload_does_not_delay_its_neighbour() -> None:
    """One writes into a wall until its credit ends; the other is done meanwhile."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        wall = await peer.up(1, name="wall")
        await peer.up(2, name="good", length=30)
        desk.store.stick(wall)
        for at in range(16):
            await peer.chunk(1, at * MIB, bytes(MIB))
        for at in range(30):
            await peer.chunk(2, at, b"x", flush=True, last=at == 29)
            if at < 29:
                await peer.hear_acked(2, at + 1)
        assert (await peer.hear_of("done"))["ref"] == 2
        assert peer.share.moving == 16 * (MIB + CHUNK_COST)
        assert desk.store.published("good") == b"x" * 30


@virtual
async def test_credit_bounds_what_waits_for_a_stalled_store() -> None:
    """Beyond what is written 16 MiB, and no limit of any message says more."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a")
        limit, at, told = AHEAD_OF_WRITTEN, 0, []
        stuck = desk.store.stick(id)
        while at < limit:
            await peer.chunk(1, at, bytes(min(MIB, limit - at)))
            at += min(MIB, limit - at)
        await peer.silence()
        assert peer.share.moving <= AHEAD_OF_WRITTEN + 16 * CHUNK_COST
        stuck.set()
        while (ack := await peer.hear())["offset"] < at:
            told.append(ack)
        assert all(one["limit"] <= at + AHEAD_OF_WRITTEN for one in [*told, ack])
        assert ack["limit"] == at + AHEAD_OF_WRITTEN


@given(st.lists(st.tuples(st.integers(1, 3 * 1024), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=25)
@virtual
async def test_numbers_of_an_upload_keep_their_order(sizes: list[tuple[int, bool]]) -> None:
    """offset <= received <= limit; none ever decreases; the limit is never out of reach."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(name="a")
        at, last = 0, {"received": 0, "offset": 0, "limit": 0}
        for size, flush in sizes:
            await peer.chunk(1, at, bytes(size), flush=flush)
            at += size
            if flush:
                while last["offset"] < at:
                    ack = await peer.hear()
                    assert ack["offset"] <= ack["received"] <= ack["limit"]
                    assert ack["received"] <= at
                    assert ack["limit"] <= ack["received"] + max(AHEAD_OF_WRITTEN, MIB)
                    assert all(ack[name] >= value for name, value in last.items())
                    last = {name: ack[name] for name in last}
        await peer.chunk(1, at, b"", last=True)
        assert (await peer.hear_of("done"))["length"] == at


@virtual
async def test_only_the_newest_ack_is_said_to_a_peer_that_did_not_listen() -> None:
    """A hundred became durable; it hears of one on its way, and of the last."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(name="a")
        for at in range(100):
            await peer.chunk(1, at, b"x", flush=True)
            await wait_all_tasks_blocked()
        first = await peer.hear()
        assert first["received"] == 1
        newest = await peer.hear()
        assert (newest["received"], newest["offset"]) == (100, 100)
        await peer.silence()


# --- time -----------------------------------------------------------------------------------------


@virtual
async def test_a_quiet_peer_is_pinged_and_a_silent_one_left() -> None:
    """Pings from 25 s on, the end after 60; its uploads stay."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a")
        start = trio.current_time()
        await trio.sleep(24)
        assert peer.pings == 0
        await trio.sleep(3)
        assert peer.pings
        error = await peer.hear()
        assert (error["code"], error["final"]) == ("too-slow", True)
        assert await peer.goodbye() == Farewell(4408, "too-slow")
        assert 60 <= trio.current_time() - start < 63
        assert await (await desk.greeted()).back(1, id) == 0


@virtual
async def test_any_byte_is_life_and_while_we_do_not_read_no_clock_runs() -> None:
    """A pong, half a frame: the gate sees them.  Holding back is not the peer's silence."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        for _ in range(5):
            await trio.sleep(50)
            peer.gate.heard = trio.current_time()
        peer.gate.holding_back = True
        pings = peer.pings
        await trio.sleep(1000)
        assert peer.pings == pings
        peer.gate.holding_back = False
        peer.gate.heard = trio.current_time()
        await trio.sleep(50)
        await peer.up(name="a")


@virtual
async def test_a_peer_that_takes_nothing_is_left_after_a_minute() -> None:
    """What it sent is kept; it keeps nobody waiting, and nothing of it in memory."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a")
        start, at = trio.current_time(), 0
        with trio.fail_after(1000):
            while not peer.ended.is_set():
                await peer.chunk(1, at, b"x", flush=True)
                at += 1
                await trio.sleep(1)
        assert trio.current_time() - start == pytest.approx(60, abs=2)
        assert await (await desk.greeted()).back(1, id) == pytest.approx(at, abs=2)


# --- how it ends ----------------------------------------------------------------------------------


@virtual
async def test_drain_without_uploads_ends_at_once() -> None:
    """With the word to come back."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        peer.session.drain(1, 5)
        assert await peer.hear() == {"type": "drain", "reconnect_after": 1.0, "deadline": 5.0}
        assert await peer.goodbye() == Farewell(1012, "restarting")


@virtual
async def test_drain_before_hello_is_an_error_that_says_so() -> None:
    """There is nothing to keep."""
    async with open_desk() as desk:
        peer = desk.peer()
        await wait_all_tasks_blocked()
        peer.session.drain(1, 5)
        assert (await peer.hear())["code"] == "draining"
        assert await peer.goodbye() == Farewell(4503, "draining")


@virtual
async def test_drain_lets_the_client_end_its_message_and_acknowledges_all_of_it() -> None:
    """Then comes 1012, and the upload goes on elsewhere."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(1, name="a", length=6)
        await peer.up(2, name="b", length=1)
        peer.session.drain(1, 5)
        assert (await peer.hear())["type"] == "drain"
        await peer.begin(3, name="c")
        assert (await peer.hear())["code"] == "draining"
        await peer.chunk(1, 0, b"abc")
        await peer.chunk(2, 0, b"b", last=True)
        await peer.say(type="drained")
        rest = await peer.rest()
        assert [one["ref"] for one in rest if one["type"] == "done"] == [2]
        assert [one["offset"] for one in rest if one["type"] == "ack"][-1] == 3
        assert peer.farewell == Farewell(1012, "restarting")
        assert await (await desk.greeted()).back(1, id) == 3


@virtual
async def test_who_does_not_answer_drain_is_parted_from_and_keeps_its_bytes() -> None:
    """The last ack says how many."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        await peer.up(name="a", length=6)
        peer.session.drain(1, 5)
        await peer.chunk(1, 0, b"abc")
        await wait_all_tasks_blocked()
        peer.session.part()
        rest = await peer.rest()
        assert (rest[-1]["type"], rest[-1]["offset"]) == ("ack", 3)
        assert peer.farewell == Farewell(1012, "restarting")


@virtual
async def test_a_refusal_of_the_gate_ends_the_work_at_once() -> None:
    """The store may hang: the claim is given back, and with the code the peer hears why."""
    async with open_desk() as desk:
        peer = await desk.greeted()
        id = await peer.up(name="a", length=6)
        desk.store.stick(id)
        await peer.chunk(1, 0, b"abc")
        await wait_all_tasks_blocked()
        peer.refuse(Refusal(1009, "this message may have 8192 bytes"))
        assert await peer.goodbye() == Farewell(1009, "this message may have 8192 bytes")
        assert desk.claimed() == []
        assert peer.share.moving == 0


@virtual
async def test_a_message_that_was_just_heard_when_the_work_ended_is_dropped() -> None:
    """The reader may run once more, after its uploads have ended."""
    async with open_desk() as desk:
        for _ in range(20):
            peer = await desk.greeted()
            await peer.up(name="a")
            await wait_all_tasks_blocked()
            peer.tell(wire.chunk(1, 0, b"abc"))
            peer.refuse(Refusal(1008, "x"))
            assert (await peer.goodbye()).code == 1008


VERBS: dict[str, Callable[[Peer], None]] = {
    "drain": lambda peer: peer.session.drain(1, 5),
    "part": lambda peer: peer.session.part(),
    "check": lambda peer: peer.session.look_after(trio.current_time() + 1000),
    "refusal": lambda peer: peer.refuse(Refusal(1008, "x")),
    "hang up": lambda peer: peer.hang_up(),
    "wake": lambda peer: peer.session.wake_sender(),
}


async def play(desk: Desk, peer: Peer) -> None:
    """A short life with all kinds of endings in it."""
    with suppress(trio.ClosedResourceError):  # it was hung up
        await peer.say(type="hello")
        await peer.begin(1, name="a", length=3)
        await peer.chunk(1, 0, b"ab", flush=True)
        await peer.begin(2, name="b", length=1)
        await peer.chunk(2, 0, b"b", last=True)
        await peer.begin(3, name="c", key=KEY)
        await peer.chunk(1, 9, b"wrong")
        await peer.say(type="cancel", ref=3)
        peer._to.close()
        await peer.rest()


@pytest.mark.parametrize("verb", VERBS)
@virtual
async def test_nothing_from_outside_comes_at_a_wrong_moment(verb: str) -> None:
    """At every step of a session's life, and after it: no verb waits, none of them breaks it."""
    for steps in range(0, 150, 3):
        async with open_desk() as desk:
            peer = desk.peer()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(play, desk, peer)
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                for _ in range(3):
                    VERBS[verb](peer)
                    await trio.lowlevel.checkpoint()
            await peer.ended.wait()
            VERBS[verb](peer)


@virtual
async def test_a_session_can_be_cancelled_at_every_step() -> None:
    """As when the daemon must end: nothing is left of it, and what is durable is whole."""
    for steps in range(0, 150, 3):
        async with open_desk() as desk:
            peer = Peer(desk, desk.rules)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(play, desk, peer)
                async with trio.open_nursery() as serving:
                    serving.start_soon(peer.serve)
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    serving.cancel_scope.cancel()
            assert peer.ended.is_set()
            assert desk.claimed() == []


@virtual
async def test_an_upload_of_unknown_length_ends_where_every_upload_must() -> None:
    """The limit holds for what was not declared, too; to the byte."""
    async with open_desk() as desk:
        desk.uploads.max_length = 5
        peer = await desk.greeted()
        await peer.up(1, name="a")
        await peer.chunk(1, 0, b"01234", last=True)
        await peer.hear_of("done")
        await peer.up(2, name="b")
        await peer.chunk(2, 0, b"012345")
        error = await peer.hear_of("error")
        assert (error["ref"], error["code"], error["final"]) == (2, "too-large", True)
        assert error["message"] == "the file is at least 6 B, the limit here is 5 B"


@virtual
async def test_a_ref_that_is_begun_again_and_again_ends_its_session() -> None:
    """Runs that have not let go yet are bounded, not only refs; the clogged store holds them."""
    async with open_desk() as desk:
        peer, good = await desk.greeted(), await desk.greeted()
        gate = desk.store.clog("room")
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            for _ in range(2000):
                await peer.begin(1, name="a", length=3)
                await peer.chunk(1, 1, b"x")  # refused, not finally
        await wait_all_tasks_blocked()
        assert len(desk.claimed()) <= 2 * 256 + 2
        gate.set()
        await good.up(1, name="b", length=1)
