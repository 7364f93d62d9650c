"""What one upload needs of its session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from uploadd.auth import Access, Who
from uploadd.budget import Share
from uploadd.protocol.hooks import Request
from uploadd.protocol.upload import Upload
from uploadd.protocol.ws import ServerSession
from uploadd.serve.guest import Guest
from uploadd.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Farewell:
    """How a session ends: the close code of RFC 6455 and its reason."""

    code: int = 1000
    reason: str = ""


class Lasting(Protocol):
    """A session of any kind, as those outside see it; nothing of it waits."""

    def drain(self, reconnect_after: float, deadline: float) -> None:
        """Ask the peer to come back later."""

    def part(self) -> None:
        """End it because the daemon restarts."""

    def look_after(self, now: float) -> None:
        """See whether the peer still lives."""


class Voice(Protocol):
    """What a run needs of its session; nothing of it waits."""

    id: str
    uploads: Uploads
    share: Share
    machine: ServerSession
    max_chunk: int
    who: Who
    access: Access
    guest: Guest
    request: Request | None
    """What opened the session."""

    def crash(self, fault: Exception) -> None:
        """End the session, and nothing else, because of an error of ours."""

    def tell_refused(self, upload: Upload | None = None) -> None:
        """Have in the log what the machine was given to refuse, about *upload*."""

    def wake_sender(self) -> None:
        """There may be something to say."""

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """Run *task* as long as the session lives."""

    def forget(self, ref: int, run: object) -> None:
        """The task of *run*, which had *ref*, has ended."""
