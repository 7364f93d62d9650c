"""Watching in a session: whoever is entitled sees the newest, over a virtual clock."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.serve.desk import Desk, Peer, open_desk, virtual
from uploadd.auth import Access
from uploadd.latest import PIECE
from uploadd.protocol.upload import Input

SECRET = "c" * 22
OTHER = "d" * 22


async def client(desk: Desk, secret: str | None = None, **limits: Any) -> Peer:
    """A peer that has said who it is."""
    peer = desk.peer(**limits)
    await peer.say(type="hello", **({"client_id": secret} if secret else {}))
    assert (await peer.hear())["type"] == "welcome"
    return peer


async def until(peer: Peer, **members: Any) -> list[dict[str, Any]]:
    """All that is heard up to the first message with these *members*."""
    told = []
    while True:
        told.append(await peer.hear())
        if all(told[-1].get(name) == value for name, value in members.items()):
            return told


@virtual
async def test_another_session_sees_an_upload_from_its_begin_to_its_name() -> None:
    """Queued, receiving, storing, published; offsets never go back, nothing is whole before."""
    async with open_desk() as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        id = await sender.up(name="a.txt", length=10)
        await viewer.say(type="watch", uploads=[id])
        first = await viewer.hear()
        assert first == {
            "type": "progress",
            "upload": id,
            "name": "a.txt",
            "offset": 0,
            "held": 0,
            "length": 10,
            "rate": 0.0,
            "state": "queued",
        }
        await sender.chunk(1, 0, b"01234", flush=True)
        await until(viewer, offset=5, state="receiving")
        await sender.chunk(1, 5, b"56789", last=True)
        told = await until(viewer, state="published")
        assert [one["offset"] for one in told] == sorted(one["offset"] for one in told)
        assert {one["state"] for one in told} <= {"receiving", "storing", "published"}
        assert told[-1]["url"] == f"/f/{id}/a.txt"
        assert (told[-1]["held"], "rate" in told[-1]) == (10, False)


@virtual
async def test_where_a_store_keeps_parts_it_is_told_which_one_is_stored() -> None:
    """As on S3, where each takes a while: at once when it begins, and again when it is durable."""
    async with open_desk(grain=4) as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        id = await sender.up(name="a.txt", length=10)
        await viewer.say(type="watch", uploads=[id])
        for part, data in enumerate((b"0123", b"4567", b"89"), 1):
            gate, at = desk.store.clog("flush"), 4 * (part - 1)
            await sender.chunk(1, at, data, flush=part < 3, last=part == 3)
            with trio.fail_after(0.5):  # nothing else happens that it could be told with
                told = (await until(viewer, state="storing"))[-1]
            assert (told["part"], told["held"]) == (part, at)
            gate.set()
            after = (await until(viewer, held=at + len(data)))[-1]
            assert (after["state"], "part" in after) == (
                ("receiving", False) if part < 3 else ("published", False)
            )


@virtual
async def test_an_upload_is_watched_on_whatever_way_it_stands() -> None:
    """Resting, unknown, cancelled: each is answered; a watched one is told when it goes on."""
    async with open_desk() as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        rests, cancelled = await sender.up(1, name="a"), await sender.up(2, name="b")
        await sender.chunk(1, 0, b"abc", flush=True)
        await sender.hear_acked(1, 3)
        await sender.say(type="cancel", ref=2)
        await sender.hear_of("gone")
        sender.hang_up()
        await sender.ended.wait()
        await viewer.say(type="watch", uploads=[rests, cancelled, "nobody-knows-this-one-at-all"])
        told = {one["upload"]: one for one in [await viewer.hear() for _ in range(3)]}
        assert (told[rests]["state"], told[rests]["held"]) == ("queued", 3)
        assert (told[cancelled]["type"], told[cancelled]["reason"]) == ("gone", "cancelled")
        assert told["nobody-knows-this-one-at-all"]["reason"] == "unknown"
        assert all("ref" not in one for one in told.values())
        again = await desk.greeted()
        assert await again.back(1, rests) == 3
        await until(viewer, upload=rests, state="receiving")


@virtual
async def test_what_is_to_be_looked_up_is_bounded_by_what_is_watched() -> None:
    """However often a peer changes its mind while the ledger is busy."""
    async with open_desk() as desk:
        viewer = await client(desk, max_watched=10)
        answers, find = trio.Event(), desk.ledger.find

        async def busy(id: str) -> Any:
            await answers.wait()
            return await find(id)

        desk.ledger.find = busy  # type: ignore[method-assign]
        for turn in range(20):
            ids = [f"{turn}-{number}" for number in range(10)]
            await viewer.say(type="watch", uploads=ids)
            if turn < 19:
                await viewer.say(type="unwatch", uploads=ids)
        await viewer.silence()
        assert len(viewer.session._watching._sought) <= 10
        answers.set()
        sought, *told = [await viewer.hear() for _ in range(11)]
        assert sought["upload"].endswith("-0"), "the one that was looked up all the while"
        assert [one["upload"] for one in told] == ids


@pytest.mark.parametrize("how", ["cancelled", "expired", "deleted"])
@virtual
async def test_gone_means_gone_for_everybody_who_watches(how: str) -> None:
    """And it is watched no more."""
    async with open_desk() as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        id = await sender.up(name="a")
        await viewer.say(type="watch", uploads=[id])
        await viewer.hear()
        upload = await desk.uploads.find(id)
        if how == "cancelled":
            await sender.say(type="cancel", ref=1)
        elif how == "expired":
            sender.hang_up()
            await sender.ended.wait()
            upload.move(Input.EXPIRE)
            await desk.uploads._end(upload)
        else:
            await sender.chunk(1, 0, b"x", last=True)
            await until(viewer, state="published")
            await desk.uploads.delete(upload)
        told = (await until(viewer, type="gone"))[-1]
        assert (told["upload"], told["reason"], "ref" in told) == (id, how, False)
        assert viewer.session.machine.watched == set()
        assert desk.store._growing == {}


@virtual
async def test_mine_is_what_was_begun_with_the_same_client_id() -> None:
    """On whatever session; and what others begin is not."""
    async with open_desk() as desk:
        viewer = await client(desk, SECRET)
        await viewer.say(type="watch", uploads="mine")
        await viewer.silence()
        mine = await (await client(desk, SECRET)).up(name="mine")
        await (await client(desk, OTHER)).up(name="other")
        await (await desk.greeted()).up(name="nobody's")
        assert (await viewer.hear())["upload"] == mine
        await trio.sleep(2)
        await viewer.silence()


@pytest.mark.parametrize("secret", [None, "short"])
@virtual
async def test_mine_needs_a_client_id_that_nobody_guesses(secret: str | None) -> None:
    """It is refused, and nothing ends."""
    async with open_desk() as desk:
        viewer = await client(desk, secret)
        for message in ({"type": "watch", "uploads": "mine"},):
            await viewer.say(**message)
            error = await viewer.hear()
            assert (error["code"], error["final"], "ref" in error) == ("forbidden", False, False)
        await viewer.up(name="a")


@virtual
async def test_all_is_for_whom_the_operator_permits() -> None:
    """What moves already is told first, then what begins; never, where it is not permitted."""
    async with open_desk() as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        first = await sender.up(1, name="first")
        await viewer.say(type="watch", uploads="all")
        assert (await viewer.hear())["upload"] == first
        second = await sender.up(2, name="second")
        assert (await until(viewer, upload=second))[-1]["state"] == "queued"
        await trio.sleep(1)
        shut = await client(desk, access=Access(listing=False))
        await shut.say(type="watch", uploads="all")
        assert (await shut.hear())["code"] == "forbidden"
        await shut.say(type="watch", uploads=[first])
        assert (await shut.hear())["upload"] == first
        await sender.up(3, name="third")
        await trio.sleep(2)
        await shut.silence()


@virtual
async def test_who_unwatches_hears_no_more() -> None:
    """Of one, of a word, of everything; what is watched in another way is still told."""
    async with open_desk() as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        one, two = await sender.up(1, name="1"), await sender.up(2, name="2")
        await viewer.say(type="watch", uploads=[one, two])
        assert {(await viewer.hear())["upload"] for _ in range(2)} == {one, two}
        await viewer.say(type="unwatch", uploads=[one])
        await sender.chunk(1, 0, b"x", flush=True)
        await sender.hear_acked(1, 1)
        await sender.chunk(2, 0, b"x", flush=True)
        assert (await viewer.hear())["upload"] == two
        await viewer.say(type="unwatch")
        await sender.chunk(2, 1, b"x", flush=True)
        await sender.hear_acked(2, 2)
        await trio.sleep(2)
        await viewer.silence()
        assert viewer.session.machine.watched == set()


@virtual
async def test_a_session_watches_only_so_many_ids() -> None:
    """One more is refused and changes nothing."""
    async with open_desk(max_watched=3) as desk:
        sender = await desk.greeted()
        viewer = await client(desk, max_watched=3)
        ids = [await sender.up(ref, name=str(ref)) for ref in range(4)]
        await viewer.say(type="watch", uploads=ids[:3])
        assert {(await viewer.hear())["upload"] for _ in range(3)} == set(ids[:3])
        await viewer.say(type="watch", uploads=ids[3:])
        error = await viewer.hear()
        assert (error["code"], error["final"]) == ("too-many", False)
        await viewer.say(type="unwatch", uploads=ids[:1])
        await viewer.say(type="watch", uploads=ids[3:])
        assert (await viewer.hear())["upload"] == ids[3]


@virtual
async def test_who_reads_slowly_costs_the_sender_nothing_and_misses_only_steps() -> None:
    """A hundred moves while one message waits to be read: the next one is the newest."""
    async with open_desk() as desk:
        sender, viewer = await desk.greeted(), await client(desk)
        id = await sender.up(name="a")
        await viewer.say(type="watch", uploads=[id])
        await trio.sleep(1)  # the first progress waits at the door
        for at in range(100):
            await sender.chunk(1, at, b"x", flush=True)
            await sender.hear_acked(1, at + 1)
            await trio.sleep(0.05)
        told = [await viewer.hear(), await viewer.hear()]
        assert told[0]["held"] == 0
        assert told[1]["held"] == 100
        await trio.sleep(1)
        assert viewer.session.machine.has_output is False


@virtual
async def test_of_much_that_is_watched_no_more_is_made_than_is_read() -> None:
    """What waits for a session is which uploads it has not read, with however long names."""
    async with open_desk() as desk:
        viewer = await client(desk)
        texts = 2 * PIECE // 6000
        uploads = [desk.uploads.create(name="\x01" * 1000) for _ in range(3 * texts)]
        ids = {upload.id for upload in uploads}
        await viewer.say(type="watch", uploads=[*ids])
        told = set()
        while told < ids:
            await wait_all_tasks_blocked()
            told.add((await viewer.hear())["upload"])
            await wait_all_tasks_blocked()
            unread = viewer.session._watching._watcher._unread
            assert len(unread) >= len(ids) - len(told) - texts
        assert told == ids


@virtual
async def test_how_things_ended_is_told_to_who_was_away_until_it_was_read() -> None:
    """Published, and not what was cancelled by oneself; one at a time or all."""
    async with open_desk() as desk:
        sender = await client(desk, SECRET)
        ids = [await sender.up(ref, name=f"{ref}.txt") for ref in range(3)]
        for ref in range(2):
            await sender.chunk(ref, 0, b"abc", last=True)
            await sender.hear_of("done")
        await sender.say(type="cancel", ref=2)
        await sender.hear_of("gone")
        await trio.sleep(1)
        viewer = await client(desk, SECRET)
        await viewer.say(type="watch", uploads="mine")
        notices = [await viewer.hear() for _ in range(2)]
        assert {one["type"] for one in notices} == {"notice"}
        assert {one["upload"] for one in notices} == set(ids[:2])
        assert all(one["state"] == "published" and one["length"] == 3 for one in notices)
        assert all(one["url"].startswith(f"/f/{one['upload']}/") for one in notices)
        await viewer.say(type="read", notices=[notices[0]["notice"]])
        await viewer.silence()
        again = await client(desk, SECRET)
        await again.say(type="watch", uploads="mine")
        assert (await again.hear())["notice"] == notices[1]["notice"]
        await again.say(type="read", notices="all")
        await again.silence()
        stranger = await client(desk, OTHER)
        await stranger.say(type="watch", uploads="mine")
        last = await client(desk, SECRET)
        await last.say(type="watch", uploads="mine")
        await trio.sleep(1)
        await stranger.silence()
        await last.silence()


@virtual
async def test_who_watches_hears_a_notice_when_it_is_remembered() -> None:
    """Once."""
    async with open_desk() as desk:
        viewer, sender = await client(desk, SECRET), await client(desk, SECRET)
        await viewer.say(type="watch", uploads="mine")
        await sender.begin(1, name="a")
        await sender.chunk(1, 0, b"abc", last=True)
        told = await until(viewer, type="notice")
        assert "published" in [one.get("state") for one in told[:-1]]
        await trio.sleep(5)
        await viewer.silence()


@virtual
async def test_a_key_of_before_there_was_a_client_id_is_still_found() -> None:
    """A browser that learns to say who it is goes on with what it began."""
    async with open_desk() as desk:
        before = await desk.greeted()
        id = await before.up(1, name="a", key="k" * 22)
        before.hang_up()
        await before.ended.wait()
        after = await client(desk, SECRET)
        await after.begin(1, name="a", key="k" * 22)
        assert (await after.hear_of("ready"))["upload"] == id
