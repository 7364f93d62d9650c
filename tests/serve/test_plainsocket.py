"""A plain WebSocket hears where the files of its client id are, whatever wire they come by."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from tests import wire
from tests.caller import Caller
from tests.serve.desk import virtual
from tests.serve.test_connection import House, get, open_house
from tests.serve.test_plain import form, part, put
from tests.wire import handshake

CLIENT = b"8928y4yf3y"


async def listen(house: House, client: bytes = CLIENT, **how: Any) -> Caller:
    """A socket that was connected with this id."""
    caller = house.call()
    request = handshake(target=b"/?client_id=" + client, without=b"Sec-WebSocket-Protocol", **how)
    fields = await caller.upgraded(request)
    assert "sec-websocket-protocol" not in fields
    return caller


def images(image: bytes, document: bytes) -> bytes:
    """The form of the two fields, with the sizes that its client announces."""
    said = form(
        part(image, "msa_imgs", "a.png"),
        part(document, "docs_field", "b.pdf"),
        target=b"/api/upload",
    )
    lines = (
        b"X-Client-Id: " + CLIENT,
        b"X-Image-Filesize: %d" % len(image),
        b"X-Docs-Filesize: %d" % len(document),
    )
    first, rest = said.split(b"\r\n", 1)
    return b"\r\n".join([first, *lines, rest])


@virtual
async def test_a_form_is_heard_from_buffering_to_completed() -> None:
    """Each file with its field and its size; 100 % is said of nothing that is not complete."""
    async with open_house() as house:
        socket, poster = await listen(house), house.call()
        said = images(bytes(1000), bytes(2000))
        await poster.say(said[:900])
        await trio.sleep(1)
        await poster.say(said[900:])
        assert (await poster.answer("POST")).status == 201
        heard: dict[str, list[dict[str, Any]]] = {"msa_imgs": [], "docs_field": []}
        while not all(told and told[-1]["status"] == "completed" for told in heard.values()):
            one = await socket.message()
            heard[one["field"]].append(one)
        assert heard["msa_imgs"][0]["status"] == "buffering"
        for field, total, name in (("msa_imgs", 1000, "a.png"), ("docs_field", 2000, "b.pdf")):
            told = heard[field]
            assert {one["total"] for one in told} == {total}
            assert {one["name"] for one in told} == {name}
            assert {one["client_id"] for one in told} == {CLIENT.decode()}
            assert [one["progress"] for one in told] == sorted(one["progress"] for one in told)
            assert all((one["progress"] == 100) == (one["status"] == "completed") for one in told)
            assert told[-1]["url"].endswith(name)


@virtual
async def test_any_wire_and_files_that_run_already() -> None:
    """Who connects late hears of them at once; another id hears nothing."""
    async with open_house() as house:
        stranger = await listen(house, b"other")
        poster = house.call()
        said = put(b"/x.bin", bytes(100), b"X-Client-Id: " + CLIENT)
        await poster.say(said[:-50])
        await trio.sleep(1)
        socket = await listen(house)
        first = await socket.message()
        assert (first["status"], first["total"], first["received"]) == ("buffering", 100, 50)
        await poster.say(said[-50:])
        while (last := await socket.message())["status"] != "completed":
            assert last["progress"] < 100
        assert "field" not in last
        await stranger.say(wire.frame(wire.PING, b"?"))
        assert (await stranger.frame()).opcode == wire.PONG


@virtual
async def test_what_breaks_off_is_an_error_with_a_reason() -> None:
    """The id of the upload says which."""
    async with open_house() as house:
        socket, poster = await listen(house), house.call()
        await poster.say(images(bytes(1000), bytes(2000))[:900])
        first = await socket.message()
        await poster.stream.aclose()
        while (last := await socket.message())["status"] != "error":
            pass
        assert (last["upload"], last["reason"]) == (first["upload"], "failed")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/", 404),
        (b"/?client_id=", 400),
        (b"/?client_id=" + b"a" * 256, 400),
        (b"/x?client_id=a", 426),
    ],
)
@virtual
async def test_a_socket_that_names_nobody_is_refused(target: bytes, status: int) -> None:
    """There is nothing that it could hear."""
    async with open_house() as house:
        request = handshake(target=target, without=b"Sec-WebSocket-Protocol")
        assert (await house.call().ask(request)).status == status


@virtual
async def test_foreign_pages_and_foreign_hosts_may_not_listen() -> None:
    """As for a session."""
    async with open_house() as house:
        for more, host, status in (
            ((b"Origin: https://evil.example",), b"localhost", 403),
            ((), b"evil.example", 421),
        ):
            request = handshake(
                *more, target=b"/?client_id=x", host=host, without=b"Sec-WebSocket-Protocol"
            )
            assert (await house.call().ask(request)).status == status


@virtual
async def test_what_it_says_is_not_listened_to_and_its_silence_ends_it() -> None:
    """Too large a message ends it; a daemon that stops says so."""
    async with open_house() as house:
        socket = await listen(house)
        await socket.say(wire.text("hello?"))
        await socket.say(wire.frame(wire.BINARY, bytes(10)))
        await socket.say(wire.frame(wire.BINARY, bytes(10_000)))
        assert await socket.close_code() == 1009
        socket = await listen(house)
        house.door.drain(1, 5)
        assert await socket.close_code() == 1012


@virtual
async def test_a_socket_from_which_nothing_comes_is_ended() -> None:
    """Pings first."""
    async with open_house() as house:
        socket = await listen(house)
        start = trio.current_time()

        async def keep_alive() -> None:
            while True:
                await trio.sleep(1)
                for session in list(house.door.sessions):
                    session.look_after(trio.current_time())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep_alive)
            assert (await socket.frame()).opcode == wire.PING
            assert await socket.close_code() == 4408
            nursery.cancel_scope.cancel()
        assert trio.current_time() - start == pytest.approx(61, abs=2)


@virtual
async def test_sockets_count_as_sessions() -> None:
    """One limit for both."""
    async with open_house(max_sessions=1) as house:
        await listen(house)
        request = handshake(target=b"/?client_id=x", without=b"Sec-WebSocket-Protocol")
        assert (await house.call().ask(request)).status == 429
        answer = await house.call().ask(get(b"/"))
        assert answer.status == 200
