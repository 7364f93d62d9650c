"""How the descriptors of the process are shared out."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from uploadd.listening import PER_CONNECTION, SPARE, shares
from uploadd.store.descriptors import MANY


@given(st.integers(256, 1 << 20))
def test_together_they_never_ask_for_more_than_there_are(limit: int) -> None:
    """Connections, what they download, files that grow, and a reserve."""
    connections, growing = shares(limit)
    assert SPARE + growing + PER_CONNECTION * connections <= limit
    assert 16 <= growing <= MANY
    assert connections >= 16


def test_the_limit_is_raised_as_far_as_it_goes() -> None:
    """A shell gives 1024; the system allows more."""
    code = (
        "import resource as r; from uploadd.listening import raise_limit\n"
        "r.setrlimit(r.RLIMIT_NOFILE, (300, 400)); print(raise_limit())\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[:2] == ["400", "(400, 400)"]
