"""What peers meet and only the operator can mend, in the log: once an hour, with what to write.

A browser shows its page nothing of a refused origin, and its user nothing of a lost Upgrade.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Final

import trio

from uploadd.errors import HostNotAllowed, OriginNotAllowed, UpgradeStripped, UploadError
from uploadd.protocol import advice
from uploadd.protocol.heads import Head
from uploadd.serve.rules import Rules

log = logging.getLogger("uploadd.advice")
HOUR: Final = 3600.0
MOST: Final = 100
"""Different things that are said in an hour: peers choose what they are refused for."""


class Advice:
    """Remembers what was said in this hour."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._until = float("-inf")

    def give(self, error: UploadError, head: Head, stream: trio.abc.Stream, rules: Rules) -> None:
        """Log what would keep *error* from happening, if it is one for the operator."""
        match error:
            case UpgradeStripped():
                self._say(advice.upgrade(_peer(stream)))
            case OriginNotAllowed():
                self._say(advice.origin(head, rules.origins))
            case HostNotAllowed():
                self._say(advice.host(head, sorted(rules.names)))

    def _say(self, text: str) -> None:
        if (now := trio.current_time()) >= self._until:
            self._said.clear()
            self._until = now + HOUR
        if text and text not in self._said and len(self._said) < MOST:
            self._said.add(text)
            log.warning("%s", text)


def _peer(stream: trio.abc.Stream) -> str:
    """Where *stream* comes from, for people; the peer may be gone already."""
    if isinstance(stream, trio.SocketStream):
        with suppress(OSError):
            name = stream.socket.getpeername()
            if isinstance(name, tuple):
                return f"proxy {name[0]}"
    return "a proxy on this computer"
