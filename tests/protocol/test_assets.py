"""Files of the page: served safely, and not again when the browser has them."""

from __future__ import annotations

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
        assert ("X-Content-Type-Options", "nosniff") in found.headers


def test_the_page_runs_no_script_but_its_own() -> None:
    """Neither inline nor from elsewhere, and nobody frames it."""
    page = asset("index.html", b"<!doctype html>")
    assert page is not None
    policy = dict(page.headers)["Content-Security-Policy"]
    assert "unsafe" not in policy
    for part in ("default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"):
        assert part in policy


def test_what_the_browser_has_is_not_sent_again() -> None:
    """By its tag, which is another as soon as one byte is."""
    first, second = asset("page.js", b"1"), asset("page.js", b"2")
    assert first is not None
    assert second is not None
    held = [(b"if-none-match", first.etag.encode())]
    assert answer(held, first)[0::2] == (304, b"")
    assert answer(held, second)[0::2] == (200, b"2")


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
