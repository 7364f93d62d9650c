"""What is measured: a module each, which says in its first words what it does."""

from __future__ import annotations

from types import ModuleType

from bench.scenarios import (
    ack_latency,
    browser,
    downloads,
    durable,
    growth,
    idle_sessions,
    large_form,
    large_put,
    large_tus,
    large_websocket,
    ledger_growth,
    limits,
    resume,
    small_http,
    small_websocket,
    startup,
    store_alone,
    trickle,
)

_ORDER = (
    *(limits, large_websocket, large_tus, large_put, large_form, durable),
    *(small_http, small_websocket, store_alone, downloads),
    *(ack_latency, idle_sessions, trickle, resume),
    *(growth, ledger_growth, startup, browser),
)
ROOM: dict[str, tuple[float, float]] = {
    "limits": (0.1, 0.2),
    "large_websocket": (0, 6.6),
    "large_tus": (0, 4.2),
    "large_put": (0, 5.0),
    "large_form": (0, 3.2),
    "durable": (2.2, 6.6),
    "small_http": (0, 2.0),
    "small_websocket": (0.1, 1.2),
    "store_alone": (0, 0.8),
    "downloads": (0, 1.2),
    "ack_latency": (0, 0.6),
    "trickle": (0, 5.0),
    "resume": (0, 3.2),
    "growth": (0, 10.5),
    "ledger_growth": (0, 2.0),
    "startup": (0, 0.4),
}
"""GiB that each writes to a disk at most, in the short and in the long form; the others nothing."""
ANEW = {"growth": 6.8}
"""GiB of them until the file system in a file is made anew, where that is in the middle."""
SCENARIOS: dict[str, ModuleType] = {module.__name__.rpartition(".")[2]: module for module in _ORDER}
"""By name, in the order in which they run; each has a function ``run(bench)``."""
