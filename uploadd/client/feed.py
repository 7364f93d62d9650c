"""Items for those who send them: read ahead a little in a thread, given to whoever asks next."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, TypeVar

import trio

T = TypeVar("T")

AHEAD: Final = 64  # items in one hop to the thread
SECONDS: Final = 0.1  # and no longer there than this, so that Ctrl-C is not kept waiting


class Feed(Generic[T]):
    """*items*, an iterator that blocks and gives None where there is nothing for us."""

    def __init__(self, items: Iterator[T | None]) -> None:
        self._items = items
        self._read: deque[T] = deque()
        self._given = 0
        self._ended = False
        self._lock = trio.Lock()

    def __aiter__(self) -> Feed[T]:
        return self

    async def __anext__(self) -> tuple[int, T]:
        """The next, with its number from 0."""
        async with self._lock:
            while not self._read:
                if self._ended:
                    raise StopAsyncIteration
                self._read += await trio.to_thread.run_sync(self._take)
            self._given += 1
            return self._given - 1, self._read.popleft()

    def _take(self) -> list[T]:
        taken: list[T] = []
        until = time.monotonic() + SECONDS
        for item in self._items:
            if item is not None:
                taken.append(item)
            if len(taken) == AHEAD or time.monotonic() > until:
                return taken
        self._ended = True
        return taken
