"""Origins: a page of somebody else cannot make its visitor's browser act here."""

from __future__ import annotations

import pytest

from uploadd.errors import HostNotAllowed, OriginNotAllowed
from uploadd.protocol.heads import METHODS, Head, HeadGate
from uploadd.protocol.origins import (
    Origin,
    check_foreign,
    check_host,
    check_origin,
    parse_origin,
)

GOOD = Origin("https", "good.example", 443)


def head(method: str, *fields: str) -> Head:
    """A request to the host ``here:8000``."""
    gate = HeadGate()
    gate.feed("\r\n".join([f"{method} / HTTP/1.1", "Host: here:8000", *fields, "", ""]).encode())
    made = gate.next()
    assert made is not None
    return made


# --- Host -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authority",
    [
        *["localhost", "LocalHost:1", "127.0.0.1", "127.0.0.1:65535", "[::1]", "[::1]:8000"],
        *["files.example.org", "FILES.example.org:443"],
    ],
)
def test_our_names_are_answered_on_any_port(authority: str) -> None:
    """The local ones always, the configured ones besides."""
    check_host(authority, {"files.example.org"})


@pytest.mark.parametrize(
    "authority",
    [
        *["", ":80", "evil.example", "localhost.evil.example", "evil.localhost", "localhost."],
        *["127.0.0.2", "127.1", "2130706433", "0.0.0.0", "::1", "[::]", "[::1", "::1]", "[]"],
        *["example.org", "a.files.example.org", "files.example.org.", "localhost:a", "a@localhost"],
        *["localhost:80:80", "localhost:123456", "localhost\n", "lo calhost"],
    ],
)
def test_any_other_name_is_refused_unless_all_are_allowed(authority: str) -> None:
    """Rebinding needs a name of the attacker's; only ``*`` takes it."""
    with pytest.raises(HostNotAllowed):
        check_host(authority, {"files.example.org"})
    check_host(authority, {"*"})


# --- Origin ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("http://a", Origin("http", "a", 80)),
        ("https://a", Origin("https", "a", 443)),
        ("HTTPS://A.b:443", Origin("https", "a.b", 443)),
        ("http://[::1]:8080", Origin("http", "[::1]", 8080)),
        ("capacitor://localhost", Origin("capacitor", "localhost", None)),
        *[(text, None) for text in ("", "null", "a", "a:80", "http://", "http:///", "http://a/")],
        *[(text, None) for text in ("http://a b", "http://a:b", "http://u@a", "http://*", "://a")],
    ],
)
def test_origins_are_scheme_host_and_port(text: str, origin: Origin | None) -> None:
    """Default ports are the same as none; a path or a user makes it something else."""
    assert parse_origin(text) == origin


@pytest.mark.parametrize(
    "origin",
    [
        *["https://good.example", "https://good.example:443", "HTTPS://GOOD.EXAMPLE"],
        *["http://here:8000", "http://HERE:8000", "https://here:8000"],
    ],
)
def test_our_own_pages_and_allowed_ones_may_ask(origin: str) -> None:
    """Our own are those whose authority is the Host they speak to."""
    check_origin([origin.encode()], "here:8000", {GOOD})


def test_a_program_that_is_no_browser_may_ask() -> None:
    """It sends no Origin, and no page can make a browser leave it out."""
    check_origin([], "here", set())


@pytest.mark.parametrize(("origin", "host"), [("http://h", "h:80"), ("https://h:443", "h")])
def test_a_default_port_is_the_same_as_none(origin: str, host: str) -> None:
    """On either side."""
    check_origin([origin.encode()], host, set())


@pytest.mark.parametrize(
    "origin",
    [
        *["https://evil", "null", "", "https://good.example.evil.com", "https://good.example:8443"],
        *["http://good.example", "https://good.exampl", "https://xgood.example", "good.example"],
        *["https://good.example/", "https://good.example, https://good.example", "http://here"],
        *["http://here:80", "http://here:8001", "https://u@good.example", "file://", "*"],
    ],
)
def test_foreign_origins_are_refused(origin: str) -> None:
    """Nothing but an exact match of all three parts is a match."""
    with pytest.raises(OriginNotAllowed):
        check_origin([origin.encode()], "here:8000", {GOOD})


@pytest.mark.parametrize("host", ["", "evil path", "a:b"])
def test_a_host_that_is_none_is_nobodys_own(host: str) -> None:
    """Not even of a page whose origin is no origin."""
    for origin in (b"http://a", b"null", b""):
        with pytest.raises(OriginNotAllowed):
            check_origin([origin], host, {GOOD})


def test_two_origins_are_refused() -> None:
    """Also two that are allowed: a browser sends one."""
    with pytest.raises(OriginNotAllowed):
        check_origin([b"https://good.example"] * 2, "here", {GOOD})


# --- the request as a whole -----------------------------------------------------------------

FOREIGN = [
    ("Origin: https://evil",),
    ("Origin: null",),
    ("Origin: https://good.example", "Origin: https://good.example"),
    ("Sec-Fetch-Site: cross-site",),
    ("Sec-Fetch-Site: cross-site", "Origin: http://here:8000"),
    ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
]
FRIENDLY = [
    (),
    ("Origin: http://here:8000",),
    ("Origin: https://good.example", "Sec-Fetch-Site: cross-site"),
    ("Sec-Fetch-Site: same-origin", "Origin: http://here:8000"),
    ("Sec-Fetch-Site: none",),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fields", FOREIGN)
def test_a_foreign_page_changes_no_state(method: str, fields: tuple[str, ...]) -> None:
    """It may look: what it may read of the answer is for the browser to say."""
    made = head(method, *fields)
    if method in ("GET", "HEAD", "OPTIONS"):
        check_foreign(made, {GOOD})
    else:
        with pytest.raises(OriginNotAllowed):
            check_foreign(made, {GOOD})


@pytest.mark.parametrize("fields", FOREIGN)
def test_a_foreign_page_opens_no_session(fields: tuple[str, ...]) -> None:
    """The handshake is a GET, and what follows it is not (cross-site WebSocket hijacking)."""
    with pytest.raises(OriginNotAllowed):
        check_foreign(head("GET", "Sec-WebSocket-Key: x", *fields), {GOOD})


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fields", FRIENDLY)
def test_our_own_pages_allowed_ones_and_programs_may_do_all(
    method: str, fields: tuple[str, ...]
) -> None:
    """An allowed origin vouches for a request across sites: that is what it was allowed for."""
    check_foreign(head(method, *fields), {GOOD})
    check_foreign(head(method, "Sec-WebSocket-Key: x", *fields), {GOOD})
