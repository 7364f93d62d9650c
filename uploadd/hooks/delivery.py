"""Telling receivers what is in the outbox: at least once, under the same id, in spite of anything.

Each hook has a task of its own, so that one that hangs holds up no other.  An event goes out of
the ledger when it was taken, many in one transaction; whoever kills us in between has it told
twice, never lost.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import trio

from uploadd.errors import HookFailed, StoreError
from uploadd.hooks.desk import Hooks
from uploadd.hooks.receiver import Receiver
from uploadd.outbox import LONGEST_PAUSE, Line, Outbox, Outcome

log = logging.getLogger("uploadd.hooks")
AT_ONCE: Final = 4
"""Events that one hook is told at a time."""
FIRST_PAUSE: Final = 5.0
"""Seconds until the second attempt, more or less; each later one waits for twice as long."""
WORST_PAUSE: Final = 30.0
"""Seconds for which a hook that has failed again and again is told nothing at all."""
NO_LEDGER: Final = 1.0
"""Seconds until what could not be written down is tried again."""


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long is waited after failures; *draw* gives a number between two others."""

    first: float = FIRST_PAUSE
    longest: float = LONGEST_PAUSE
    worst: float = WORST_PAUSE
    draw: Callable[[float, float], float] = random.uniform

    def after(self, attempts: int) -> float:
        """Seconds until an event that has failed so often is tried again."""
        most = min(self.longest, self.first * 2 ** min(attempts - 1, 30))
        return self.draw(most / 2, most)

    def of_hook(self, failures: int) -> float:
        """Seconds until a hook that has failed so often in a row is told anything."""
        return self.draw(0, min(self.worst, 0.1 * 2 ** min(failures, 30)))


class Delivery:
    """Tells *hooks* what is in the *outbox*; `run` needs a task."""

    def __init__(
        self,
        hooks: Hooks,
        outbox: Outbox,
        *,
        pauses: Pauses = Pauses(),
        now: Callable[[], float] = time.time,
    ) -> None:
        self._hooks, self._outbox, self._pauses, self._now = hooks, outbox, pauses, now

    async def counts(self) -> dict[str, tuple[int, int]]:
        """How much waits for each hook, and how many dead letters it has.  Raises StoreError."""
        empty = dict.fromkeys(self._hooks.receivers, (0, 0))
        return empty | await self._outbox.counts()

    async def run(self) -> None:
        """Tell everybody everything, until cancelled."""
        running: dict[str, tuple[Receiver, trio.CancelScope]] = {}
        async with trio.open_nursery() as nursery:
            while True:
                changed = self._hooks.changed
                wanted = self._hooks.receivers
                for name, (receiver, scope) in list(running.items()):
                    if wanted.get(name) != receiver:
                        scope.cancel(reason="there is another configuration")
                        del running[name]
                for name, receiver in wanted.items():
                    if name not in running:
                        scope = trio.CancelScope()
                        running[name] = receiver, scope
                        nursery.start_soon(self._serve, receiver, scope)
                await self._disown(wanted)
                await changed.wait()

    async def _disown(self, wanted: object) -> None:
        try:
            if count := await self._outbox.disown(list(self._hooks.receivers)):
                log.warning("%d events are for hooks that there are not: uploadd hooks ls", count)
        except StoreError as error:
            log.warning("the outbox cannot be looked after: %s", error)

    async def _serve(self, receiver: Receiver, scope: trio.CancelScope) -> None:
        with scope:
            await One(receiver, self._hooks, self._outbox, self._pauses, self._now).run()


class One:
    """The deliveries to one *receiver*."""

    def __init__(
        self,
        receiver: Receiver,
        hooks: Hooks,
        outbox: Outbox,
        pauses: Pauses,
        now: Callable[[], float],
    ) -> None:
        self._receiver, self._hooks, self._outbox = receiver, hooks, outbox
        self._pauses, self._now = pauses, now
        self._under_way: dict[str, Line] = {}
        self._outcomes: list[Outcome] = []
        self._done = trio.Event()
        self._failures = 0  # in a row
        self._silent_until = float("-inf")

    async def run(self) -> None:
        """Until cancelled: what is under way then is told again."""
        async with trio.open_nursery() as nursery:
            while True:
                changed, self._done = self._hooks.changed, trio.Event()
                try:
                    await self._settle()
                    await self._begin(nursery)
                    pause = await self._pause()
                except StoreError as error:
                    log.warning("hook %s: %s", self._receiver.name, error)
                    pause = NO_LEDGER
                await self._wait(pause, changed)

    async def _settle(self) -> None:
        """Write down what came of the attempts that have ended."""
        outcomes = list(self._outcomes)
        if outcomes:
            await self._outbox.settle(outcomes)
            del self._outcomes[: len(outcomes)]
            for outcome in outcomes:
                del self._under_way[outcome.line.event]

    async def _begin(self, nursery: trio.Nursery) -> None:
        """Tell as much as may be told at a time; of one upload one event after the other."""
        free = AT_ONCE - len(self._under_way)
        if free <= 0 or trio.current_time() < self._silent_until:
            return
        if self._failures:
            free = min(free, 1 - len(self._under_way))  # one that is down is asked once at a time
        while free > 0:
            busy = {one.upload for one in self._under_way.values()}
            found = await self._outbox.due(self._receiver.name, self._now(), free, busy)
            for line in {line.upload: line for line in reversed(found)}.values():
                free -= 1
                self._under_way[line.event] = line
                nursery.start_soon(self._tell, line)
            if not found:
                break

    async def _tell(self, line: Line) -> None:
        receiver = self._receiver
        try:
            await self._hooks.tell(receiver, line.kind, line.event, line.payload, environment(line))
        except HookFailed as error:
            self._outcomes.append(self._failed(line, error))
        else:
            self._failures = 0
            self._outcomes.append(Outcome(line))
        self._done.set()

    def _failed(self, line: Line, error: HookFailed) -> Outcome:
        self._failures += 1
        self._silent_until = trio.current_time() + self._pauses.of_hook(self._failures)
        attempts = line.attempts + 1
        if attempts >= self._receiver.attempts:
            log.error(
                "%s; %s is a dead letter now, after %d attempts: uploadd hooks retry",
                *(error, line.event, attempts),
            )
            return Outcome(line, str(error), dead=True)
        pause = self._pauses.after(attempts)
        log.warning("%s; %s is tried again in %.0f s", error, line.event, pause)
        return Outcome(line, str(error), self._now() + pause)

    async def _pause(self) -> float:
        """Seconds until there may be something to do that nothing else tells of."""
        if len(self._under_way) >= AT_ONCE:
            return float("inf")
        silent = self._silent_until - trio.current_time()
        if silent > 0:
            return silent
        if self._under_way:
            return float("inf")  # its end says more
        due = await self._outbox.next_due(self._receiver.name)
        return float("inf") if due is None else min(max(due - self._now(), 0.05), LONGEST_PAUSE)

    async def _wait(self, seconds: float, changed: trio.Event) -> None:
        """Until one is done, something new is there, or time is over."""
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:

                async def until(event: trio.Event) -> None:
                    await event.wait()
                    nursery.cancel_scope.cancel(reason="there is something to do")

                nursery.start_soon(until, self._done)
                nursery.start_soon(until, changed)


def environment(line: Line) -> dict[str, str]:
    """What a program is told in its environment of *line*."""
    upload = msgspec.json.decode(line.payload)["Event"]["Upload"]
    return {
        "TUS_ID": line.upload,
        "TUS_SIZE": str(upload["Size"]),
        "TUS_OFFSET": str(upload["Offset"]),
    }
