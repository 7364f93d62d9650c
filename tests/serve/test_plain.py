"""Raw PUT and forms: clients that know nothing of resuming, and lose nothing by it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.serve.desk import virtual
from tests.serve.test_connection import LOCAL, House, open_house
from tests.strategies import chunked
from tests.wire import head
from uploadd.budget import MIN_CHUNK
from uploadd.protocol.form import Event, Form
from uploadd.protocol.names import MAX_NAME
from uploadd.protocol.upload import AHEAD_OF_WRITTEN
from uploadd.serve.form import RECEIVE

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)
BOUNDARY = b"----a-boundary"


def put(target: bytes, body: bytes, *lines: bytes) -> bytes:
    """A PUT of *body* of declared length."""
    length = b"Content-Length: %d" % len(body)
    return head(length, *lines, method=b"PUT", target=target, host=LOCAL) + body


def put_chunked(target: bytes, *pieces: bytes) -> bytes:
    """A PUT whose length only its end tells."""
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    line = b"Transfer-Encoding: chunked"
    return head(line, method=b"PUT", target=target, host=LOCAL) + framed + b"0\r\n\r\n"


def part(data: bytes, name: str, filename: str | None = None, kind: str = "") -> bytes:
    """One part of a form."""
    told = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        told += f'; filename="{filename}"'
    lines = [told, *([f"Content-Type: {kind}"] if kind else [])]
    return b"--" + BOUNDARY + b"\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + data + b"\r\n"


def form(*parts: bytes, target: bytes = b"/", end: bytes = b"--" + BOUNDARY + b"--\r\n") -> bytes:
    """A POST of a form."""
    body = b"".join(parts) + end
    return (
        head(
            b"Content-Type: multipart/form-data; boundary=" + BOUNDARY,
            b"Content-Length: %d" % len(body),
            method=b"POST",
            target=target,
            host=LOCAL,
        )
        + body
    )


def nothing_is_left(house: House) -> bool:
    """Whether no file was published and no bytes are kept."""
    return not house.desk.store._files and not house.desk.store._growing


# --- what all of them refuse --------------------------------------------------------------------


@virtual
async def test_a_coded_body_is_refused_on_every_way() -> None:
    """Nobody who had it back would know that it is coded; ``identity`` is no coding."""
    ietf = (b"Upload-Draft-Interop-Version: 8", b"Upload-Complete: ?0")
    spoken = (b"Tus-Resumable: 1.0.0", b"Upload-Length: 3")
    chunk = b"Content-Type: application/offset+octet-stream"
    async with open_house() as house:
        for coding in (b"gzip", b"identity, br", b"identity"):
            line = b"Content-Encoding: " + coding
            for said in (
                put(b"/x", b"abc", line),
                put(b"/files/", b"abc", line, *ietf).replace(b"PUT", b"POST", 1),
                put(b"/files/", b"abc", line, *spoken, chunk).replace(b"PUT", b"POST", 1),
                form(part(b"abc", "f", "x")).replace(b"\r\n", b"\r\n" + line + b"\r\n", 1),
            ):
                caller = house.call()
                await caller.say(said)
                data = b""
                while b"HTTP/1.1 2" not in data and b"HTTP/1.1 4" not in data:
                    data += await caller.stream.receive_some(9999)
                assert (b"HTTP/1.1 415 " in data) is (coding != b"identity"), said


@pytest.mark.parametrize(("size", "status"), [(MAX_NAME, 2), (MAX_NAME + 1, 4)])
@virtual
async def test_a_name_that_no_file_can_have_is_refused_on_every_way(size: int, status: int) -> None:
    """It would be told in every list; nothing of it is kept."""
    name = "n" * size
    disposition = f'Content-Disposition: attachment; filename="{name}"'.encode()
    filename = b"Upload-Metadata: filename " + base64.b64encode(name.encode())
    chunk = b"Content-Type: application/offset+octet-stream"
    draft = (b"Upload-Draft-Interop-Version: 8", b"Upload-Complete: ?1")
    spoken = (b"Tus-Resumable: 1.0.0", b"Upload-Length: 3")
    async with open_house() as house:
        for said in (
            put(b"/" + name.encode(), b"abc"),
            put(b"/files/", b"abc", disposition, *draft).replace(b"PUT", b"POST", 1),
            put(b"/files/", b"abc", filename, *spoken, chunk).replace(b"PUT", b"POST", 1),
            form(part(b"abc", "f", name)),
        ):
            caller = house.call()
            await caller.say(said)
            answer = await caller.answer()
            while answer.status < 200:
                answer = await caller.answer()
            assert answer.status // 100 == status, said
            if status == 4:
                assert (answer.status, answer.code) == (400, "bad-request")
        peer = await house.desk.greeted()
        await peer.begin(name=name)
        assert (await peer.hear())["type"] == ("ready" if status == 2 else "error")
        assert nothing_is_left(house) is (status == 4)


# --- raw PUT ----------------------------------------------------------------------------------


@given(st.data(), st.binary(max_size=200), st.booleans())
@settings(max_examples=60, deadline=None)
@virtual
async def test_what_was_put_is_what_is_stored(
    data: st.DataObject, body: bytes, known: bool
) -> None:
    """In any segments, of known and of unknown length; and the connection goes on."""
    said = put(b"/a/b.txt", body) if known else put_chunked(b"/a/b.txt", body[:7], body[7:])
    async with open_house() as house:
        caller = house.call()
        for piece in data.draw(chunked(said)):
            await caller.say(piece)
        answer = await caller.answer("PUT")
        assert answer.status == 201
        assert not answer.closes
        path = answer.fields["location"]
        assert answer.body == b"http://localhost" + path.encode() + b"\n"
        assert house.desk.store.published("a/b.txt") == body
        assert (await caller.ask(put(b"/a/b.txt", b"again"), "PUT")).status == 201
        assert house.desk.store.published("a/b-2.txt") == b"again"


@pytest.mark.parametrize("known", [True, False])
@virtual
async def test_a_body_that_breaks_off_leaves_nothing(known: bool) -> None:
    """Nobody can come back for it: its bytes go, and no name appears."""
    body = bytes(200_000)
    async with open_house() as house:
        caller = house.call()
        said = put(b"/x", body) if known else put_chunked(b"/x", body)
        await caller.say(said[:150_000])
        await trio.testing.wait_all_tasks_blocked()
        await caller.stream.aclose()
        await house.silence()
        await trio.sleep(1)
        assert nothing_is_left(house)


@pytest.mark.parametrize(
    "framed",
    [
        b"5\r\nabcdeXX\r\n0\r\n\r\n",
        b"5\r\nabcde0\r\n\r\n",
        b"5\nabcde\r\n0\r\n\r\n",
        b"-5\r\nabcde",
    ],
)
@virtual
async def test_bytes_behind_a_chunk_are_no_body_and_no_request(framed: bytes) -> None:
    """400, nothing stored, and nothing more is read from there: who knows what it would be."""
    async with open_house() as house:
        caller = house.call()
        line = b"Transfer-Encoding: chunked"
        said = head(line, method=b"PUT", target=b"/x", host=LOCAL) + framed
        with suppress(*GONE):
            await caller.say(said + put(b"/smuggled", b"abc"))
        answer = await caller.answer("PUT")
        assert (answer.status, answer.code, answer.closes) == (400, "bad-request", True)
        assert await caller.ended()
        await trio.sleep(1)
        assert nothing_is_left(house)


@virtual
async def test_a_body_over_the_limit_is_refused() -> None:
    """By its length before a byte is read; of unknown length where it passes the limit."""
    async with open_house(max_length=1000) as house:
        house.desk.uploads.max_length = 1000
        caller = house.call()
        with suppress(*GONE):
            await caller.say(put(b"/x", bytes(1001)))
        answer = await caller.answer("PUT")
        assert (answer.status, answer.code) == (413, "too-large")
        caller = house.call()
        with suppress(*GONE):
            await caller.say(put_chunked(b"/x", bytes(900), bytes(101)))
        answer = await caller.answer("PUT")
        assert (answer.status, answer.code) == (413, "too-large")
        assert (await house.call().ask(put(b"/x", bytes(1000)), "PUT")).status == 201
        assert list(house.desk.store._files) == ["x"]
        await trio.sleep(1)
        assert not house.desk.store._growing


@pytest.mark.parametrize(
    ("line", "scheme"),
    [
        (b"X-Forwarded-Proto: https", b"https"),
        (b"X-Forwarded-Proto: http", b"http"),
        (b"X-Forwarded-Proto: javascript", b"http"),
        (b"Accept: */*", b"http"),
    ],
)
@virtual
async def test_the_url_is_that_by_which_it_was_sent(line: bytes, scheme: bytes) -> None:
    """Behind TLS the proxy says so."""
    async with open_house() as house:
        answer = await house.call().ask(put(b"/x", b"abc", line), "PUT")
        assert answer.body.startswith(scheme + b"://localhost/f/")


@virtual
async def test_the_body_is_asked_for_only_when_it_is_taken() -> None:
    """Who waits for 100 Continue hears a refusal instead, and has sent nothing."""
    async with open_house() as house:
        house.desk.uploads.max_length = 1000
        for count, status in ((1001, 413), (500, 201)):
            caller = house.call()
            length = b"Content-Length: %d" % count
            expect = b"Expect: 100-continue"
            await caller.say(head(length, expect, method=b"PUT", target=b"/x", host=LOCAL))
            if status == 201:
                assert b"100 Continue" in await caller.stream.receive_some(99)
                await caller.say(bytes(count))
            assert (await caller.answer("PUT")).status == status


@virtual
async def test_a_slow_disk_holds_the_sender_back() -> None:
    """What waits in memory is bounded however much comes."""
    async with open_house() as house:
        stuck = house.desk.store.clog("write")
        caller = house.call()
        said = put_chunked(b"/x", *[bytes(1 << 20)] * 40)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.say, said)
            await trio.testing.wait_all_tasks_blocked()
            assert house.desk.budget.used < AHEAD_OF_WRITTEN
            stuck.set()
            house.desk.store._gates.clear()
            assert (await caller.answer("PUT")).status == 201
        assert len(house.desk.store.published("x")) == 40 << 20


@virtual
async def test_a_full_disk_is_told_and_leaves_nothing() -> None:
    """With the hint of what to do, and a time to come back."""
    async with open_house() as house:
        house.desk.store.fail_next["write"] = 28
        answer = await house.call().ask(put(b"/x", b"data"), "PUT")
        assert (answer.status, answer.code) == (507, "no-space")
        assert int(answer.fields["retry-after"]) > 0
        await trio.sleep(1)
        assert nothing_is_left(house)


# --- forms ------------------------------------------------------------------------------------


@given(st.data())
@settings(max_examples=60, deadline=None)
@virtual
async def test_every_file_of_a_form_is_stored(data: st.DataObject) -> None:
    """In any segments; fields before and behind the files belong to all of them."""
    said = form(
        part(b"before", "note"),
        part(b"first\r\n--", "f", "a.txt", "text/plain"),
        part(b"", "f", "empty"),
        part(b"\r\n\r\n" + BOUNDARY, "g", "b/c.bin"),
        part("späť".encode(), "behind"),
    )
    async with open_house() as house:
        caller = house.call()
        for piece in data.draw(chunked(said)):
            await caller.say(piece)
        answer = await caller.answer("POST")
        assert answer.status == 201
        told = json.loads(answer.body)
        assert [(f["name"], f["length"]) for f in told["files"]] == [
            ("a.txt", 9), ("empty", 0), ("c.bin", 4 + len(BOUNDARY)),
        ]  # fmt: skip
        assert told["url"] == told["files"][0]["url"] == answer.fields["location"]
        store = house.desk.store
        assert store.published("a.txt") == b"first\r\n--"
        assert store.published("empty") == b""
        assert store.published("b/c.bin") == b"\r\n\r\n" + BOUNDARY
        kept = await house.desk.uploads.find(told["files"][2]["id"])
        assert kept.metadata == {"note": "before", "behind": "späť", "relativePath": "b/c.bin"}


@virtual
async def test_what_waits_of_a_form_is_in_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is written, whatever it waits for; and where many share the memory it is less."""
    sizes, feed = list[int](), Form.feed

    def noted(form: Form, data: bytes) -> Iterator[Event]:
        sizes.append(len(data))
        return feed(form, data)

    monkeypatch.setattr(Form, "feed", noted)
    async with open_house() as house, trio.open_nursery() as nursery:
        caller, budget, said = house.call(), house.desk.budget, form(part(bytes(4 << 20), "f", "x"))
        await caller.say(said[:1000])
        await trio.testing.wait_all_tasks_blocked()
        stuck = house.desk.store.clog("write")
        nursery.start_soon(caller.say, said[1000:])
        await trio.testing.wait_all_tasks_blocked()
        assert budget.used >= max(sizes) == RECEIVE
        others = [budget.share() for _ in range(budget.total // (4 * MIN_CHUNK))]
        sizes.clear()
        house.desk.store._gates.clear()
        stuck.set()
        assert (await caller.answer("POST")).status == 201
        assert max(sizes) == MIN_CHUNK
        for other in others:
            other.close()


@pytest.mark.parametrize(
    "said",
    [
        form(part(b"data", "f", "x"), end=b""),
        form(part(b"data", "f", "x"), end=b"--" + BOUNDARY),
        form(part(b"data", "f", "x"), part(bytes(70_000), "field")),
        form(part(b"data", "f", "x"), b"--" + BOUNDARY + b"\r\nX: y\r\n\r\nz\r\n"),
        form(part(b"data", "f", "x"), part(b"\xff", "field")),
        form(part(b"data", "f", "x"), *[part(b"", "n")] * 2000),
        form(part(b"data", "f", "x"), part(b"", "")),
        form(b"preamble\r\n", part(b"data", "f", "x")),
        form(b"\r\n" * 1000, part(b"data", "f", "x")),
    ],
    ids=[
        *("no end", "half an end", "a long field", "no disposition", "not UTF-8", "too many"),
        *("no name", "a preamble", "empty lines"),
    ],
)
@virtual
async def test_a_form_that_is_wrong_leaves_no_file(said: bytes) -> None:
    """Not even those that were whole before."""
    async with open_house() as house:
        caller = house.call()
        with suppress(*GONE):
            await caller.say(said)
        answer = await caller.answer("POST")
        assert (answer.status, answer.code) == (400, "bad-request")
        await trio.sleep(1)
        assert nothing_is_left(house)


@virtual
async def test_a_form_whose_sender_goes_leaves_no_file() -> None:
    """Whole files before it or not."""
    said = form(part(b"data", "f", "x"), part(bytes(90_000), "f", "y"))
    async with open_house() as house:
        caller = house.call()
        await caller.say(said[:-20])
        await trio.testing.wait_all_tasks_blocked()
        await caller.stream.aclose()
        await house.silence()
        await trio.sleep(1)
        assert nothing_is_left(house)


@virtual
async def test_an_input_that_was_left_empty_is_no_file() -> None:
    """Browsers send one all the same."""
    async with open_house() as house:
        said = form(part(b"", "f", "", "application/octet-stream"), part(b"data", "g", "x"))
        answer = await house.call().ask(said, "POST")
        assert [file["name"] for file in json.loads(answer.body)["files"]] == ["x"]
        assert list(house.desk.store._files) == ["x"]


@virtual
async def test_the_limit_is_that_of_each_file() -> None:
    """The form around them counts for nothing."""
    async with open_house() as house:
        house.desk.uploads.max_length = 1000
        said = form(part(bytes(1000), "f", "x"), part(bytes(999), "f", "y"))
        assert (await house.call().ask(said, "POST")).status == 201
        caller = house.call()
        with suppress(*GONE):
            await caller.say(form(part(b"1", "f", "a"), part(bytes(1001), "f", "b")))
        answer = await caller.answer("POST")
        assert (answer.status, answer.code) == (413, "too-large")
        assert json.loads(answer.body)["detail"].endswith(", the limit here is 1000 B")
        assert set(house.desk.store._files) == {"x", "y"}


@virtual
async def test_a_put_of_a_part_of_a_file_is_no_file() -> None:
    """``curl -C -`` sends one; stored, it would pass for the whole."""
    async with open_house() as house:
        said = put(b"/x", b"56789", b"Content-Range: bytes 5-9/10")
        answer = await house.call().ask(said, "PUT")
        assert answer.status == 400
        assert nothing_is_left(house)


@virtual
async def test_what_is_no_form_is_another_media_type() -> None:
    """And is told how files are sent."""
    async with open_house() as house:
        for line in (b"Content-Type: text/plain", b"X: y"):
            request = head(line, b"Content-Length: 2", method=b"POST", host=LOCAL, target=b"/")
            answer = await house.call().ask(request + b"hi", "POST")
            assert answer.status == 415
            assert "curl" in json.loads(answer.body)["hint"]


@virtual
async def test_a_browser_without_scripts_gets_a_page() -> None:
    """With a link to each file; names are text there, whatever is in them."""
    said = form(part(b"data", "f", "<b>x.txt"))
    said = said.replace(b"\r\n", b"\r\nAccept: text/html\r\n", 1)
    async with open_house() as house:
        answer = await house.call().ask(said, "POST")
        assert answer.status == 201
        assert answer.fields["content-type"] == "text/html; charset=utf-8"
        assert b"&lt;b&gt;x.txt</a>" in answer.body
        assert b"<b>" not in answer.body


def marked(said: bytes, complete: bytes) -> bytes:
    """A request as Apple's upload tasks send it."""
    fields = b"Upload-Draft-Interop-Version: 6\r\nUpload-Complete: " + complete
    return said.replace(b"\r\n", b"\r\n" + fields + b"\r\n", 1)


@virtual
async def test_a_form_of_an_apple_upload_task_is_a_form() -> None:
    """They mark every upload as resumable; its files are what is wanted, not its text."""
    async with open_house() as house:
        said = form(part(b"data", "f", "x.txt"))
        answer = await house.call().ask(marked(said, b"?1"), "POST")
        assert answer.status == 201
        assert json.loads(answer.body)["name"] == "x.txt"
        assert house.desk.store.published("x.txt") == b"data"
        answer = await house.call().ask(marked(said, b"?0"), "POST")
        assert (answer.status, answer.code) == (415, "unsupported-media-type")
        assert len(house.desk.store._files) == 1
