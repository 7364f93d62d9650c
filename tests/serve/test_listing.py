"""Lists: whole, in order, and made as they are read."""

from __future__ import annotations

from typing import Any

import h11
import msgspec
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import lockstep_stream_pair, wait_all_tasks_blocked

from tests.serve.desk import Desk, open_desk, virtual
from tests.serve.test_api import ask
from tests.serve.test_connection import get, open_house
from uploadd.archive import SEARCHES
from uploadd.protocol import api
from uploadd.protocol.api import Listed, Shown
from uploadd.protocol.questions import Listing, read_cursor
from uploadd.protocol.upload import Input, Upload
from uploadd.serve import listing
from uploadd.serve.listing import PIECE
from uploadd.uploads import Page

LONG = "\x01" * 1000


async def begin(desk: Desk, *names: str) -> list[Upload]:
    """Uploads of these *names*, durable."""
    uploads = [desk.uploads.create(name=name) for name in names]
    async with trio.open_nursery() as nursery:
        for upload in uploads:
            nursery.start_soon(desk.commit.remember, upload)
    return uploads


@given(
    st.lists(st.tuples(st.integers(0, 10), st.booleans()), max_size=12),
    st.integers(1, 14),
    st.sampled_from([("", 1), ("x", 0)]),
)
@settings(max_examples=40, deadline=None)
@virtual
async def test_page_by_page_everything_is_listed_once(
    sizes: list[tuple[int, bool]], limit: int, wanted: tuple[str, int]
) -> None:
    """However long the names, however many pieces a page is made of; newest first."""
    name, least = wanted
    async with open_desk() as desk:
        uploads = await begin(desk, *("x" * (100 * size) for size, _ in sizes))
        for upload, (_, ended) in zip(uploads, sizes, strict=True):
            if ended:
                await desk.uploads.cancel(upload, Input.CANCEL)
        found, pages, asked = list[str](), 0, Listing(name=name, limit=limit)
        old, listing.PIECE = listing.PIECE, 3000  # type: ignore[misc]
        try:
            while True:
                page = await document(desk, asked)
                found += [one.upload for one in page.uploads]
                assert len(page.uploads) <= limit
                pages += 1
                if page.next is None:
                    break
                asked = asked._replace(before=read_cursor(page.next))
        finally:
            listing.PIECE = old  # type: ignore[misc]
        there = sorted(uploads, key=listing.place, reverse=True)
        gone = {upload.id for upload, (_, ended) in zip(uploads, sizes, strict=True) if ended}
        named = [one for one in there if one.id not in gone and (least or one.name)]
        assert found == [upload.id for upload in named]
        assert pages == len(found) // limit + 1


async def document(desk: Desk, asked: Listing) -> Listed:
    """The whole of what is listed."""

    def show(upload: Upload) -> Shown:
        return api.shown(upload, desk.uploads.watch.glance(upload), 0, mine=False)

    async def look(asked: Listing) -> Page:
        return await desk.uploads.page(asked, None)

    listed = listing._Listed(asked, look, show)
    text = b""
    while not listed.over:
        piece = await listed.piece()
        assert len(piece) <= 2 * listing.PIECE + 1000
        text += piece
    return msgspec.json.decode(text, type=Listed)


@virtual
async def test_of_a_long_list_no_more_is_made_than_is_read() -> None:
    """One piece waits for who reads nothing; who reads has all of it."""
    async with open_house() as house:
        uploads = await begin(house.desk, *[LONG] * 40)
        ours, theirs = lockstep_stream_pair()
        house.desk.nursery.start_soon(house.serve, ours)
        ledger, looks = house.desk.ledger, house.desk.ledger.looks
        await theirs.send_all(get(b"/api/uploads?limit=500"))
        await wait_all_tasks_blocked()
        assert ledger.looks == looks + 1
        conn, body = h11.Connection(h11.CLIENT), b""
        conn.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
        conn.send(h11.EndOfMessage())
        while not isinstance(event := conn.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                conn.receive_data(await theirs.receive_some(PIECE))
                await wait_all_tasks_blocked()
            elif isinstance(event, h11.Data):
                body += event.data
                assert ledger.looks - looks <= 2 + 2 * len(body) // PIECE
        assert ledger.looks - looks > len(body) // PIECE
        listed = msgspec.json.decode(body, type=Listed)
        assert {one.upload for one in listed.uploads} == {upload.id for upload in uploads}
        assert listed.next is None
        await theirs.aclose()
        await house.silence()


@virtual
async def test_what_moves_is_told_in_pages_too() -> None:
    """Newest first; nothing twice, and nothing is left out."""
    async with open_house() as house:
        caller, peer = house.call(), await house.desk.greeted()
        ids = [await peer.up(ref, name=str(ref)) for ref in range(5)]
        found, path = list[str](), "/api/uploads/active?limit=2"
        while True:
            page = await ask(caller, path)
            assert len(page["uploads"]) <= 2
            found += [one["upload"] for one in page["uploads"]]
            if "next" not in page:
                break
            path = f"/api/uploads/active?limit=2&cursor={page['next']}"
        assert sorted(found) == sorted(ids)
        created = [(await house.desk.uploads.find(id)).created for id in found]
        assert created == sorted(created, reverse=True)


@virtual
async def test_a_list_for_whose_rest_there_is_no_place_ends_where_it_is() -> None:
    """It is a whole document, and says where to go on; one that has not begun is refused."""
    async with open_house() as house:
        desk = house.desk
        await begin(desk, *[LONG] * 60)
        archive, real = desk.uploads.archive, desk.uploads.archive._places

        async def places(asked: Listing, owner: str | None) -> Any:
            found = await real(asked, owner)
            archive._searches = SEARCHES + 1  # others have come, and one leaves
            return found

        archive._places = places  # type: ignore[method-assign]
        told = await ask(house.call(), "/api/uploads?name=%01&limit=60")
        assert 0 < len(told["uploads"]) < 60
        refused = await house.call().ask(get(b"/api/uploads?name=%01"))
        assert (refused.status, refused.code) == (429, "too-many")
        archive._searches, archive._places = 0, real  # type: ignore[method-assign]
        rest = f"/api/uploads?name=%01&limit=60&cursor={told['next']}"
        after = await ask(house.call(), rest)
        assert len({one["upload"] for one in [*told["uploads"], *after["uploads"]]}) == 60
