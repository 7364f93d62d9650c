"""What is said while it runs: lines for logs, bars for terminals."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from uploadd.client import plain
from uploadd.client.plain import Plain
from uploadd.client.screen import Screen
from uploadd.client.totals import Totals

MIB = 1 << 20


async def test_plain_progress_is_a_line_every_five_seconds(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the speed of the last five; also when nothing moves, so that nobody thinks it died."""
    totals = Totals()
    totals.expected, totals.bytes, totals.counted = 2, 40 * MIB, True
    with trio.move_on_after(16), Plain(quiet=False) as reporter:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reporter.follow, totals)
            await trio.sleep(2)
            totals.durable = totals.moved = 10 * MIB
            await trio.sleep(4)
            totals.durable, totals.moved = 30 * MIB, 20 * MIB
            totals.add(30 * MIB, resumed=True)
    assert capsys.readouterr().err.splitlines() == [
        "10.0 MiB of 40.0 MiB stored (25%), 0 of 2 files, 2.0 MiB/s, 15s left",
        "30.0 MiB of 40.0 MiB stored (75%), 1 of 2 files, 2.0 MiB/s, 5.0s left",
        "30.0 MiB of 40.0 MiB stored (75%), 1 of 2 files, 0 B/s",
    ]


async def test_quiet_plain_progress_says_nothing(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """As --quiet promises."""
    with trio.move_on_after(16), Plain(quiet=True) as reporter:
        await reporter.follow(Totals())
    assert capsys.readouterr().err == ""


def test_what_is_not_counted_yet_is_told_so() -> None:
    """A tree is still being looked through."""
    totals = Totals()
    totals.expected, totals.failed = 12, 1
    assert plain.line(totals, 0) == "0 B stored, 0 of 12 files or more, 1 failed, 0 B/s"


def test_the_last_line_names_what_moved_when_that_was_less() -> None:
    """The speed is of that."""
    times = iter([0.0, 10.0, 10.0])
    totals = Totals(lambda: next(times))
    totals.add(30 * MIB, resumed=True)
    totals.moved = 10 * MIB
    assert totals.line() == (
        "✓ 1 file, 30.0 MiB, 10.0 MiB of it now, in 10s (1.0 MiB/s), 1 resumed, 0 failed"
    )


def test_what_was_there_before_is_no_speed(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar that begins in the middle has not moved yet."""
    with Screen(bars=True, quiet=False, force=True) as screen:
        meter = screen.meter("film", 100 * MIB)
        meter.show(50 * MIB, 50 * MIB, 100 * MIB)
        assert screen._progress is not None
        [task] = screen._progress.tasks
        assert (task.completed, task.speed) == (50 * MIB, None)
        meter.remove()
