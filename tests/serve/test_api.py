"""The plain JSON of ``/api``, through the front door, over a virtual clock."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import memory_stream_pair

from tests.caller import Answer, Caller
from tests.serve.desk import Peer, virtual
from tests.serve.test_connection import LOCAL, House, get, open_house
from tests.serve.test_plain import form, part, put
from tests.wire import head
from uploadd.auth import Access
from uploadd.protocol.operations import OPERATIONS, Operation, Param
from uploadd.protocol.origins import parse_origin
from uploadd.store.contract import MediumFailed

SECRET = b"X-Client-Id: " + b"c" * 22
OTHER = b"X-Client-Id: " + b"d" * 22


def told(answer: Answer, status: int = 200) -> Any:
    """The document of an answer that is not to be cached."""
    assert answer.status == status, answer
    assert answer.fields["cache-control"] == "no-store"
    return json.loads(answer.body)


async def ask(caller: Caller, path: str, *lines: bytes) -> Any:
    """GET *path*; the document."""
    return told(await caller.ask(get(path.encode(), *lines)))


async def sender(house: House, count: int = 5) -> tuple[Peer, str]:
    """A session that has sent *count* bytes of ten."""
    peer = await house.desk.greeted()
    id = await peer.up(name="a.txt", length=10)
    if count:
        await peer.chunk(1, 0, bytes(count), flush=True)
        await peer.hear_acked(1, count)
    return peer, id


def post(*lines: bytes, data: bytes = b"data", name: str = "a.txt", query: bytes = b"") -> bytes:
    """A form with one file, for ``/api/upload``."""
    said = form(part(data, "file", name), target=b"/api/upload" + query)
    first, rest = said.split(b"\r\n", 1)
    return b"\r\n".join([first, *lines, rest])


# --- one upload -------------------------------------------------------------------------------


@virtual
async def test_how_an_upload_stands() -> None:
    """Of one that moves, that rests, that is complete; by both paths."""
    async with open_house() as house:
        peer, id = await sender(house)
        caller = house.call()
        for path in (f"/api/upload/{id}/status", f"/api/upload/{id}"):
            shown = await ask(caller, path)
            assert shown["upload"] == id
            assert (shown["state"], shown["held"], shown["length"]) == ("receiving", 5, 10)
            assert (shown["offset"], shown["received"], shown["name"]) == (5, 5, "a.txt")
        peer.hang_up()
        await peer.ended.wait()
        assert (await ask(caller, path))["state"] == "queued"
        again = await house.desk.greeted()
        await again.back(1, id)
        await again.chunk(1, 5, bytes(5), last=True)
        await again.hear_of("done")
        shown = await ask(caller, path)
        assert (shown["state"], shown["url"]) == ("published", f"/f/{id}/a.txt")


@virtual
async def test_waiting_for_an_upload_to_be_beyond_a_place() -> None:
    """Answered when it is, at once when it was before, and when the time is over."""
    async with open_house() as house:
        peer, id = await sender(house)
        caller = house.call()
        start = trio.current_time()
        assert (await ask(caller, f"/api/upload/{id}/status?wait=30&after=4"))["held"] == 5
        assert trio.current_time() == start
        await caller.say(get(f"/api/upload/{id}/status?wait=30&after=6".encode()))
        await trio.sleep(3)
        await peer.chunk(1, 5, bytes(1), flush=True)
        await trio.sleep(3)
        await peer.chunk(1, 6, bytes(1), flush=True)
        assert told(await caller.answer())["held"] == 7
        assert 6 <= trio.current_time() - start < 7
        start = trio.current_time()
        assert (await ask(caller, f"/api/upload/{id}/status?wait=20"))["held"] == 7
        assert trio.current_time() - start == pytest.approx(20)


@virtual
async def test_a_change_of_state_is_worth_an_answer_and_an_end_is_told() -> None:
    """Resting, published, cancelled: whoever waits hears it at once."""
    async with open_house() as house:
        peer, id = await sender(house)
        one, two = house.call(), house.call()
        path = f"/api/upload/{id}/status?wait=60&after=99".encode()
        await one.say(get(path))
        await trio.sleep(1)
        await peer.chunk(1, 5, bytes(5), last=True)
        assert told(await one.answer())["state"] in ("storing", "published")
        await peer.hear_of("done")
        start = trio.current_time()
        assert (await ask(one, path.decode()))["state"] == "published"
        assert trio.current_time() == start
        peer, id = await sender(house)
        await two.say(get(f"/api/upload/{id}/status?wait=60".encode()))
        await trio.sleep(1)
        await peer.say(type="cancel", ref=1)
        answer = await two.answer()
        assert (answer.status, answer.code) == (404, "not-found")


@virtual
async def test_who_goes_while_the_answer_waits_leaves_nothing() -> None:
    """No watcher, no place, no error of ours; what is sent meanwhile is the next request."""
    async with open_house() as house:
        peer, id = await sender(house)
        caller = house.call()
        await caller.say(get(f"/api/upload/{id}/status?wait=60".encode()))
        await trio.sleep(1)
        watch = house.desk.uploads.watch
        assert len(watch._watchers[f"u{id}"]) == 1
        await caller.stream.aclose()
        await trio.sleep(1)
        assert f"u{id}" not in watch._watchers
        assert house.desk.uploads.tally.requests == {("GET", 0): 1}
        caller = house.call()
        await caller.say(get(f"/api/upload/{id}/status?wait=5".encode()))
        await trio.sleep(1)
        await caller.say(get(f"/api/upload/{id}/status".encode()))
        assert told(await caller.answer())["held"] == 5
        assert told(await caller.answer())["held"] == 5
        assert peer.farewell is None


@virtual
async def test_only_so_many_wait_and_a_stop_answers_them_all() -> None:
    """Then: come back in a second."""
    async with open_house(max_events=2) as house:
        _, id = await sender(house)
        path = f"/api/upload/{id}/status?wait=60".encode()
        callers = [house.call() for _ in range(2)]
        for caller in callers:
            await caller.say(get(path))
        await trio.sleep(1)
        answer = await house.call().ask(get(path))
        assert (answer.status, answer.code) == (429, "too-many")
        house.door.drain(1, 5)
        for caller in callers:
            answer = await caller.answer()
            assert told(answer)["held"] == 5
            assert answer.fields["retry-after"] == "1"


@virtual
async def test_cancel_means_gone() -> None:
    """Its bytes are freed, its sender is told, its id is unknown everywhere."""
    async with open_house() as house:
        for request in (b"DELETE /api/upload/%s", b"POST /api/upload/%s/cancel"):
            peer, id = await sender(house)
            method, path = (request % id.encode()).split(b" ")
            caller = house.call()
            answer = await caller.ask(get(path, method=method), method.decode())
            assert answer.status == 204
            assert (await peer.hear_of("gone"))["reason"] == "cancelled"
            await trio.sleep(1)
            assert house.desk.store._growing == {}
            for where in (f"/api/upload/{id}", f"/files/{id}", f"/f/{id}"):
                assert (await caller.ask(get(where.encode()))).status == 404


@virtual
async def test_who_cancels_a_body_that_comes_is_not_overtaken_by_its_breaking_off() -> None:
    """It was cancelled, it did not fail; the sender hears why."""
    async with open_house() as house:
        viewer = await house.desk.greeted()
        await viewer.say(type="watch", uploads="all")
        poster = house.call()
        await poster.say(put(b"/x", bytes(1000))[:-500])
        id = (await viewer.hear())["upload"]
        answer = await house.call().ask(
            get(f"/api/upload/{id}".encode(), method=b"DELETE"), "DELETE"
        )
        assert answer.status == 204
        assert (await poster.answer("PUT")).status == 410
        while (heard := await viewer.hear())["type"] != "gone":
            pass
        assert heard["reason"] == "cancelled"


@virtual
async def test_a_medium_that_fails_while_a_file_is_deleted_ends_the_daemon() -> None:
    """A name that may come back is no trouble of that one client's."""
    async with open_house() as house:
        peer, id = await sender(house)
        await peer.chunk(1, 5, bytes(5), last=True)
        await peer.hear_of("done")

        async def fail(*asked: object) -> None:
            raise MediumFailed("cannot make names durable")

        house.desk.store.unpublish = fail  # type: ignore[method-assign]
        ours, theirs = memory_stream_pair()
        await theirs.send_all(get(f"/api/upload/{id}".encode(), method=b"DELETE"))
        with pytest.raises(ExceptionGroup) as raised:
            await house.door.serve(ours)
        assert raised.group_contains(MediumFailed)


