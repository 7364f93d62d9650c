"""The door of operators: what goes wrong behind it is told, and ends one connection."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from trio.testing import memory_stream_pair

from uploadd.serve.admin import AdminDoor


async def test_an_error_of_ours_ends_one_connection_and_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever looks at the numbers must not end the daemon."""

    async def checks() -> Mapping[str, str]:
        return {}

    async def metrics() -> bytes:
        raise KeyError("a number that nobody keeps")

    ours, theirs = memory_stream_pair()
    door = AdminDoor(checks, metrics, "text/plain", {})
    await theirs.send_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    with caplog.at_level(logging.ERROR):
        await door.serve(ours)
    assert await theirs.receive_some() == b""
    assert "a number that nobody keeps" in caplog.text
