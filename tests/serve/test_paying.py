"""Paying for what has come: as fast as the pace allows, and quietly in between."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from uploadd.claim import Claim
from uploadd.pacing import LEAST_STEP, Flow, Pacer
from uploadd.protocol.upload import Run, Upload
from uploadd.serve.paying import Paying

SECONDS = 8


async def test_who_waits_until_all_is_paid_keeps_no_processor_busy(mock_clock: MockClock) -> None:
    """Between two payments, too, everybody waits."""
    claim = Claim(Upload("u"), lambda error: None, lambda: None, lambda fault: None, Run(0, 0))
    claim.run.received = SECONDS * LEAST_STEP
    paying = Paying(Flow([Pacer(LEAST_STEP)]), claim, lambda: None)
    paid = trio.Event()

    async def wait() -> None:
        await paying.paid()
        paid.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(paying.run)
        nursery.start_soon(wait)
        for _ in range(SECONDS - 1):  # what came last is paid for afterwards
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            assert trio.lowlevel.current_statistics().tasks_runnable == 0
            assert not paid.is_set()
            mock_clock.jump(1)
        await wait_all_tasks_blocked()
        assert paid.is_set()
        nursery.cancel_scope.cancel()
