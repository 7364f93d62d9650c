"""Every refusal has its line in the log, on every wire: one, with the code that the peer heard."""

from __future__ import annotations

import logging

import pytest

from tests.serve.desk import virtual
from tests.serve.test_api import SECRET, post
from tests.serve.test_connection import get, open_house

KEY = "k" * 22


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "uploadd.refused")


def codes(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was refused, in order."""
    lines = [line for line in caplog.records if line.name == "uploadd.refused"]
    return [vars(line)["uploadd"]["code"] for line in lines]


@virtual
async def test_a_key_that_is_nobodys_is_written_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    """For who has no owner it is a secret: there may be an upload tomorrow that it opens."""
    async with open_house() as house:
        caller = house.call()
        for path, method in (("", "DELETE"), ("", "GET"), ("/status", "GET"), ("/cancel", "POST")):
            target = f"/api/upload/{KEY}{path}".encode()
            answer = await caller.ask(get(target, method=method.encode()), method)
            assert (answer.status, answer.code) == (404, "not-found")
        named = b"X-Upload-Id: " + KEY.encode()
        assert (await caller.ask(post(SECRET, named), "POST")).status == 201
        answer = await caller.ask(post(SECRET, named, data=b"other"), "POST")
        assert (answer.status, answer.code) == (409, "key-conflict")
    assert codes(caplog) == ["not-found"] * 4 + ["key-conflict"]
    assert KEY not in caplog.text
