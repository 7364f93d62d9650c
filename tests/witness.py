"""A hook that everything is written down for, and that nobody runs: what is in the outbox."""

from __future__ import annotations

from uploadd.hooks import Hooks, Receiver
from uploadd.ledger import Ledger
from uploadd.outbox import Line, Outbox
from uploadd.protocol.hooks import POST_FINISH


def witness(*kinds: str) -> Hooks:
    """Hooks with one receiver of *kinds*: of what is published, when none is named."""
    events = frozenset(kinds or (POST_FINISH,))
    return Hooks(None, {"witness": Receiver(name="witness", events=events)})


async def outbox(ledger: Ledger) -> list[Line]:
    """What the outbox holds, oldest first."""
    return await Outbox(ledger).lines()
