"""What uploads leave free of the disk: looked at where bytes are written, in the threads."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

LOOK_BYTES: Final = 16 << 20
"""Bytes that may be written before the disk is asked again how much is free."""
LOOK_SECONDS: Final = 0.1

Moved: TypeAlias = tuple[int, OSError | None]
"""How many bytes, and what stopped it if not all."""


class Reserve:
    """Of the disk of *folder*, *least* bytes stay free, whoever writes; 0: all may be used.

    Its methods are called in any thread.
    """

    def __init__(self, folder: int, least: int) -> None:
        self._folder, self._least = folder, least
        self._lock = threading.Lock()
        self._left, self._until = 0, 0.0
        self._under_way = 0
        """Bytes that were granted; the disk may not know of them yet."""

    def room(self) -> int:
        """Bytes that may be written, as the disk sees it now."""
        stat = os.fstatvfs(self._folder)
        return max(0, stat.f_bavail * stat.f_frsize - self._least)

    def within(self, count: int, move: Callable[[], Moved]) -> Moved:
        """What *move* says, which writes up to *count* bytes; not begun without room for them."""
        if not self._least or not count:
            return move()
        if not self._granted(count):
            return 0, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        moved = 0
        try:
            moved, error = move()
        finally:
            with self._lock:
                self._under_way -= count
                self._left += count - moved
        return moved, error

    def _granted(self, count: int) -> bool:
        with self._lock:
            now = time.monotonic()
            if count > self._left or now >= self._until:
                # Of what is under way some may be written already: then it counts twice, once.
                room = self.room() - self._under_way
                self._left, self._until = min(room, max(LOOK_BYTES, count)), now + LOOK_SECONDS
            if count > self._left:
                return False
            self._left -= count
            self._under_way += count
        return True
