"""What one run of a session owes to its pace: credit is granted as far as it is paid."""

from __future__ import annotations

from collections.abc import Callable

import trio

from uploadd.claim import Claim
from uploadd.errors import UploadError
from uploadd.intake import Intake, drain
from uploadd.pacing import Flow


class Paying:
    """Pays *flow* for what the run of *claim* has received; *moved* is told when more may come."""

    def __init__(self, flow: Flow, claim: Claim, moved: Callable[[], None]) -> None:
        self._flow, self._run, self._moved = flow, claim.run, moved
        self._upto = claim.run.start
        held_back = claim.held_back  # it is silent because nothing is granted
        claim.held_back = lambda: self.owes or held_back()
        self._stopped = False
        self._event = trio.Event()

    @property
    def owes(self) -> bool:
        """Whether more has come than is paid for."""
        return self._run.received > self._upto

    def most(self, max_chunk: int) -> int:
        """Where credit ends: a chunk beyond what is paid for."""
        return self._upto + max_chunk

    def look(self) -> None:
        """More may have come, or is paid."""
        self._event.set()
        self._event = trio.Event()

    def stop(self) -> None:
        """Nobody waits for it to be paid any more."""
        self._stopped = True
        self.look()

    async def run(self) -> None:
        """Pay as it comes, until cancelled."""
        while True:
            while self.owes:
                count = min(self._run.received - self._upto, self._flow.step)
                await self._flow.pay(count)
                self._upto += count
                self._moved()
                self.look()
            await self._event.wait()

    async def paid(self) -> None:
        """Wait until all that came is paid for, beside `run`; or until `stop`."""
        while self.owes and not self._stopped:
            await self._event.wait()


async def drained(intake: Intake, paying: Paying | None) -> UploadError | None:
    """Write all that comes, as fast as it is paid for; what ended it, if anything did."""
    claim = intake.claim
    if paying is None:
        return await drain(claim, intake)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(paying.run)
        if await drain(claim, intake) is None and intake.finished:
            await paying.paid()
        nursery.cancel_scope.cancel(reason="nothing more comes")
    return claim.ended
