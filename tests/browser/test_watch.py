"""``watch()`` of uploadd.js: a page that only looks, while others send, against the real daemon."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import PATIENCE, Server
from tests.browser.road import Road
from tests.browser.sender import LENGTH, Sender

EMPTY = "/-/info"
PRELUDE = """async () => {
    Object.assign(window, await import('/-/uploadd.js'));
    window.heard = [];
    window.look = (what, options = {}) => {
        const kinds = ['Progress', 'Gone', 'Notice', 'Error', 'Connection'];
        const hear = (kind) => (detail) => heard.push([kind.toLowerCase(),
            {...detail, code: detail.code ?? detail.error?.code}]);
        window.watching = watch(what, {...options,
            ...Object.fromEntries(kinds.map((kind) => ['on' + kind, hear(kind)]))});
    };
}"""

Enter = Callable[..., Page]


@pytest.fixture
def enter(browser: Browser) -> Iterator[Enter]:
    """Opens an empty page of *url*'s origin, with the library in it.

    The test fails when one of them throws; that requests are refused is for the library to handle.
    """
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    faults: list[str] = []

    def enter(url: str) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(url + EMPTY)
        page.evaluate(PRELUDE)
        return page

    yield enter
    context.close()
    assert faults == []


def until(page: Page, condition: str) -> None:
    """Wait until *condition* holds of what was ``heard`` and of ``watching``."""
    page.wait_for_function(f"() => {{ const [at] = watching.uploads; return {condition} }}")


def heard(page: Page, kind: str) -> list[dict[str, Any]]:
    """What was told of one *kind*."""
    told = page.evaluate("heard")
    return [detail for told_kind, detail in told if told_kind == kind]


def is_open(page: Page, over: str) -> None:
    """Wait until it is heard *over* websocket or events."""
    until(page, f"watching.connection.over === '{over}'")


@pytest.fixture(params=["websocket", "events"])
def over(request: pytest.FixtureRequest, road: Road) -> str:
    """By which way it is heard; where ``Upgrade`` is stripped, by server-sent events."""
    way = str(request.param)
    road.strips = way == "events"
    return way


# --- one upload -----------------------------------------------------------------------------------


def test_one_upload_is_watched_to_its_end(
    daemon: Server, road: Road, enter: Enter, over: str
) -> None:
    """What is told is what is durable; the bar is full when it is published, and not before."""
    sender = Sender(daemon)
    page = enter(road.url)
    page.evaluate("(id) => look(id)", sender.id)
    is_open(page, over)
    until(page, "at?.stored === 0 && at?.fraction === 0")
    for sent in (1 << 20, 2 << 20):
        sender.send(1 << 20)
        until(page, f"at?.stored === {sent}")
    sender.finish()
    until(page, "watching.connection.state === 'closed'")
    told = heard(page, "progress")
    stored = [one["stored"] for one in told]
    assert stored == sorted(stored)
    assert [one for one in told if one["fraction"] == 1] == [told[-1]]
    assert told[-1]["state"] == "published"
    assert told[-1]["url"].startswith(road.url + "/f/")
    assert (told[-1]["name"], told[-1]["total"], told[-1]["stored"]) == ("a", LENGTH, LENGTH)


def test_all_its_bytes_are_not_the_end(daemon: Server, enter: Enter) -> None:
    """What is durable and not published is almost there, however little is missing."""
    fields = {"Upload-Complete": "?0", "Upload-Length": "3"}
    with urlopen(Request(f"{daemon.url}/files/", b"\0\1\2", fields, method="POST")) as answer:
        id = answer.headers["Location"].rpartition("/")[2]
    page = enter(daemon.url)
    page.evaluate("(id) => look(id)", id)
    until(page, "at?.stored === 3")
    assert page.evaluate("watching.uploads[0].fraction") == 0.99
    urlopen(Request(f"{daemon.url}/files/{id}", None, {"Tus-Resumable": "1.0.0"}, method="HEAD"))
    until(page, "at?.state === 'published' && at?.fraction === 1")


def test_it_is_iterated_as_an_upload_is(daemon: Server, enter: Enter) -> None:
    """The list, whenever it has changed; the loop ends when nothing can move any more."""
    one, two = Sender(daemon), Sender(daemon)
    page = enter(daemon.url)
    page.evaluate(
        """(ids) => { window.lists = [];
        window.ended = (async () => {
            window.watching = watch(ids);
            for await (const list of watching) lists.push(list);
        })() }""",
        [one.id, two.id],
    )
    page.wait_for_function("() => lists.at(-1)?.length === 2")
    one.finish()
    page.wait_for_function("() => lists.at(-1).some(({state}) => state === 'published')")
    two.cancel()
    page.evaluate("ended")
    assert page.evaluate("lists.at(-1).map(({id}) => id)") == [one.id]
    assert page.evaluate("watching.connection.state") == "closed"
    assert page.evaluate("lists.every((list, at) => list !== lists[at - 1])")


def test_what_is_not_there_is_gone(daemon: Server, road: Road, enter: Enter, over: str) -> None:
    page = enter(road.url)
    page.evaluate("look('Zq3v0m9xTg2cN1s8aYbQ7w')")
    until(page, "watching.connection.state === 'closed'")
    [gone] = heard(page, "gone")
    assert (gone["id"], gone["reason"]) == ("Zq3v0m9xTg2cN1s8aYbQ7w", "unknown")


def test_closed_nothing_is_told_any_more(daemon: Server, road: Road, enter: Enter) -> None:
    """By its signal, by leaving the loop; the session ends."""
    sender = Sender(daemon)
    page = enter(daemon.url)
    with page.expect_websocket() as opened:
        page.evaluate(
            """async (id) => { window.watching = watch(id);
            for await (const list of watching) if (list.length) break; }""",
            sender.id,
        )
    assert page.evaluate("watching.connection.state") == "closed"
    daemon.settles(lambda: page.wait_for_timeout(10) or opened.value.is_closed())
    ended = page.evaluate(
        """async (id) => {
        const control = new AbortController();
        const loop = (async () => { for await (const list of watch(id, {signal: control.signal}))
            throw new Error('told') })();
        control.abort();
        await loop; return 'ended' }""",
        sender.id,
    )
    assert ended == "ended"


# --- many -----------------------------------------------------------------------------------------


def test_all_are_watched_where_that_is_permitted(daemon: Server, enter: Enter) -> None:
    """Those that begin later, too; what is cancelled leaves the list."""
    page = enter(daemon.url)
    page.evaluate("look('all')")
    is_open(page, "websocket")
    senders = [Sender(daemon) for _ in range(3)]
    for sender in senders:
        sender.send(1000)
    until(page, "watching.uploads.length === 3 && watching.uploads.every((o) => o.stored === 1000)")
    senders[1].cancel()
    until(page, "watching.uploads.length === 2")
    [gone] = heard(page, "gone")
    assert (gone["id"], gone["reason"], gone["name"]) == (senders[1].id, "cancelled", "a")


def test_all_is_refused_where_it_is_not_permitted(
    road: Road, enter: Enter, tmp_path: Path, over: str
) -> None:
    """And what was asked for beside it goes on."""
    with Server(tmp_path, "--set", 'access.list="nobody"') as daemon:
        daemon.start()
        road.target = daemon.port
        sender = Sender(daemon)
        page = enter(road.url)
        page.evaluate("look('all')")
        until(page, "watching.connection.state === 'refused'")
        assert [one["code"] for one in heard(page, "error")] == ["forbidden"]
        loop = "(async () => { for await (const list of watch('all')); })()"
        assert page.evaluate(f"{loop}.catch(({{code}}) => code)") == "forbidden"
        page.evaluate("(id) => look(['all', id])", sender.id)
        sender.finish()
        until(page, "watching.connection.state === 'closed'")
        assert heard(page, "progress")[-1]["state"] == "published"


# --- mine and notices -----------------------------------------------------------------------------


def test_mine_is_what_this_browser_has_begun(
    daemon: Server, road: Road, enter: Enter, over: str
) -> None:
    """Without a word about who that is, by whatever way: it keeps a secret for the server."""
    page = enter(road.url)
    Sender(daemon).send(10)  # somebody else's
    page.evaluate("look('mine')")
    is_open(page, over)
    page.evaluate(
        "new Uploader().upload(new File(['abc'], 'b.txt')).then(({id}) => window.id = id)"
    )
    until(page, "at?.state === 'published'")
    assert page.evaluate("watching.uploads.map(({id}) => id)") == [page.evaluate("id")]
    with pytest.raises(Exception, match="client id"):
        page.evaluate("watch('mine', {clientId: null})")


def test_how_things_ended_meanwhile_is_told_until_it_was_read(
    daemon: Server, road: Road, enter: Enter, over: str
) -> None:
    client = "a secret of more than 22 letters"
    Sender(daemon, client=client).finish()
    page = enter(road.url)
    who = json.dumps({"clientId": client})
    page.evaluate(f"look('mine', {who})")
    until(page, "watching.notices.length === 1")
    [notice] = page.evaluate("watching.notices.map((one) => ({...one, at: one.at - Date.now()}))")
    assert (notice["state"], notice["name"], notice["length"]) == ("published", "a", LENGTH)
    assert notice["url"].startswith(road.url + "/f/")
    assert -60_000 < notice["at"] <= 1000
    page.evaluate(f"() => {{ watching.close(); look('mine', {who}) }}")
    until(page, "watching.notices.length === 1")
    page.evaluate("watching.read()")
    assert page.evaluate("watching.notices") == []
    page.evaluate(f"() => {{ watching.close(); heard.length = 0; look('mine', {who}) }}")
    sender = Sender(daemon, client=client)
    sender.finish()
    until(page, "watching.notices.length === 1")
    assert [one["id"] for one in heard(page, "notice")] == [sender.id]


def test_a_refused_token_is_asked_for_again(
    road: Road, enter: Enter, tmp_path: Path, over: str
) -> None:
    """By whatever way it was refused; whose it is, is what is watched."""
    words = [sys.executable, "-m", "uploadd", "token", "new", "ada", str(tmp_path)]
    token = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    with Server(tmp_path) as daemon:
        daemon.start()
        road.target = daemon.port
        page = enter(road.url)
        page.evaluate(
            """(right) => {
            window.asked = [];
            const token = ({refused}) => { asked.push(refused); return refused ? right : 'old' };
            look('mine', {token, clientId: null}) }""",
            token,
        )
        is_open(page, over)
        assert page.evaluate("asked")[:2] == [False, True]
        page.evaluate(
            """(token) => { const up = new Uploader(undefined, {token});
            up.upload(new File(['abc'], 'b.txt')) }""",
            token,
        )
        until(page, "at?.state === 'published' && at.name === 'b.txt'")


# --- coming back ----------------------------------------------------------------------------------


def test_a_lost_connection_comes_back_and_nothing_is_missed(
    daemon: Server, road: Road, enter: Enter, over: str
) -> None:
    """Of all: what moved, what ended and what was cancelled while nobody listened."""
    page = enter(road.url)
    page.evaluate("look('all')")
    is_open(page, over)
    moves, ends, dies = [Sender(daemon) for _ in range(3)]
    for sender in (moves, ends, dies):
        sender.send(1000)
    until(page, "watching.uploads.length === 3 && watching.uploads.every((o) => o.stored === 1000)")
    road.closed = True
    road.cut()
    until(page, "watching.connection.state !== 'open'")
    moves.send(1000)
    ends.finish()
    dies.cancel()
    road.closed = False
    until(page, "watching.connection.over !== null && watching.uploads.length === 2")
    until(page, f"at?.id === '{moves.id}' && at?.stored === 2000")
    until(page, "watching.uploads[1].state === 'published'")
    assert heard(page, "gone")[0]["id"] == dies.id


def test_a_restart_of_the_server_is_survived(daemon: Server, enter: Enter) -> None:
    sender = Sender(daemon)
    sender.send(1000)
    page = enter(daemon.url)
    page.evaluate("(id) => look(id)", sender.id)
    until(page, "at?.stored === 1000")
    daemon.stop()
    until(page, "watching.connection.state !== 'open'")
    daemon.start()
    sender.finish()
    until(page, "at?.state === 'published'")
    assert [one["stored"] for one in heard(page, "progress")][:1] == [1000]


def test_when_upgrade_passes_again_the_session_is_better(
    daemon: Server, road: Road, enter: Enter
) -> None:
    """One of both is heard, never both."""
    road.strips = True
    sender = Sender(daemon)
    page = enter(road.url)
    page.evaluate("(id) => look(id)", sender.id)
    is_open(page, "events")
    road.strips = False
    with page.expect_event("requestfailed", lambda it: "/api/events" in it.url):
        page.evaluate("dispatchEvent(new Event('pageshow'))")  # goes on at once
        is_open(page, "websocket")
    sender.finish()
    until(page, "at?.state === 'published'")


def test_a_handshake_that_is_never_answered_is_not_waited_for(
    daemon: Server, road: Road, enter: Enter
) -> None:
    """It is listened otherwise meanwhile."""
    road.swallows = True
    sender = Sender(daemon)
    page = enter(road.url)
    page.clock.install()
    with page.expect_websocket():
        page.evaluate("(id) => look(id)", sender.id)
    page.clock.run_for(5000)
    is_open(page, "events")
    sender.finish()
    until(page, "at?.state === 'published'")


def test_a_dead_connection_is_noticed_by_who_only_listens(
    daemon: Server, road: Road, enter: Enter
) -> None:
    """In silence it asks for a word; the server has one, as long as it can be reached."""
    sender = Sender(daemon)
    page = enter(road.url)
    page.clock.install()
    with page.expect_websocket() as opened:
        page.evaluate("(id) => look(id)", sender.id)
    until(page, "at?.stored === 0")
    for _ in range(3):
        with opened.value.expect_event("framereceived", lambda said: "unsupported" in said):
            page.clock.run_for(18_000)
    assert page.evaluate("watching.connection.state") == "open"
    road.silent = True
    page.clock.run_for(60_000)
    until(page, "watching.connection.state !== 'open'")
    sender.finish()
    road.silent = False
    road.cut()
    page.clock.resume()
    until(page, "at?.state === 'published'")
