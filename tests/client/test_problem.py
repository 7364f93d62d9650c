"""What a refusal over HTTP means, and what helps."""

from __future__ import annotations

import pytest

from uploadd.client.address import parse
from uploadd.client.problem import failure

THERE = parse("http://files.example.com")


def test_what_to_type_for_a_token_is_said_as_it_is_typed() -> None:
    """A server tells the field of HTTP, which nobody types; what else it tells is kept."""
    body = b'{"detail":"a token","hint":"Authorization: Bearer <token>; ask whoever runs this"}'
    hint = failure(401, body, THERE).hint or ""
    assert hint == "--token-file FILE or UPLOADD_TOKEN; ask whoever runs this"
    assert "--token-file" in (failure(401, b"", THERE).hint or "")


@pytest.mark.parametrize(
    ("body", "code", "proxy"),
    [
        (b"<html>", "http-413", True),
        (b'{"code":"too-large","detail":"x"}', "too-large", False),
        (b'{"code":"too-large","detail":"x","hint":"split it"}', "too-large", False),
    ],
)
def test_a_size_that_only_a_proxy_refused_is_told_as_its_doing(
    body: bytes, code: str, proxy: bool
) -> None:
    """With the line that it lacks; the server's own refusal has its own words."""
    error = failure(413, body, THERE)
    assert error.code == code
    assert ("(nginx: client_max_body_size 0;)" in (error.hint or "")) is proxy
