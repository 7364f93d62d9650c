"""Files of the page: served safely, and not again when the browser has them."""

from __future__ import annotations

import gzip

import pytest

from uploadd.protocol.assets import answer, asset, wants_page


@pytest.mark.parametrize("name", ["notes.txt", "put.pyc", "__init__", "a.js.map"])
def test_other_kinds_are_not_served(name: str) -> None:
    """Whatever else comes to lie in the folder stays there."""
    assert asset(name, b"x") is None


def test_nobody_guesses_what_it_is() -> None:
    """A browser that sniffs would run what it should show."""
    for name in ("index.html", "page.js", "style.css", "icon.svg", "put.py", "uploadd.d.ts"):
        found = asset(name, b"x")
        assert found is not None
        assert ("X-Content-Type-Options", "nosniff") in found.plain.headers


def test_the_page_runs_no_script_but_its_own() -> None:
    """Neither inline nor from elsewhere, and nobody frames it."""
    page = asset("index.html", b"<!doctype html>")
    assert page is not None
    policy = dict(page.plain.headers)["Content-Security-Policy"]
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert part in policy


@pytest.mark.parametrize("coding", [[], [(b"accept-encoding", b"gzip")]])
def test_what_the_browser_has_is_not_sent_again(coding: list[tuple[bytes, bytes]]) -> None:
    """By its tag, which is another as soon as one byte is."""
    first, second = asset("page.js", b"1"), asset("page.js", b"2")
    assert first is not None
    assert second is not None
    held = [(b"if-none-match", dict(answer(coding, first)[1])["ETag"].encode()), *coding]
    assert answer(held, first)[0::2] == (304, b"")
    assert answer(held, second)[0] == 200


@pytest.mark.parametrize(
    ("said", "packed"),
    [
        (None, False),
        (b"identity", False),
        (b"gzip", True),
        (b"br, GZIP;q=0.5", True),
        (b"gzip;q=0", False),
        (b"gzip ; q=0.000, br", False),
        (b"xgzip", False),
    ],
)
def test_who_takes_gzip_is_sent_less(said: bytes | None, packed: bool) -> None:
    """And the same bytes; caches are told that there are two forms, each with its tag."""
    found = asset("page.js", b"x" * 9999)
    assert found is not None
    status, fields, body = answer([(b"accept-encoding", said)] if said else [], found)
    told = dict(fields)
    assert status == 200
    assert (told.get("Content-Encoding") == "gzip") is packed
    assert (gzip.decompress(body) if packed else body) == b"x" * 9999
    assert told["Vary"] == "Accept-Encoding"
    assert found.plain.etag != found.packed.etag


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (b"text/html,application/xhtml+xml,*/*;q=0.8", True),
        (b"*/*", False),
        (None, False),
    ],
)
def test_browsers_get_the_page_and_tools_a_text(accept: bytes | None, page: bool) -> None:
    """curl asks for anything, and a person reads it in a terminal."""
    assert wants_page([(b"accept", accept)] if accept else []) is page
