"""What a refusal over HTTP means, and what helps."""

from __future__ import annotations

import pytest

from uploadd.client.address import parse
from uploadd.client.problem import failure

THERE = parse("http://files.example.com")


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
