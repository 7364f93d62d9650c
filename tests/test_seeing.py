"""A disk that hangs keeps no operator waiting."""

from __future__ import annotations

import trio
import trio.testing
from trio.testing import MockClock

from uploadd.seeing import PATIENCE, SILENT, Look, Patient

GOOD = Look("", "", "", (1, 1), 0)


async def test_a_disk_that_hangs_is_asked_once_and_waited_for_with_patience(
    autojump_clock: MockClock,
) -> None:
    """By everybody who asks meanwhile; and when it comes back, what it says counts again."""
    asked, answers = 0, trio.Event()

    async def ask() -> Look:
        nonlocal asked
        asked += 1
        await answers.wait()
        return GOOD

    disk, told = Patient(ask), list[Look]()
    async with trio.open_nursery() as nursery:

        async def look() -> None:
            told.append(await disk.look(nursery))

        began = trio.current_time()
        async with trio.open_nursery() as operators:
            for _ in range(10):
                operators.start_soon(look)
        assert told == [SILENT] * 10
        assert trio.current_time() - began == PATIENCE
        assert await disk.look(nursery) == SILENT
        assert asked == 1
        answers.set()
        await trio.testing.wait_all_tasks_blocked()
        assert await disk.look(nursery) == GOOD
        assert asked == 2