@virtual
async def test_a_complete_upload_is_deleted_and_not_cancelled() -> None:
    """Its file goes."""
    async with open_house() as house:
        caller = house.call()
        stored = told(await caller.ask(post(), "POST"), 201)
        path = f"/api/upload/{stored['id']}".encode()
        answer = await caller.ask(get(path + b"/cancel", method=b"POST"), "POST")
        assert (answer.status, answer.code) == (409, "conflict")
        assert (await caller.ask(get(path, method=b"DELETE"), "DELETE")).status == 204
        assert house.desk.store._files == {}
        assert (await caller.ask(get(path))).status == 404


@virtual
async def test_a_file_with_an_owner_is_deleted_by_its_owner() -> None:
    """Where not everybody may do everything; on every path that ends uploads."""
    async with open_house(access=Access(listing=False)) as house:
        caller = house.call()
        id = told(await caller.ask(post(SECRET), "POST"), 201)["id"]
        tus = b"Tus-Resumable: 1.0.0"
        for path in (f"/api/upload/{id}".encode(), f"/files/{id}".encode()):
            for who in (b"X: y", OTHER, b"X-Client-Id: short"):
                answer = await caller.ask(get(path, who, tus, method=b"DELETE"), "DELETE")
                assert answer.status == 403
        assert (await caller.ask(get(path, SECRET, tus, method=b"DELETE"), "DELETE")).status == 204


