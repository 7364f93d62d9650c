"""What peers are refused stands in the log: once, in one line, and with an end to it."""

from __future__ import annotations

import logging
import os
import re
import socket
from pathlib import Path
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from tests.hooks.listener import listening, ok
from tests.protocol.test_answers import make
from uploadd import errors
from uploadd.errors import HookFailed, StoreError, UploadError
from uploadd.hooks import Hooks, Receiver
from uploadd.hooks.posting import Target
from uploadd.protocol.answers import ANSWERS
from uploadd.protocol.hooks import PRE_CREATE, Draft
from uploadd.protocol.upload import Published, Upload
from uploadd.refusals import MINUTE, MOST, Refusals
from uploadd.store import settle
from uploadd.tally import Tally

ASKED: Final = frozenset({PRE_CREATE})


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


async def refused(receiver: Receiver) -> UploadError:
    """What a peer hears when it wants to begin something that *receiver* is asked about."""
    with pytest.raises(HookFailed) as caught:
        await Hooks(receivers={"scan": receiver}).create(
            Draft(name="a", length=1, media_type=None), None
        )
    return caught.value


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"", "closed without an answer"),
        (b"SSH-2.0-x\r\n\r\n", "gives no whole answer: illegal status line"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", "gives no whole answer: peer closed"),
        (ok(status="500 No"), "answers 500"),
    ],
)
async def test_which_hook_gave_no_answer_and_why(
    caplog: pytest.LogCaptureFixture, answer: bytes, told: str
) -> None:
    """Where it is and what it did are in the log; the peer hears neither."""
    async with listening() as listener:
        listener.answer = lambda _: answer
        error = await refused(Receiver(name="scan", events=ASKED, target=listener.target))
    Refusals(Tally()).tell(error, "abc-1")
    assert error.message == "the hook scan gives no answer to pre-create"
    assert f": {error.message} ({listener.target.authority} {told}" in caplog.text


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("127.0.0.1", "Connection refused"),
        ("nobody.invalid", ""),
        ("a..b", "label empty or too long"),
    ],
)
async def test_which_hook_is_not_there_and_why(
    caplog: pytest.LogCaptureFixture, host: str, told: str
) -> None:
    """At a port where nobody listens, or under a name that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    target = Target(host, port, False, "/")
    error = await refused(Receiver(name="scan", events=ASKED, target=target))
    Refusals(Tally()).tell(error, "abc-1")
    assert error.message == "the hook scan gives no answer to pre-create"
    why = rf"\({host}:{port} cannot be reached: (?!all attempts)(.*{told}.*)\)"
    assert re.search(why, caplog.records[0].getMessage())


async def test_which_program_gave_no_answer_and_why(caplog: pytest.LogCaptureFixture) -> None:
    """It is not there, or has said what is wrong."""
    for program, told in (
        (("/no/such/program",), "/no/such/program cannot be run: No such file or directory"),
        (("sh", "-c", "echo no scanner >&2; exit 3"), "sh ended with 3: no scanner"),
    ):
        error = await refused(Receiver(name="scan", events=ASKED, program=program))
        Refusals(Tally()).tell(error, "abc-1")
        assert caplog.records[-1].getMessage().endswith(f"to pre-create ({told})")


async def test_of_what_the_system_said_no_name_is_written(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """How people call their files is nobody's business."""
    root = os.open(tmp_path, os.O_RDONLY)
    name = "diagnosis of Mr X " * 20  # too long for a name, so that the system says so
    try:
        with pytest.raises(StoreError) as caught:
            settle.open_published(root, Published(name, 0), 0)
    finally:
        os.close(root)
    assert name in str(caught.value.__cause__)
    Refusals(Tally()).tell(caught.value, "abc-1")
    [line] = caplog.records
    assert line.getMessage().endswith("while opening (ENAMETOOLONG) (File name too long)")


async def test_peers_write_no_lines_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is in what they asked for."""
    Refusals(Tally()).tell(errors.NotFound("no \x1b[2Jfile\n1970 INFO all is well"), "abc-1")
    assert caplog.records[0].getMessage().endswith("no \ufffd[2Jfile 1970 INFO all is well")


async def test_a_flood_does_not_fill_the_log_nor_hide_others(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """So many with one code in a minute; how many more is said in the next, once."""
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
    refusals.sum_up()
    assert [line.getMessage() for line in caplog.records] == [
        "5 more were refused within a minute, over-quota",
        "abc-3 was refused, over-quota: no",
    ]


@pytest.mark.parametrize("kind", [errors.OverQuota, errors.NoSpace, errors.StoreError])
async def test_how_many_more_there_were_is_said_when_the_minute_is_over(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, kind: type[UploadError]
) -> None:
    """Whether there is another or not, and as loud as the others."""
    refusals = Refusals(Tally())
    await trio.sleep(MINUTE / 2)
    for _ in range(MOST + 5):
        refusals.tell(kind("no"), "abc-1")
    refusals.look_after(trio.current_time())
    assert len(caplog.records) == MOST
    await trio.sleep(MINUTE)
    for _ in range(2):
        refusals.look_after(trio.current_time())
    *lines, last = caplog.records
    assert len(lines) == MOST
    assert last.getMessage() == f"5 more were refused within a minute, {kind.code}"
    assert last.levelno == lines[0].levelno
    assert vars(last)["uploadd"] == {"code": kind.code}


async def test_what_is_not_written_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is counted all the same."""
    caplog.set_level(logging.ERROR, "uploadd.refused")
    tally = Tally()
    Refusals(tally).tell(errors.OverQuota("no"), "abc-1")
    assert not caplog.records
    assert tally.rejected["quota"] == 1
