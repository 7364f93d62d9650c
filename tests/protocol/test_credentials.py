"""Where a token may stand; a cookie only beside the word of an allowed page."""

from __future__ import annotations

import pytest

from uploadd.errors import BadRequest, Forbidden, TokenExpired, Unauthorised
from uploadd.protocol.credentials import challenge_for, token_of
from uploadd.protocol.heads import Head, HeadGate
from uploadd.protocol.origins import Origin

APP = Origin("https", "app.example.com", 443)
COOKIE = "Cookie: a=1; uploadd_token=tok; b=2"


def head(*lines: str, method: str = "GET", target: str = "/f/x") -> Head:
    """A head with these fields."""
    gate = HeadGate()
    fields = "".join(f"{line}\r\n" for line in ("Host: files.example.com", *lines))
    gate.feed(f"{method} {target} HTTP/1.1\r\n{fields}\r\n".encode())
    found = gate.next()
    assert found is not None
    return found


def test_by_authorization() -> None:
    """In any case of letters of the scheme."""
    for text in ("Bearer tok", "bearer  tok", "BEARER tok"):
        assert token_of(head(f"Authorization: {text}"), ()) == "tok"
    assert token_of(head(), ()) is None


@pytest.mark.parametrize(
    "text", ["Basic dXNlcg==", "Bearer", "Bearer ", "tok", "Bearer " + "x" * 8193]
)
def test_what_is_no_bearer_token_is_refused(text: str) -> None:
    """Another scheme, none, nothing, more than is looked at; never repeated."""
    with pytest.raises(Unauthorised) as caught:
        token_of(head(f"Authorization: {text}"), ())
    assert "dXNlcg" not in str(caught.value) + str(caught.value.hint)


def test_two_are_refused() -> None:
    """Nobody can say which counts."""
    with pytest.raises(BadRequest):
        token_of(head("Authorization: Bearer a", "Authorization: Bearer b"), ())


def test_a_link_may_have_it_in_its_query_and_nothing_else_may() -> None:
    """Queries are logged everywhere: only who can do no more than follow a link."""
    assert token_of(head(target="/f/abc/name?ticket=ticket.a.b"), ()) == "ticket.a.b"
    for target in ("/f/abc?ticket=a&ticket=b", "/files/abc?ticket=a", "/?ticket=a", "/f/abc?x=1"):
        assert token_of(head(target=target), ()) is None


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("GET", ["Origin: https://files.example.com"]),
        ("PUT", ["Origin: https://files.example.com"]),
        ("PATCH", ["Origin: https://app.example.com"]),
        ("GET", ["Sec-Fetch-Site: same-origin"]),
        ("HEAD", ["Sec-Fetch-Site: none"]),
    ],
)
def test_a_cookie_counts_beside_an_allowed_page(method: str, lines: list[str]) -> None:
    """Ours, one of the list, or, for looking, whoever sits in front of the browser."""
    found = token_of(head(COOKIE, *lines, method=method), [APP])
    assert found == "tok"


@pytest.mark.parametrize(
    ("method", "lines"),
    [
        ("GET", ["Origin: https://evil.example"]),
        ("GET", ["Origin: null"]),
        ("GET", ["Origin: https://files.example.com.evil.example"]),
        ("GET", ["Origin: https://files.example.com:8443"]),
        ("GET", ["Sec-Fetch-Site: cross-site"]),
        ("GET", ["Sec-Fetch-Site: same-site"]),
        ("GET", []),
        ("PUT", []),
        ("PUT", ["Sec-Fetch-Site: same-origin"]),
    ],
)
def test_a_cookie_alone_is_no_token(method: str, lines: list[str]) -> None:
    """A browser sends it whoever has made it ask; and who needs none is not refused for it."""
    assert token_of(head(COOKIE, *lines, method=method), [APP]) is None


def test_other_cookies_are_nobodys_business() -> None:
    """And of two that have its name none is believed."""
    assert token_of(head("Cookie: a=1"), ()) is None
    assert token_of(head("Cookie: uploadd_token=a; uploadd_token=b"), ()) is None


def test_a_refusal_says_how_to_ask() -> None:
    """401 and nothing else."""
    assert challenge_for(Forbidden("x")) == []
    [(name, value)] = challenge_for(TokenExpired("x"))
    assert (name, 'error="invalid_token"' in value) == ("WWW-Authenticate", True)
    [(_, plain)] = challenge_for(Unauthorised("x"))
    assert plain == 'Bearer realm="uploadd"'