# --- many -------------------------------------------------------------------------------------


@virtual
async def test_pages_follow_one_another_and_nothing_is_left_out_or_told_twice() -> None:
    """Newest first, whatever was put meanwhile."""
    async with open_house() as house:
        caller = house.call()
        for n in range(23):
            assert (await caller.ask(put(b"/%d.txt" % n, b"x"), "PUT")).status == 201
        await trio.sleep(1)
        names, query, pages = [], "", 0
        while True:
            page = await ask(caller, f"/api/uploads?limit=5{query}")
            names += [one["name"] for one in page["uploads"]]
            pages += 1
            if "next" not in page:
                break
            query = f"&cursor={page['next']}"
            await caller.ask(put(b"/meanwhile.txt", b"x"), "PUT")
            await trio.sleep(1)
        assert pages >= 5
        assert names == [f"{n}.txt" for n in reversed(range(23))]


@virtual
async def test_lists_are_filtered_by_state_name_and_owner() -> None:
    """Words that look alike in the ledger are told apart; names in any case of letters."""
    async with open_house() as house:
        caller = house.call()
        await caller.ask(put(b"/Gr%C3%BCn.txt", b"x", SECRET), "PUT")
        await caller.ask(put(b"/blue.txt", b"x", OTHER), "PUT")
        peer, _ = await sender(house)
        resting, _ = await sender(house)
        resting.hang_up()
        await resting.ended.wait()
        await trio.sleep(1)

        async def names(query: str, *lines: bytes) -> list[str]:
            page = await ask(caller, f"/api/uploads?{query}", *lines)
            return sorted(f"{one['name']} {one['state']}" for one in page["uploads"])

        everything = ["Grün.txt published", "a.txt queued", "a.txt receiving", "blue.txt published"]
        assert await names("") == everything
        assert await names("state=published") == ["Grün.txt published", "blue.txt published"]
        assert await names("state=queued") == ["a.txt queued"]
        assert await names("state=receiving,published&name=A.TXT") == ["a.txt receiving"]
        assert await names("name=GR%C3%9CN") == ["Grün.txt published"]
        assert await names("of=mine", SECRET) == ["Grün.txt published"]
        assert await names("of=mine&client_id=" + "d" * 22) == ["blue.txt published"]
        assert await names("state=cancelled") == []
        assert await names("name=%25") == []
        mine = await ask(caller, "/api/uploads?name=gr", SECRET)
        assert mine["uploads"][0]["mine"] is True
        active = await ask(caller, "/api/uploads/active")
        assert [one["state"] for one in active["uploads"]] == ["receiving"]
        assert (await ask(caller, "/api/uploads/active?of=mine", SECRET))["uploads"] == []
        assert peer.farewell is None


