"""What blocks, in threads: every write, flush and look goes this way, so the way is short.

As `trio.to_thread.run_sync`, without what costs more than a small write: a context of variables and
the way back into trio, which no job here needs, and a name for the thread, which is given by system
calls.  Jobs that end while the loop is busy wake it once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import trio

if TYPE_CHECKING:
    import outcome

T = TypeVar("T")


async def in_thread(job: Callable[[], T], limiter: trio.CapacityLimiter | None = None) -> T:
    """What *job* returns or raises, run in a thread that *limiter* (None: trio's) has room for.

    Cancelled: it was not begun.  Once it has begun it is waited for.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    limiter = limiter or trio.to_thread.current_default_thread_limiter()
    task, ended = trio.lowlevel.current_task(), _ended()
    try:
        limiter.acquire_on_behalf_of_nowait(task)
    except trio.WouldBlock:
        await limiter.acquire_on_behalf_of(task)

    def deliver(result: outcome.Outcome[T]) -> None:  # in the thread
        ended.add(task, limiter, result)

    try:
        trio.lowlevel.start_thread_soon(job, deliver)
    except BaseException:  # no thread can be started
        limiter.release_on_behalf_of(task)
        raise
    result: T = await trio.lowlevel.wait_task_rescheduled(_wait_on)
    return result


def _wait_on(raise_cancel: object) -> trio.lowlevel.Abort:
    """A thread cannot be stopped."""
    return trio.lowlevel.Abort.FAILED


class _Ended:
    """Jobs that have ended, on their way back to the loop of one run."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._waiting: deque[tuple[trio.lowlevel.Task, trio.CapacityLimiter, Any]] = deque()
        self._called = False

    def add(
        self, task: trio.lowlevel.Task, limiter: trio.CapacityLimiter, result: outcome.Outcome[Any]
    ) -> None:
        """In a thread: have the loop go on with *task*."""
        self._waiting.append((task, limiter, result))
        if not self._called:  # else whoever was called has yet to look, and finds it
            self._called = True
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._take)

    def _take(self) -> None:
        self._called = False  # before the look: who comes behind it calls again
        while self._waiting:
            task, limiter, result = self._waiting.popleft()
            limiter.release_on_behalf_of(task)
            trio.lowlevel.reschedule(task, result)


_ENDED: Final[trio.lowlevel.RunVar[_Ended]] = trio.lowlevel.RunVar("ended jobs")


def _ended() -> _Ended:
    try:
        return _ENDED.get()
    except LookupError:
        _ENDED.set(made := _Ended())
        return made
