"""What operators are told: that the daemon lives, that it is ready, and its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

import msgspec

from uploadd.errors import MethodNotAllowed, NotFound
from uploadd.protocol.heads import Head
from uploadd.protocol.origins import check_host
from uploadd.protocol.pages import Page


class Question(Enum):
    """What can be asked, by its path."""

    HEALTH = "/healthz"
    READINESS = "/readyz"
    METRICS = "/metrics"


_FRESH: Final = ("Cache-Control", "no-store")


def question(head: Head) -> Question:
    """What *head* asks.  Raises NotFound, MethodNotAllowed, HostNotAllowed: pages elsewhere may
    point their own name at this address.
    """
    check_host(head.authority, ())
    try:
        asked = Question(head.target.partition("?")[0])
    except ValueError:
        raise NotFound("here are /healthz, /readyz and /metrics") from None
    if head.method not in ("GET", "HEAD"):
        raise MethodNotAllowed("this can only be looked at")
    return asked


def health() -> Page:
    """Whoever can say this lives."""
    return 200, [("Content-Type", "text/plain; charset=utf-8"), _FRESH], b"ok\n"


def readiness(checks: Mapping[str, str], facts: Mapping[str, str]) -> Page:
    """Whether new uploads are taken: every check by its name, empty or what is wrong."""
    ready = not any(checks.values())
    told = {name: wrong or "ok" for name, wrong in checks.items()}
    body = msgspec.json.encode({"ready": ready, "checks": told, **facts}) + b"\n"
    return 200 if ready else 503, [("Content-Type", "application/json"), _FRESH], body


def metrics(media_type: str, text: bytes) -> Page:
    """The numbers, as Prometheus reads them."""
    return 200, [("Content-Type", media_type), _FRESH], text
