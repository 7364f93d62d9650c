"""What peers are refused stands in the log: once, in one line, and with an end to it."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

from tests.protocol.test_answers import make
from uploadd import errors
from uploadd.protocol.answers import ANSWERS
from uploadd.protocol.upload import Upload
from uploadd.refusals import MINUTE, MOST, Refusals
from uploadd.tally import Tally


@pytest.fixture(autouse=True)
def _everything(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "uploadd.refused")


async def test_every_error_is_written_at_its_level_with_its_code(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And with the request that was told it, in words and in fields."""
    refusals = Refusals(Tally())
    for kind in ANSWERS:
        refusals.tell(make(kind), "abc-1", Upload("id-1"))
    for kind, line in zip(ANSWERS, caplog.records, strict=True):
        assert line.levelname == ANSWERS[kind].level.upper()
        assert line.getMessage() == f"abc-1 of id-1 was refused, {kind.code}: what happened"
        assert vars(line)["uploadd"] == {
            "request_id": "abc-1",
            "code": kind.code,
            "upload_id": "id-1",
        }


async def test_what_is_behind_a_failure_of_ours_is_for_the_log_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of a mistake of a peer's nothing more is said than the peer hears."""
    refusals = Refusals(Tally())
    for kind in (errors.HookFailed, errors.BadRequest):
        error = kind("it broke")
        error.__cause__ = ValueError("10.0.0.7 answers 500")
        refusals.tell(error, "abc-1")
    assert [line.getMessage() for line in caplog.records] == [
        "abc-1 was refused, hook-failed: it broke (10.0.0.7 answers 500)",
        "abc-1 was refused, bad-request: it broke",
    ]


async def test_peers_write_no_lines_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is in what they asked for."""
    Refusals(Tally()).tell(errors.NotFound("no \x1b[2Jfile\n1970 INFO all is well"), "abc-1")
    assert caplog.records[0].getMessage().endswith("no \ufffd[2Jfile 1970 INFO all is well")


async def test_a_flood_does_not_fill_the_log_nor_hide_others(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """So many with one code in a minute; how many more is said in the next."""
    tally = Tally()
    refusals = Refusals(tally)
    for _ in range(MOST + 5):
        refusals.tell(errors.OverQuota("no"), "abc-1")
    refusals.tell(errors.StoreError("no"), "abc-2")
    assert [line.levelname for line in caplog.records] == ["INFO"] * MOST + ["ERROR"]
    assert tally.rejected["quota"] == MOST + 5
    caplog.clear()
    await trio.sleep(MINUTE)
    refusals.tell(errors.OverQuota("no"), "abc-3")
    assert [line.getMessage() for line in caplog.records] == [
        "5 more were refused within a minute, over-quota",
        "abc-3 was refused, over-quota: no",
    ]


async def test_what_is_not_written_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted all the same."""
    caplog.set_level(logging.ERROR, "uploadd.refused")
    tally = Tally()
    Refusals(tally).tell(errors.OverQuota("no"), "abc-1")
    assert not caplog.records
    assert tally.rejected["quota"] == 1
