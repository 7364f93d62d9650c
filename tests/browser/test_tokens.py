"""``uploadd.js`` and tokens that end while a page is open, against the real daemon."""

from __future__ import annotations

import json
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import Server
from tests.browser.road import Road
from tests.browser.site import choose, press, says
from tests.browser.test_watch import Enter, enter, is_open, over, until
from tests.e2e.daemon import Daemon
from uploadd.auth.files import new_token, revoke
from uploadd.protocol.tokens import Claims, id_of

__all__ = ["enter", "over"]  # fixtures
SECRET = bytes(range(32))
PICTURE = b64decode("R0lGODdhAQABAIAAAP///////ywAAAAAAQABAAACAkQBADs=")


def signed(seconds: float) -> str:
    """A token of ada's that expires in so many *seconds*."""
    said = {"sub": "ada", "exp": time.time() + seconds, "aud": "uploads"}
    said["scope"] = "create append read list watch"
    return jwt.encode(said, SECRET, algorithm="HS256")


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Server]:
    """A daemon that asks for tokens."""
    keys = tmp_path / "jwks.json"
    key = urlsafe_b64encode(SECRET).rstrip(b"=").decode()
    keys.touch(0o600)
    keys.write_text(json.dumps({"keys": [{"kty": "oct", "k": key}]}))
    (tmp_path / "served").mkdir()
    said = ("--set", f"access.jwt_keys={keys}", "--set", "access.jwt_audience=uploads")
    with Server(tmp_path / "served", *said) as daemon:
        daemon.start()
        yield daemon


UPLOADS = """(tokens) => {
    window.asked = [];
    const token = ({refused}) => { asked.push(refused); return tokens[refused ? 1 : 0] };
    window.upload = new Uploader(undefined, {token}).upload(new File(['abc'], 'b.txt'));
    window.code = upload.then(() => 'stored', ({code}) => code);
}"""


def test_what_begins_after_a_token_has_expired_begins_with_the_next(
    asking: Server, road: Road, enter: Enter, over: str
) -> None:
    """By whatever way; who has no other than that is told, and is not asked for ever."""
    road.target = asking.port
    page = enter(road.url)
    page.evaluate(UPLOADS, [signed(-60), signed(600)])
    assert page.evaluate("code") == "stored"
    assert page.evaluate("asked") == [False, True]
    page = enter(road.url)
    page.evaluate(UPLOADS, [signed(-60), signed(-60)])
    assert page.evaluate("code") == "token-expired"
    assert page.evaluate("asked") == [False, True]


def test_without_a_client_id_notices_are_read_all_the_same(
    asking: Server, road: Road, enter: Enter
) -> None:
    """A token says whose they are."""
    road.target = asking.port
    page = enter(road.url)
    page.evaluate(UPLOADS, [signed(600)])
    page.evaluate("(token) => look('mine', {token, clientId: null})", signed(600))
    is_open(page, "websocket")
    until(page, "watching.notices.length === 1")
    page.evaluate("() => watching.read()")
    until(page, "watching.notices.length === 0")


def test_what_was_sent_with_a_token_is_opened_shown_and_handed_on(
    browser: Browser, tmp_path: Path
) -> None:
    """By whoever sent it, and by whoever is given the link; until the token is revoked."""
    tokens = str(tmp_path / "served" / ".uploadd" / "tokens")
    text = new_token(tokens, Claims("ada"))
    (tmp_path / "a.txt").write_bytes(b"hello")
    (tmp_path / "b.gif").write_bytes(PICTURE)
    with Daemon(tmp_path / "served") as daemon:
        daemon.start()
        context = browser.new_context()
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        page.goto(daemon.url)
        choose(page, tmp_path / "a.txt", tmp_path / "b.gif")
        page.fill("#token", text)
        page.get_by_role("button", name="Continue").click()
        for name in ("a.txt", "b.gif"):
            says(page, name, "Stored")
        link = page.get_by_role("link", name="a.txt")
        for button in ("left", "middle"):
            with context.expect_page() as opened:
                link.click(button=button)
            expect(opened.value.locator("body")).to_have_text("hello")
            opened.value.close()
        press(page, "Preview: b.gif")
        shown = page.get_by_role("img", name="Preview of b.gif")
        expect(shown).to_have_js_property("complete", True)
        expect(shown).to_have_js_property("naturalWidth", 1)
        press(page, "Copy link: a.txt")
        expect(page.locator("#note")).to_contain_text("Whoever has it can have this file, until")
        copied = page.evaluate("navigator.clipboard.readText()")
        page.reload()
        with context.expect_page() as opened:  # now it is on the list of what is stored
            page.get_by_role("link", name="a.txt").click()
        expect(opened.value.locator("body")).to_have_text("hello")
        context.close()
        stranger = browser.new_context().new_page()
        answer = stranger.goto(copied)
        assert answer is not None
        assert answer.body() == b"hello"
        assert revoke(tokens, id_of(text) or "")
        assert daemon.settles(lambda: stranger.request.get(copied).status == 401)
        stranger.context.close()
        assert text not in daemon.log
