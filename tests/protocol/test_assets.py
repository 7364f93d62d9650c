"""Files of the page: served safely, and not again when the browser has them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from uploadd.protocol import assets
from uploadd.protocol.assets import Asset, answer, asset, wants_page


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


def test_a_script_is_served_without_its_comments_line_by_line() -> None:
    """What is beside code stays, and so do the places of what is left."""
    lines = [b"/** What", b" * it is. */", b'let a = "// b"; // c', b"  // d", b"/* e */ a();"]
    script = b"\n".join([*lines, b"  /** f */", b" a(/** g */);", b""])
    found = asset("page.js", script)
    assert found is not None
    left = [b"", b"", lines[2], b"", lines[4], b"", b" a(/** g */);", b""]
    assert found.plain.content.split(b"\n") == left
    assert gzip.decompress(found.packed.content) == found.plain.content
    style = asset("style.css", script)
    assert style is not None
    assert style.plain.content == script


WEB = Path(assets.__file__).parents[1] / "web"


@pytest.mark.parametrize("script", sorted(WEB.glob("*.js")), ids=lambda script: script.name)
def test_no_text_of_ours_is_taken_for_a_comment(script: Path) -> None:
    """A template that spans lines could hold what looks like one."""
    source = script.read_text(encoding="utf-8")
    for template in re.findall(r"`[^`]*`", source):
        assert not re.search(r"^[ \t]*/[/*]", template, re.MULTILINE), template


def test_all_of_the_page_is_less_than_60_kb_as_it_is_sent() -> None:
    """Whatever is loaded first and whatever later."""
    served = [asset(file.name, file.read_bytes()) for file in WEB.iterdir() if file.is_file()]
    kinds = ("text/html", "text/javascript", "text/css", "image/svg")
    sizes = [len(one.packed.content) for one in served if one and _kind(one).startswith(kinds)]
    assert len(sizes) > 30
    assert sum(sizes) <= 60_000


def _kind(found: Asset) -> str:
    return dict(found.plain.headers)["Content-Type"]


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
