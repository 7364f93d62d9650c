"""``uploadd.js`` and tokens that end while a page is open, against the real daemon."""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from tests.browser.conftest import Server
from tests.browser.road import Road
from tests.browser.test_watch import Enter, enter, is_open, over, until

__all__ = ["enter", "over"]  # fixtures
SECRET = bytes(range(32))


def signed(seconds: float) -> str:
    """A token of ada's that expires in so many *seconds*."""
    said = {"sub": "ada", "exp": time.time() + seconds, "aud": "uploads"}
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
