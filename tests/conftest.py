"""What every test file shares."""

from __future__ import annotations

import signal
from typing import Final

import pytest
from hypothesis import settings

# No deadline for one example: a busy machine is not a failure, and a hang is found by the
# timeouts of the tests themselves.  The same examples for the same code, so that a change is
# judged for what it changed; `make wander` looks for others.
settings.register_profile("uploadd", deadline=None, derandomize=True)
settings.register_profile("wander", deadline=None, print_blob=True)
settings.load_profile("uploadd")

# A shell that starts us in the background has us ignore Ctrl-C, and what we start as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONG: Final = ("e2e", "browser", "peers", "client")
"""Folders whose files take minutes, for they run other programs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: the quick ones fill up the end, when the others still run."""
    items.sort(key=lambda item: item.path.parent.name not in LONG)
