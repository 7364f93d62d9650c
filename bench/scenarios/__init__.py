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
SCENARIOS: dict[str, ModuleType] = {module.__name__.rpartition(".")[2]: module for module in _ORDER}
"""By name, in the order in which they run; each has a function ``run(bench)``."""
