"""URLs of servers."""

from __future__ import annotations

import pytest

from uploadd.client.address import parse


@pytest.mark.parametrize(
    ("url", "normal", "authority"),
    [
        ("http://host", "http://host/", "host"),
        ("http://host:80/", "http://host/", "host"),
        ("https://host:443", "https://host/", "host"),
        ("https://host:80/a/", "https://host:80/a/", "host:80"),
        ("ws://HOST:8080/", "http://host:8080/", "host:8080"),
        ("wss://host", "https://host/", "host"),
        ("http://[::1]:8080/f/x?y=1", "http://[::1]:8080/f/x?y=1", "[::1]:8080"),
        ("http://host/f/a b", "http://host/f/a%20b", "host"),
        ("http://host/f/%C3%A4", "http://host/f/%C3%A4", "host"),
        ("http://host/f/ä", "http://host/f/%C3%A4", "host"),
    ],
)
def test_a_url_has_one_normal_form(url: str, normal: str, authority: str) -> None:
    """Which is its own normal form; the usual port is left out of it."""
    address = parse(url)
    assert (address.url, address.authority) == (normal, authority)
    assert parse(normal) == address


@pytest.mark.parametrize(
    "url",
    ["host", "host:8080", "ftp://host", "http://", "http:///x", "http://a:b@host", "http://h:x"],
)
def test_what_is_no_url_of_a_server_is_refused(url: str) -> None:
    """With a sentence that names what one looks like."""
    with pytest.raises(ValueError, match=r"."):
        parse(url)


def test_what_lies_below_keeps_the_path_of_a_proxy() -> None:
    """A server need not live at the root, and a query is not part of where it lives."""
    assert parse("http://host").below("/-/ws").url == "http://host/-/ws"
    assert parse("http://host/up/?a=b").below("/-/ws").url == "http://host/up/-/ws"