@pytest.mark.parametrize("path", ["/api/uploads", "/api/uploads/active", "/api/events?upload=all"])
@virtual
async def test_everybodys_uploads_are_for_whom_the_operator_permits(path: str) -> None:
    """And ``/-/info`` says so beforehand."""
    async with open_house(access=Access(listing=False)) as house:
        caller = house.call()
        answer = await caller.ask(get(path.encode(), SECRET))
        assert (answer.status, answer.code) == (403, "forbidden")
        info = json.loads((await caller.ask(get(b"/-/info"))).body)
        assert info["access"] == {"list": "nobody"}
        mine = path.replace("=all", "=mine") if "events" in path else f"{path}?of=mine"
        answer = await caller.ask(get(mine.encode(), b"X-Client-Id: short"))
        assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize(
    "query",
    [
        *["/api/uploads?limit=0", "/api/uploads?limit=501", "/api/uploads?limit=x"],
        *["/api/uploads?limit=1&limit=2", "/api/uploads?state=done", "/api/uploads?of=his"],
        *["/api/uploads?name=%ff"],
        *["/api/notices?unread=2", "/api/events"],
        *["/api/events?upload=", "/api/events?upload=a,,b", "/api/events?upload=mine,all"],
        *["/api/upload/x/status?wait=61", "/api/upload/x/status?wait=-1"],
        *["/api/upload/x/status?wait=nan", "/api/upload/x/status?after=1.5"],
        *["/api/upload/x/status?after=99999999999999999999", "/api/uploads?client_id="],
    ],
)
@virtual
async def test_a_question_that_cannot_be_is_answered_so(query: str) -> None:
    """400, and the connection goes on."""
    async with open_house() as house:
        caller = house.call()
        answer = await caller.ask(
            get(query.encode(), SECRET if "client_id" not in query else b"X: y")
        )
        assert (answer.status, answer.code, answer.closes) == (400, "bad-request", False)


QUESTIONS = [(one, param) for one in OPERATIONS if one.method == "GET" for param in one.params]


@pytest.mark.parametrize(
    ("asked", "param"),
    [(one, param) for one, param in QUESTIONS if param.place == "query"],
    ids=lambda one: one.path if isinstance(one, Operation) else one.name,
)
@virtual
async def test_what_may_be_empty_is_what_the_document_says(asked: Operation, param: Param) -> None:
    """A parameter with nothing behind it is refused, unless nothing is a value of its kind."""
    schema = param.schema
    empty = schema["type"] == "string" and not ({"enum", "minLength", "pattern"} & schema.keys())
    async with open_house() as house:
        _, id = await sender(house)
        path = f"{asked.path.format(upload=id)}?{param.name}="
        if asked.id == "events" and param.name != "upload":
            path += f"&upload={id}"
        answer = await house.call().ask(get(path.encode()))
        assert answer.status in ((200,) if empty else (400, 404)), path


@pytest.mark.parametrize("cursor", ["", "x", "WzEsIm5hbiJd!", "W05hTiwiYSJd", "bm8", "WzEsMl0"])
@virtual
async def test_a_cursor_that_we_did_not_make_leads_nowhere(cursor: str) -> None:
    """404: there is no such page."""
    async with open_house() as house:
        answer = await house.call().ask(get(f"/api/uploads?cursor={cursor}".encode()))
        assert (answer.status, answer.code) == (404, "not-found")


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#")))
@settings(max_examples=100, deadline=None)
@virtual
async def test_any_query_has_an_answer(query: str) -> None:
    """Nothing upsets the daemon."""
    async with open_house() as house:
        caller = house.call()
        for path in ("/api/uploads", "/api/uploads/active", "/api/upload/abc", "/api/notices"):
            answer = await caller.ask(get(f"{path}?{query}".encode()))
            assert answer.status in (200, 400, 403, 404)


# --- pages of other origins -------------------------------------------------------------------


