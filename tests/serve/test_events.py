"""Server-sent events: the newest first, then what changes, until somebody goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.caller import Caller
from tests.serve.desk import PATIENCE, virtual
from tests.serve.test_api import SECRET, post, sender, told
from tests.serve.test_connection import get, open_house
from tests.serve.test_plain import put
from uploadd.auth import Access
from uploadd.auth.keyring import Keyring, Places
from uploadd.latest import PIECE
from uploadd.protocol import sse
from uploadd.serve.looking import TOGETHER


class Event(NamedTuple):
    """One event."""

    kind: str
    data: dict[str, Any]
    id: str | None


class Stream:
    """A listener: an HTTP client that reads lines."""

    def __init__(self, caller: Caller) -> None:
        self._caller, self._conn, self._text = caller, h11.Connection(h11.CLIENT), ""
        self.fields: dict[str, str] = {}
        self.comments = 0
        self.retries: list[int] = []
        self.pieces = [0]
        """Bytes of each chunk."""

    async def open(self, path: str, *lines: bytes) -> Stream:
        """Ask for *path*."""
        await self._caller.say(get(path.encode(), *lines))
        self._conn.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        self._conn.send(h11.EndOfMessage())
        response = await self._next()
        assert isinstance(response, h11.Response)
        assert response.status_code == 200
        self.fields = {name.decode(): value.decode() for name, value in response.headers}
        return self

    async def _next(self) -> Any:
        with trio.fail_after(PATIENCE):
            while (event := self._conn.next_event()) is h11.NEED_DATA:
                self._conn.receive_data(await self._caller.stream.receive_some(65536))
        return event

    async def event(self) -> Event | None:
        """The next event; None at the end."""
        while True:
            block, found, rest = self._text.partition("\n\n")
            if not found:
                part = await self._next()
                if isinstance(part, h11.EndOfMessage):
                    return None
                self.pieces[-1] += len(part.data)
                self.pieces += [0] * part.chunk_end
                self._text += bytes(part.data).decode()
                continue
            self._text = rest
            fields = dict(line.split(":", 1) for line in block.split("\n"))
            if "retry" in fields:
                self.retries.append(int(fields["retry"]))
            elif "data" in fields:
                id = fields["id"].strip() if "id" in fields else None
                return Event(fields["event"].strip(), json.loads(fields["data"]), id)
            else:
                self.comments += 1

    async def until(self, **members: Any) -> list[Event]:
        """All up to the first event with these *members*."""
        heard = []
        while True:
            event = await self.event()
            assert event is not None, heard
            heard.append(event)
            if all(event.data.get(name) == value for name, value in members.items()):
                return heard


@virtual
async def test_a_stream_tells_how_it_stands_and_then_every_change() -> None:
    """With the fields that keep proxies from collecting it."""
    async with open_house() as house:
        peer, id = await sender(house)
        stream = await Stream(house.call()).open(f"/api/events?upload={id}")
        assert stream.fields["content-type"] == "text/event-stream"
        assert stream.fields["cache-control"] == "no-store"
        assert stream.fields["x-accel-buffering"] == "no"
        first = await stream.event()
        assert first is not None
        assert (first.kind, first.data["type"], first.data["held"]) == ("progress", "progress", 5)
        assert stream.retries == [1000]
        await peer.chunk(1, 5, bytes(2), flush=True)
        await stream.until(held=7)
        await peer.chunk(1, 7, bytes(3), last=True)
        assert (await stream.until(state="published"))[-1].data["url"] == f"/f/{id}/a.txt"
        await house.desk.uploads.delete(await house.desk.uploads.find(id))
        gone = (await stream.until(type="gone"))[-1]
        assert (gone.kind, gone.data["reason"]) == ("gone", "deleted")
        assert await stream.event() is None


@virtual
async def test_silence_is_broken_by_comments() -> None:
    """So that no proxy takes the stream for dead."""
    async with open_house() as house:
        peer, id = await sender(house)
        stream = await Stream(house.call()).open(f"/api/events?upload={id}")
        await stream.event()
        start = trio.current_time()
        await trio.sleep(3.5 * sse.HEARTBEAT)
        await peer.chunk(1, 5, b"x", flush=True)
        await stream.until(held=6)
        assert stream.comments == 3
        assert trio.current_time() - start < 4 * sse.HEARTBEAT


@virtual
async def test_several_ids_names_and_words() -> None:
    """Ids with commas and again and again; mine by the field or by the query."""
    async with open_house() as house:
        (_, one), (_, two), (_, three) = [await sender(house) for _ in range(3)]
        stream = await Stream(house.call()).open(f"/api/events?upload={one},{two}&upload={three}")
        heard = [await stream.event() for _ in range(3)]
        assert {event.data["upload"] for event in heard if event} == {one, two, three}
        for path, lines in (
            ("/api/events?upload=mine", [SECRET]),
            (f"/api/events?upload=mine&client_id={'c' * 22}", []),
        ):
            stream = await Stream(house.call()).open(path, *lines)
            await house.call().ask(put(b"/x", b"y", SECRET), "PUT")
            kinds = [event.kind for event in await stream.until(state="published")]
            assert kinds[-1] in ("progress", "notice")
        stream = await Stream(house.call()).open("/api/events?upload=all")
        assert {event.data["upload"] for event in await stream.until(upload=three)} <= {
            one,
            two,
            three,
        }


@virtual
async def test_what_is_not_there_is_said_and_when_there_is_nothing_it_is_not_found() -> None:
    """A browser then stops asking."""
    async with open_house() as house:
        _, id = await sender(house)
        nobody = "n" * 22
        stream = await Stream(house.call()).open(f"/api/events?upload={nobody},{id}")
        heard = await stream.until(upload=id)
        assert [(e.kind, e.data["upload"]) for e in heard] == [("gone", nobody), ("progress", id)]
        answer = await house.call().ask(get(f"/api/events?upload={nobody}".encode()))
        assert (answer.status, answer.code) == (404, "not-found")


@virtual
async def test_what_is_somebody_elses_is_said_and_the_rest_is_told(tmp_path: Path) -> None:
    """As in a session; when there is nothing else, it is forbidden."""
    keyring = Keyring(Places(str(tmp_path), str(tmp_path)))
    async with open_house(access=Access(listing=False, keyring=keyring)) as house:
        theirs = house.desk.uploads.create(name="theirs", owner="ana")
        _, id = await sender(house)
        stream = await Stream(house.call()).open(f"/api/events?upload={theirs.id},{id}")
        heard = await stream.until(upload=id)
        said = [(e.kind, e.data["upload"], e.data.get("reason")) for e in heard]
        assert said == [("gone", theirs.id, "forbidden"), ("progress", id, None)]
        answer = await house.call().ask(get(f"/api/events?upload={theirs.id}".encode()))
        assert (answer.status, answer.code) == (403, "forbidden")


@virtual
async def test_who_comes_back_is_told_what_was_missed_and_nothing_else() -> None:
    """By the id of the newest event; what has ended meanwhile too.  After a restart: everything."""
    async with open_house() as house:
        peer, id = await sender(house)
        _, other = await sender(house)
        await trio.sleep(1)
        caller = house.call()
        stream = await Stream(caller).open("/api/events?upload=all")
        heard = [await stream.event(), await stream.event()]
        last = [event.id for event in heard if event and event.id is not None][-1]
        await caller.stream.aclose()
        await peer.chunk(1, 5, bytes(5), last=True)
        await peer.hear_of("done")
        await trio.sleep(1)
        field = f"Last-Event-ID: {last}".encode()
        stream = await Stream(house.call()).open("/api/events?upload=all", field)
        event = await stream.event()
        assert event is not None
        assert (event.data["upload"], event.data["state"]) == (id, "published")
        assert event.id is not None
        stored = told(await house.call().ask(post(), "POST"), 201)
        heard = await stream.until(state="published")
        assert {event.data["upload"] for event in heard} == {stored["id"]}
        stream = await Stream(house.call()).open("/api/events?upload=all", b"Last-Event-ID: 0-99")
        event = await stream.event()
        assert event is not None
        assert event.data["upload"] == other


@virtual
async def test_a_stop_ends_every_stream_at_once_and_says_when_to_come_back() -> None:
    """Nobody waits for the next heartbeat."""
    async with open_house() as house:
        _, id = await sender(house)
        stream = await Stream(house.call()).open(f"/api/events?upload={id}")
        await stream.event()
        start = trio.current_time()
        house.door.drain(1, 5)
        while await stream.event() is not None:
            pass
        assert trio.current_time() - start < 1
        assert stream.retries == [1000, 1000]


@virtual
async def test_streams_are_bounded_and_who_goes_frees_a_place() -> None:
    """429 for one too many, with a time to come back."""
    async with open_house(max_events=2) as house:
        _, id = await sender(house)
        callers = [house.call() for _ in range(2)]
        for caller in callers:
            await Stream(caller).open(f"/api/events?upload={id}")
        answer = await house.call().ask(get(f"/api/events?upload={id}".encode()))
        assert (answer.status, answer.code) == (429, "too-many")
        assert int(answer.fields["retry-after"]) > 0
        await callers[0].stream.aclose()
        await trio.sleep(1)
        await Stream(house.call()).open(f"/api/events?upload={id}")


@virtual
async def test_who_goes_before_the_first_word_frees_a_place() -> None:
    """What was asked for is looked up no more."""
    async with open_house(max_events=1) as house:
        ledger, gate = house.desk.ledger, trio.Event()
        look = ledger.look

        async def stuck(job: Any) -> Any:
            await gate.wait()
            return await look(job)

        ledger.look = stuck  # type: ignore[method-assign]
        caller = house.call()
        await caller.say(get(b"/api/events?upload=" + b",".join([b"n" * 22] * 500)))
        await wait_all_tasks_blocked()
        answer = await house.call().ask(get(b"/api/events?upload=all"))
        assert (answer.status, answer.code) == (429, "too-many")
        await caller.stream.aclose()
        await wait_all_tasks_blocked()
        await Stream(house.call()).open("/api/events?upload=all")
        gate.set()


@virtual
async def test_many_ids_are_looked_up_together() -> None:
    """Whether there are uploads of that name or not."""
    async with open_house() as house:
        _, id = await sender(house)
        before = house.desk.ledger.looks
        nobody = [f"{number:022}" for number in range(5 * TOGETHER - 1)]
        stream = await Stream(house.call()).open(f"/api/events?upload={','.join([*nobody, id])}")
        heard = await stream.until(upload=id)
        assert [event.data["upload"] for event in heard] == [*nobody, id]
        assert house.desk.ledger.looks - before <= 5


@virtual
async def test_a_listener_that_reads_nothing_costs_nothing() -> None:
    """What waits for it does not grow, and then it hears the newest."""
    async with open_house() as house:
        peer, id = await sender(house, 0)
        stream = await Stream(house.call()).open(f"/api/events?upload={id}")
        watcher = next(iter(house.desk.uploads.watch._watchers[f"u{id}"]))
        for at in range(10):
            await peer.chunk(1, at, b"x", flush=True)
            await peer.hear_acked(1, at + 1)
            await trio.sleep(1)
            assert len(watcher._unread) <= 1
        assert (await stream.until(held=10))[-1].data["held"] == 10


@virtual
async def test_much_that_is_watched_is_told_some_at_a_time() -> None:
    """With however long names; and all of it is told."""
    async with open_house() as house:
        uploads = [house.desk.uploads.create(name="\x01" * 1000) for _ in range(30)]
        ids = {upload.id for upload in uploads}
        stream = await Stream(house.call()).open(f"/api/events?upload={','.join(ids)}")
        heard = [await stream.event() for _ in ids]
        assert {event.data["upload"] for event in heard if event} == ids
        assert max(stream.pieces) <= 2 * PIECE


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS"])
@virtual
async def test_other_methods_do_not_wait(method: bytes) -> None:
    """What the answer to GET would be, and nothing more."""
    async with open_house() as house:
        _, id = await sender(house)
        caller = house.call()
        path = f"/api/events?upload={id}".encode()
        answer = await caller.ask(get(path, method=method), method.decode())
        assert answer.status in (200, 204)
