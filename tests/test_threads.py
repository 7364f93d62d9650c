"""What blocks runs beside the loop: once begun it is waited for, and its place is given back."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from uploadd.threads import in_thread


async def test_it_runs_elsewhere_and_what_it_returns_comes_back() -> None:
    """Or what it raises."""
    limiter = trio.CapacityLimiter(1)
    assert await in_thread(threading.get_ident, limiter) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0, limiter)
    assert await in_thread(lambda: "without a limiter of its own") == "without a limiter of its own"
    assert limiter.borrowed_tokens == 0


@given(st.integers(1, 20), st.lists(st.booleans(), max_size=60))
def test_each_has_what_its_own_job_gave_and_no_more_run_than_may(
    most: int, succeed: list[bool]
) -> None:
    """However many end at once; in one run after the other."""

    async def run() -> None:
        limiter, lock = trio.CapacityLimiter(most), threading.Lock()
        running = Counter[str]()

        def job(number: int, succeeds: bool) -> int:
            with lock:
                running["now"] += 1
                running["most"] = max(running["most"], running["now"])
            with lock:
                running["now"] -= 1
            if not succeeds:
                raise LookupError(number)
            return number

        async def one(number: int, succeeds: bool) -> None:
            try:
                found = await in_thread(partial(job, number, succeeds), limiter)
            except LookupError as error:
                found = -error.args[0]
            told.append((found, number if succeeds else -number))

        told: list[tuple[int, int]] = []
        async with trio.open_nursery() as nursery:
            for number, succeeds in enumerate(succeed):
                nursery.start_soon(one, number, succeeds)
        assert len(told) == len(succeed)
        assert all(found == wanted for found, wanted in told)
        assert running["most"] <= most
        assert limiter.borrowed_tokens == 0

    trio.run(run)


async def test_cancelled_before_its_turn_it_never_runs(nursery: trio.Nursery) -> None:
    """And who was cancelled has no place; nor has who was cancelled before it asked."""
    limiter, gate, ran = trio.CapacityLimiter(1), threading.Event(), list[str]()
    nursery.start_soon(in_thread, gate.wait, limiter)
    await trio.testing.wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        scope.cancel()
        await in_thread(partial(ran.append, "at once"), limiter)
    with trio.CancelScope() as scope:
        nursery.start_soon(_cancel_when_blocked, scope)
        await in_thread(partial(ran.append, "later"), limiter)
    assert scope.cancelled_caught
    gate.set()
    await in_thread(partial(ran.append, "in its turn"), limiter)
    assert ran == ["in its turn"]
    assert limiter.borrowed_tokens == 0


async def _cancel_when_blocked(scope: trio.CancelScope) -> None:
    await trio.testing.wait_all_tasks_blocked()
    scope.cancel()


async def test_once_begun_it_is_waited_for(nursery: trio.Nursery) -> None:
    """What it did is told, and whoever was cancelled hears of that at the next checkpoint."""
    limiter, begun, gate = trio.CapacityLimiter(1), threading.Event(), threading.Event()
    told = []

    def job() -> str:
        begun.set()
        assert gate.wait(60)
        return "done"

    async def cancel() -> None:
        await in_thread(begun.wait)
        scope.cancel()
        gate.set()

    with trio.CancelScope() as scope:
        nursery.start_soon(cancel)
        told.append(await in_thread(job, limiter))
        await trio.lowlevel.checkpoint()
        told.append("went on")
    assert told == ["done"]
    assert limiter.borrowed_tokens == 0


async def test_who_came_first_has_the_next_place(nursery: trio.Nursery) -> None:
    """Also before one who comes when it becomes free."""
    limiter, gate, order = trio.CapacityLimiter(1), threading.Event(), list[int]()
    nursery.start_soon(in_thread, gate.wait, limiter)
    await trio.testing.wait_all_tasks_blocked()
    for number in range(5):
        nursery.start_soon(in_thread, partial(order.append, number), limiter)
        await trio.testing.wait_all_tasks_blocked()
    gate.set()
    await in_thread(partial(order.append, 5), limiter)
    assert order == [0, 1, 2, 3, 4, 5]


async def test_without_a_thread_the_place_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system allows no more of them."""

    def start(*args: object) -> None:
        raise RuntimeError("can't start new thread")

    limiter = trio.CapacityLimiter(1)
    with monkeypatch.context() as patch:
        patch.setattr(trio.lowlevel, "start_thread_soon", start)
        with pytest.raises(RuntimeError):
            await in_thread(int, limiter)
    assert await in_thread(int, limiter) == 0
