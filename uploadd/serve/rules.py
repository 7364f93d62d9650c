"""What the front door and the conversations behind it go by: plain values, set once at start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from uploadd.auth import Access
from uploadd.protocol.origins import Origin


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits in bytes and counts, timeouts in seconds; the defaults are those of the settings."""

    names: Collection[str] = ()
    origins: Collection[Origin] = ()
    durability: str = "durable"
    max_length: int | None = None
    keep_unfinished: float = 7 * 86400.0
    max_sessions: int = 10_000
    max_refs: int = 256
    max_watched: int = 1000
    max_events: int = 1000
    access: Access = field(default_factory=lambda: Access(listing=True))
    head: float = 15.0
    handshake: float = 5.0
    hello: float = 5.0
    message: float = 30.0
    idle: float = 60.0
    ping: float = 25.0
    send: float = 60.0
    stop: float = 10.0