@virtual
async def test_pages_of_allowed_origins_may_use_it_and_no_others() -> None:
    """Looking included; also EventSource, whose Origin comes with a GET."""
    origin = parse_origin("https://app.example")
    assert origin is not None
    async with open_house(origins=[origin]) as house:
        caller = house.call()
        for path in (b"/api/uploads", b"/api/upload/x/status", b"/api/events?upload=" + b"a" * 22):
            allowed = await caller.ask(get(path, b"Origin: https://app.example"))
            assert allowed.fields["access-control-allow-origin"] == "https://app.example"
            assert allowed.status in (200, 404)
            foreign = await caller.ask(get(path, b"Origin: https://evil.example"))
            assert (foreign.status, foreign.code) == (403, "origin-not-allowed")
            assert "access-control-allow-origin" not in foreign.fields
            wrong = await caller.ask(head(target=path, host=b"evil.example"))
            assert (wrong.status, wrong.code) == (421, "host-not-allowed")
        asks = (
            b"Origin: https://app.example",
            b"Access-Control-Request-Method: DELETE",
            b"Access-Control-Request-Headers: x-client-id",
        )
        preflight = await caller.ask(get(b"/api/upload/abc", *asks, method=b"OPTIONS"), "OPTIONS")
        assert "DELETE" in preflight.fields["access-control-allow-methods"]
        assert "X-Client-Id" in preflight.fields["access-control-allow-headers"]


# --- notices ----------------------------------------------------------------------------------


@virtual
async def test_notices_are_kept_until_they_are_read() -> None:
    """Read ones are still there, and not unread; only their owner's."""
    async with open_house() as house:
        caller = house.call()
        for name in (b"/a", b"/b"):
            assert (await caller.ask(put(name, b"x", SECRET), "PUT")).status == 201
        await trio.sleep(1)
        assert (await ask(caller, "/api/notices", OTHER))["notices"] == []
        found = await ask(caller, "/api/notices", SECRET)
        assert found["unread"] == 2
        first = found["notices"][0]
        assert (first["state"], first["read"]) == ("published", False)
        body = json.dumps({"notices": [first["notice"]]}).encode()
        length = b"Content-Length: %d" % len(body)
        read = head(length, SECRET, method=b"POST", target=b"/api/notices/read", host=LOCAL) + body
        assert (await caller.ask(read, "POST")).status == 204
        left = await ask(caller, "/api/notices?unread=1", SECRET)
        assert [one["notice"] for one in left["notices"]] == [found["notices"][1]["notice"]]
        assert (await ask(caller, "/api/notices", SECRET))["unread"] == 1
        everything = b'{"notices": "all"}'
        length = b"Content-Length: %d" % len(everything)
        read = head(length, SECRET, method=b"POST", target=b"/api/notices/read", host=LOCAL)
        assert (await caller.ask(read + everything, "POST")).status == 204
        assert (await ask(caller, "/api/notices", SECRET))["unread"] == 0


@virtual
async def test_a_file_that_was_removed_is_no_news() -> None:
    """Its notice would lead nowhere."""
    async with open_house() as house:
        caller = house.call()
        await caller.ask(put(b"/a", b"x", SECRET), "PUT")
        await trio.sleep(1)
        [one] = (await ask(caller, "/api/notices", SECRET))["notices"]
        path = f"/api/upload/{one['upload']}".encode()
        assert (await caller.ask(get(path, SECRET, method=b"DELETE"), "DELETE")).status == 204
        assert (await ask(caller, "/api/notices", SECRET))["notices"] == []


@pytest.mark.parametrize("body", [b"", b"[]", b'{"notices": 1}', b'{"notices": [""]}', b"[" * 9999])
@virtual
async def test_what_is_no_list_of_notices_is_refused(body: bytes) -> None:
    """400, or 413 for what is far too long."""
    async with open_house() as house:
        for said, status in ((body, 400), (body + b" " * 70_000, 413)):
            length = b"Content-Length: %d" % len(said)
            request = head(length, SECRET, method=b"POST", target=b"/api/notices/read", host=LOCAL)
            assert (await house.call().ask(request + said, "POST")).status == status


# --- forms that are watched -------------------------------------------------------------------


