"""Amounts as people type them: rates, times, and points in time.  All raise ValueError."""

from __future__ import annotations

import math
import os
import re
import time
from datetime import datetime
from typing import Final

_RATE: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([bkmgtp]?)", re.IGNORECASE)
_TIME: Final = re.compile(r"(\d+(?:\.\d+)?|\.\d+)(s|m|h|d|w|)")
_SECONDS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def rate(text: str) -> float:
    """Bytes per second: ``5M``, ``500k``, ``1.5G``; as in curl, K is 1024 bytes."""
    match = _RATE.fullmatch(text.strip())
    factor = 1024 ** "bkmgtp".index(match[2].lower() or "b") if match else 0
    if match is None or not 1 <= (value := float(match[1]) * factor) < math.inf:
        raise ValueError(f"{text!r} is not a rate: write 500K, 5M or 1G (bytes per second)")
    return value


def seconds(text: str) -> float:
    """Seconds: ``5s``, ``2m``, ``1.5h``, ``2d``, ``1w``; a bare number is seconds."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time: write 5s, 2m, 1h, 2d or 1w")
    return float(match[1]) * _SECONDS[match[2]]


def moment(text: str) -> tuple[float, str]:
    """The time since the epoch that *text* means, and how to say the same later.

    The time of change of a file of that name; else so long ago (``2d``); else an ISO date, with
    or without a time, which is local unless it names a zone.
    """
    try:
        return os.stat(text).st_mtime, text
    except (OSError, ValueError):
        pass
    match = _TIME.fullmatch(text.strip())
    if match is not None and match[2]:
        then = time.time() - float(match[1]) * _SECONDS[match[2]]
        return then, datetime.fromtimestamp(then).astimezone().isoformat()
    try:
        return datetime.fromisoformat(text).timestamp(), text
    except (ValueError, OverflowError, OSError):
        told = f"{text!r} is no file, no time and no date: write 2d, 2026-11-20 or a file's name"
        raise ValueError(told) from None
