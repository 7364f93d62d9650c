"""One receiver of hooks: what it is told, how it is told, and for how long it is waited for."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from uploadd.errors import HookFailed
from uploadd.hooks.posting import Target, post
from uploadd.hooks.program import run
from uploadd.protocol import webhooks


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """A program that is run, or else an address that is posted to."""

    name: str
    events: frozenset[str]
    """The kinds of events that it is told of."""
    program: tuple[str, ...] = ()
    target: Target | None = None
    key: bytes | None = field(default=None, repr=False)
    """What documents are signed with."""
    timeout: float = 10.0
    """Seconds of one attempt, from its beginning to the end of the answer."""
    attempts: int = 40
    trust: ssl.SSLContext | None = field(default=None, repr=False, compare=False)
    now: Callable[[], float] = field(default=time.time, repr=False, compare=False)

    async def tell(self, id: str, body: bytes, environment: dict[str, str]) -> bytes:
        """What it answers to the document *body* of the event *id*.  Raises HookFailed."""
        try:
            with trio.fail_after(self.timeout):
                if self.target is None:
                    return await run(self.program, body, {**environment, "WEBHOOK_ID": id})
                headers = webhooks.headers(self.key, id, self.now(), body)
                return await post(self.target, headers, body, self.trust)
        except trio.TooSlowError:
            raise HookFailed(f"hook {self.name}: no answer within {self.timeout:g} s") from None
        except HookFailed as error:
            raise HookFailed(f"hook {self.name}: {error.message}") from error