@virtual
async def test_a_form_is_found_under_the_name_that_its_client_chose() -> None:
    """While it comes and when it is there; a name of another client is another name."""
    async with open_house() as house:
        poster, caller = house.call(), house.call()
        said = post(b"X-Upload-Id: my-1", data=bytes(100))
        await poster.say(said[:-60])
        await trio.sleep(1)
        shown = await ask(caller, "/api/upload/my-1/status")
        assert (shown["state"], shown["name"]) == ("receiving", "a.txt")
        assert shown["expected"] >= 100
        assert "length" not in shown
        assert (await caller.ask(get(b"/api/upload/my-1/status", SECRET))).status == 404
        await poster.say(said[-60:])
        stored = told(await poster.answer("POST"), 201)
        shown = await ask(caller, "/api/upload/my-1/status")
        assert (shown["state"], shown["upload"], shown["length"]) == (
            "published",
            stored["id"],
            100,
        )


@pytest.mark.parametrize("lines", [(b"X-Upload-Id: " + b"k" * 22,), (b"X-Upload-Id: 1", SECRET)])
@virtual
async def test_the_same_file_under_the_same_key_is_stored_once(lines: tuple[bytes, ...]) -> None:
    """Another file under it is refused; and a key is found after everything was forgotten."""
    async with open_house() as house:
        caller = house.call()
        first = told(await caller.ask(post(*lines), "POST"), 201)
        again = told(await caller.ask(post(*lines), "POST"), 201)
        assert (again["id"], again["digest"]) == (first["id"], first["digest"])
        for other in (post(*lines, data=b"DATA"), post(*lines, name="b.txt")):
            answer = await caller.ask(other, "POST")
            assert (answer.status, answer.code) == (409, "key-conflict")
        assert list(house.desk.store._files) == ["a.txt"]
        await trio.sleep(1)
        house.desk.uploads._keys.clear()
        name = lines[0].split(b" ")[1].decode()
        assert (await ask(caller, f"/api/upload/{name}", *lines[1:]))["upload"] == first["id"]


@virtual
async def test_a_key_is_free_again_when_its_form_broke_off() -> None:
    """And one that is still coming gives way to the next try."""
    async with open_house() as house:
        key = b"X-Upload-Id: " + b"k" * 22
        broken = house.call()
        await broken.say(post(key, data=bytes(100))[:-50])
        await trio.sleep(1)
        stored = told(await house.call().ask(post(key), "POST"), 201)
        assert house.desk.store.published("a.txt") == b"data"
        answer = await broken.answer("POST")
        assert answer.status in (409, 410)
        shown = await ask(house.call(), f"/api/upload/{'k' * 22}")
        assert shown["upload"] == stored["id"]


@virtual
async def test_a_form_that_breaks_off_has_failed() -> None:
    """Whoever watches is told; its id answers 410, and its bytes are freed."""
    async with open_house() as house:
        viewer = await house.desk.greeted()
        await viewer.say(type="watch", uploads="all")
        poster = house.call()
        await poster.say(post(data=bytes(100))[:-60])
        id = (await viewer.hear())["upload"]
        await poster.stream.aclose()
        while (heard := await viewer.hear())["type"] != "gone":
            pass
        assert (heard["upload"], heard["reason"]) == (id, "failed")
        answer = await house.call().ask(get(f"/api/upload/{id}".encode()))
        assert (answer.status, answer.code) == (410, "gone")
        assert house.desk.store._growing == {}


@virtual
async def test_the_session_that_a_form_names_is_told_of_it() -> None:
    """Without having asked for anything."""
    async with open_house() as house:
        viewer = await house.desk.greeted()
        stored = told(
            await house.call().ask(post(b"X-Socket-Id: " + viewer.session.id.encode()), "POST"), 201
        )
        while (heard := await viewer.hear()).get("state") != "published":
            assert heard["upload"] == stored["id"], heard
        assert heard["upload"] == stored["id"]


@pytest.mark.parametrize(
    "line",
    [
        b"X-Upload-Id: a/b",
        b"X-Upload-Id: ",
        b"X-Upload-Id: " + b"a" * 129,
        b"X-Image-Filesize: many",
        b"X-Docs-Filesize: -1",
        b"X-Client-Id: " + b"a" * 256,
    ],
)
@virtual
async def test_a_form_whose_fields_cannot_be_is_refused(line: bytes) -> None:
    """And nothing of it is stored."""
    async with open_house() as house:
        answer = await house.call().ask(post(line), "POST")
        assert (answer.status, answer.code) == (400, "bad-request")
        assert house.desk.store._files == {}
