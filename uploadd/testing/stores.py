"""What every store must pass, whatever keeps its bytes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from uploadd.store.contract import Store
from uploadd.testing.faults import (
    FAULTS,
    RECOVERIES,
    a_flush_does_not_speak_of_later_bytes,
    cancelled_anywhere_it_is_old_or_new,
)
from uploadd.testing.promises import PROMISES, any_order_of_writes_gives_the_same_bytes

Make: TypeAlias = Callable[[], Awaitable[Store]]
"""Gives a new and empty store."""
MakeClogged: TypeAlias = Callable[[], Awaitable[tuple[Store, Callable[[], object]]]]
"""Gives a store whose flushes wait until the function is called."""
MakeFailing: TypeAlias = Callable[[], Awaitable[tuple[Store, Callable[[str, int], object]]]]
"""Gives a store, and a function that lets the next call of a verb fail with an errno."""
Reopen: TypeAlias = Callable[[Store], Awaitable[Store]]
"""Gives the store as a crash leaves it; the old object is not used any more."""


async def check_store(
    make_store: Make,
    make_clogged_store: MakeClogged | None = None,
    make_failing_store: MakeFailing | None = None,
    *,
    reopen: Reopen | None = None,
) -> None:
    """Raise AssertionError unless the stores made keep the promises of ``store/contract.py``.

    What is None is not looked at.  Positions and sizes are multiples of the store's grain, so
    that a store that makes whole parts durable is asked for whole parts.
    """
    for promise in PROMISES:
        async with _opened(make_store) as store:
            await promise(store)
    for seed in range(8):
        async with _opened(make_store) as store:
            await any_order_of_writes_gives_the_same_bytes(store, random.Random(seed))
    await cancelled_anywhere_it_is_old_or_new(make_store)
    if make_clogged_store is not None:
        clogged, release = await make_clogged_store()
        await a_flush_does_not_speak_of_later_bytes(clogged, release)
        await clogged.aclose()
    if make_failing_store is not None:
        for fault in FAULTS:
            failing, fail = await make_failing_store()
            await fault(failing, fail)
            await failing.aclose()
    if reopen is not None:
        for recovery in RECOVERIES:
            await recovery(await make_store(), reopen)


@asynccontextmanager
async def _opened(make: Make) -> AsyncIterator[Store]:
    store = await make()
    yield store
    await store.aclose()
