"""``tus.js`` by itself: one upload over plain HTTP, against the real daemon."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import Server

PRELUDE = """async (id) => {
    const {overHttp} = await import('/-/tus.js');
    window.go = (size, id = null, base = new URL('/', location)) => {
        const file = new File([Uint8Array.from({length: size}, (_, at) => at)], 'a.bin');
        const attempt = {base, file, name: 'a.bin', path: 'a.bin', mediaType: '', metadata: {}, id,
            remove: false, signal: new AbortController().signal, token: async () => null,
            begun() {}, sent() {}, stored() {}};
        return overHttp(attempt).catch(({code, retryable}) => ({code, retryable}));
    };
}"""


@pytest.fixture
def page(browser: Browser, daemon: Server) -> Iterator[Page]:
    """A page of the daemon's origin, with ``go`` in it; what is refused there is no fault."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(daemon.url + "/-/info")
    page.evaluate(PRELUDE)
    yield page
    context.close()


def all_received(daemon: Server) -> str:
    """The id of an upload that has its three bytes, and that nobody has declared complete."""
    fields = {"Upload-Complete": "?0", "Upload-Length": "3"}
    with urlopen(Request(f"{daemon.url}/files/", b"\0\1\2", fields, method="POST")) as answer:
        assert (answer.status, answer.headers["Upload-Complete"]) == (201, "?0")
        return str(answer.headers["Location"].rpartition("/")[2])


def test_what_is_all_there_already_is_made_complete(page: Page, daemon: Server) -> None:
    """Also by a server that does not do so when it is looked at."""
    id = all_received(daemon)
    told = {"Upload-Offset": "3", "Upload-Length": "3"}

    def look(route: Route) -> None:
        if route.request.method == "HEAD":
            route.fulfill(status=200, headers=told)
        else:
            route.continue_()

    page.route("**/files/*", look)
    assert page.evaluate(f"go(3, '{id}')")["length"] == 3
    assert list(daemon.sizes().values()) == [3]


def test_a_conflict_is_no_reason_to_send_it_all_again_at_once(page: Page) -> None:
    """It is told, and whoever asked tries again when it is time."""
    seen = []

    def refuse(route: Route) -> None:
        if route.request.method == "PATCH" and seen:
            route.abort()
        elif route.request.method == "PATCH":
            seen.append(route.request.url)
            told = '{"code": "offset-mismatch", "detail": "no"}'
            route.fulfill(status=409, headers={"Upload-Offset": "0"}, body=told)
        else:
            route.continue_()

    page.route("**/files/*", refuse)
    assert page.evaluate("go(3)") == {"code": "offset-mismatch", "retryable": True}


def test_a_server_below_a_path_is_asked_below_it(page: Page, daemon: Server) -> None:
    """As its WebSocket is."""

    def pass_on(route: Route) -> None:
        there = route.request.url.replace("/below/", "/")
        route.fulfill(response=route.fetch(url=there))

    page.route("**/below/**", pass_on)
    done = page.evaluate("go(3, null, new URL('/below/', location))")
    assert done["url"].startswith(f"{daemon.url}/below/f/")
    assert daemon.sizes() == {"a.bin": 3}
