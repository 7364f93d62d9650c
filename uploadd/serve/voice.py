"""What one upload needs of its session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from uploadd.budget import Share
from uploadd.protocol.ws import ServerSession
from uploadd.uploads import Uploads


class Voice(Protocol):
    """What a run needs of its session; nothing of it waits."""

    id: str
    uploads: Uploads
    share: Share
    machine: ServerSession
    max_chunk: int

    def crash(self, fault: Exception) -> None:
        """End the session, and nothing else, because of an error of ours."""

    def wake_sender(self) -> None:
        """There may be something to say."""

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run *task* as long as the session lives."""

    def forget(self, ref: int, run: object) -> None:
        """The task of *run*, which had *ref*, has ended."""
