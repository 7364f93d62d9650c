"""Cancel a flow at its first step, at its second, and so on to its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import count
from typing import Final, TypeAlias

import trio

Flow: TypeAlias = Callable[[], Awaitable[object]]
Check: TypeAlias = Callable[[], Awaitable[object]]
MOST_STEPS: Final = 10_000
"""A flow that takes more of them spins."""


async def cancel_at_every_step(make: Callable[[], Awaitable[tuple[Flow, Check]]]) -> int:
    """Run a flow once for each of its steps and cancel it there; return how many there were.

    *make* sets a new stage each time and returns the flow, and the check that is run after it:
    what must be true however far the flow came.  Neither of the two is cancelled.  Tasks that the
    flow starts count as the flow, those that *make* started elsewhere do not.
    """
    for steps in count():
        assert steps < MOST_STEPS, "the flow does not end"
        flow, check = await make()
        if await _ended_before(steps, flow):
            await check()
            return steps
        await check()
    raise AssertionError("unreachable")


async def _ended_before(steps: int, flow: Flow) -> bool:
    """Run *flow* and cancel it before its next step after *steps*; False when that came."""
    with trio.CancelScope() as scope:
        canceller = _Canceller(scope, trio.lowlevel.current_task(), steps)
        trio.lowlevel.add_instrument(canceller)
        try:
            if steps == 0:
                scope.cancel(reason="the sweep: before the first step")
            await flow()
        finally:
            trio.lowlevel.remove_instrument(canceller)
    return not scope.cancel_called


class _Canceller(trio.abc.Instrument):
    """Cancels *scope* before the step after *steps* of *root* and the tasks below it."""

    def __init__(self, scope: trio.CancelScope, root: trio.lowlevel.Task, steps: int) -> None:
        self._scope, self._root, self._left = scope, root, steps
        self._outside = tuple(root.child_nurseries)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._is_ours(task):
            self._left -= 1
            if self._left == 0:
                self._scope.cancel(reason="the sweep")

    def _is_ours(self, task: trio.lowlevel.Task) -> bool:
        while task is not self._root:
            nursery = task.parent_nursery
            if nursery is None or nursery in self._outside:
                return False
            task = nursery.parent_task
        return True
