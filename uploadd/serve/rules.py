"""What the front door and the conversations behind it go by: plain values, set once at start."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from msgspec import UNSET

from uploadd.auth import Access
from uploadd.measures import Measures
from uploadd.protocol.addresses import Network
from uploadd.protocol.kinds import ANYTHING, Types
from uploadd.protocol.origins import Origin
from uploadd.protocol.wsmessages import Limits


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
    min_rate: int = 1024
    max_total: int | None = None
    rate: int | None = None
    types: Types = ANYTHING
    measures: Measures | None = None
    """None: nobody is counted."""
    proxies: Collection[Network | str] = ()
    access: Access = field(default_factory=lambda: Access(listing=True))
    head: float = 15.0
    handshake: float = 5.0
    hello: float = 5.0
    message: float = 30.0
    idle: float = 60.0
    ping: float = 25.0
    send: float = 60.0
    stop: float = 10.0

    def told(self, max_chunk: int) -> Limits:
        """What a client is told of before its first byte; *max_chunk* as it is now."""
        return Limits(
            max_chunk,
            self.max_length,
            max_chunk,
            self.max_refs,
            self.max_watched,
            tuple(self.types.allowed) or UNSET,
            UNSET if self.max_total is None else self.max_total,
            rate=UNSET if self.rate is None else self.rate,
        )
