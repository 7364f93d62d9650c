"""Schemathesis against the real daemon: what ``/-/openapi.json`` says is so, and is all there is.

It knows nothing of ours but that document.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

import pytest
from hypothesis import settings

from tests.e2e.daemon import Daemon

SECONDS: Final = 30
SECRET: Final = "x" * 22

# TRACE is 501 to the front door, as to any method that it does not know (RFC 9110, 9.1).
# What broke off is gone, and asking for it is no mistake: 410, as the document says.
# A stream of events has no end; tests/e2e/test_watch.py listens to it.
CONFIG: Final = """\
[phases.coverage]
unexpected-methods = ["PUT", "PATCH", "DELETE", "POST"]

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 410, 429, "5xx"]

[[operations]]
include-operation-id = "events"
enabled = false
"""

SAME: Final = ("--generation-deterministic",)
"""The same questions for the same document."""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """One that has a few uploads."""
    with Daemon(tmp_path / "served") as daemon:
        daemon.start()
        for n in range(5):
            request = Request(f"{daemon.url}/{n}.txt", b"content", method="PUT")
            request.add_header("X-Client-Id", SECRET)
            with urlopen(request) as answer:
                assert answer.status == 201
        yield daemon
        assert "Traceback" not in daemon.log, daemon.log
        assert daemon.alive


def test_the_api_is_as_it_is_described(daemon: Daemon, tmp_path: Path) -> None:
    """No answer of another shape, no bad question accepted, no good one refused, nothing broken."""
    command = shutil.which(
        "schemathesis", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    )
    assert command, "pip install -e '.[dev]'"
    (config := tmp_path / "schemathesis.toml").write_text(CONFIG)
    done = subprocess.run(
        [
            *(command, "--no-color", "--config-file", str(config), "run"),
            *(f"{daemon.url}/-/openapi.json", "--checks", "all", "-n", "30"),
            *("--continue-on-failure", "--max-time", str(SECONDS)),
            *("--request-timeout", "100", "-H", f"X-Client-Id: {SECRET}"),
            *(() if settings.get_current_profile_name() == "wander" else SAME),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=10 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "10 selected" in done.stdout
